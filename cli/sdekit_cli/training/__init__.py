"""Parts of `sdekit train`: the run of a training, and its summary."""
