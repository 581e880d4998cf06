"""Imputation by `restore`: samples of a table given some columns, and a table whose missing cells are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sdekit.errors import InputError
from sdekit.registry import complete_options, with_data_std
from sdekit_cli.terminal.console import note

from .incomplete_table import IncompleteTable, read_incomplete, write_complete
from .known_values import KnownValues, check_table, condition_columns, known_in_model, parse_known
from .sample_results import table_rows, write_samples
from .session import SamplingSession

if TYPE_CHECKING:
    from torch import Tensor
KEYS = ("method", "n", "nfe", "steps", "seconds")
"""Entries of the record that --json prints."""


def restore_known(session: SamplingSession, texts: Sequence[str], method: str, method_options: dict[str, Any]) -> None:
    """Draw rows of a table given the values of some columns, and write them.

    Arguments:
        session: Session whose model is not open yet.
        texts: Values of --known.
        method: Registered name of the restorer.
        method_options: Its options.
    """
    import torch

    session.open(with_condition=False)
    opened, options = session.opened, session.options
    check_table(opened, "--known")
    known = parse_known(texts, opened)
    session.options = replace(options, **_condition_options(session, known))
    session.y = session.condition()
    row, notes = known_in_model(known.codes[None], opened, ["--known"])
    if opened.condition == "label" and session.options.label is None:
        notes.append("the class of a row is chosen by its seed, and not by the known values: --label NAME chooses one")
    _print(notes, session)
    method_options = _prepare(session, method, method_options)
    samples = session.impute(torch.from_numpy(row).repeat(len(session.seeds), 1), method, method_options)
    if samples is None:  # only the first of several processes writes
        return
    record = {
        "known": {**known.condition, **known.texts},
        "method": {"name": method, "options": method_options},
        **session.solver_record,
    }
    write_samples(
        session,
        samples,
        record,
        f"rows with {method}",
        keys=("known", *KEYS),
        name="restore.json",
        known=known.codes,
        texts=known.texts,
    )


def _condition_options(session: SamplingSession, known: KnownValues) -> dict[str, Any]:
    """Return the option --label or --condition that --known replaces."""
    opened, options = session.opened, session.options
    if not known.condition:
        return {}
    names = condition_columns(opened)
    if opened.condition == "label":
        if options.label is not None:
            raise InputError(f"--label {options.label} and --known {names[0]}=...: give one of them")
        return {"label": known.condition[names[0]]}
    if options.condition is not None:
        raise InputError(f"--condition {options.condition} and --known {next(iter(known.condition))}=...: give one")
    if absent := [name for name in names if name not in known.condition]:
        raise InputError(f"--known: the model is conditioned on {', '.join(names)}: add {', '.join(absent)}")
    return {"condition": ",".join(known.condition[name] for name in names)}


def impute_table(session: SamplingSession, path: Path, method: str, method_options: dict[str, Any]) -> None:
    """Draw the missing cells of a table, and write the complete table.

    Arguments:
        session: Session whose model is not open yet. Each of its seeds is one imputation of the table.
        path: The table.
        method: Registered name of the restorer.
        method_options: Its options.
    """
    import torch

    from sdekit.data import listing
    from sdekit.inverse import row_seeds
    from sdekit.plotting import sample_pictures
    from sdekit.runs import IMPUTED

    session.open(with_condition=False)
    opened, options, seeds = session.opened, session.options, session.seeds
    check_table(opened, f"--impute {path}")
    chosen = options.label is not None or options.condition is not None
    table = read_incomplete(path, opened, condition=() if chosen else condition_columns(opened))
    rows = table.incomplete
    known, notes = known_in_model(table.codes, opened, table.places)
    if table.others:
        notes.append(f"the run has no column {listing(list(table.others))}: the cells are copied")
    _print(notes, session)
    method_options = _prepare(session, method, method_options)
    session.seeds = tuple(row_seeds([seed for seed in seeds for _ in rows], rows.tolist() * len(seeds)))
    session.y = session.condition() if chosen else _row_conditions(session, table, len(seeds))
    samples = session.impute(torch.from_numpy(np.tile(known[rows], (len(seeds), 1))), method, method_options)
    if samples is None:  # only the first of several processes writes
        return
    codes = np.tile(table.codes[rows], (len(seeds), 1))
    drawn = np.where(np.isnan(codes), opened.to_data(samples.x), codes)
    parts = np.split(drawn, len(seeds))
    files = {IMPUTED: write_complete(table, parts, opened.columns, numbered=len(seeds) > 1)}
    files |= sample_pictures(drawn, kind=opened.kind, units=opened.units, table=opened.columns, real=table_rows(opened))
    counts = table.missing.sum(0).tolist()
    missing = {column.name: count for column, count in zip(opened.columns, counts, strict=True) if count}
    record = {
        "impute": str(path),
        "rows": len(table.cells),
        "incomplete_rows": len(rows),
        "missing": missing,
        "imputations": len(seeds),
        "imputation_seeds": list(seeds),
        "copied_columns": list(table.others),
        "method": {"name": method, "options": method_options},
        **session.solver_record,
    }
    write_samples(
        session,
        samples,
        record,
        f"rows ({sum(counts)} missing cells) with {method}",
        keys=("rows", "incomplete_rows", "missing", "imputations", *KEYS),
        name="restore.json",
        also=files,
        table=IMPUTED,
    )


def _row_conditions(session: SamplingSession, table: IncompleteTable, imputations: int) -> Tensor | None:
    """Return the condition of each incomplete row of each imputation, from the columns of the condition."""
    import torch

    from sdekit.data.formats import parse_number

    opened, rows = session.opened, table.incomplete
    if opened.condition == "none":
        return None
    names = condition_columns(opened)
    if not names:
        raise InputError(f"--impute: {opened.path} has a condition that is no column: choose it by --label")
    texts = [table.condition[row] for row in rows]
    if opened.condition == "label":
        labels = []
        for row, (text,) in zip(rows, texts, strict=True):
            try:
                labels.append(opened.find_label(text).label)
            except InputError as error:
                raise InputError(f"{table.places[row]}, column '{names[0]}': {error}") from None
        return torch.tensor(labels).repeat(imputations)
    numbers = np.empty((len(rows), len(names)))
    for k, (row, cells) in enumerate(zip(rows, texts, strict=True)):
        for j, cell in enumerate(cells):
            try:
                numbers[k, j] = parse_number(cell, table.layout.decimal)
            except ValueError:
                raise InputError(f"{table.places[row]}, column '{names[j]}': {cell!r} is not a number") from None
    if not np.isfinite(numbers).all():
        raise InputError(f"{table.layout.path}: the columns {', '.join(names)} contain numbers that are not finite")
    assert opened.condition_units is not None
    return opened.condition_units.to_model(numbers).repeat(imputations, 1)


def _print(notes: Sequence[str], session: SamplingSession) -> None:
    """Print sentences for people, but not with --json."""
    for text in notes if not session.options.json else ():
        note("{}", text)


def _prepare(session: SamplingSession, method: str, method_options: dict[str, Any]) -> dict[str, Any]:
    """Return all options of the method."""
    options = with_data_std("restorer", method, method_options, session.opened.data_std)
    return complete_options("restorer", method, options)
