"""`sdekit ood`."""

from __future__ import annotations

import io
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import sdekit
from sdekit.errors import InputError
from sdekit_cli.likelihood.evaluation_options import Overwrite
from sdekit_cli.options.shared_options import (
    AsJson,
    DeviceName,
    ModelArgument,
    PluginFiles,
    Trust,
    load_plugin_files,
    pick_device,
)
from sdekit_cli.terminal.console import json_values, note, print_json, shown

if TYPE_CHECKING:
    from torch import Tensor

    from sdekit.models import Condition, OpenedModel

LEAST_ITEMS = 16
"""Smallest number of in-distribution items: each half of them is the reference of the other half."""


def ood(
    run: ModelArgument,
    against: Annotated[str, typer.Option(metavar="SPEC", help="Data that may be out of the distribution.")],
    out: Annotated[Path, typer.Option(help="Folder to write: ood.csv, ood.json, histogram.png.")],
    data: Annotated[
        str | None, typer.Option(metavar="SPEC", help="Typical data, not trained on (default: the held-out items).")
    ] = None,
    n: Annotated[
        int | None, typer.Option("-n", help="Items of each set, evenly spaced (default: at most 256).")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Evaluate all items.")] = False,
    levels: Annotated[int, typer.Option(help="Noise levels at which items are denoised.")] = 10,
    draws: Annotated[int, typer.Option(help="Draws of the noise at each level.")] = 4,
    option: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="Option of --data.")] = None,
    against_option: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="Option of --against.")] = None,
    batch_size: Annotated[int, typer.Option(help="Items at a time; does not change the result.")] = 64,
    dtype: Annotated[str, typer.Option(help="float32 or float64.")] = "float32",
    device: DeviceName = "auto",
    trust: Trust = False,
    plugin: PluginFiles = None,
    overwrite: Overwrite = False,
    json: AsJson = False,
) -> None:
    """Measure how well a model separates data from other data (out-of-distribution detection).

    The score of an item is how far its denoising errors and score norms, at several noise levels, are from those of
    typical data, in both directions. It is about 1 for typical items. Prints the area under the ROC curve (AUROC) with
    its 95% interval. ood.csv has one row per item. A command that was interrupted continues where it stopped.

    Examples:

      sdekit ood run --against array:shuffled.npy --out ood

      sdekit ood run --data images:test --against images:other --out ood
    """
    from sdekit_cli.likelihood.data_items import DataItems, open_items, with_dtype
    from sdekit_cli.likelihood.shared_batches import compute_rows

    load_plugin_files(plugin, quiet=json)
    for name, value in (("--batch-size", batch_size), ("--levels", levels), ("--draws", draws)):
        if value < 1:
            raise InputError(f"{name} must be at least 1, got {value}")
    import torch

    from sdekit.distributed import world
    from sdekit.likelihood import denoising_statistics, nearest_class
    from sdekit.models import open_model

    place = pick_device(device)
    opened = with_dtype(open_model(run, device=place, trust=trust), dtype)
    classes = _classes(opened)
    inside = open_items(opened, data, options=option or (), n=n, every=every)
    outside = open_items(opened, against, options=against_option or (), n=n, every=every)
    if len(inside) < LEAST_ITEMS:
        raise InputError(f"{inside.spec} has {len(inside)} items: typical data need at least {LEAST_ITEMS}")
    for items in (inside, outside):
        items.check(batch_size)
    protocol = {
        "run": str(run), "run_step": opened.step, "data": inside.spec, "against": outside.spec, "n": len(inside),
        "n_against": len(outside), "levels": levels, "draws": draws, "dtype": dtype, "items": inside.indices.tolist(),
        "against_items": outside.indices.tolist(),
    }  # fmt: skip
    number_type = torch.float64 if dtype == "float64" else torch.float32

    def statistics(items: DataItems, part: slice) -> Tensor:
        x = items.read(part)[0].to(place, number_type)
        seeds, sde, model, std = [int(i) for i in items.indices[part]], opened.model.sde, opened.model, opened.data_std
        y = None
        if classes is not None:
            chosen = nearest_class(sde, model, x, classes, data_std=std, seeds=seeds, batch_size=batch_size)
            y = classes[chosen].to(place)
        found = denoising_statistics(sde, model, x, y=y, data_std=std, levels=levels, draws=draws, seeds=seeds)
        first = torch.tensor([[seed, float(items is outside)] for seed in seeds], dtype=torch.float64)
        return torch.cat([first, found.bound[:, None], found.values], 1)

    def compute(part: slice) -> Tensor:
        """Return the rows of a part of both sets together, the typical data first."""
        start, stop, _ = part.indices(len(inside) + len(outside))
        split = len(inside)
        pieces = [(inside, slice(start, min(stop, split))), (outside, slice(max(start - split, 0), stop - split))]
        return torch.cat([statistics(items, piece) for items, piece in pieces if piece.stop > piece.start])

    began = time.perf_counter()
    columns = ("item", "outside", "bound", *(f"statistic_{k}" for k in range(2 * levels)))
    rows = compute_rows(
        compute, len(inside) + len(outside), batch_size, out, "ood", columns, protocol, overwrite=overwrite, quiet=json
    )
    if rows is None:
        return
    table = torch.tensor(rows.values(), dtype=torch.float64)
    scores, chances, facts = _evaluate(table[:, 1] > 0, table[:, 2], table[:, 3:])
    record = protocol | facts | {
        "seconds": round(time.perf_counter() - began, 3),
        "processes": world().size,
        "versions": {"sdekit": sdekit.__version__, "torch": torch.__version__},
    }  # fmt: skip
    rows.finish(json_values(record), _files(table, scores, chances, (inside.spec, outside.spec)))
    if json:
        shortened = {k: v for k, v in record.items() if k not in ("items", "against_items")}
        print_json(shortened | {"file": str(out / "ood.csv")})
        return
    low, high = record["auroc_interval"]
    shown.print(
        f"[bold]AUROC {record['auroc']:.4f}[/] (95% interval {low:.4f} to {high:.4f}) of the typicality score",
        soft_wrap=True,
    )
    shown.print(
        f"{record['outside_at_5_percent']:.1%} of {len(outside)} items of {outside.spec} are less typical than 95% of "
        f"{len(inside)} {inside.part} of {inside.spec}; AUROC of the likelihood bound alone: "
        f"{record['auroc_of_bound']:.4f}",
        soft_wrap=True,
    )
    note("scores in [bold]{}[/], look at [bold]{}[/]", out / "ood.csv", out / "histogram.png")


