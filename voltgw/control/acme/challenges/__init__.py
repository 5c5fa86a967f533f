"""How a CA is shown that a name is ours, one kind of challenge a file."""
