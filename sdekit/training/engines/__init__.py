"""Engines: how a training step runs on devices and processes."""
