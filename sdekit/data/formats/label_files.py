"""Label files beside images or sequences: dataset.json of StyleGAN and EDM, and tables of file names and labels."""

from __future__ import annotations

import csv
import json
import os
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from sdekit.data.classes import number_names
from sdekit.data.labels import check_names
from sdekit.errors import InputError

from .file_names import printable
from .folder_classes import Classes, classes_of_folders, refuse_splits
from .image_sources import Source
from .regular_files import read_regular

LABEL_FILES = ("dataset.json", "labels.json", "labels.csv", "labels.tsv", "metadata.csv", "metadata.jsonl")
"""Names of label files, in the order of their precedence."""
MOST_BYTES = 2**27
"""Largest size of a label file in bytes."""
FILE_COLUMNS = {
    "file_name",
    "filename",
    "file",
    "fname",
    "path",
    "image",
    "image_path",
    "image_name",
    "img",
    "name",
    "id",
}
LABEL_COLUMNS = {"label", "labels", "class", "class_name", "category", "target", "y", "breed", "species"}
REMEDY = "--option data.labels=none reads no labels, data.labels=folders those of folders"

Pairs = Sequence[tuple[str, object]]
"""Name of a file and its label, for each image."""


def labels_of_images(source: Source, path: str, choice: str) -> Classes:
    """Return the classes of images, from a label file or from their folders.

    Arguments:
        source: Image files.
        path: Folder or zip file of the images.
        choice: "auto" for a label file beside the images, or else the folders; "folders"; "none"; or a label file, as a
            path or as a name inside the folder or zip file.
    Returns:
        Labels (N,) int64 or None, names of the classes, and notes about the rule.
    Raises:
        InputError: If a label file cannot be read, if an image has no label in it, or if the folders are splits of a
            data set, unless `choice` is "folders".
    """
    if choice == "folders":
        return classes_of_folders(source, path, chosen=True)
    refuse_splits(source, path)
    if choice == "none":
        return None, (), ()
    notes: list[str] = []
    for name in LABEL_FILES if choice == "auto" else (os.path.expanduser(choice),):
        content = _read(source, path, name, chosen=choice != "auto")
        if content is None:
            continue
        where = f"{name} of {source.noun}:{path}" if choice == "auto" else name
        try:
            pairs = _parse(content, name, source, where)
            if pairs is None:
                reason = "it contains no labels"
            else:
                found, names, used = _match(source, pairs, where)
                source.left_out.remove_suffix(name)
                return found, names, (*notes, used)
        except _UnusableError as error:
            reason = str(error)
        if choice != "auto":
            raise InputError(f"{where}: {reason}")
        notes.append(f"no labels were read from {name}: {reason}")
    labels, names, rule = classes_of_folders(source, path)
    return labels, names, (*notes, *rule)


class _UnusableError(Exception):
    """A label file without labels of the images."""


def _read(source: Source, path: str, name: str, *, chosen: bool) -> bytes | None:
    """Return the content of a label file beside the images, or of a file that the user chose, or None."""
    content: bytes | None
    try:
        if chosen and os.path.exists(name):
            content = read_regular(name, MOST_BYTES + 1)
        elif os.path.isdir(path):
            places = [os.path.join(path, name), os.path.join(path, source.top, name)]
            place = next((place for place in places if os.path.isfile(place)), None)
            content = None if place is None else read_regular(place, MOST_BYTES + 1)
        else:
            content = _read_entry(path, (name, source.top + name))
    except (OSError, ValueError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{source.noun}:{path}: {name} cannot be read ({error})") from error
    if content is None and chosen:
        raise InputError(
            f"{source.noun}:{path}: no label file {name}; expected a .json, .jsonl, .csv or .tsv file, folders or none"
        )
    if content is not None and len(content) > MOST_BYTES:
        raise InputError(f"{source.noun}:{path}: {name} is larger than {MOST_BYTES >> 20} MiB")
    return content


def _read_entry(path: str, names: Iterable[str]) -> bytes | None:
    """Return the content of the first of these entries that is in a zip file, or None."""
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename.replace("\\", "/"): entry for entry in archive.infolist()}
        for name in names:
            if name in entries:
                if entries[name].file_size > max(2**24, 100 * entries[name].compress_size):
                    raise OSError("it expands more than any text")
                with archive.open(entries[name]) as file:
                    return file.read(MOST_BYTES + 1)
    return None


def _parse(content: bytes, name: str, source: Source, where: str) -> Pairs | None:
    """Return the labels by file name, or None if the file states that there are none."""
    try:
        text = content.decode("utf-8-sig")
        if name.lower().endswith(".jsonl"):
            return _parse_rows([json.loads(line) for line in text.splitlines() if line.strip()])
        return _parse_json(json.loads(text)) if name.lower().endswith(".json") else _parse_table(text, source)
    except (UnicodeDecodeError, ValueError, RecursionError, csv.Error) as error:
        reason = "too deeply nested" if isinstance(error, RecursionError) else error
        raise InputError(f"{where} cannot be read ({reason}); {REMEDY}") from error


