"""`sdekit bound`."""

from __future__ import annotations

import io
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import sdekit
from sdekit.errors import InputError
from sdekit_cli.likelihood.evaluation_options import DataOptions, ModelOptions, Overwrite
from sdekit_cli.options.option_classes import with_options
from sdekit_cli.options.shared_options import AsJson, load_plugin_files
from sdekit_cli.terminal.console import json_values, note, print_json, shown

if TYPE_CHECKING:
    from torch import Tensor

    from sdekit.processes import SDE

COLUMNS = ("item", "bound", "standard_error", "prior_term", "reconstruction_term", "bits_per_dim")
RANGES, MOST_STEPS = 30, 100
"""Number of ranges of log-SNR in the table of the continuous bound, and most rows of that of the discrete one."""


@with_options(changes={"guidance": None})
def bound(
    *,
    out: Annotated[Path, typer.Option(help="Folder to write: bound.csv, bound.json, terms.csv, terms.png.")],
    data: DataOptions,
    steps: Annotated[
        int | None, typer.Option(help="Steps N of DDPM's bound (default: the bound in continuous time).")
    ] = None,
    times: Annotated[int, typer.Option(help="Random times of an item in each of 4 repetitions.")] = 32,
    importance: Annotated[
        str, typer.Option(help="Distribution of the times: snr (optimal for normal data) or uniform in log-SNR.")
    ] = "snr",
    bin_width: Annotated[
        float | None,
        typer.Option(help="Width of the bins of the data, 1 for whole numbers: gives probabilities and bits/dim."),
    ] = None,
    model: ModelOptions,
    overwrite: Overwrite = False,
    json: AsJson = False,
) -> None:
    """Bound the negative log-likelihood of data from above, by DDPM's divergences or their limit in continuous time.

    Prints the mean of the bound in nats per item with its 95% interval, and its parts: L_T (the prior), the sum of L_t
    (the diffusion), and L_0 (the reconstruction). bound.csv has one row per item; terms.csv and terms.png show how much
    each range of times contributes. A command that was interrupted continues where it stopped. The bound needs no
    derivatives of the network; `sdekit nll` computes the likelihood itself.

    Examples:

      sdekit bound run --out bound

      sdekit bound run --steps 1000 --bin-width 1 --out ddpm
    """
    from sdekit_cli.likelihood.evaluated_model import EvaluatedModel
    from sdekit_cli.likelihood.mean_values import describe_mean, summarize_nats
    from sdekit_cli.likelihood.shared_batches import compute_rows

    load_plugin_files(model.plugin, quiet=json)
    for name, value in (("--batch-size", model.batch_size), ("--times", times)):
        if value < 1:
            raise InputError(f"{name} must be at least 1, got {value}")
    if importance not in ("snr", "uniform"):
        raise InputError(f"--importance {importance}: choose snr or uniform")
    if bin_width is not None and not bin_width > 0:
        raise InputError(f"--bin-width must be above 0, got {bin_width:g}")
    import torch

    from sdekit.likelihood import (
        bin_width as width_in_model_units,
        bits_per_dimension,
        check_bins,
        check_steps,
        log_density_in_data_units,
        log_snr_ranges,
        step_ranges,
        variational_bound,
    )

    check_steps(steps)
    subject = EvaluatedModel.open(model, quiet=json)
    opened, sde = subject.opened, subject.opened.model.sde
    if bin_width is not None:
        subject.refuse_bins_of_latents("--bin-width")
        subject.refuse_bins_of_curves("--bin-width")
    subject.refuse_categories("bound")
    items = data.open(opened)
    subject.check_items(items, model.batch_size)
    width = None if bin_width is None else width_in_model_units(opened.units, opened.shape, bin_width)
    edges = log_snr_ranges(sde, RANGES) if steps is None else step_ranges(sde, steps, MOST_STEPS)
    protocol = {
        "run": model.run, "data": items.spec, "n": len(items), "steps": steps, "times": times, "importance": importance,
        "bin_width": bin_width, "units": subject.units, **subject.record, "items": items.indices.tolist(),
    }  # fmt: skip

    def compute(part: slice) -> Tensor:
        """Return the rows of some items."""
        x, raw, of_data = items.read(part)
        if bin_width is not None:
            check_bins(raw, bin_width)
        seeds = [int(i) for i in items.indices[part]]
        result = variational_bound(
            sde, opened.model, subject.place(x), y=subject.condition(of_data, seeds, items.spec), steps=steps,
            samples=times, importance=importance, data_std=opened.data_std, width=width, seeds=seeds,  # type: ignore[arg-type]
        )  # fmt: skip
        change = torch.zeros(len(raw), dtype=torch.float64)
        if width is None and opened.codec is None:
            change = -log_density_in_data_units(change, opened.units, raw)
        total, first = result.bound.cpu() + change, result.reconstruction_term.cpu() + change
        bits = (
            bits_per_dimension(-total, subject.dimensions) if width is not None else torch.full_like(total, torch.nan)
        )
        columns = (
            torch.tensor(seeds).double(),
            total,
            result.standard_error.cpu(),
            result.prior_term.cpu(),
            first,
            bits,
        )
        return torch.cat([torch.stack(columns, 1), result.contributions(edges)], 1)

    began = time.perf_counter()
    columns = (*COLUMNS, *(f"term_{i}" for i in range(1, len(edges))))
    rows = compute_rows(
        compute, len(items), model.batch_size, out, "bound", columns, protocol, overwrite=overwrite, quiet=json
    )
    if rows is None:  # only the first of several processes writes
        return
    values = torch.tensor(rows.values(), dtype=torch.float64)
    terms = values[:, len(COLUMNS) :]
    record = protocol | {"dimensions": subject.dimensions}
    record |= summarize_nats("bound", values[:, 1], None if width is None else subject.dimensions)
    record |= {
        "prior_term": float(values[:, 3].mean()),
        "diffusion_term": float(terms.sum(1).mean()),
        "reconstruction_term": float(values[:, 4].mean()),
        "time_error": float(values[:, 2].square().sum().sqrt() / len(values)),
        "evaluations": 4 * (times if steps is None else min(times, steps - 1)) + 2,
        "seconds": round(time.perf_counter() - began, 3),
        "versions": {"sdekit": sdekit.__version__, "torch": torch.__version__},
    }
    table = _terms(sde, edges, terms)
    rows.finish(json_values(record), {"terms.csv": _csv(table), "terms.png": _plot(table, by_time=steps is not None)})
    if json:
        print_json({k: v for k, v in record.items() if k != "items"} | {"file": str(out / "bound.csv")})
        return
    shown.print(describe_mean("bound", record, items.part))
    shown.print(_parts(record))
    note("one row per item in [bold]{}[/], the terms in [bold]{}[/]", out / "bound.csv", out / "terms.png")


