"""Loaders of single files: checkpoints of other packages, and bare weights."""
