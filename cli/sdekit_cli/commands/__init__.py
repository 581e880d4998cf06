"""The commands of sdekit: one file for each."""