def _terms(sde: SDE, edges: Tensor, terms: Tensor) -> list[dict[str, float]]:
    """Return the table of the terms: times, log-SNR, mean over the items in nats and its standard error."""
    log_snr = -2 * sde.rho(edges.clamp(sde.t_min, sde.t_max)).log()
    errors = terms.std(0) / len(terms) ** 0.5 if len(terms) > 1 else terms[0] * float("nan")
    columns = {
        "t_from": edges[:-1],
        "t_to": edges[1:],
        "log_snr_from": log_snr[:-1],
        "log_snr_to": log_snr[1:],
        "nats": terms.mean(0),
        "standard_error": errors,
    }
    return [dict(zip(columns, row, strict=True)) for row in zip(*(c.tolist() for c in columns.values()), strict=True)]


def _csv(table: list[dict[str, float]]) -> bytes:
    """Return a table as the contents of a CSV file."""
    import csv

    text = io.StringIO()
    writer = csv.DictWriter(text, table[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    return text.getvalue().encode()


def _plot(table: list[dict[str, float]], *, by_time: bool) -> bytes:
    """Return terms.png: the contribution of each range, over t for steps and over log-SNR in continuous time."""
    from sdekit.plotting import staircase

    name = "t" if by_time else "log_snr"
    edges = [row[f"{name}_from"] for row in table] + [table[-1][f"{name}_to"]]
    nats, errors = [row["nats"] for row in table], [row["standard_error"] for row in table]
    return staircase(
        edges, nats, errors, x_label="t" if by_time else "log-SNR", y_label="contribution to the bound (nats)"
    )


def _parts(record: dict[str, Any]) -> str:
    """Return the lines about the parts of the bound and how it was computed."""
    kind = "continuous time" if record["steps"] is None else f"{record['steps']} steps"
    return (
        f"L_T {record['prior_term']:.4g} + diffusion {record['diffusion_term']:.4g} + L_0 "
        f"{record['reconstruction_term']:.4g} nats; error by random times and noise {record['time_error']:.2g} in the "
        "mean\n"
        f"protocol: variational bound, {kind}, times by {record['importance']}, {record['dtype']}, "
        f"{'density' if record['bin_width'] is None else 'bins of width ' + format(record['bin_width'], 'g')}, "
        f"{record['evaluations']} network evaluations per item"
    )
