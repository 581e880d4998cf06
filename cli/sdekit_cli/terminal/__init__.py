"""Output to the terminal, error messages, help and signals."""
