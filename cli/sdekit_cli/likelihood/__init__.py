"""Parts of the commands `nll`, `encode`, `decode`, `interpolate` and `classify`."""
