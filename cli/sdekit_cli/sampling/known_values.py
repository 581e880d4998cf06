"""Known values of the columns of a table: columns by name, and texts as coordinates of the model's vector."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

import numpy as np

from sdekit.errors import InputError

if TYPE_CHECKING:
    from sdekit.data import Column
    from sdekit.models import OpenedModel

MOST_NAMES = 20
"""Largest number of columns or values in a message."""
FAR, TOO_FAR = 6.0, 1e3
"""Numbers farther from 0 in the units of the model are reported, and refused."""


@dataclass(frozen=True)
class KnownValues:
    """Values of --known.

    Arguments:
        codes: Coordinates (d,) in the units of the data, NaN if they are not known.
        texts: Text of each known column of the vector, for samples.csv.
        condition: Text of each known column of the condition.
    """

    codes: np.ndarray
    texts: Mapping[str, str]
    condition: Mapping[str, str]


def check_table(opened: OpenedModel, option: str) -> None:
    """Raise InputError if a model is not a model of a table with named columns."""
    if not opened.columns:
        raise InputError(
            f"{option}: {opened.path} is not a model of a table, so that its numbers have no names: use --operator "
            "mask:mask=FILE with --measurement FILE"
        )


def condition_columns(opened: OpenedModel) -> tuple[str, ...]:
    """Return the names of the columns on which a model of a table is conditioned: its label, its numbers, or none."""
    if opened.condition == "label":
        recipe = getattr(opened, "recipe", None)
        label = None if recipe is None else recipe.data.options.get("label")
        return () if label is None else (str(label),)
    return opened.condition_names


def parse_known(texts: Sequence[str], opened: OpenedModel) -> KnownValues:
    """Parse the values of --known.

    Arguments:
        texts: Texts such as "age=40,city=Paris". A name or a value with a comma is in double quotes together with the
            other one: '"size, inner=3"'.
        opened: Model of a table.
    Returns:
        The values.
    Raises:
        InputError: If a text is not NAME=VALUE, a name is not a column or occurs twice, or a value is not possible.
    """
    from sdekit.data import column_slices

    names = (*(column.name for column in opened.columns), *condition_columns(opened))
    found: dict[str, str] = {}
    for text in texts:
        for part in next(csv.reader([text], skipinitialspace=True), [""]):
            name, value = _split(part, names)
            name = find_column(name, names, f"--known {part.strip()}")
            if name in found:
                raise InputError(f"--known: column '{name}' has two values, {found[name]} and {value}: give one")
            found[name] = value
    codes = np.full(sum(column.width for column in opened.columns), np.nan)
    written = {}
    for column, place in column_slices(opened.columns):
        if column.name in found:
            cell = found[column.name].removesuffix(column.unit).strip()
            codes[place] = encode_cell(cell, column, f"--known {column.name}={cell}")
            written[column.name] = column.values[codes[place].argmax()] if column.type == "category" else cell
    if np.isfinite(codes).all():
        raise InputError("--known: every column is known, so that there is nothing to draw: leave out a column")
    return KnownValues(codes, written, {name: found[name] for name in condition_columns(opened) if name in found})


def _split(text: str, names: Sequence[str]) -> tuple[str, str]:
    """Split NAME=VALUE. A name that contains "=" is recognised if it is a column."""
    places = [i for i, letter in enumerate(text) if letter == "="]
    place = next((i for i in places if text[:i].strip() in names), places[0] if places else len(text))
    name, value = text[:place].strip(), text[place + 1 :].strip()
    if not name or not value:
        raise InputError(f"--known {text.strip()}: write NAME=VALUE,NAME=VALUE, such as {names[0]}=...")
    return name, value


def find_column(name: str, names: Sequence[str], place: str) -> str:
    """Find a column by its name, whose capitals and unit at the end need not be written.

    Arguments:
        name: The name that the user wrote.
        names: Names of all columns.
        place: Option or file that contains the name, for messages.
    Returns:
        The name of the column.
    Raises:
        InputError: If no column has this name, or several have.
    """
    for form in (str, str.casefold, _without_unit):
        matches = [other for other in names if form(other) == form(name)]
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise InputError(f"{place}: the columns {', '.join(matches)} have this name: write one of them exactly")
    raise InputError(f"{place}: {_unknown(f'no column {name!r}', name, names, 'Columns')}")


def _without_unit(name: str) -> str:
    """Return a name without capitals and without the unit in parentheses or brackets at its end."""
    from sdekit.data import unit_in_name

    if (unit := unit_in_name(name)) == "":
        return name.casefold()
    return name[: name.rindex(unit) - 1].rstrip("([ ").casefold()


def encode_cell(text: str, column: Column, place: str, *, decimal: str = ".") -> np.ndarray:
    """Convert the text of a cell to the coordinates of its column.

    Arguments:
        text: The text.
        column: The column.
        place: Place of the cell, for messages.
        decimal: Decimal mark.
    Returns:
        Coordinates (width,) in the units of the data.
    Raises:
        InputError: If the text is not a possible value.
    """
    if column.type == "category":
        values = list(column.values)
        match = text if text in values else None
        if match is None:
            same = [value for value in values if value.casefold() == text.casefold()]
            match = same[0] if len(same) == 1 else None
        if match is None:
            raise InputError(f"{place}: {_unknown(f'{column.name} has no value {text!r}', text, values, 'Values')}")
        return np.array([float(value == match) for value in values])
    from sdekit.data.formats import parse_number

    try:
        number = parse_number(text, decimal)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{place}: {text!r} is not a number, and the column '{column.name}' contains numbers")
    if column.type == "integer" and number % 1:
        raise InputError(f"{place}: {text} is not a whole number, and the column '{column.name}' contains only those")
    return np.array([number])


def _unknown(problem: str, name: str, known: Sequence[str], label: str) -> str:
    """Return a message about an unknown name, with the nearest known name and the first known names."""
    from sdekit.data import listing

    plain = {form(other): other for other in known for form in (str.casefold, _without_unit)}
    close = get_close_matches(name.casefold(), plain, 1) or get_close_matches(_without_unit(name), plain, 1)
    hint = f"; did you mean {plain[close[0]]!r}?" if close else "."
    return f"{problem}{hint} {label}: {listing(list(known), MOST_NAMES)}"


def known_in_model(codes: np.ndarray, opened: OpenedModel, places: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """Convert incomplete rows to the units of the model.

    Arguments:
        codes: Coordinates (N, d) in the units of the data, NaN if they are not known.
        opened: Model of a table.
        places: Place of each row, for messages.
    Returns:
        Coordinates (N, d) in the units of the model, and a sentence about each column with values outside of the data.
    Raises:
        InputError: If a value is very far outside of the data.
    """
    from sdekit.data import column_slices

    known, notes = opened.units.model_values(codes), []
    known[np.isnan(codes)] = np.nan
    for column, place in column_slices(opened.columns):
        if column.type == "category":
            continue
        i = place.start
        values, z = codes[:, i], np.abs(known[:, i])
        curve = opened.units.quantiles[i] if opened.units.quantiles else ()
        low, high = (min(curve[1]), max(curve[1])) if curve else (-math.inf, math.inf)
        slack = 0.5 if column.type == "integer" else 0.0
        outside = (values < low - slack) | (values > high + slack) | (z > FAR)
        if not outside.any():
            continue
        row = int(np.nanargmax(np.where(outside, z, np.nan)))
        reach = f", {low:.6g} to {high:.6g}" if curve else ""
        problem = f"{column.name}={values[row]:.6g} is outside of the range of the data{reach}"
        if z[row] > TOO_FAR:
            raise InputError(f"{places[row]}: {problem}: give it in the units of the data")
        others = f", as are {int(outside.sum()) - 1} further values of this column" if outside.sum() > 1 else ""
        notes.append(f"{places[row]}: {problem}{others}; the model extrapolates")
    return known, notes
