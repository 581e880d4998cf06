"""`sdekit nll`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import sdekit
from sdekit.errors import InputError
from sdekit_cli.likelihood.data_items import labels_for, open_items, with_dtype
from sdekit_cli.likelihood.partial_rows import PartialRows
from sdekit_cli.options.shared_options import (
    AsJson,
    DeviceName,
    ModelArgument,
    PluginFiles,
    Trust,
    load_plugin_files,
    pick_device,
)
from sdekit_cli.terminal.console import json_values, note, print_json, progress_bar, shown

if TYPE_CHECKING:
    from torch import Tensor

    from sdekit.likelihood import Trace

COLUMNS = ("item", "nll", "trace_error", "discretization_error", "bits_per_dim")


def nll(
    run: ModelArgument,
    out: Annotated[Path, typer.Option(help="Folder to write: nll.csv, nll.json.")],
    data: Annotated[
        str | None, typer.Option(metavar="SPEC", help="Data, such as images:PATH (default: the run's held-out items).")
    ] = None,
    n: Annotated[int | None, typer.Option("-n", help="Number of items, evenly spaced (default: at most 256).")] = None,
    every: Annotated[bool, typer.Option("--all", help="Evaluate all items.")] = False,
    trace: Annotated[str, typer.Option(help="Trace: auto, exact, hutchinson or hutch++.")] = "auto",
    probes: Annotated[int, typer.Option(help="Random probes of the trace; 2 or more give a standard error.")] = 8,
    solver: Annotated[str, typer.Option(help="dopri5, bosh3, or a deterministic solver with --steps.")] = "dopri5",
    tolerance: Annotated[
        float | None, typer.Option(help="Tolerance of dopri5 and bosh3 (default: 1e-5, in float64 3e-6).")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Steps of another solver.")] = None,
    dequantization: Annotated[
        str | None,
        typer.Option(help="uniform, truncated-normal or none: treat the data as bins, which gives bits/dim."),
    ] = None,
    samples: Annotated[int, typer.Option(help="Draws per item of the importance-weighted bound.")] = 1,
    bin_width: Annotated[float, typer.Option(help="Width of the bins in the units of the data.")] = 1.0,
    option: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="Option of the data set.")] = None,
    batch_size: Annotated[int, typer.Option(help="Items at a time; does not change the result.")] = 64,
    dtype: Annotated[str, typer.Option(help="float32 or float64.")] = "float32",
    device: DeviceName = "auto",
    trust: Trust = False,
    plugin: PluginFiles = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier result.")] = False,
    json: AsJson = False,
) -> None:
    """Compute the negative log-likelihood of data, with standard errors, by the probability-flow ODE.

    Prints the mean in nats per item, its standard error, and for data with bins (pixels, whole numbers) bits per
    dimension. nll.csv has one row per item. A command that was interrupted continues where it stopped.

    Examples:

      sdekit nll run --out nll

      sdekit nll run --data images:test --dequantization uniform --samples 8 --out bits
    """
    load_plugin_files(plugin, quiet=json)
    for name, value in (("--batch-size", batch_size), ("--samples", samples), ("--probes", probes)):
        if value < 1:
            raise InputError(f"{name} must be at least 1, got {value}")
    import torch

    from sdekit.likelihood import (
        Dequantization,
        FlowSolver,
        bin_width as width_in_model_units,
        bits_per_dimension,
        check_bins,
        log_density_in_data_units,
        log_likelihood,
    )
    from sdekit.models import open_model

    flow = FlowSolver(method=solver, tolerance=tolerance, steps=steps)
    bins = None if dequantization is None else Dequantization(method=dequantization, samples=samples)  # type: ignore[arg-type]
    if bins is None and samples > 1:
        raise InputError("--samples needs --dequantization uniform or truncated-normal")
    place = pick_device(device)
    opened = with_dtype(open_model(run, device=place, trust=trust), dtype)
    items = open_items(opened, data, options=option or (), n=n, every=every)
    d = 1
    for size in opened.shape:
        d *= size
    method = _trace(trace, probes, d)
    width = width_in_model_units(opened.units, opened.shape, bin_width)
    protocol = {
        "run": str(run), "run_step": opened.step, "data": items.spec, "n": len(items), "trace": _describe(method),
        "solver": solver, "tolerance": tolerance, "steps": steps, "dequantization": dequantization, "samples": samples,
        "bin_width": bin_width if bins else None, "dtype": dtype, "items": items.indices.tolist(),
    }  # fmt: skip
    calls = {"evaluations": 0, "backward_passes": 0}
    began = time.perf_counter()
    rows = PartialRows(out, "nll", COLUMNS, protocol, overwrite=overwrite)
    with rows, progress_bar(quiet=json) as bar:
        task = bar.add_task("log-likelihood", total=len(items), completed=len(rows))
        for first in range(len(rows), len(items), batch_size):
            part = slice(first, first + batch_size)
            x, raw, labels = items.read(part)
            y = labels_for(opened, labels, items.spec)
            y = None if y is None else y.to(place)
            x = x.to(place, torch.float64 if dtype == "float64" else torch.float32)
            seeds = [int(i) for i in items.indices[part]]
            errors: list[Tensor] = []

            def density(v: Tensor, at: Tensor | None, y: Any = y, seeds: Any = seeds, errors: Any = errors) -> Tensor:
                result = log_likelihood(
                    opened.model.sde, opened.model, v, y=y, trace=method, solver=flow, at=at, seeds=seeds,
                    estimate_error=True,
                )  # fmt: skip
                for name in calls:
                    calls[name] = max(calls[name], getattr(result, name))
                assert result.discretization_error is not None
                errors[:] = [result.trace_error, result.discretization_error]
                return result.log_prob

            if bins is None:
                log_prob = log_density_in_data_units(density(x, None).double().cpu(), opened.units, opened.shape)
                bits = torch.full_like(log_prob, torch.nan)
            else:
                check_bins(raw, bin_width)
                log_prob = bins.log_prob(opened.model.sde, density, x, width.to(place), seeds).cpu()
                bits = bits_per_dimension(log_prob, d)
            table = torch.stack([-log_prob, *(error.double().cpu() for error in errors), bits], 1)
            rows.add([[index, *row] for index, row in zip(seeds, table.tolist(), strict=True)])
            bar.update(task, completed=len(rows))
    values = torch.tensor(rows.values(), dtype=torch.float64)
    record = protocol | _summary(values, d, bins is not None) | calls
    record |= {
        "seconds": round(time.perf_counter() - began, 3),
        "versions": {"sdekit": sdekit.__version__, "torch": torch.__version__},
    }
    rows.finish(json_values(record))
    if json:
        print_json({k: v for k, v in record.items() if k != "items"} | {"file": str(out / "nll.csv")})
        return
    shown.print(_report(record, items.part))
    note("one row per item in [bold]{}[/]", out / "nll.csv")


def _trace(name: str, probes: int, d: int) -> Trace:
    """Return the method of the trace."""
    from sdekit.likelihood import ExactTrace, Hutchinson, HutchPlusPlus, choose_trace

    if name == "auto":
        return choose_trace(d)
    if name == "exact":
        return ExactTrace()
    if name == "hutchinson":
        return Hutchinson(probes=probes, kind="orthogonal" if probes <= d else "rademacher")
    if name == "hutch++":
        return HutchPlusPlus(probes=max(3, probes // 6 * 3), repeats=2)
    raise InputError(f"--trace {name}: choose auto, exact, hutchinson or hutch++")


def _describe(trace: Trace) -> str:
    """Return the trace and its options in one phrase."""
    from dataclasses import asdict

    options = ", ".join(f"{key}={value}" for key, value in asdict(trace).items())  # type: ignore[call-overload]
    return f"{type(trace).__name__}({options})"


def _summary(values: Tensor, d: int, has_bins: bool) -> dict[str, Any]:
    """Return means and errors of the rows (n, 5)."""
    n = len(values)
    nats, trace_error, solver_error, bits = values[:, 1], values[:, 2], values[:, 3], values[:, 4]
    standard_error = float(nats.std() / n**0.5) if n > 1 else float("nan")
    summary = {
        "dimensions": d,
        "nll": float(nats.mean()),
        "standard_error": standard_error,
        "trace_error": float(trace_error.square().sum().sqrt() / n),
        "discretization_error": float(solver_error.mean()),
    }
    if has_bins:
        scale = 1 / (d * 0.6931471805599453)
        summary |= {"bits_per_dim": float(bits.mean()), "bits_per_dim_error": standard_error * scale}
    return summary


def _report(record: dict[str, Any], part: str) -> str:
    """Return the lines that the command prints."""
    lines = [
        f"[bold]{record['nll']:.4g} +- {record['standard_error']:.2g} nats[/] per item, over {record['n']} {part}",
        f"of the error: probes {record['trace_error']:.2g}, solver {record['discretization_error']:.2g} nats",
    ]
    if "bits_per_dim" in record:
        lines.insert(1, f"[bold]{record['bits_per_dim']:.4g} +- {record['bits_per_dim_error']:.2g} bits/dim[/]")
    else:
        lines[0] += ", a density in the units of the data"
    lines.append(
        f"protocol: {record['trace']}, {record['solver']}, {record['dtype']}, "
        f"dequantization {record['dequantization'] or 'not used'}, {record['evaluations']} network evaluations and "
        f"{record['backward_passes']} backward passes per item"
    )
    return "\n".join(lines)