def _parse_json(fields: object) -> Pairs | None:
    """Return the labels of dataset.json: {"labels": [[name, label], ...]}, or a mapping of names to labels."""
    if isinstance(fields, dict) and "labels" in fields:
        fields = fields["labels"]
    if fields is None:
        return None
    if isinstance(fields, dict):
        return [(str(name), label) for name, label in fields.items()]
    if not isinstance(fields, list):
        raise _UnusableError(f"expected a list of file names and labels, found {type(fields).__name__}")
    if fields and all(isinstance(row, dict) for row in fields):
        return _parse_rows(fields)
    for row in fields:
        if not (isinstance(row, list) and len(row) == 2 and isinstance(row[0], str)):
            raise _UnusableError(f"expected pairs of a file name and a label, found {str(row)[:60]}")
    return [(row[0], row[1]) for row in fields]


def _parse_rows(rows: list[object]) -> Pairs:
    """Return the labels of tables {"file_name": ..., "label": ...}."""
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise _UnusableError("expected one table of fields for each image")
    header = list(rows[0])  # type: ignore[call-overload]
    file, label = _column(header, FILE_COLUMNS, "file name"), _column(header, LABEL_COLUMNS, "label")
    return [(str(row.get(header[file])), row.get(header[label])) for row in rows]  # type: ignore[attr-defined]


def _parse_table(text: str, source: Source) -> Pairs:
    """Return the labels of a table of file names and labels, with or without names of the columns."""
    first = text.partition("\n")[0]
    rows = [
        [cell.strip() for cell in row] for row in csv.reader(text.splitlines(), delimiter=max(",;\t", key=first.count))
    ]
    rows = [row for row in rows if any(row)]
    if not rows or len({len(row) for row in rows}) > 1 or len(rows[0]) < 2:
        raise _UnusableError("expected two or more columns in every row")
    known = _Names(source)
    of_images = [i for i, cell in enumerate(rows[-1]) if known.find(cell) is not None]
    if len(rows[0]) == 2 and len(of_images) == 1:
        body = rows if known.find(rows[0][of_images[0]]) is not None else rows[1:]
        return [(row[of_images[0]], row[1 - of_images[0]]) for row in body]
    file, label = _column(rows[0], FILE_COLUMNS, "file name"), _column(rows[0], LABEL_COLUMNS, "label")
    return [(row[file], row[label]) for row in rows[1:]]


def _column(header: list[str], known: set[str], kind: str) -> int:
    """Return the position of the only column with a known name."""
    found = [i for i, name in enumerate(header) if str(name).strip().lower() in known]
    if len(found) != 1:
        raise _UnusableError(f"{len(found)} of its columns ({', '.join(map(str, header[:10]))}) may be the {kind}")
    return found[0]


class _Names:
    """Positions of images by their relative path, or by the file name or its stem if that is unique."""

    def __init__(self, source: Source) -> None:
        paths = [source.names[i] for i in range(len(source.names))]
        self._tables: list[dict[str, int]] = [{path: i for i, path in enumerate(paths)}]
        self._tables.append({path.removeprefix(source.top): i for i, path in enumerate(paths)})
        bases = [path.rpartition("/")[2] for path in paths]
        for names in (bases, [base.rpartition(".")[0] for base in bases]):
            counts = Counter(names)
            self._tables.append({name: i for i, name in enumerate(names) if counts[name] == 1})

    def find(self, name: str) -> int | None:
        """Return the position of an image, or None."""
        name = name.replace("\\", "/").removeprefix("./")
        for table in self._tables:
            if name in table:
                return table[name]
        return self._tables[2].get(name.rpartition("/")[2])


def _match(source: Source, pairs: Pairs, where: str) -> tuple[np.ndarray, tuple[str, ...], str]:
    """Return labels and names of the classes of all images, and a note."""
    known, texts = _Names(source), [""] * len(source.names)
    unknown = 0
    for name, label in pairs:
        position = known.find(name)
        if position is None:
            unknown += 1
            continue
        text = _label_text(label)
        if texts[position] not in ("", text):
            raise InputError(f"{where}: '{printable(name)}' has two labels, {texts[position]} and {text}; {REMEDY}")
        texts[position] = text
    missing = [i for i, text in enumerate(texts) if not text]
    if len(missing) == len(texts):
        raise _UnusableError(f"none of its names is among the names of the {source.noun}")
    if missing:
        raise InputError(
            f"{where}: {len(missing)} of {len(texts)} {source.noun} have no label, the first is "
            f"'{printable(source.names[missing[0]])}'; {REMEDY}"
        )
    labels, names = number_names(check_names(texts, where))
    rest = f" ({unknown} of its names are not {source.noun})" if unknown else ""
    return labels, names, f"the labels are read from {where.partition(f' of {source.noun}:')[0]}{rest}"


def _label_text(label: object) -> str:
    """Return a label as the name of its class: a whole number, a text, true or false, or the class of a one-hot row."""
    if isinstance(label, bool) or label is None:
        return "" if label is None else str(label)
    if isinstance(label, float) and label.is_integer():
        return str(int(label))
    if isinstance(label, list):
        if len(label) == 1:
            return _label_text(label[0])
        if [value for value in label if value != 0] == [1]:
            return str(next(i for i, value in enumerate(label) if value))
        raise _UnusableError(f"a label is a list of {len(label)} values, which is no class")
    if isinstance(label, (int, float, str)):
        return str(label).strip()
    raise _UnusableError(f"a label is {str(label)[:40]}, which is no class")
