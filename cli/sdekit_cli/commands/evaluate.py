"""`sdekit evaluate`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdekit.errors import InputError
from sdekit_cli.sampling.sampling_options import DEFAULT_SOLVER, SamplingOptions, folder_of_run, sampling_command
from sdekit_cli.terminal.console import json_values, note, print_json

if TYPE_CHECKING:
    from torch import Tensor

    from sdekit.evaluation import Evaluation
    from sdekit.sampling import Samples
    from sdekit_cli.evaluation.evaluated_samples import EvaluationSession

SAMPLES = 1000
"""Number of samples if the user gives neither -n nor --seeds."""
DATA = "data."
"""Start of the options of the data set."""


@sampling_command(folder="evaluation", n="1000", solver=DEFAULT_SOLVER)
def evaluate(
    *,
    data: Annotated[
        str | None,
        typer.Option(metavar="SPEC", help="Real data, such as images:PATH (default: the run's held-out items)."),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME:OPTION=VALUE,...", help="Metric; may be repeated (default: all that fit the data)."),
    ] = None,
    features: Annotated[
        str,
        typer.Option(metavar="NAME:OPTION=VALUE,...", help="Features: raw, classifier:run=FOLDER, ..."),
    ] = "raw",
    samples: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Evaluate samples of `sdekit sample` instead of drawing them.")
    ] = None,
    against: Annotated[
        str | None, typer.Option(metavar="RUN", help="Other model to compare with, on the same seeds.")
    ] = None,
    against_solver: Annotated[
        str | None, typer.Option(metavar="NAME", help="Other solver to compare with, on the same seeds.")
    ] = None,
    training_items: Annotated[
        int, typer.Option(help="Most training items that the check for memorization reads; 0 for no check.")
    ] = 100_000,
    no_rounding: Annotated[
        bool, typer.Option("--no-rounding", help="Do not round samples if the data are whole numbers.")
    ] = False,
    subset_seed: Annotated[int, typer.Option(help="Seed of the random subsets of the data.")] = 0,
    options: SamplingOptions,
) -> None:
    """Compare samples of a model with real data: metrics with intervals and floors, memorization, pictures.

    Draws 1,000 samples, or reads those of --samples. Each metric has a 95% interval, and a floor: the range in which
    95% of perfect models are, measured on real data. Writes evaluation.json, samples.npy, comparison.png and, for
    images, nearest.png (the samples that are most similar to a training item).

    Options of the data set are --option data.NAME=VALUE.

    Examples:

      sdekit evaluate run

      sdekit evaluate run --data images:test --features classifier:run=judge -n 5000

      sdekit evaluate run --nfe 10 --against-solver ddim --out comparison

      sdekit evaluate run --samples samples --metric energy --metric coverage:k=3 --out quick
    """
    from sdekit_cli.evaluation.evaluated_samples import EvaluationSession, read_samples
    from sdekit_cli.evaluation.evaluation_table import show_evaluation
    from sdekit_cli.terminal.progress import progress_bar

    own, of_data = _split_options(options.option or ())
    options = replace(options, option=own, out=options.out or folder_of_run(options.run, "evaluation"))
    if training_items < 0 or subset_seed < 0:
        raise InputError("--training-items and --subset-seed must be at least 0")
    if against is not None and against_solver is not None:
        raise InputError("--against and --against-solver both given: choose one")
    if samples is not None and (against or against_solver):
        raise InputError("--samples evaluates given samples, which cannot be drawn again for --against: choose one")
    session = EvaluationSession(options, n=SAMPLES, data=data, data_options=of_data)
    metrics, (extractor_name, extractor_options) = _parse_metrics(metric), _parse_features(features)
    session.open()

    from sdekit.evaluation import decoded, evaluate_model

    opened, real = session.opened, session.real
    extractor = _build_extractor(extractor_name, extractor_options, session.device, trust=options.trust)
    drawn = None
    if samples is not None:
        x = read_samples(samples, opened)
    else:
        drawn = session.draw(session.sampler, name=session.solver)
        if drawn is None:  # only the first of several processes evaluates
            _draw_other(session, options, against, against_solver)
            return
        x = decoded(opened, drawn.x)
    other = _draw_other(session, options, against, against_solver)
    protocol = _protocol(session, options, drawn, samples, of_data)
    if other is not None:
        protocol["against"] = {"run": against or options.run, "solver": against_solver or session.solver}
    count = len(metrics) if metrics is not None else None
    with progress_bar(quiet=options.json) as bar:
        task = bar.add_task("evaluating", total=count)

        def progress(title: str) -> None:
            bar.update(task, advance=1, description=title)

        evaluation = evaluate_model(
            opened,
            x,
            real,
            metrics=metrics,
            features=extractor,
            against=other,
            seed=subset_seed,
            rounding=not no_rounding,
            most_training=training_items,
            protocol=protocol,
            on_progress=progress,
        )
    _write(session, evaluation, x, drawn)
    if options.json:
        print_json(evaluation.as_dict() | {"seeds": len(session.seeds), "file": str(options.out / "evaluation.json")})
        return
    show_evaluation(evaluation, against=against or against_solver)
    picture = options.out / "comparison.png"
    note("real data beside samples: [bold]{}[/]; all numbers: {}", picture, options.out / "evaluation.json")


def _split_options(texts: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """Split NAME=VALUE into options of solver and grid, and options of the data set without their prefix."""
    own = [text for text in texts if not text.startswith(DATA)]
    return own, tuple(text.removeprefix(DATA) for text in texts if text.startswith(DATA))


def _parse_metrics(texts: list[str] | None) -> dict[str, dict[str, Any]] | None:
    """Parse the values of --metric. Raises InputError for an unknown name or option."""
    from sdekit.registry import component_options, parse_component

    if not texts:
        return None
    chosen = {}
    for text in texts:
        name, assignments = parse_component(text, "metric")
        chosen[name] = component_options("metric", name, assignments)
    return chosen


def _parse_features(text: str) -> tuple[str, dict[str, Any]]:
    """Parse the value of --features. Raises InputError for an unknown name or option."""
    from sdekit.registry import component_options, parse_component

    name, assignments = parse_component(text, "features")
    return name, component_options("features", name, assignments)


def _build_extractor(name: str, options: Mapping[str, Any], device: str, *, trust: bool) -> Any:
    """Build an extractor, with the device and the trust of the command if it has such options."""
    from sdekit.evaluation import as_extractor
    from sdekit.registry import build, find_component, parameters

    known = parameters(find_component("features", name).load())
    own = {key: value for key, value in {"device": device, "trust": trust}.items() if key in known}
    return as_extractor(build("features", name, **(own | dict(options))), name)


def _draw_other(
    session: EvaluationSession, options: SamplingOptions, against: str | None, solver: str | None
) -> Tensor | None:
    """Draw samples of the other model, or with the other solver, in the units of the first model; None without one."""
    from sdekit_cli.evaluation.evaluated_samples import EvaluationSession

    if against is None and solver is None:
        return None
    from sdekit.evaluation import decoded

    changed = replace(options, run=against) if against else replace(options, solver=solver, option=None)
    other = EvaluationSession(changed, n=SAMPLES, data=session.data, data_options=session.data_texts)
    other.open()
    if other.opened.data_shape != session.opened.data_shape:
        raise InputError(
            f"--against {against}: its data have the shape {other.opened.data_shape}, and those of {options.run} the "
            f"shape {session.opened.data_shape}"
        )
    drawn = other.draw(other.sampler, name=f"{against or ''} {other.solver}".strip())
    if drawn is None:
        return None
    units = replace(session.opened.units, layout="same")
    return units.to_model(replace(other.opened.units, layout="same").to_data(decoded(other.opened, drawn.x)))


def _protocol(
    session: EvaluationSession,
    options: SamplingOptions,
    drawn: Samples | None,
    given: Path | None,
    data_options: tuple[str, ...],
) -> dict[str, Any]:
    """Return how the samples were drawn, for the record."""
    from sdekit.registry import option_name, plugin_files

    record: dict[str, Any] = {
        "run": options.run,
        "run_step": session.opened.step,
        "seeds": None if drawn is None else list(session.seeds),
        "data_options": list(data_options),
        "plugins": plugin_files(),
        "device": session.device,
    }
    if drawn is None:
        return record | {"samples": str(given), "seeds": []}
    y = session.y
    return record | {
        **session.solver_record,
        "steps": len(drawn.times),
        "network_evaluations": drawn.nfe,
        "grid": session.grid_name,
        "grid_options": {option_name(name): value for name, value in session.grid_options.items()},
        "guidance": session.guidance_records,
        "noise": session.noise_name,
        "label": options.label,
        "condition": "as in the data" if session.conditions_from_data else options.condition,
        "conditioned": y is not None,
        **session.text_record,
        "sampling_seconds": round(session.seconds, 3),
        "processes": session.processes,
    }


def _write(session: EvaluationSession, evaluation: Evaluation, x: Tensor, drawn: Samples | None) -> None:
    """Write evaluation.json, the pictures, and the samples that were drawn."""
    from sdekit.evaluation import comparison_picture, nearest_picture
    from sdekit.runs import npy_bytes, write_evaluation
    from sdekit.sampling import samples_as_csv

    options, opened, real = session.options, session.opened, session.real
    files = {"comparison.png": comparison_picture(opened, x, real)}
    nearest = nearest_picture(opened, x, real, evaluation.memorization)
    if nearest is not None:
        files["nearest.png"] = nearest
    if drawn is not None:
        data = opened.units.to_data(x)
        files["samples.npy"] = npy_bytes(data)
        if opened.columns:
            files["samples.csv"] = samples_as_csv(opened, data)
    write_evaluation(options.out, json_values(evaluation.as_dict()), files, overwrite=options.overwrite)
