"""Parts of `sdekit evaluate`: the samples and their conditions, and the table."""
