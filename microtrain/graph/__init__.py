"""What is recorded: nodes, their shapes and dtypes, and the tape."""
