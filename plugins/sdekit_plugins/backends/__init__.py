"""Built-in backends: one per file."""
