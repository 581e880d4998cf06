"""Where a command writes its results: whole or not at all, and in the place of nothing but earlier results."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from sdekit.errors import InputError, SdekitError

RECORDS = ("sample.json", "restore.json", "edit.json")
FILES = (
    *("samples.npy", "grid.png", "scatter.png", "measurement.npy", "measurement.png", "before-after.png"),
    *("mean.npy", "mean.png", "std.npy", "std.png"),
    *RECORDS,
)
IMAGES = "images"
IMAGE = re.compile(r"(0|[1-9]\d*)\.png")
STAGE = ".sdekit-"
"""What the name of a folder begins with in which results are written before they are put in place."""


def check_out(out: Path, *, overwrite: bool) -> None:
    """Refuse a place that holds something, unless it is an earlier result to be replaced."""
    try:
        for place in (out, *out.parents):
            if place.exists() and not place.is_dir():
                raise InputError(f"--out {out}: {place} is a file, choose a folder")
        held, others = _held(out), _others(out)
    except OSError as error:
        raise InputError(f"--out {out} cannot be read ({error.strerror or error}): choose another folder") from error
    if not held:
        return
    if others:
        raise InputError(f"--out {out} holds other files ({others[0]}, ...): choose another folder")
    if not any(_ours(out / name) for name in RECORDS):
        raise InputError(
            f"--out {out} holds {held[0]} and no record of sdekit's ({', '.join(RECORDS)}), so that it may be "
            "somebody's own: choose another folder"
        )
    if not overwrite:
        raise InputError(f"--out {out} already holds samples: choose another folder, or replace them with --overwrite")


@contextmanager
def staged(out: Path, *, overwrite: bool) -> Iterator[Path]:
    """A folder to write into; at the end what it holds comes to `out`, in the place of the results there.

    Where anything fails, these are whole and nothing else is left. Where others have come to `out` meanwhile that
    must not be replaced, the new ones stay beside it under another name; SdekitError says which.
    """
    made = [place for place in (out, *out.parents) if not place.exists()]
    try:
        out.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=STAGE, dir=out, ignore_cleanup_errors=True) as stage:
            (new := Path(stage, "new")).mkdir()
            (old := Path(stage, "old")).mkdir()
            yield new
            _check_again(out, new, overwrite=overwrite)
            _exchange(out, new, old)
    except OSError as error:
        why = error.strerror or error
        raise SdekitError(f"could not write to {out}: {why}. What was there before is untouched") from error
    finally:
        with suppress(OSError):  # the first that is not empty: all went well
            for place in made:
                place.rmdir()


def _check_again(out: Path, new: Path, *, overwrite: bool) -> None:
    """SdekitError where `out` holds by now what must not be replaced; `new` is then beside it."""
    try:
        check_out(out, overwrite=overwrite)
    except InputError as error:
        number, whole = 2, out.absolute()
        while (beside := whole.with_name(f"{whole.name}-{number}")).exists():
            number += 1
        shutil.move(new, beside)
        raise SdekitError(f"{error}. That came while this command ran: the new samples are in {beside}") from error


def _exchange(out: Path, new: Path, old: Path) -> None:
    """What `out` holds to `old`, and what `new` holds to `out`: all of it or none."""
    moves = [(out / name, old / name) for name in _held(out)]
    moves += [(path, out / path.name) for path in sorted(new.iterdir())]
    with ExitStack() as undo:
        for source, target in moves:
            os.rename(source, target)
            undo.callback(os.rename, target, source)
        undo.pop_all()


def _held(out: Path) -> list[str]:
    """Names in a folder, sorted, without those that another command is only writing into."""
    return sorted(p.name for p in out.iterdir() if not p.name.startswith(STAGE)) if out.is_dir() else []


def _others(out: Path) -> list[str]:
    """What no command of sdekit's has written there: names, sorted."""
    found = []
    for name in _held(out):
        path = out / name
        if name == IMAGES and path.is_dir() and not path.is_symlink():
            found += [
                f"{name}/{p.name}" for p in sorted(path.iterdir()) if not (IMAGE.fullmatch(p.name) and p.is_file())
            ]
        elif name not in FILES or not path.is_file():
            found.append(name)
    return found


def _ours(record: Path) -> bool:
    """Whether a command of sdekit's wrote this file: its record carries a checksum."""
    try:
        fields = json.loads(record.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(fields, dict) and {"run", "seeds", "sha256"} <= fields.keys()
