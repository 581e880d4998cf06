"""Data sets of sequences in text files and audio files."""
