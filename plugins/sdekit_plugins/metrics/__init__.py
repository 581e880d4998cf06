"""Distances between samples and real items, one method per file."""
