"""Checks of every kind of component but samplers."""
