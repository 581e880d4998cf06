"""What `sample`, `restore` and `edit` share."""
