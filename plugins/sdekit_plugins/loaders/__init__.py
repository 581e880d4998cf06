"""Loaders of models that other packages saved, and the files that they share."""
