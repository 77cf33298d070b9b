"""Where actions run: one module for each strategy, and the description of an action that all of them take."""
