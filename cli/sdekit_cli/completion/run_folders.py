"""Run folders below the current one, for the completion of arguments that name a run."""

from __future__ import annotations

import os
from collections.abc import Iterator

CONFIG = "config.json"
"""File of a run folder. `sdekit.runs` has this name too, and importing it takes longer."""
DEEPEST = 3
"""Number of levels below the current folder that are searched."""
MOST_FOLDERS = 2000
"""Number of folders that are searched at most."""


def run_folders(incomplete: str) -> Iterator[str]:
    """Yield the run folders whose path begins with a text, the nearest ones first.

    Arguments:
        incomplete: Beginning of a path; an empty text finds all runs up to three levels below the current folder.
    Yields:
        Paths in the form in which the user writes them.
    """
    parent, beginning = os.path.split(incomplete)
    level, searched = [parent], 0
    for depth in range(DEEPEST):
        below: list[str] = []
        for folder in level:
            searched += 1
            if searched > MOST_FOLDERS:
                return
            for path in _folders(folder):
                name = os.path.basename(path)
                if (depth == 0 and not name.startswith(beginning)) or name.startswith((".", "__")):
                    continue
                if os.path.isfile(os.path.join(os.path.expanduser(path), CONFIG)):
                    yield path
                else:
                    below.append(path)
        level = below


def _folders(folder: str) -> list[str]:
    """Return the sorted paths of the folders in a folder; none if it cannot be read."""
    try:
        with os.scandir(os.path.expanduser(folder) or ".") as entries:
            return sorted(os.path.join(folder, entry.name) for entry in entries if entry.is_dir())
    except OSError:
        return []
