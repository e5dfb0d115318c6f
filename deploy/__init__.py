"""Where headwater runs: the local stack now, images and rules for production beside it."""
