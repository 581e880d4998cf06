"""A CSV file that grows row by row, so that an interrupted command continues where it stopped."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any

from sdekit.errors import InputError, SdekitError
from sdekit_cli.terminal.console import note


class PartialRows:
    """Rows of numbers in OUT/NAME.partial.csv until they are complete, then in OUT/NAME.csv with a record NAME.json.

    The first line of the partial file is a digest of the protocol: rows of another protocol are not continued.

    Arguments:
        out: Folder, which is created.
        name: Name of the files.
        columns: Names of the columns.
        protocol: JSON-ready choices that determine the rows.
        overwrite: Whether a complete result may be replaced.
    Raises:
        InputError: If the folder contains a complete result and `overwrite` is false, or rows of another protocol.
    """

    def __init__(
        self, out: Path, name: str, columns: Sequence[str], protocol: Mapping[str, Any], *, overwrite: bool
    ) -> None:
        from sdekit.runs import recover

        self.out, self.name, self.columns = out, name, tuple(columns)
        self.partial, self.complete = out / f"{name}.partial.csv", out / f"{name}.csv"
        digest = hashlib.sha256(json.dumps(dict(protocol), sort_keys=True, default=str).encode()).hexdigest()
        self.first_line = f"# protocol {digest}\n"
        self._rows: list[list[float]] = []
        if out.exists() and not out.is_dir():
            raise InputError(f"--out {out} is a file: choose a folder")
        if out.is_dir():
            recover(out)
        if self.complete.exists() and not overwrite:
            raise InputError(
                f"--out {out} already contains {self.complete.name}: choose another folder, or --overwrite"
            )
        if self.partial.exists():
            self._continue(overwrite)

    def _continue(self, overwrite: bool) -> None:
        """Read the rows of an interrupted command."""
        text = self.partial.read_text("utf-8", errors="replace")
        if not text.startswith(self.first_line):
            if overwrite:
                return
            raise InputError(
                f"{self.partial} contains part of a result with other options or data: repeat these options to "
                "continue it, or replace it with --overwrite"
            )
        lines = text[: text.rfind("\n") + 1].splitlines()[2:]  # a kill may have cut the last line
        for line in lines:
            try:
                row = [float(value) for value in line.split(",")]
            except ValueError:
                break
            if len(row) != len(self.columns):
                break
            self._rows.append(row)

    def __enter__(self) -> PartialRows:
        from sdekit.runs import write_atomically

        try:
            self.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"--out {self.out} cannot be created ({error.strerror or error})") from error
        write_atomically(self.partial, (self.first_line + self._csv(self._rows)).encode())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Keep the partial file, which `finish` replaces; without rows it is removed after wrong input."""
        if isinstance(error, InputError) and not self._rows:
            with suppress(OSError):
                self.partial.unlink()
                self.out.rmdir()  # fails if it contains other files
        elif error is not None and self._rows:
            note(
                "the partial result, {} rows, is kept in {}; the same command continues after them",
                len(self),
                self.partial,
            )

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, rows: Sequence[Sequence[float]]) -> None:
        """Append rows.

        Arguments:
            rows: One number for each column.
        Raises:
            SdekitError: If they cannot be written; earlier rows stay in the partial file.
        """
        try:
            with open(self.partial, "ab") as file:
                file.write(self._csv(rows, header=False).encode())
        except OSError as error:
            raise SdekitError(
                f"could not write to {self.partial}: {error.strerror or error}. Its {len(self)} rows are complete; the "
                "same command continues after them"
            ) from error
        self._rows += [list(row) for row in rows]

    def values(self) -> list[list[float]]:
        """Return all rows."""
        return self._rows

    def finish(self, record: Mapping[str, Any], files: Mapping[str, bytes] = MappingProxyType({})) -> None:
        """Write the complete table and its record, and remove the partial file.

        Arguments:
            record: JSON-ready facts.
            files: Contents of further files by name. NAME.csv among them replaces the table of the rows.
        """
        from sdekit.runs import format_json, staged

        with staged(self.out, lambda: [self.partial.name]) as new:
            (new / self.complete.name).write_text(self._csv(self._rows), encoding="utf-8")
            for name, content in files.items():
                (new / name).write_bytes(content)
            (new / f"{self.name}.json").write_text(format_json(dict(record)) + "\n", encoding="utf-8")

    def _csv(self, rows: Sequence[Sequence[float]], *, header: bool = True) -> str:
        """Return rows as text; the first column contains whole numbers."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        if header:
            writer.writerow(self.columns)
        writer.writerows([int(row[0]), *row[1:]] for row in rows)
        return text.getvalue()
