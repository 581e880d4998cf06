"""`sdekit tune`."""

import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from sdekit.errors import InputError
from sdekit_cli.options.assignments import component, parse, with_data_std
from sdekit_cli.options.device_option import pick_device
from sdekit_cli.options.plugin_option import PluginFiles, load_plugin_files
from sdekit_cli.options.run_argument import only_trained
from sdekit_cli.options.seed_option import bounded
from sdekit_cli.terminal.console import note, print_json, progress_bar, quoted, show_table

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from sdekit.tuning import Starts, Tuned

UNSEEN = 2**31
"""The first seed of those that tuning looks at: no sample that people ask for starts there."""


def tune(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder of `sdekit train`.")],
    nfe: Annotated[list[int], typer.Option(help="Network calls to tune for; may be repeated.")],
    solver: Annotated[str, typer.Option(help="auto, heun, ddim, ...: any that draws no noise.")] = "auto",
    option: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="An option of the solver.")] = None,
    n: Annotated[int, typer.Option("-n", help="Starts to tune on.")] = 256,
    held_out: Annotated[int, typer.Option(help="Starts to measure on, unseen: seeds 0 to N - 1.")] = 256,
    times_only: Annotated[bool, typer.Option("--times-only", help="Leave the solver's coefficients alone.")] = False,
    time_limit: Annotated[
        float, typer.Option(help="Seconds in all, of which at most a quarter goes into fine solutions.")
    ] = 600.0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    plugin: PluginFiles = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Fit a solver's time steps and coefficients to one model, for a number of network calls.

    Brings the samples of few calls as close as can be to the model's own fine solution. What is found is kept in the
    run folder, and `sdekit sample` uses it from then on for that solver and number of calls; with --grid it does not.

    Examples:

      sdekit tune run --nfe 5 --nfe 10

      sdekit tune run --solver heun --nfe 9 --times-only
    """
    load_plugin_files(plugin, quiet=json)
    if n < 2 or held_out < 1 or not time_limit > 0:
        raise InputError(
            f"-n must be at least 2, --held-out and --time-limit positive: got {n}, {held_out}, {time_limit}"
        )
    bounded("-n", n), bounded("--held-out", held_out)
    only_trained(run, "it is tuned before it is exported")
    of_solver = component("sampler", solver, parse(option or ()))

    from sdekit.registry import build
    from sdekit.runs import load_run
    from sdekit.tuning import check_tunable, save_tuned, tune as fit, weights_digest

    loaded = load_run(run, device=pick_device(device))
    sampler = build("sampler", solver, **with_data_std("sampler", solver, of_solver, loaded.recipe.data_std))
    weights_digest(run)
    sde, model = loaded.model.sde, loaded.model
    for calls in nfe:
        check_tunable(sde, sampler, calls)
    done: list[tuple[Tuned, Path | None]] = []
    deadline, left = time.monotonic() + time_limit, sorted(set(nfe))
    with progress_bar(quiet=json) as bar:
        sets = _sets(loaded, n, held_out, device, time_limit / 4, bar)
        if len(sets[0].x) < n and not json:
            note(
                "finely solved in a quarter of --time-limit {:g}: {} of {} starts to tune on",
                *(time_limit, len(sets[0].x), n),
            )
        while left:
            task = bar.add_task(f"tuning {solver} for {left[0]} calls", total=None)
            found = fit(
                sde, model, sampler, nfe=left[0], train=sets[0], check=sets[1], held_out=sets[2],
                weights=not times_only, time_limit=(deadline - time.monotonic()) / len(left),
                tick=partial(_advance, bar, task),
            )  # fmt: skip
            done.append((found, save_tuned(run, solver, asdict(sampler), found) if found.helps else None))
            bar.update(task, total=1, completed=1)
            del left[0]
    if json:
        print_json({"run": str(run), "solver": solver, "tuned": [_told(*one) for one in done]})
    else:
        _show(run, solver, done)


def _advance(bar: "Progress", task: "TaskID", done: int, total: int) -> None:
    bar.update(task, completed=done, total=total)


def _sets(run: Any, n: int, held_out: int, device: str, time_limit: float, bar: "Progress") -> "list[Starts]":
    """To tune on, to choose by and to measure on, solved finely: of each as many as its share of the time allows.

    The starts that `sample` gives the seeds, with conditions of all kinds.
    """
    from sdekit.sampling import SeedNoise
    from sdekit.tuning import solve_starts

    sets: list[Starts] = []
    for name, first, count in (("tune on", UNSEEN, n), ("choose by", UNSEEN + n, n), ("measure on", 0, held_out)):
        task = bar.add_task(f"solving finely, starts to {name}", total=count)
        seeds = range(first, first + count)
        x = run.model.sde.prior(SeedNoise(seeds, run.recipe.shape, device=pick_device(device))())
        y = run.recipe.examples(count)
        share = time_limit * count / (2 * n + held_out)
        told, tick = None if y is None else y.to(x.device), partial(_advance, bar, task)
        sets.append(solve_starts(run.model.sde, run.model, x, told, time_limit=share, tick=tick))
    return sets


def _told(found: "Tuned", path: Path | None) -> dict[str, Any]:
    """One result as plain values."""
    return asdict(found) | {"ratio": found.ratio, "file": None if path is None else str(path)}


def _show(run: Path, solver: str, done: "list[tuple[Tuned, Path | None]]") -> None:
    """One row a number of calls, then what to do with it."""
    table = Table("calls", "untuned", "tuned", "ratio", box=None)
    for found, path in done:
        told = f"{found.ratio:.2f}" if path else "1, kept untuned"
        table.add_row(str(found.calls), f"{found.untuned:.2g}", f"{found.tuned:.2g}", told)
    show_table(table)
    starts = done[0][0].starts
    note("error of x_0 against the fine solution, root mean square over {} starts that tuning has not seen", starts)
    kept = [found.calls for found, path in done if path]
    if len(kept) < len(done):
        note("where tuning did not help, or had no time to, nothing was stored: the solver stays as it was")
    if kept:
        named = "" if solver == "auto" else f"--solver {solver} "
        note("in use from now on: [bold]sdekit sample {} {}--nfe {} --out samples[/]", quoted(run), named, kept[0])
