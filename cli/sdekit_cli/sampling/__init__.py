"""The sampling session that `sample`, `restore` and `edit` share."""
