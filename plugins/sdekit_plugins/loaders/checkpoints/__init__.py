"""Loaders of single files with the weights of a network, and the readers that they share."""
