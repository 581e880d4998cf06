"""`sdekit bench`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from sdekit.errors import InputError, SdekitError
from sdekit_cli.options.shared_options import PluginFiles, Trust, check_sample_count, load_plugin_files, pick_device
from sdekit_cli.terminal.console import note, print_json, progress_bar, show_table

if TYPE_CHECKING:
    from torch import Tensor

    from sdekit.evaluation import Measurement
    from sdekit.processes import SDE, Denoiser

MIXTURE = "mixture"
BUDGETS = (5, 6, 8, 10, 15, 20, 30, 50)


def bench(
    run: Annotated[
        str, typer.Argument(metavar="RUN|mixture", help="Run folder, or an exact mixture in two dimensions.")
    ],
    solver: Annotated[list[str] | None, typer.Option(help="Only this sampler; may be repeated.")] = None,
    grid: Annotated[
        list[str] | None, typer.Option(help="On this grid, or all of them; may be repeated. Else each on its own.")
    ] = None,
    nfe: Annotated[list[int] | None, typer.Option(help="Network calls; may be repeated (5 to 50).")] = None,
    n: Annotated[int, typer.Option("-n", help="Starts.")] = 64,
    sde: Annotated[str, typer.Option(help="Process, of the mixture.")] = "vp",
    plot: Annotated[Path | None, typer.Option(help="Draw error against calls into this PNG file.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    trust: Trust = False,
    plugin: PluginFiles = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compare samplers on one model: error of x_0 against network calls, and which to take.

    The error is against the model's own probability flow, solved finely from the same starts; samplers that draw noise
    have none.

    Examples:

      sdekit bench mixture --plot bench.png

      sdekit bench run --nfe 5 --nfe 10 --nfe 20

      sdekit bench run --solver dpmpp-2m --solver unipc --grid all --json
    """
    load_plugin_files(plugin, quiet=json)
    budgets = sorted(set(nfe or BUDGETS))
    if budgets[0] < 1 or n < 1:
        raise InputError(f"--nfe and -n must be at least 1, got {budgets[0]} and {n}")
    check_sample_count("-n", n)
    if plot is not None and (not plot.parent.is_dir() or plot.suffix.lower() != ".png"):
        raise InputError(f"--plot {plot}: name a .png file in a folder that is there")

    import torch

    from sdekit.evaluation import (
        as_report,
        exact_solution,
        measure_errors,
        plot_errors as draw,
        recommended_pair,
        sampler_grid_pairs,
    )

    pairs = sampler_grid_pairs(solver or (), grid or ())
    _check_budgets(pairs, budgets)
    process, denoise, x, data_std = _model(run, sde, n, pick_device(device), trust)
    with torch.no_grad(), progress_bar(quiet=json) as bar:
        task = bar.add_task("solving the flow finely", total=len(pairs) * len(budgets))
        truth = exact_solution(process, denoise, x)
        found: list[Measurement] = []
        for one in measure_errors(process, denoise, x, truth, pairs, budgets, data_std=data_std):
            bar.update(task, advance=1, description=f"{one.sampler} ({one.grid})")
            found.append(one)
    choice = recommended_pair(found)
    if plot is not None:
        try:
            plot.write_bytes(draw(found, lambda *pair: pair == choice))
        except OSError as error:
            raise SdekitError(f"could not write {plot}: {error.strerror or error}") from error
    if json:
        print_json({"run": run, "n": n} | as_report(found))
        return
    _show(found, budgets)
    note("nearest to the best over all of these: [bold]--solver {} --grid {}[/]", *choice)


def _check_budgets(pairs: list[tuple[str, str]], budgets: list[int]) -> None:
    """InputError where the most calls are too few for every solver."""
    from sdekit.registry import build

    needed = {name: 1 if (calls := build("sampler", name).calls_per_step) == 1 else calls + 1 for name, _ in pairs}
    least = min(needed, key=lambda name: needed[name])
    if needed[least] > budgets[-1]:
        raise InputError(f"--nfe {budgets[-1]}: too few calls, {least} needs {needed[least]}: allow as many")


def _check_name(run: str) -> None:
    """InputError for `mixture` misspelt."""
    from difflib import get_close_matches

    if not Path(run).exists() and get_close_matches(run, [MIXTURE]):
        raise InputError(f"{run}: no such run folder; did you mean {MIXTURE!r}?")


def _model(run: str, sde: str, n: int, device: str, trust: bool) -> "tuple[SDE, Denoiser, Tensor, float]":
    """Process, denoiser, n starts at t_max (of seeds 0 to n - 1) and the data's standard deviation."""
    from sdekit.evaluation import ring_mixture
    from sdekit.sampling import SeedNoise

    if run == MIXTURE:
        from sdekit.registry import build

        process, mixture = build("sde", sde), ring_mixture()
        x = mixture.sample(n, 0, process, process.t_max)
        return process, mixture.denoiser(process), x, 1.0
    _check_name(run)
    from sdekit.models import open_model

    opened = open_model(run, device=device, trust=trust)
    model, process, y = opened.model, opened.model.sde, opened.examples(n)

    def denoise(x: "Tensor", t: "Tensor") -> "Tensor":
        result: Tensor = model(x, t, None if y is None else y.to(x.device))
        return result

    x = process.prior(SeedNoise(range(n), opened.shape, device=device)())
    return process, denoise, x, opened.data_std


def _show(found: "list[Measurement]", budgets: list[int]) -> None:
    """One row a method, one column a number of calls; the best of each column is bold."""
    from sdekit.evaluation import best_by_budget

    least = best_by_budget(found)
    table = Table("solver", "grid", *(str(budget) for budget in budgets), box=None)
    for pair in dict.fromkeys((one.sampler, one.grid) for one in found):
        row = {one.nfe: one for one in found if (one.sampler, one.grid) == pair}
        cells = ["-" if (e := row[budget].error) is None else f"{e:.2g}" for budget in budgets]
        bold = [least.get(budget) is row[budget] for budget in budgets]
        table.add_row(
            *map(escape, pair), *(f"[bold]{cell}[/]" if b else cell for cell, b in zip(cells, bold, strict=True))
        )
    show_table(table)
