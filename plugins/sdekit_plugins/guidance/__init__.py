"""Built-in guidances: one per file."""
