"""Commands for authors of plugins: `sdekit plugins new` and `sdekit plugins check`."""
