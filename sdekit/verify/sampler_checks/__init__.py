"""Checks of samplers: contract, randomness, single steps and accuracy."""
