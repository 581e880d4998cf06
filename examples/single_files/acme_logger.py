"""A logger in one file: it appends the numbers of a training to a CSV file.

`sdekit train --plugin acme_logger.py --logger acme-csv --out run`
"""

from sdekit import InputError, hookimpl
from sdekit.training import Logger


class CSVLogger(Logger):
    """One line (step, name, value) for each number, in trackers/acme.csv of the run folder.

    Arguments:
        run_folder: Run folder.
        recipe: Recipe of the run, not used here.
        separator: Character between the columns.
    """

    def __init__(self, run_folder, recipe, *, separator: str = ","):
        self.path, self.separator = run_folder / "trackers" / "acme.csv", separator
        self.path.parent.mkdir(exist_ok=True)

    @classmethod
    def check(cls, *, separator):
        if len(separator) != 1:
            raise InputError(f"acme-csv: separator must be one character, got {separator!r}")

    @property
    def location(self):
        return str(self.path)

    def log(self, step, values):
        with open(self.path, "a") as file:
            for name, value in values.items():
                print(step, name, value, sep=self.separator, file=file)


@hookimpl
def sdekit_loggers():
    return {"acme-csv": CSVLogger}
