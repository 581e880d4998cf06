"""Section of the samples: samples beside the data, and a small comparison of solvers and budgets on equal seeds."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sdekit.errors import SdekitError
from sdekit.models import is_label
from sdekit.registry import build, component_names, find_component, parameters
from sdekit.sampling import Sampler, sample

from .blocks import Block, Facts, Figures, Image, Section, Table, Text
from .charts import span
from .item_pictures import items_block, thumbnail, vector_blocks
from .subject import MOST_IMAGES, Subject

SOLVERS = ("auto", "ddim", "heun", "ddpm")
BUDGETS = (5, 10, 20)
"""Solvers and network evaluations of the comparison."""
DEFAULT_SOLVER, DEFAULT_NFE = "auto", 32
CELL_IMAGES, CELL_ROWS = 4, 300
"""Number of samples in a cell of the comparison, of pictures and of vectors."""
LONGEST = 60.0
"""Seconds that the samples may take approximately, and the comparison of solvers too."""
MOST_NUMBERS = 2**22
"""Largest number of numbers in a batch of samples."""


@dataclass(frozen=True, kw_only=True)
class DrawnSamples:
    """Samples for the report.

    Arguments:
        x: Samples in the model's units, (n, *shape).
        items: Samples in the units of the data, (n, *item).
        labels: Name of the class of each sample, or None.
        solver: Registered name of the sampler.
        nfe: Number of network evaluations per sample.
        seconds: Duration.
    """

    x: Tensor
    items: np.ndarray
    labels: list[str] | None
    solver: str
    nfe: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Samples of several solvers with several budgets on the same seeds.

    Arguments:
        cells: Samples by solver and number of network evaluations.
        failures: Sentences about solvers that could not be used.
        complete: Whether all cells were drawn within the time allowed.
    """

    cells: dict[tuple[str, int], DrawnSamples] = field(default_factory=dict)
    failures: tuple[str, ...] = ()
    complete: bool = True


