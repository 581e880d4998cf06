"""Data sets: anything that answers `batch(indices)` with tensors in the model's units."""
