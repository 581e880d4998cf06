"""The report of a model: one HTML file with its data, its training, its samples and its evaluation."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sdekit
from sdekit.errors import InputError, SdekitError
from sdekit.models import OpenedModel
from sdekit.runs import REPORT, check_writable, is_export, is_run, write_or_keep

from .blocks import Page, Section, Statement, Text
from .data_section import data_section
from .evaluation_section import (
    EvaluationPart,
    evaluation_section,
    evaluation_statements,
    measured_evaluation,
    recorded_evaluation,
)
from .model_section import model_section
from .noise_levels_error import measure_noise_levels
from .page import GENERATOR, render
from .provenance import commands_section, environment_section, settings_section
from .samples_section import (
    DEFAULT_NFE,
    DEFAULT_SOLVER,
    DrawnSamples,
    affordable,
    compare_solvers,
    draw_samples,
    samples_section,
)
from .subject import MOST_IMAGES, MOST_ROWS, Subject, gather
from .training_section import training_section
from .verdict import training_statements

EVALUATED_IMAGES = 128
"""Number of images that the report draws and evaluates; fewer are shown."""
HEAD = 2000
"""Number of bytes at the start of a file among which a report states its generator."""


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """Options of a report.

    Arguments:
        data: SPEC of a data set to compare with; None for the data of the training.
        data_options: Options of that data set.
        n: Number of samples; None for 128 images or 1000 vectors, and fewer if they take more than a minute.
        solver: Registered name of the sampler.
        solver_options: Options of the sampler.
        nfe: Number of network evaluations per sample.
        samples: Whether samples are drawn. Without them, the report takes a few seconds.
        quick: Whether the comparison of solvers is left out.
        command: Command that makes this report, which the report shows.
    """

    data: str | None = None
    data_options: Mapping[str, Any] = field(default_factory=dict)
    n: int | None = None
    solver: str = DEFAULT_SOLVER
    solver_options: Mapping[str, Any] = field(default_factory=dict)
    nfe: int = DEFAULT_NFE
    samples: bool = True
    quick: bool = False
    command: str = ""

    def __post_init__(self) -> None:
        for name, value in (("n", self.n), ("nfe", self.nfe)):
            if value is not None and value < 1:
                raise InputError(f"report: {name} must be at least 1, got {value}")


@dataclass(frozen=True, kw_only=True)
class Report:
    """A report that was written.

    Arguments:
        path: The HTML file.
        verdict: Statements at the top of the page.
        size: Size of the file in bytes.
    """

    path: Path
    verdict: tuple[Statement, ...]
    size: int


def default_report_path(opened: OpenedModel) -> Path:
    """Return the path of the report of a model if the user does not choose one.

    Arguments:
        opened: The model.
    Returns:
        `report.html` in the run folder or export; in the working directory for a model in another format.
    """
    return opened.path / REPORT if is_run(opened.path) or is_export(opened.path) else Path(REPORT)


def check_report_path(out: Path) -> None:
    """Check that a report can be written to a path, and that the path is not that of a file of another program.

    Arguments:
        out: Path of the report.
    Raises:
        InputError: If there is a folder, or a file that is not a report of sdekit, or if it cannot be written.
    """
    if out.is_dir():
        raise InputError(f"--out {out} is a folder: name a file, such as {out / REPORT}")
    if out.is_file():
        with out.open("rb") as file:
            head = file.read(HEAD)
        if f'content="{GENERATOR}"'.encode() not in head:
            raise InputError(f"--out {out} exists and is not a report of sdekit: choose another file")
    check_writable(out, "--out")


def write_report(
    opened: OpenedModel,
    out: str | Path | None = None,
    options: ReportOptions | None = None,
    *,
    name: str = "",
    progress: Callable[[str], None] = lambda text: None,
) -> Report:
    """Write the report of a model as one HTML file, which needs no other file, no script and no network.

    Sections for which there are no data are left out: a model of another maker has no training, for example.

    Arguments:
        opened: The model, from `sdekit.open_model`.
        out: File to write; None for `default_report_path`.
        options: Options of the report.
        name: Name of the model in the report; its path by default.
        progress: Function that receives the name of each part of the work when it begins.
    Returns:
        The path, the verdict and the size of the file.
    Raises:
        InputError: If the data do not fit the model, or `out` is not a report.
        SdekitError: If the file cannot be written.
    """
    options = options or ReportOptions()
    path = default_report_path(opened) if out is None else Path(out)
    check_report_path(path)
    name = name or str(opened.path)
    progress("reading the data")
    subject = gather(name, opened, data=options.data, data_options=options.data_options)
    page = _page(subject, options, progress)
    content = render(page).encode()
    write_or_keep(path, content)
    return Report(path=path, verdict=page.verdict, size=len(content))


def _page(subject: Subject, options: ReportOptions, progress: Callable[[str], None]) -> Page:
    """Measure and draw everything that the page shows."""
    progress("measuring the denoiser by noise level")
    errors = measure_noise_levels(subject)
    evaluation, drawn, comparison = recorded_evaluation(subject), None, None
    failure = "No samples were drawn, because the report was made with --no-samples."
    if options.samples:
        n = options.n or _number_of_samples(subject, options, evaluated=not isinstance(evaluation, str))
        progress(f"drawing {n} samples with {options.solver}")
        try:
            drawn = draw_samples(
                subject, n, solver=options.solver, solver_options=options.solver_options, nfe=options.nfe
            )
        except InputError:
            raise
        except SdekitError as error:  # samples that are not finite: the other sections show why
            failure = f"{error}."
    if drawn is not None:
        if isinstance(evaluation, str):
            evaluation = measured_evaluation(subject, drawn, progress, note=evaluation)
        comparison = None if options.quick else compare_solvers(subject, progress)
    progress("drawing the charts")
    sections = (
        data_section(subject),
        model_section(subject),
        training_section(subject, errors),
        _without_samples(failure, options) if drawn is None else samples_section(subject, drawn, comparison),
        evaluation_section(subject, evaluation),
        settings_section(subject),
        environment_section(subject),
        commands_section(subject, options.command, _other_commands(subject, drawn, evaluation)),
    )
    return Page(
        title=subject.spec,
        subtitle=_subtitle(subject),
        verdict=(*training_statements(subject, errors), *evaluation_statements(evaluation)),
        sections=tuple(section for section in sections if section is not None),
        made=f"Made by sdekit {sdekit.__version__} on {datetime.now(UTC):%Y-%m-%d at %H:%M} UTC.",
    )


def _number_of_samples(subject: Subject, options: ReportOptions, *, evaluated: bool) -> int:
    """Return the number of samples to draw; pictures that need no evaluation are only shown."""
    most = MOST_ROWS if subject.is_vector else MOST_IMAGES if evaluated else EVALUATED_IMAGES
    return affordable(subject, most, options.nfe)


def _subtitle(subject: Subject) -> str:
    """Return one line about the model."""
    opened = subject.opened
    size = "x".join(map(str, opened.data_shape))
    step = "" if opened.step is None else f" after {opened.step:,} training steps"
    data = f", trained on {subject.recipe.data.name}" if subject.recipe is not None else ""
    return f"Diffusion model of {opened.kind}s of size {size}{data}{step}."


def _without_samples(reason: str, options: ReportOptions) -> Section:
    """Return the section of the samples if there are none."""
    return Section(name="samples", title="Samples", blocks=(Text(text=reason, warning=options.samples),))


def _other_commands(
    subject: Subject, drawn: DrawnSamples | None, evaluation: EvaluationPart | str
) -> tuple[tuple[str, str], ...]:
    """Return the commands that draw the samples of the report and that evaluate the model."""
    name, rows = shlex.quote(subject.spec), []
    if drawn is not None:
        how = f"--solver {drawn.solver} --nfe {drawn.nfe} -n {len(drawn.items)}"
        rows.append(("Draw samples with the same solver and seeds", f"sdekit sample {name} {how} --out samples"))
    data = f" --data {shlex.quote(subject.data_spec)}" if subject.data_spec and not subject.own_data else ""
    if subject.data is not None and (isinstance(evaluation, str) or evaluation.is_quick):
        rows.append(("Evaluate the model with more samples", f"sdekit evaluate {name}{data}"))
    elif not isinstance(evaluation, str):
        protocol = evaluation.evaluation.protocol
        how = "".join(
            f" {flag} {protocol[key]}"
            for flag, key in (("--solver", "solver"), ("--nfe", "network_evaluations"), ("-n", "n"))
            if protocol.get(key) is not None
        )
        rows.append(("Evaluate the model", f"sdekit evaluate {name}{data}{how}"))
    return tuple(rows)
