"""What a training reports: rows of metrics, trackers, previews, and the diagnosis of a run."""
