"""Checks of samplers: order, contract, randomness and single steps."""