def _classes(opened: OpenedModel) -> Tensor | Condition | None:
    """Return the conditions among which each item has its most likely one; None if the model needs no condition."""
    import torch

    if opened.conditioning.null:
        return None
    if opened.condition != "label":
        raise InputError(
            f"{opened.path} was trained on {opened.condition} as its condition, and always with it, so it cannot judge "
            "data without one: train with --drop 0.1"
        )
    return torch.tensor(opened.conditioning.labels)


def _evaluate(outside: Tensor, bound: Tensor, values: Tensor) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """Return the score of each item, the share of typical items with at least this score, and the JSON-ready facts.

    Rows 0, 2, 4, ... are compared with typical rows 1, 3, 5, ..., and the other way round, so that no item is its own
    reference.
    """
    import torch

    from sdekit.likelihood import TypicalStatistics, auroc

    half = torch.arange(len(values)) % 2
    scores = torch.empty(len(values), dtype=torch.float64)
    for own in (0, 1):
        reference = TypicalStatistics.fit(values[(half != own) & ~outside])
        scores[half == own] = reference.score(values[half == own])
    typical = scores[~outside].sort().values
    at_least = len(typical) - torch.searchsorted(typical, scores)
    chances = (at_least + outside.long()) / (len(typical) + outside.long())
    area = auroc(scores[~outside], scores[outside])
    likelihood = auroc(bound[~outside], bound[outside])
    return scores, chances, {
        "auroc": area.value,
        "auroc_interval": [area.low, area.high],
        "auroc_of_bound": likelihood.value,
        "auroc_of_bound_interval": [likelihood.low, likelihood.high],
        "outside_at_5_percent": float((chances[outside] <= 0.05).double().mean()),
    }  # fmt: skip


def _files(table: Tensor, scores: Tensor, chances: Tensor, names: tuple[str, str]) -> dict[str, bytes]:
    """Return ood.csv and histogram.png."""
    import csv

    from sdekit.plotting import histograms

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("set", "item", "score", "p_value", "bound"))
    for row, score, chance in zip(table.tolist(), scores.tolist(), chances.tolist(), strict=True):
        name = "against" if row[1] else "data"
        writer.writerow((name, int(row[0]), f"{score:.6g}", f"{chance:.6g}", f"{row[2]:.6g}"))
    outside = table[:, 1] > 0
    sets = {f"typical: {names[0]}": scores[~outside].numpy(), f"against: {names[1]}": scores[outside].numpy()}
    return {"ood.csv": text.getvalue().encode(), "histogram.png": histograms(sets, "distance from typical data")}
