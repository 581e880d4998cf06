"""Built-in loggers: one tracker per file."""
