"""Files and summary of the samples of a session."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import sdekit
from sdekit.errors import SdekitError
from sdekit_cli.options.run_diagnosis import diagnose_opened
from sdekit_cli.options.shared_options import backend_record
from sdekit_cli.terminal.console import json_values, note, print_json

from .session import SamplingSession

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from sdekit.models import OpenedModel
    from sdekit.sampling import Samples

MOST_TABLE_BYTES, MOST_TABLE_ROWS = 2**24, 2000
"""Largest file of a table that is read in order to show its rows beside samples, and number of rows shown."""

FAR_OUTSIDE = 2.0
"""Distance of a value from the middle of the data's range, in units of half the range, that is reported."""


def write_samples(
    session: SamplingSession,
    samples: Samples,
    record: Mapping[str, Any],
    description: str,
    *,
    keys: Sequence[str],
    name: str = "sample.json",
    also: Mapping[str, bytes] | None = None,
    known: np.ndarray | None = None,
    texts: Mapping[str, str] | None = None,
    table: str | None = None,
) -> None:
    """Write samples, pictures and the record, and print a summary.

    Arguments:
        session: The session that drew the samples.
        samples: The samples.
        record: Entries of the record beside those that all commands write.
        description: Noun phrase for the samples, for the summary.
        keys: Entries of the record that --json prints.
        name: File name of the record.
        also: Other files to write, by name.
        known: Known coordinates of all samples (d,) in the units of the data, NaN if they are not known.
        texts: Texts of known columns of a table, by name, which samples.csv contains as they are.
        table: Name of the table among `also` that is written instead of the samples, or None.
    """
    import torch

    from sdekit.models import is_label
    from sdekit.registry import plugin_files
    from sdekit.runs import write_imputation, write_results

    options, opened, y = session.options, session.opened, session.y
    labels = y.tolist() if isinstance(y, torch.Tensor) and is_label(y) else None
    label_names = None if labels is None else [session.classes.name(label) for label in labels]
    diagnosed = diagnose_opened(opened)
    far_outside = share_far_outside(samples.x, opened.data_range)
    record = {
        "run": options.run,
        "run_step": opened.step,
        "grid": session.grid_name,
        "grid_options": session.grid_options,
        "steps": len(samples.times),
        "nfe": samples.nfe,
        "n": len(session.seeds),
        "seeds": list(session.seeds),
        "labels": labels,
        "label_names": label_names,
        "condition": options.condition,
        **session.text_record,
        "guidance": session.guidance_records,
        "noise": session.noise_name,
        "times": samples.times.tolist(),
        "far_outside_range": far_outside,
        "training": None if diagnosed is None else diagnosed[0].as_dict(),
        "seconds": round(session.seconds, 3),
        "device": session.device,
        "processes": session.processes,
        "backend": backend_record(opened.model, session.backend, quiet=options.json),
        "plugins": plugin_files(),
        "versions": {"sdekit": sdekit.__version__, "torch": torch.__version__},
        **record,
    }
    if table is not None:
        picture = write_imputation(
            options.out, json_values(record), also or {}, table=table, overwrite=options.overwrite
        )
    else:
        picture = write_results(
            *(options.out, opened, samples, json_values(record)),
            record_name=name,
            captions=None if label_names is None else list(map(str, label_names)),
            other_files=also,
            real=table_rows(opened),
            known=known,
            texts=texts,
            overwrite=options.overwrite,
        )
    if far_outside:
        count, (low, high) = round(far_outside * len(samples.x)), opened.data_range or (0.0, 0.0)
        text = "[yellow]warning:[/] {} of {} samples are far outside of the data's range, {:g} to {:g} in the "
        text += "model's units (largest value {:.3g}): add --guidance clip as the last guidance, or take more steps"
        note(text, count, len(samples.x), low, high, float(samples.x.abs().max()))
    if diagnosed is not None and diagnosed[0].explanation and not options.json:
        note("[yellow]warning:[/] {}: {}", diagnosed[0].explanation, diagnosed[1])
    path = options.out / (table or "samples.npy")
    if options.json:
        files = {"table" if table else "samples": str(path), "picture": None if picture is None else str(picture)}
        entries = {key: record[key] for key in keys}
        print_json({k: v["name"] if isinstance(v, dict) and "options" in v else v for k, v in entries.items()} | files)
        return
    where = "look at [bold]{}[/]" if picture else "they are in {}"
    channels = opened.data_shape[0]
    if picture and opened.kind == "image" and channels not in (1, 3):
        where += f" (it shows {3 if channels > 3 else 1} of {channels} channels)"
    values = (len(session.seeds), description, samples.nfe, session.seconds, picture or path)
    note("drew {} {}: {} network evaluations each, {:.1f} s; " + where, *values)


def table_rows(opened: OpenedModel) -> np.ndarray | None:
    """Return rows of the table that a model was trained on.

    Arguments:
        opened: The model.
    Returns:
        Rows in the units of the data; None for other kinds of data, and if the table has moved or is large.
    """
    recipe = getattr(opened, "recipe", None)
    if recipe is None or len(opened.columns) < 2:
        return None
    import numpy as np

    from sdekit.data import parse_spec
    from sdekit.training import load_run_data

    try:
        path = parse_spec(recipe.data.name)[1]
        if path is None or os.path.getsize(path) > MOST_TABLE_BYTES:
            return None
        data = load_run_data(recipe)
        rows = np.linspace(0, len(data) - 1, min(len(data), MOST_TABLE_ROWS)).astype(int)
        return data.units.to_data(data.batch(rows).x)
    except (SdekitError, OSError):  # the data have moved or changed: the picture shows the samples alone
        return None


def share_far_outside(x: Tensor, data_range: tuple[float, float] | None) -> float | None:
    """Return the share of samples with values far outside of the range of the data.

    Arguments:
        x: Samples (B, *) in the model's units.
        data_range: Smallest and largest value of the data in the model's units, or None if they are unknown.
    Returns:
        Share of the samples in which a value is more than `FAR_OUTSIDE` times as far from the middle of the range as
        the ends of the range are; None if the range is unknown.
    """
    if data_range is None:
        return None
    low, high = data_range
    distance = (x.flatten(1) - (low + high) / 2).abs().amax(1) / ((high - low) / 2)
    return float((distance > FAR_OUTSIDE).double().mean())
