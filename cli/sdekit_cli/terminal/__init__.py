"""Terminal output, help and signals."""
