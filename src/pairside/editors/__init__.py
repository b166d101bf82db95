"""One module for each kind of editor."""