def draw_samples(
    subject: Subject,
    n: int,
    *,
    solver: str = DEFAULT_SOLVER,
    solver_options: Mapping[str, Any] | None = None,
    nfe: int = DEFAULT_NFE,
) -> DrawnSamples:
    """Draw samples with the seeds 0, 1, ..., n - 1.

    Arguments:
        subject: The model.
        n: Number of samples.
        solver: Registered name of the sampler.
        solver_options: Options of the sampler.
        nfe: Number of network evaluations per sample; an adaptive sampler chooses this number itself.
    Returns:
        The samples.
    """
    opened = subject.opened
    options = dict(solver_options or {})
    if "data_std" not in options and "data_std" in parameters(find_component("sampler", solver).load()):
        options["data_std"] = opened.data_std
    sampler: Sampler = build("sampler", solver, **options)
    y = subject.conditions(n)
    began = time.monotonic()
    drawn = sample(
        opened.model.sde,
        opened.model,
        sampler,
        shape=opened.shape,
        n=n,
        nfe=None if sampler.evaluations(2) is None else nfe,
        y=None if y is None else y.to(subject.device),
        batch_size=max(1, min(n, MOST_NUMBERS // math.prod(opened.data_shape))),
        device=subject.device,
    )
    labels = None
    if isinstance(y, Tensor) and is_label(y):
        labels = [subject.class_name(int(label)) for label in y]
    seconds = time.monotonic() - began
    items = opened.to_data(drawn.x)
    return DrawnSamples(x=drawn.x, items=items, labels=labels, solver=solver, nfe=drawn.nfe, seconds=seconds)


@torch.no_grad()
def affordable(subject: Subject, most: int, nfe: int) -> int:
    """Return the number of samples that a report draws: fewer of a model that needs much time for one.

    Arguments:
        subject: The model.
        most: Largest number.
        nfe: Number of network evaluations per sample.
    Returns:
        A number from 1 to `most`; about as many as take a minute.
    """
    opened, n = subject.opened, 4
    x, y = torch.zeros(n, *opened.shape, device=subject.device), subject.conditions(n)
    y = None if y is None else y.to(subject.device)
    seconds = []
    for _ in range(2):  # the first call includes preparations
        began = time.monotonic()
        opened.model(x, opened.model.sde.t_max, y).sum().item()
        seconds.append(time.monotonic() - began)
    return int(min(most, max(n, LONGEST * n / (nfe * max(seconds[-1], 1e-9)))))


def compare_solvers(subject: Subject, report: Callable[[str], None], longest: float = LONGEST) -> Comparison:
    """Draw the same seeds with several solvers and budgets, the small budgets first.

    Arguments:
        subject: The model.
        report: Function that receives the name of the present work.
        longest: Seconds after which no further cell is begun.
    Returns:
        The samples.
    """
    result, failures = Comparison(), dict[str, str]()
    began = time.monotonic()
    n = CELL_ROWS if subject.is_vector else CELL_IMAGES
    for nfe in BUDGETS:
        for solver in (name for name in SOLVERS if name in component_names("sampler") and name not in failures):
            if time.monotonic() - began > longest:
                return replace(result, failures=tuple(failures.values()), complete=False)
            report(f"drawing samples with {solver}, {nfe} network evaluations")
            try:
                result.cells[solver, nfe] = draw_samples(subject, n, solver=solver, nfe=nfe)
            except SdekitError as error:
                failures[solver] = f"{solver}: {error}."
    return replace(result, failures=tuple(failures.values()))


def samples_section(subject: Subject, drawn: DrawnSamples, comparison: Comparison | None) -> Section:
    """Show samples beside the data, and samples by solver and budget.

    Arguments:
        subject: The model.
        drawn: Samples.
        comparison: Samples by solver and budget, or None.
    Returns:
        The section.
    """
    blocks: list[Block] = [Facts(rows=_facts(drawn))]
    items = subject.items()
    if subject.is_vector:
        blocks += vector_blocks("samples", subject.columns, items, drawn.items, subject.opened.columns)
    else:
        blocks.append(Figures(items=tuple(_picture_pair(subject, items, drawn))))
    if comparison is not None and comparison.cells:
        blocks += _comparison_blocks(subject, comparison, items)
    return Section(name="samples", title="Samples", blocks=tuple(blocks))


def _facts(drawn: DrawnSamples) -> tuple[tuple[str, str], ...]:
    per_item = drawn.seconds / max(len(drawn.items), 1)
    return (
        ("samples", f"{len(drawn.items):,}, seeds 0 to {len(drawn.items) - 1}"),
        ("solver", f"{drawn.solver}, {drawn.nfe} network evaluations per sample"),
        ("time", f"{drawn.seconds:.1f} s, {1000 * per_item:.3g} ms per sample"),
    )


def _picture_pair(subject: Subject, items: np.ndarray, drawn: DrawnSamples) -> list[Image]:
    """Return the data and the samples as two pictures of equal layout."""
    opened, units = subject.opened, subject.opened.units
    n = min(MOST_IMAGES, len(drawn.items))
    labels = None if drawn.labels is None else drawn.labels[:n]
    samples = items_block(drawn.items[:n], opened, units, f"{n} samples of the model", "Samples of the model.", labels)
    if subject.data is None or not len(items):
        return [samples]
    chosen = subject.chosen(n) if labels is None else _with_labels(subject, labels)
    data = subject.data.units.to_data(subject.data.batch(chosen).x)
    names = None if labels is None else subject.labels(chosen)
    return [items_block(data, opened, subject.data.units, f"{len(data)} items of the data", "Data.", names), samples]


def _with_labels(subject: Subject, labels: Sequence[str]) -> np.ndarray:
    """Return indices of items of the given classes, one for each label; other items where a class is missing."""
    chosen = subject.chosen(4096)
    names = subject.labels(chosen)
    if names is None:
        return subject.chosen(len(labels))
    used, result = dict[str, int](), []
    for i, label in enumerate(labels):
        same = [index for index, name in zip(chosen, names, strict=True) if name == label] or list(chosen[i : i + 1])
        result.append(same[used.get(label, 0) % len(same)])
        used[label] = used.get(label, 0) + 1
    return np.array(result)


def _comparison_blocks(subject: Subject, comparison: Comparison, items: np.ndarray) -> list[Block]:
    """Return the table of solvers and budgets."""
    d = subject.opened.data_shape[0]
    solvers = list(dict.fromkeys(solver for solver, _ in comparison.cells))
    budgets = list(dict.fromkeys(nfe for _, nfe in comparison.cells))
    if not subject.is_vector or d == 2:
        limits = [span(items[:, i]) if len(items) else (-3.0, 3.0) for i in range(2)] if subject.is_vector else []
        show: Callable[[DrawnSamples], str | Image] = partial(_picture, subject=subject, limits=limits)
        text = "Each cell shows the same seeds."
    elif len(items):
        show = partial(_distance, reference=subject.opened.to_model(items))
        text = "Each cell is the energy distance of samples to the data; smaller is better."
    else:
        return []
    rows = []
    for solver in solvers:
        cells = [comparison.cells.get((solver, nfe)) for nfe in budgets]
        rows.append((solver, *("–" if cell is None else show(cell) for cell in cells)))
    caption = f"Samples by solver and number of network evaluations. {text}"
    header = ("solver", *(f"{nfe} evaluations" for nfe in budgets))
    blocks: list[Block] = [Table(header=header, rows=tuple(rows), caption=caption, numeric=subject.is_vector)]
    if not comparison.complete:
        blocks.append(Text(text="The table ends early, because this model needs much time for a sample."))
    blocks += [Text(text=failure, warning=True) for failure in comparison.failures]
    return blocks


def _picture(cell: DrawnSamples, *, subject: Subject, limits: Sequence[tuple[float, float]]) -> Image:
    png = thumbnail(cell.items, subject.opened.units, subject.opened.kind, limits)
    alt = f"Samples of {cell.solver} with {cell.nfe} network evaluations"
    return Image(png=png, alt=alt, width=132)


def _distance(cell: DrawnSamples, *, reference: Tensor) -> str:
    """Return the energy distance of samples to items of the data, in the model's units."""
    return f"{build('metric', 'energy')(cell.x.cpu(), reference):.3g}"
