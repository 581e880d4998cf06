"""Built-in methods for inverse problems: one per file."""
