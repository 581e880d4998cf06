"""Commands that take a run of `sdekit train` alone."""

from pathlib import Path

from sdekit.errors import InputError


def only_trained(run: Path, why: str) -> None:
    """InputError where RUN is what `sdekit export` wrote."""
    from sdekit.runs import CONFIG, EXPORT

    if (run / EXPORT).is_file() and not (run / CONFIG).exists():
        raise InputError(f"{run} is an export already: {why}; name the run that it was made of")
