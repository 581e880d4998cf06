"""Data sets of Hugging Face `datasets`: the choice of the columns, and images, arrays and tables of their rows."""

from __future__ import annotations
