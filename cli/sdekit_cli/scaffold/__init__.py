"""Templates of new plugins, and checks of installed ones."""
