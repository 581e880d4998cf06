"""`sdekit bench`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from sdekit.errors import InputError
from sdekit_cli.options.shared_options import PluginFiles, Trust, check_sample_count, load_plugin_files, pick_device
from sdekit_cli.terminal.console import note, print_json, show_table

if TYPE_CHECKING:
    from torch import Tensor

    from sdekit.evaluation import Measurement
    from sdekit.processes import SDE, Denoiser

MIXTURE = "mixture"
BUDGETS = (5, 6, 8, 10, 15, 20, 30, 50)

Statistic = Literal["rms", "median", "trimmed"]
MEANINGS = {
    "rms": "root mean square",
    "median": "median",
    "trimmed": "mean without the lowest and the highest tenth",
}


def bench(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN|mixture", help="Run folder, export or LOADER:PATH; or an exact mixture in two dimensions."
        ),
    ],
    solver: Annotated[
        list[str] | None,
        typer.Option(help="Sampler to compare; may be repeated."),
    ] = None,
    grid: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Grid for all samplers, or all grids; else each has its own."),
    ] = None,
    nfe: Annotated[list[int] | None, typer.Option(help="Network evaluations; may be repeated (5 to 50).")] = None,
    n: Annotated[int, typer.Option("-n", help="Number of starts.")] = 64,
    statistic: Annotated[
        Statistic, typer.Option(help="Average of the errors of single starts: rms, median or trimmed.")
    ] = "rms",
    process: Annotated[str, typer.Option("--process", "--sde", help="Process of the mixture.")] = "vp",
    plot: Annotated[Path | None, typer.Option(help="PNG file for a plot of errors against evaluations.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    trust: Trust = False,
    plugin: PluginFiles = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compare samplers on one model by their error of x_0 for a number of network evaluations, and recommend one.

    The error is the difference from the model's own probability flow, solved finely from the same starts. The table
    shows the root mean square over starts, which a few starts that end in another mode can dominate, or the median or
    the mean without the lowest and highest tenth (trimmed). The output of --json contains all three. Samplers that draw
    noise have no such error and are left out.

    Examples:

      sdekit bench mixture --plot bench.png

      sdekit bench run --nfe 5 --nfe 10 --nfe 20

      sdekit bench run --solver dpmpp-2m --solver unipc --grid all --json
    """
    from sdekit_cli.terminal.progress import progress_bar

    load_plugin_files(plugin, quiet=json)
    budgets = sorted(set(nfe or BUDGETS))
    if budgets[0] < 1 or n < 1:
        raise InputError(f"--nfe and -n must be at least 1, got {budgets[0]} and {n}")
    check_sample_count("-n", n)
    if plot is not None and (not plot.parent.is_dir() or plot.suffix.lower() != ".png"):
        raise InputError(f"--plot {plot}: give a .png file in an existing folder")

    import torch

    from sdekit.evaluation import (
        as_report,
        exact_solution,
        measure_errors,
        plot_errors,
        recommended_pair,
        sampler_grid_pairs,
    )
    from sdekit.runs import check_writable, write_or_keep

    if plot is not None:
        check_writable(plot, "--plot")

    pairs = sampler_grid_pairs(solver or (), grid or ())
    _check_budgets(pairs, budgets)
    sde, denoise, x, data_std = _model(run, process, n, pick_device(device), trust)
    with torch.no_grad(), progress_bar(quiet=json) as bar:
        task = bar.add_task("solving the flow finely", total=len(pairs) * len(budgets))
        truth = exact_solution(sde, denoise, x)
        measurements: list[Measurement] = []
        for measurement in measure_errors(sde, denoise, x, truth, pairs, budgets, data_std=data_std):
            bar.update(task, advance=1, description=f"{measurement.sampler} ({measurement.grid})")
            measurements.append(measurement)
    choice = recommended_pair(measurements, statistic)
    if json:
        print_json({"run": run, "n": n} | as_report(measurements, statistic))
    else:
        _show(measurements, budgets, statistic)
        note("errors: {} over {} starts", MEANINGS[statistic], n)
        note("closest to the best over all numbers of evaluations: [bold]--solver {} --grid {}[/]", *choice)
    if plot is not None:  # after the results are printed, which a failure must not lose
        write_or_keep(plot, plot_errors(measurements, lambda *pair: pair == choice, statistic))


def _check_budgets(pairs: list[tuple[str, str]], budgets: list[int]) -> None:
    """Raise InputError if the largest number of evaluations is too small for every sampler."""
    from sdekit.registry import build

    needed = {name: 1 if (calls := build("sampler", name).calls_per_step) == 1 else calls + 1 for name, _ in pairs}
    least = min(needed, key=lambda name: needed[name])
    if needed[least] > budgets[-1]:
        raise InputError(f"--nfe {budgets[-1]}: too few evaluations: {least} needs {needed[least]}")


def _check_name(run: str) -> None:
    """Raise InputError with a suggestion for a misspelt `mixture`."""
    from difflib import get_close_matches

    if not Path(run).exists() and get_close_matches(run, [MIXTURE]):
        raise InputError(f"{run}: no such run folder; did you mean {MIXTURE!r}?")


def _model(run: str, process: str, n: int, device: str, trust: bool) -> "tuple[SDE, Denoiser, Tensor, float]":
    """Return SDE, denoiser, n starts at t_max (seeds 0 to n - 1) and the standard deviation of the data."""
    from sdekit.evaluation import ring_mixture
    from sdekit.registry import component_options, parse_component
    from sdekit.sampling import SeedNoise
    from sdekit_cli.options.model_option import open_run

    if run == MIXTURE:
        from sdekit.registry import build

        name, assignments = parse_component(process, "sde")
        sde, mixture = build("sde", name, **component_options("sde", name, assignments)), ring_mixture()
        x = mixture.sample(n, 0, sde, sde.t_max)
        return sde, mixture.denoiser(sde), x, 1.0
    _check_name(run)

    opened = open_run(run, device=device, trust=trust)
    model, sde, y = opened.model, opened.model.sde, opened.examples(n)

    def denoise(x: "Tensor", t: "Tensor") -> "Tensor":
        result: Tensor = model(x, t, None if y is None else y.to(x.device))
        return result

    x = sde.prior(SeedNoise(range(n), opened.shape, device=device)())
    return sde, denoise, x, opened.data_std


def _show(measurements: "list[Measurement]", budgets: list[int], statistic: Statistic) -> None:
    """Print one row for each sampler and grid, and one column for each number of evaluations; the best is bold."""
    from rich.markup import escape
    from rich.table import Table

    from sdekit.evaluation import best_by_budget

    best = best_by_budget(measurements, statistic)
    table = Table("solver", "grid", *(str(budget) for budget in budgets), box=None)
    for pair in dict.fromkeys((m.sampler, m.grid) for m in measurements):
        row = {m.nfe: m for m in measurements if (m.sampler, m.grid) == pair}
        cells = ["-" if (error := row[budget].average(statistic)) is None else f"{error:.2g}" for budget in budgets]
        bold = [best.get(budget) is row[budget] for budget in budgets]
        table.add_row(
            *map(escape, pair), *(f"[bold]{cell}[/]" if b else cell for cell, b in zip(cells, bold, strict=True))
        )
    show_table(table)
