"""Extractors of features for metrics, one per file."""
