"""Objectives: what can be trained."""
