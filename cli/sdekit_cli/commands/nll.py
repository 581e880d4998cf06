"""`sdekit nll`."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import sdekit
from sdekit.errors import InputError
from sdekit_cli.likelihood.evaluation_options import DataOptions, FlowOptions, ModelOptions, Overwrite
from sdekit_cli.options.option_classes import with_options
from sdekit_cli.options.shared_options import AsJson, load_plugin_files
from sdekit_cli.terminal.console import json_values, note, print_json, shown

if TYPE_CHECKING:
    from torch import Tensor

    from sdekit.likelihood import Trace

COLUMNS = ("item", "nll", "trace_error", "discretization_error", "bits_per_dim")


@with_options
def nll(
    *,
    out: Annotated[Path, typer.Option(help="Folder to write: nll.csv, nll.json.")],
    data: DataOptions,
    trace: Annotated[str, typer.Option(help="Trace: auto, exact, hutchinson or hutch++.")] = "auto",
    probes: Annotated[int, typer.Option(help="Random probes of the trace; 2 or more give a standard error.")] = 16,
    flow: FlowOptions,
    dequantization: Annotated[
        str | None,
        typer.Option(help="uniform, truncated-normal or none: treat the data as bins, which gives bits/dim."),
    ] = None,
    samples: Annotated[int, typer.Option(help="Draws per item of the importance-weighted bound.")] = 1,
    bin_width: Annotated[float, typer.Option(help="Width of the bins in the units of the data.")] = 1.0,
    model: ModelOptions,
    overwrite: Overwrite = False,
    json: AsJson = False,
) -> None:
    """Compute the negative log-likelihood of data, with standard errors, by the probability-flow ODE.

    Prints the mean in nats per item with its 95% interval, and for data with bins (pixels, whole numbers) bits per
    dimension. nll.csv has one row per item. A command that was interrupted continues where it stopped. `sdekit bound`
    computes an upper bound in less time.

    Examples:

      sdekit nll run --out nll

      sdekit nll run --data images:test --dequantization uniform --samples 8 --out bits
    """
    from sdekit_cli.likelihood.evaluated_model import EvaluatedModel
    from sdekit_cli.likelihood.mean_values import describe_mean, summarize_nats
    from sdekit_cli.likelihood.shared_batches import compute_rows, largest

    load_plugin_files(model.plugin, quiet=json)
    for name, value in (("--batch-size", model.batch_size), ("--samples", samples), ("--probes", probes)):
        if value < 1:
            raise InputError(f"{name} must be at least 1, got {value}")
    import torch

    from sdekit.likelihood import (
        Dequantization,
        bin_width as width_in_model_units,
        bits_per_dimension,
        check_bins,
        log_density_in_data_units,
        log_likelihood,
        pooled_interval,
    )

    solver = flow.build()
    bins = None if dequantization is None else Dequantization(method=dequantization, samples=samples)  # type: ignore[arg-type]
    if bins is None and samples > 1:
        raise InputError("--samples needs --dequantization uniform or truncated-normal")
    subject = EvaluatedModel.open(model, quiet=json)
    opened = subject.opened
    solver.check(subject.number_type)
    if bins is not None:
        subject.refuse_bins_of_latents("--dequantization")
        subject.refuse_bins_of_curves("--dequantization")
    subject.refuse_categories("nll")
    items = data.open(opened)
    subject.check_items(items, model.batch_size)
    d = subject.dimensions
    method = _trace(trace, probes, d)
    width = width_in_model_units(opened.units, opened.shape, bin_width)
    protocol = {
        "run": model.run, "data": items.spec, "n": len(items), "trace": _describe(method), "solver": flow.solver,
        "tolerance": flow.tolerance, "steps": flow.steps, "dequantization": dequantization, "samples": samples,
        "bin_width": bin_width if bins else None, "units": subject.units, **subject.record,
        "items": items.indices.tolist(),
    }  # fmt: skip
    calls = {"evaluations": 0, "backward_passes": 0}

    def compute(part: slice) -> Tensor:
        """Return the rows of some items."""
        x, raw, of_data = items.read(part)
        seeds = [int(i) for i in items.indices[part]]
        y, x = subject.condition(of_data, seeds, items.spec), subject.place(x)
        errors = torch.zeros(2, len(x), dtype=torch.float64)

        def density(v: Tensor, at: Tensor | None) -> Tensor:
            result = log_likelihood(
                opened.model.sde, opened.model, v, y=y, guidance=subject.guidance, trace=method, solver=solver, at=at,
                seeds=seeds, estimate_error=True,
            )  # fmt: skip
            for name in calls:
                calls[name] = max(calls[name], getattr(result, name))
            assert result.discretization_error is not None
            new = torch.stack([result.trace_error, result.discretization_error]).double().cpu()
            errors.copy_(torch.maximum(errors, new))  # of several draws, the largest error; a NaN stays
            return result.log_prob.double().cpu()

        if bins is None:
            log_prob = density(x, None)
            if opened.codec is None:
                log_prob = log_density_in_data_units(log_prob, opened.units, raw)
            bits = torch.full_like(log_prob, torch.nan)
        else:
            check_bins(raw, bin_width)
            log_prob = bins.log_prob(opened.model.sde, density, x, width.to(subject.device), seeds).cpu()
            bits = bits_per_dimension(log_prob, d)
        return torch.stack([torch.tensor(seeds).double(), -log_prob, *errors, bits], 1)

    began = time.perf_counter()
    rows = compute_rows(
        compute, len(items), model.batch_size, out, "nll", COLUMNS, protocol, overwrite=overwrite, quiet=json
    )
    calls = dict(zip(calls, largest(*calls.values()), strict=True))
    if rows is None:  # only the first of several processes writes
        return
    values = torch.tensor(rows.values(), dtype=torch.float64)
    record = protocol | {"dimensions": d} | summarize_nats("nll", values[:, 1], d if bins else None) | calls
    by_probes = pooled_interval(values[:, 1], values[:, 2], method.columns - 1)
    record |= {
        "trace_error": by_probes.standard_error,
        "trace_interval_95": [by_probes.low, by_probes.high],
        "discretization_error": float(values[:, 3].mean()),
        "seconds": round(time.perf_counter() - began, 3),
        "versions": {"sdekit": sdekit.__version__, "torch": torch.__version__},
    }
    rows.finish(json_values(record))
    if json:
        print_json({k: v for k, v in record.items() if k != "items"} | {"file": str(out / "nll.csv")})
        return
    shown.print(describe_mean("nll", record, f"{items.part}"))
    shown.print(_protocol(record))
    note("one row per item in [bold]{}[/]", out / "nll.csv")


def _trace(name: str, probes: int, d: int) -> Trace:
    """Return the method of the trace."""
    from sdekit.likelihood import ExactTrace, Hutchinson, HutchPlusPlus, choose_trace

    if name == "auto":
        return choose_trace(d)
    if name == "exact":
        return ExactTrace()
    if name == "hutchinson":
        return Hutchinson(probes=probes, kind="hadamard" if probes <= d else "rademacher")
    if name == "hutch++":
        return HutchPlusPlus(probes=max(3, probes // 6 * 3), repeats=2)
    raise InputError(f"--trace {name}: choose auto, exact, hutchinson or hutch++")


def _describe(trace: Trace) -> str:
    """Return the trace and its options in one phrase."""
    from dataclasses import asdict

    options = ", ".join(f"{key}={value}" for key, value in asdict(trace).items())  # type: ignore[call-overload]
    return f"{type(trace).__name__}({options})"


def _protocol(record: dict[str, Any]) -> str:
    """Return the lines about the errors of the method and how the result was computed."""
    low, high = record["trace_interval_95"]
    probes = f"{low:.4g} to {high:.4g} nats" if math.isfinite(low) else "unknown with a single probe"
    return (
        f"of these items, by random probes alone: {probes}; error by the solver {record['discretization_error']:.2g} "
        "nats per item\n"
        f"protocol: {record['trace']}, {record['solver']}, {record['dtype']}, "
        f"dequantization {record['dequantization'] or 'not used'}, {record['evaluations']} network evaluations and "
        f"{record['backward_passes']} backward passes per item"
    )
