"""`sdekit tune`."""

from __future__ import annotations

import time
from dataclasses import asdict
from functools import partial
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdekit.errors import InputError, SdekitError
from sdekit_cli.options.shared_options import (
    PluginFiles,
    check_sample_count,
    load_plugin_files,
    pick_device,
    refuse_export,
)
from sdekit_cli.terminal.console import note, print_json, quoted, show_table

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from sdekit.models import OpenedModel
    from sdekit.tuning import Starts, Tuned

SHORTEST = 1e-3
"""Seconds that are left for tuning if the fine solutions took all the time."""

FIRST_TUNING_SEED = 2**31
"""First seed of the starts used for tuning, far from the seeds of samples."""


def tune(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Run folder of `sdekit train`, or LOADER:PATH.")],
    nfe: Annotated[list[int], typer.Option(help="Number of network evaluations to tune for; may be repeated.")],
    solver: Annotated[str, typer.Option(help="A deterministic solver: auto, heun, ddim, ...")] = "auto",
    option: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="An option of the solver.")] = None,
    n: Annotated[int, typer.Option("-n", help="Number of starts to tune on.")] = 256,
    held_out: Annotated[int, typer.Option(help="Number of other starts to measure on: seeds 0 to N - 1.")] = 256,
    times_only: Annotated[bool, typer.Option("--times-only", help="Do not tune the solver's coefficients.")] = False,
    time_limit: Annotated[
        float, typer.Option(help="Seconds in total; at most a quarter is spent on fine solutions.")
    ] = 600.0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    plugin: PluginFiles = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Fit a solver's time steps and coefficients to one model, for a number of network evaluations.

    Tuning brings samples of few evaluations as close as possible to the model's own fine solution. The result is
    stored in the run folder. `sdekit sample` then uses it for this solver and number of evaluations, unless --grid is
    given. For models in other formats the result is printed only.

    Examples:

      sdekit tune run --nfe 5 --nfe 10

      sdekit tune run --solver heun --nfe 9 --times-only
    """
    from sdekit.registry import component_options, parse_assignments, with_data_std
    from sdekit_cli.options.model_option import open_run
    from sdekit_cli.terminal.progress import progress_bar

    load_plugin_files(plugin, quiet=json)
    if n < 2 or held_out < 1 or not time_limit > 0:
        raise InputError(
            f"-n must be at least 2, --held-out and --time-limit positive: got {n}, {held_out}, {time_limit}"
        )
    check_sample_count("-n", n), check_sample_count("--held-out", held_out)
    refuse_export(Path(run), "tune the run before you export it")
    solver_options = component_options("sampler", solver, parse_assignments(option or ()))

    from sdekit.registry import build
    from sdekit.runs import RunFolder, check_writable, keep_result
    from sdekit.tuning import check_tunable, save_tuned, tune as tune_sampler, weights_digest

    opened = open_run(run, device=pick_device(device), quiet=json)
    sampler = build("sampler", solver, **with_data_std("sampler", solver, solver_options, opened.data_std))
    folder = opened.path if opened.facts["format"] == "run" else None  # sdekit writes into its own folders only
    if folder is not None:
        weights_digest(folder)
        check_writable(RunFolder(folder).tuned(solver, nfe[0]), "the run folder's file")
    sde, model = opened.model.sde, opened.model
    for evaluations in nfe:
        check_tunable(sde, sampler, evaluations)
    results: list[tuple[Tuned, Path | None]] = []
    failures: list[str] = []
    deadline, remaining = time.monotonic() + time_limit, sorted(set(nfe))
    with progress_bar(quiet=json) as bar:
        train, check, test = _solved_starts(opened, n, held_out, device, time_limit / 4, bar)
        if len(train.x) < n and not json:
            note(
                "solved {} of {} starts finely within a quarter of --time-limit {:g}: tuning uses these",
                *(len(train.x), n, time_limit),
            )
        while remaining:
            task = bar.add_task(f"tuning {solver} for {remaining[0]} evaluations", total=None)
            tuned = tune_sampler(
                sde, model, sampler, nfe=remaining[0], train=train, check=check, held_out=test,
                weights=not times_only, time_limit=max(deadline - time.monotonic(), SHORTEST) / len(remaining),
                tick=partial(_advance, bar, task),
            )  # fmt: skip
            saved = folder is not None and tuned.helps
            path = None
            if folder is not None and saved:
                try:
                    path = save_tuned(folder, solver, asdict(sampler), tuned)
                except SdekitError as error:  # the other numbers of evaluations are tuned and printed first
                    content = dumps(_as_json(tuned, None)).encode()
                    failures.append(f"{error}. {keep_result(content, f'{solver}-{tuned.calls}.json')}")
            results.append((tuned, path))
            bar.update(task, total=1, completed=1)
            del remaining[0]
    if json:
        print_json({"run": run, "solver": solver, "tuned": [_as_json(*result) for result in results]})
    else:
        _show(results)
    if failures:
        raise SdekitError("; ".join(failures))
    if json:
        return
    if folder is None:
        note("{} is not a run folder, so nothing was stored: --json prints the times and coefficients", run)
    else:
        _suggest(run, solver, results)


def _advance(bar: Progress, task: TaskID, done: int, total: int) -> None:
    bar.update(task, completed=done, total=total)


def _solved_starts(
    opened: OpenedModel, n: int, held_out: int, device: str, time_limit: float, bar: Progress
) -> list[Starts]:
    """Compute the fine solutions of three sets of starting points: for tuning, for selection and for measurement.

    Each set is as large as the time allows. `sample` starts from the same points for the same seeds. The conditions
    take turns.
    """
    from sdekit.sampling import SeedNoise
    from sdekit.tuning import solve_starts

    sets: list[Starts] = []
    first = FIRST_TUNING_SEED
    for purpose, seed, count in (("tune on", first, n), ("select by", first + n, n), ("measure on", 0, held_out)):
        task = bar.add_task(f"solving starts to {purpose}", total=count)
        x = opened.model.sde.prior(SeedNoise(range(seed, seed + count), opened.shape, device=pick_device(device))())
        y = opened.examples(count)
        y = None if y is None else y.to(x.device)
        share, tick = time_limit * count / (2 * n + held_out), partial(_advance, bar, task)
        sets.append(solve_starts(opened.model.sde, opened.model, x, y, time_limit=share, tick=tick))
    return sets


def _as_json(tuned: Tuned, path: Path | None) -> dict[str, Any]:
    return asdict(tuned) | {"ratio": tuned.ratio, "file": None if path is None else str(path)}


def _show(results: list[tuple[Tuned, Path | None]]) -> None:
    """Print one row for each number of evaluations."""
    from rich.table import Table

    table = Table("calls", "untuned", "tuned", "ratio", box=None)
    for tuned, _ in results:
        ratio = f"{tuned.ratio:.2f}" if tuned.helps else "1, left untuned"
        table.add_row(str(tuned.calls), f"{tuned.untuned:.2g}", f"{tuned.tuned:.2g}", ratio)
    show_table(table)
    starts = results[0][0].starts
    note("root mean square error of x_0 against the fine solution, over {} starts not used for tuning", starts)


def _suggest(run: str, solver: str, results: list[tuple[Tuned, Path | None]]) -> None:
    """Print how to use the results that were stored."""
    stored = [tuned.calls for tuned, path in results if path]
    if len(stored) < len(results):
        note("nothing was stored where tuning did not reduce the error within its time: the solver stays as it was")
    if stored:
        name = "" if solver == "auto" else f"--solver {solver} "
        note("used from now on: [bold]sdekit sample {} {}--nfe {} --out samples[/]", quoted(run), name, stored[0])
