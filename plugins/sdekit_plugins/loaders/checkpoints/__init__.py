"""Loaders of single files that fill networks of sdekit with the weights of other toolkits."""
