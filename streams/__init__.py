"""The stream: the pure core, the worker, the collector, the simulator and the command line."""
