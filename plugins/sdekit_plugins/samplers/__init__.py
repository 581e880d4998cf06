"""Built-in samplers: one method per file."""
