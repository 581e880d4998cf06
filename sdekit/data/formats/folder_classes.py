"""Rules that decide whether folders of files are classes, splits of a data set, or shards."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

import numpy as np

from sdekit.data.classes import sort_names
from sdekit.data.description import listing
from sdekit.errors import InputError

from .file_names import printable
from .image_sources import Source

TRAIN_WORDS = {"train", "training"}
TEST_WORDS = {"test", "testing", "val", "valid", "validation", "dev", "t10k", "eval"}
PLAIN_WORDS = {"set", "data", "images", "image", "imgs", "img", "split", "samples"}
"""Words beside the name of a split that do not make it the name of a class, as in train_images."""
SHARD = re.compile(
    r"(img|imgs|image|images|part|parts|shard|shards|chunk|batch|block|dir|folder|pack|archive|volume|vol)[-_ ]?[0-9]+"
    r"([-_ ]of[-_ ][0-9]+)?",
    re.IGNORECASE,
)
"""A numbered part of a data set, such as img1, part-0003 or shard_2."""
NUMBERED = re.compile(r"[0-9]{4,}")
HASHED = re.compile(r"[0-9a-f]{2,3}")
WORDS = re.compile(r"t10k|[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
CHOOSE = "--option data.labels=folders makes them classes"

Classes = tuple[np.ndarray | None, tuple[str, ...], tuple[str, ...]]
"""Labels (N,) int64 or None, names of the classes, and notes."""


def classes_of_folders(source: Source, path: str, *, chosen: bool = False) -> Classes:
    """Return the classes of the items in the folders of a source.

    Two or more folders are classes, unless an image is beside them, or they are shards: numbered parts such as img1 and
    img2, or numbers of four or more digits such as 00000 and 00001 between which no file name and no file number
    repeats. `refuse_splits` refuses the splits of a data set before.

    Arguments:
        source: Files of the items.
        path: Folder or zip file, for messages.
        chosen: Whether the user has declared that the folders are classes.
    Returns:
        Labels, names of the classes in their natural order, and notes about the rule.
    Raises:
        InputError: If `chosen` is set and there are not two or more folders of images.
    """
    folders = [name for name in source.folders if name]
    if chosen and (len(folders) < 2 or len(folders) < len(source.folders)):
        problem = f"{source.noun} lie beside its folders" if folders else "it has no folders"
        raise InputError(
            f"{source.noun}:{path}: the folders cannot be classes: {problem if len(folders) != 1 else 'one folder'}"
        )
    if len(folders) < 2:
        return None, (), ()
    if not chosen:
        names = listing([printable(name) for name in folders])
        if len(folders) < len(source.folders):
            note = f"no labels were read: {source.noun} lie beside the folders {names}, so that these are no classes"
            return None, (), (note,)
        if _are_shards(source, folders):
            return None, (), (f"no labels were read: the folders {names} are numbered shards, not classes ({CHOOSE})",)
    order = sort_names(folders)
    label = {name: number for number, name in enumerate(order)}
    labels = np.array([label[name] for name in source.folders], dtype=np.int64)[source.folder]
    return labels, tuple(printable(name) for name in order), (f"the classes are the folders of the {source.noun}",)


def split_of(name: str) -> tuple[str, tuple[str, ...]]:
    """Return the split in the name of a folder, "train", "test" or "", and the other words of the name.

    Arguments:
        name: Name of a folder, such as "train", "Validation", "train_images" or "trainA".
    Returns:
        Split, and words in lower case.
    """
    words = [word.lower() for word in WORDS.findall(name)]
    splits = {"train" if word in TRAIN_WORDS else "test" for word in words if word in TRAIN_WORDS | TEST_WORDS}
    rest = tuple(word for word in words if word not in TRAIN_WORDS | TEST_WORDS)
    return (splits.pop() if len(splits) == 1 else ""), rest


def _find_splits(names: Sequence[str]) -> list[str]:
    """Return the folders that are splits, if there is a training split and another one, or if all are splits."""
    parsed = {name: split_of(name) for name in names}
    plain = {name: all(len(word) == 1 or word in PLAIN_WORDS for word in rest) for name, (_, rest) in parsed.items()}
    splits = []
    for name, (split, rest) in parsed.items():
        partner = any(other == rest and kind not in ("", split) for kind, other in parsed.values())
        if split and (plain[name] or partner):
            splits.append(name)
    kinds = {parsed[name][0] for name in splits}
    return splits if len(kinds) == 2 or len(splits) == len(names) else []


def refuse_splits(source: Source, path: str) -> None:
    """Check that no images of a test or validation split are read by accident.

    Arguments:
        source: Files of the items.
        path: Folder or zip file.
    Raises:
        InputError: If the folders, or the folders below each of them, are splits of one data set, if all images are in
            the folder of a test split inside `path`, or if such a folder is beside images.
    """
    folders = [name for name in source.folders if name]
    tests = [name for name in (*source.top.split("/"), *(folders if "" in source.folders else ())) if _is_test(name)]
    splits = _find_splits(folders) or tests
    if splits:
        training = [name for name in splits if split_of(name)[0] == "train"] or splits
        counts = {
            name: int((source.folder == source.folders.index(name)).sum()) for name in training if name in folders
        }
        largest = max(counts, key=lambda name: counts[name]) if counts else ""
        place = os.path.join(path, source.top, largest).rstrip("/")
        hint = f"{source.noun}:{place}" if os.path.isdir(path) else f"a zip file of '{largest or splits[0]}' only"
        found = ", ".join(map(printable, splits))
        if splits == tests:
            raise InputError(
                f"{source.noun}:{path}: its folder {found} is a test or validation split; to train on it, pass {hint}"
            )
        raise InputError(
            f"{source.noun}:{path}: its folders {found} are splits of one data set, not classes; pass {hint}"
        )
    below = sorted({second for second in (_second_folder(source, i) for i in range(len(source.names))) if second})
    splits = _find_splits(below) if len(below) < 100 else []
    if splits:
        raise InputError(
            f"{source.noun}:{path}: the folders {', '.join(map(printable, splits))} below its folders are splits of "
            f"one data set; move the {source.noun} of the training split into a folder of their own and pass it"
        )


def _is_test(name: str) -> bool:
    """Return whether a folder has the name of a test or validation split, such as test or val_images."""
    split, rest = split_of(name)
    return split == "test" and all(word in PLAIN_WORDS for word in rest)


def _second_folder(source: Source, i: int) -> str:
    """Return the folder of file i below its first folder, or an empty text."""
    parts = source.names[i].removeprefix(source.top).split("/")
    return parts[1] if len(parts) > 2 else ""


def _are_shards(source: Source, folders: list[str]) -> bool:
    """Return whether the folders are numbered parts of one data set."""
    if all(SHARD.fullmatch(name) for name in folders):
        return len({re.split("[-_ 0-9]", name.lower())[0] for name in folders}) == 1
    stems = [source.names[i].rpartition("/")[2].rpartition(".")[0] for i in range(len(source.names))]
    if all(HASHED.fullmatch(name) for name in folders) and all(
        len(stem) >= 8 and stem.lower().startswith(source.folders[folder]) and re.fullmatch("[0-9a-f]+", stem.lower())
        for stem, folder in zip(stems, source.folder, strict=True)
    ):
        return True
    if not all(NUMBERED.fullmatch(name) for name in folders) or not any(name.startswith("0") for name in folders):
        return False
    if len(set(stems)) < len(stems) or len({len(name) for name in folders}) > 1:
        return False
    numbers = [re.findall("[0-9]+", stem)[-1:] for stem in stems]
    if not all(numbers):
        return True  # other names, such as hashes, that do not repeat
    values = np.array([int(number[0][:18]) for number in numbers])
    ends = sorted((values[source.folder == k].min(), values[source.folder == k].max()) for k in range(len(folders)))
    return all(before[1] < after[0] for before, after in zip(ends, ends[1:], strict=False))
