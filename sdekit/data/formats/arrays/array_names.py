"""Choice of the items and the labels among several arrays, by the usual names and never by the order in the file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sdekit.errors import InputError

from .numpy_files import Header, describe

SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("test", "testing", "t10k"), "test"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
}
"""Words for the splits of a data set."""
ITEM_WORDS = {
    *(
        "x",
        "xs",
        "image",
        "images",
        "img",
        "imgs",
        "data",
        "feature",
        "features",
        "input",
        "inputs",
        "sample",
        "samples",
    ),
    *("item", "items", "pixels", "points"),
}
LABEL_WORDS = {"y", "ys", "label", "labels", "target", "targets", "class", "classes", "category", "categories"}
INDEX_WORDS = {"id", "ids", "idx", "index", "indices", "onehot"}
"""Words after a word for labels that do not change its meaning, as in class_id."""
WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")


class ArrayName(NamedTuple):
    """Meaning of the name of an array.

    Attributes:
        split: "train", "test", "val", or "" for a name without a split.
        role: "items", "labels", "names" (of classes), or "" if unknown.
    """

    split: str
    role: str


class Choice(NamedTuple):
    """Arrays that were chosen.

    Attributes:
        items: Name of the items.
        labels: Name of the labels, or None.
        names: Name of the names of the classes, or None.
        notes: Sentences about the choice.
    """

    items: str
    labels: str | None
    names: str | None
    notes: tuple[str, ...]


def parse_array_name(name: str) -> ArrayName:
    """Find the split and the role in the name of an array, such as x_train, train_images, yTest or class_names.

    Arguments:
        name: Name of an array.
    Returns:
        Split and role. A name that is only a split, such as "train", has the role "items".
    """
    words = [word.lower() for word in WORDS.findall(name)]
    if "t10k" in name.lower():
        words = ["t10k", *WORDS.findall(name.lower().replace("t10k", ""))]
    words = [part for word in words for part in _split_word(word)]
    splits = {SPLITS[word] for word in words if word in SPLITS}
    rest = [word for word in words if word not in SPLITS]
    split = splits.pop() if len(splits) == 1 else ""
    if not rest:
        return ArrayName(split, "items" if split else "")
    if rest[-1] == "names" and set(rest[:-1]) & (LABEL_WORDS | {"target"}):
        return ArrayName(split, "names")
    if len(rest) > 1 and rest[-1] in INDEX_WORDS and rest[-2] in LABEL_WORDS:
        rest.pop()
    if rest[-1] in LABEL_WORDS:
        return ArrayName(split, "labels")
    return ArrayName(split, "items" if set(rest) <= ITEM_WORDS else "")


def _split_word(word: str) -> list[str]:
    """Split a word such as xtrain or testy into the split and the role."""
    for split in SPLITS:
        for role in (word.removeprefix(split), word.removesuffix(split)):
            if role != word and role in ITEM_WORDS | LABEL_WORDS:
                return [split, role]
    return [word]


def choose_arrays(
    headers: Mapping[str, Header], source: str, *, items: str | None = None, labels: str | None = None
) -> Choice:
    """Choose the items and the labels of a file.

    Items are the only array with a usual name, of the training split if there are splits. Without a usual name they are
    the only array with two or more axes. Labels have a usual name and belong to the same split. In a file with the
    default names arr_0 and arr_1, the items are the array with more axes, and the labels the other one.

    Arguments:
        headers: Header of each array.
        source: Name of the file in messages.
        items: Name of the items that the user chose, or None.
        labels: Name of the labels that the user chose, "none" for no labels, or None.
    Returns:
        The names, and notes about arrays that are not used.
    Raises:
        InputError: If several arrays may be the items. The message lists all arrays.
    """
    parsed = {name: parse_array_name(name) for name in headers}
    chosen = _choose_items(headers, parsed, source, labels) if items is None else items
    for name in (chosen, labels):
        if name not in headers and name not in (None, "none"):
            raise InputError(f"{source}: no array {name!r}; it contains {describe(headers)}")
    notes: list[str] = []
    found = labels if labels is not None else _choose_labels(headers, parsed, chosen, notes)
    if found == "none" and "none" not in headers:
        found = None
    class_names = None if found is None else _choose_class_names(headers, parsed, chosen, found)
    used = {chosen, found, class_names}
    if rest := [name for name in headers if name not in used]:
        label = "" if found is None else f" and {found!r} as labels"
        notes.insert(0, f"{source}: read {chosen!r} as items{label}; not used: {', '.join(rest[:20])}")
    return Choice(chosen, found, class_names, tuple(notes))


def _choose_items(
    headers: Mapping[str, Header], parsed: Mapping[str, ArrayName], source: str, labels: str | None
) -> str:
    """Return the name of the only array that can be the items."""
    numeric = [name for name, header in headers.items() if header.dtype.kind in "iufb" and name != labels]
    named = [name for name in numeric if parsed[name].role == "items"]
    named = named or [name for name in headers if parsed[name].role == "items" and name != labels]
    named = [name for name in named if len(headers[name].shape) > 1] or named
    by_split = {split: [name for name in named if parsed[name].split == split] for split in ("", "train")}
    if len(named) > 1 and sum(map(len, by_split.values())) == 1:
        named = by_split[""] or by_split["train"]
    elif by_split["train"] and not by_split[""]:
        named = by_split["train"]
    elif named and not by_split[""]:
        raise InputError(
            f"{source} contains only a test or validation split; choose the items with --option data.items=NAME. It "
            f"contains {describe(headers)}"
        )
    if not named:
        others = [name for name in numeric if parsed[name].role == ""]
        named = [name for name in others if len(headers[name].shape) > 1] or others
        if _are_default_names(headers) and len(named) == 2 and len(headers["arr_1"].shape) == 2:
            named = ["arr_0"]  # arr_1 may be labels (N, 1) or one-hot rows, see `_choose_labels`
    if len(named) == 1:
        return named[0]
    if not numeric:
        raise InputError(f"{source} contains no array of numbers; it contains {describe(headers) or 'nothing'}")
    raise InputError(
        f"{source} contains several arrays that may be the items; choose one with --option data.items=NAME, and its "
        f"labels with --option data.labels=NAME. It contains {describe(headers)}"
    )


def _choose_labels(
    headers: Mapping[str, Header], parsed: Mapping[str, ArrayName], items: str, notes: list[str]
) -> str | None:
    """Return the name of the only array that can be the labels, or None. Add a note if there are several."""
    split, n = parsed[items].split, headers[items].shape[:1]
    if _are_default_names(headers):
        return "arr_1" if items == "arr_0" else "arr_0"
    candidates = [name for name, (_, role) in parsed.items() if role == "labels" and name != items]
    same = [name for name in candidates if parsed[name].split == split]
    same = same or [name for name in candidates if not parsed[name].split and headers[name].shape[:1] == n]
    if len(same) > 1:
        same = [name for name in same if headers[name].shape[:1] == n] or same
    if len(same) == 1:
        return same[0]
    if not same:
        same = [name for name in headers if name != items and _may_be_labels(headers[name], n, parsed[name])]
    if same:
        notes.append(f"no labels were read: {_quoted(same)} may be labels; choose with --option data.labels=NAME")
    return None


def _choose_class_names(
    headers: Mapping[str, Header], parsed: Mapping[str, ArrayName], items: str, labels: str
) -> str | None:
    """Return the name of the only array of texts with the names of the classes, such as target_names or classes."""
    texts = [name for name, header in headers.items() if header.dtype.kind in "SU" and len(header.shape) == 1]
    named = [name for name in texts if parsed[name].role == "names"] or [
        name for name in texts if parsed[name].role == "labels" and headers[name].shape != headers[items].shape[:1]
    ]
    return named[0] if len(named) == 1 and named[0] != labels else None


def _are_default_names(headers: Mapping[str, Header]) -> bool:
    """Return whether the arrays have the names that numpy.savez gives to two arrays without names."""
    return set(headers) == {"arr_0", "arr_1"}


def _may_be_labels(header: Header, n: Sequence[int], name: ArrayName) -> bool:
    """Return whether an array with an unknown name has one whole number or text for each of the n items."""
    return name.role == "" and tuple(header.shape) == tuple(n) and header.dtype.kind in "iubSU"


def _quoted(names: Sequence[str]) -> str:
    return " and ".join(map(repr, names)) if len(names) < 3 else ", ".join(map(repr, names[:20]))
