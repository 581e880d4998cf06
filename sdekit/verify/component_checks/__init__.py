"""Checks of every kind of component except samplers."""
