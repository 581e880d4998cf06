"""Section of the data: description, classes, and pictures of the items."""

from __future__ import annotations

import numpy as np

from sdekit.data import describe_data, listing

from .blocks import Block, Details, Facts, Section, Table, Text
from .item_pictures import items_block, vector_blocks
from .subject import MOST_IMAGES, Subject

MOST_CLASSES, MOST_LABELS = 30, 2**17
"""Largest number of classes in the table of classes, and of items whose labels are counted."""


def data_section(subject: Subject) -> Section:
    """Describe the data of the training, or the data that the user compares with.

    Arguments:
        subject: The model.
    Returns:
        The section.
    """
    return Section(name="data", title="Data", blocks=tuple(_blocks(subject)))


def _blocks(subject: Subject) -> list[Block]:
    data, opened = subject.data, subject.opened
    if data is None:
        blocks: list[Block] = [Text(text=subject.missing_data, warning=subject.recipe is not None)]
        return [*blocks, Facts(rows=_recorded(subject))] if subject.recipe is not None else blocks
    summary, *notes = describe_data(data)
    train, held_out = subject.parts
    rows = [("data set", subject.data_spec), ("items", summary)]
    if subject.own_data:
        rows.append(("parts", f"{len(train):,} items for training, {len(held_out):,} held out"))
    else:
        rows.append(("origin", "chosen for this report; the model may have been trained on other data"))
    if opened.condition != "none":
        rows.append(("condition of the model", _condition(subject)))
    blocks = [Facts(rows=tuple(rows))]
    items = subject.items()
    if not subject.is_vector:
        labels = subject.labels(subject.chosen(MOST_IMAGES))
        alt = f"{len(items)} {opened.kind}s of {subject.data_spec}"
        caption = f"{len(items)} items of the {'training part' if subject.own_data else 'data'}, evenly spaced."
        blocks.append(items_block(items, opened, data.units, alt, caption, labels))
    else:
        blocks += vector_blocks("data", subject.columns, items, table=data.columns)
    classes = _classes(subject)
    if classes is not None:
        blocks.append(Details(title=f"{data.classes} classes", blocks=(classes,)))
    if notes:
        title = f"How the data were read ({len(notes)} note{'s' if len(notes) > 1 else ''})"
        blocks.append(Details(title=title, blocks=tuple(Text(text=f"{note[0].upper()}{note[1:]}.") for note in notes)))
    return blocks


def _recorded(subject: Subject) -> tuple[tuple[str, str], ...]:
    """Return the facts about the data that the recipe records."""
    recipe = subject.recipe
    assert recipe is not None
    rows = [("data set", recipe.data.name), ("items", f"{recipe.items:,} of shape {'x'.join(map(str, recipe.shape))}")]
    if recipe.classes:
        rows.append(("classes", listing(recipe.class_names) if recipe.class_names else str(recipe.classes)))
    return tuple(rows)


def _condition(subject: Subject) -> str:
    """Describe the condition of the model."""
    opened = subject.opened
    if opened.condition == "label":
        names = f" ({listing(opened.class_names)})" if opened.class_names else ""
        return f"label, {opened.classes} classes{names}"
    return f"{opened.condition}{f' ({listing(opened.condition_names)})' if opened.condition_names else ''}"


def _classes(subject: Subject) -> Table | None:
    """Return the number of items of each class, or None without classes."""
    data = subject.data
    if data is None or not data.classes:
        return None
    y = data.labels_of(subject.chosen(MOST_LABELS))
    if y is None:
        return None
    counts = np.bincount(y.numpy(), minlength=data.classes)
    names = data.class_names or tuple(map(str, range(data.classes)))
    rows = [(name, f"{count:,}", f"{count / counts.sum():.1%}") for name, count in zip(names, counts, strict=True)]
    rest = f", the first {MOST_CLASSES} of {len(rows)}" if len(rows) > MOST_CLASSES else ""
    return Table(header=("class", "items", "share"), rows=tuple(rows[:MOST_CLASSES]), caption=f"Training part{rest}")
