"""The command line: one module a command, tied together in `streams.cli.main`."""
