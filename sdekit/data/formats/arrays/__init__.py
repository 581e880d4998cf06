"""Data sets in NumPy files: choice of the arrays, and bounded reading."""
