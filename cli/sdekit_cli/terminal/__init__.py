"""Terminal output and signals."""
