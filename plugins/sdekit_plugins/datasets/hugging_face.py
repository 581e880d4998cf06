"""Data sets of the Hugging Face hub and local folders, read by the library `datasets`."""

from __future__ import annotations

import os
from importlib import import_module
from types import ModuleType
from typing import Any

from sdekit.data import Dataset, ScaleChoice
from sdekit.data.formats import KindChoice, LayoutChoice
from sdekit.data.objects import dataset_from_hub
from sdekit.errors import InputError


def hf(
    path: str,
    *,
    split: str = "train",
    config: str | None = None,
    revision: str | None = None,
    column: str | None = None,
    label: str | None = None,
    condition: str | None = None,
    categories: str | None = None,
    size: int | str | None = None,
    kind: KindChoice = "auto",
    layout: LayoutChoice = "auto",
    scale: ScaleChoice = "auto",
    drop_missing: bool = False,
    streaming: bool = False,
) -> Dataset:
    """Data set of the Hugging Face hub, OWNER/NAME, or a local folder; needs `sdekit[hf]`.

    A local folder is a folder of images with class folders or a metadata file, a folder of tables, or the result of
    `save_to_disk`; it is read offline.

    Arguments:
        path: OWNER/NAME on the hub, or a local folder.
        split: Split, such as "train" or "train[:1000]". A data set that was saved without splits is the split "train".
        config: Configuration (subset) of the data set.
        revision: Branch, tag or commit on the hub.
        column: Column of the items, or columns of a table, separated by commas.
        label: Column of the labels; "none" for no labels.
        condition: Columns of numbers of a table to condition on, separated by commas.
        categories: Columns of whole numbers of a table that are categories, separated by commas.
        size: Size to which images are resized, such as 64 or "64x48".
        kind: Kind of the items in a column of arrays.
        layout: Axes of these items.
        scale: Map to the units of the model.
        drop_missing: Whether rows of a table with missing values are left out. By default a missing value is an error.
        streaming: Not supported, because exact resumption needs items with an index.
    Returns:
        Images, arrays or a table.
    Raises:
        InputError: If the package is missing, if the data set cannot be read, or if its columns cannot be used.
    """
    if streaming:
        raise InputError(
            "hf: streaming is not supported, because items need an index: leave it out, or use a split "
            "such as train[:10000]"
        )
    try:
        library = import_module("datasets")
    except ImportError as error:
        raise InputError(f"hf:{path} needs the package datasets ({error}): pip install 'sdekit[hf]'") from error
    source = f"hf:{path}"
    if os.path.isfile(path):
        raise InputError(f"{source} is a file, and hf reads folders and the hub: name its folder, or use table:{path}")
    is_folder = os.path.isdir(path)
    try:
        if any(os.path.isfile(os.path.join(path, name)) for name in ("state.json", "dataset_dict.json")):
            rows = _saved(library, path, split)
        else:
            # Without its full path, a folder such as "csv" would be taken for the library's own reader of that name.
            rows = library.load_dataset(
                os.path.abspath(path) if is_folder else path, config, split=split, revision=revision
            )
    except Exception as error:  # the library raises many types
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        local = (
            ""
            if is_folder
            else (". It is no local folder, so it is read from the hub, which needs a network (and a login if private)")
        )
        raise InputError(f"{source}, split {split!r}, cannot be read ({reason}){local}") from error
    try:
        return dataset_from_hub(
            rows, source=source, column=column, label=label, condition=condition, size=size, kind=kind, layout=layout,
            scale=scale, categories=categories, drop_missing=drop_missing,
        )  # fmt: skip
    except InputError as error:
        raise InputError(str(error).replace("drop_missing=True", "--option data.drop_missing=true")) from None


def _saved(library: ModuleType, path: str, split: str) -> Any:
    """Read a split, or parts of splits such as "train[:10]+test", of the result of `save_to_disk`."""
    saved = library.load_from_disk(path)
    splits = saved if isinstance(saved, dict) else {str(saved.split or "train"): saved, "train": saved}
    parts = library.ReadInstruction.from_spec(split).to_absolute({name: len(rows) for name, rows in splits.items()})
    return library.concatenate_datasets([splits[p.splitname].select(range(p.from_ or 0, p.to)) for p in parts])
