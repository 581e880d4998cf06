"""Section of the evaluation: metrics with intervals and floors, and samples that resemble training items."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError

from sdekit.data.formats import read_npy
from sdekit.errors import InputError
from sdekit.evaluation import Evaluation, Memorization, MetricRow, decoded, evaluate_model
from sdekit.runs import RunFolder, load_fields
from sdekit.training import open_real_data

from .blocks import Block, Details, Facts, Image, Section, Statement, Table, Text
from .item_pictures import items_block
from .samples_section import DrawnSamples
from .subject import Subject

QUICK = {
    "image": ("energy", "sliced-w2", "classifier-test"),
    "volume": ("energy", "sliced-w2", "classifier-test"),
    "sequence": ("energy", "sliced-w2", "classifier-test", "power-spectrum"),
    "vector": ("energy", "sliced-w2", "classifier-test", "ks", "correlations"),
}
"""Metrics that the report measures itself, by kind of data."""
FILE = "evaluation.json"
MOST_BYTES = 2**31
"""Largest size of the samples of an evaluation, in bytes."""
LIKE = 3.0
"""Largest ratio of a value to its floor that counts as near the floor."""
MOST_PAIRS, MOST_NUMBERS = 8, 12
"""Largest number of pairs of a sample and a training item, and of numbers of a vector in such a pair."""
HIDDEN = ("versions", "extractor", "seeds", "times", "plugins", "options")
"""Entries of the protocol that the page does not list."""


@dataclass(frozen=True, kw_only=True)
class EvaluationPart:
    """An evaluation and its origin.

    Arguments:
        evaluation: The evaluation.
        origin: Sentence about where the numbers come from.
        samples: Samples (n, *item) that were evaluated, in the units of the data, or None if they are not known.
        is_quick: Whether the report itself measured the numbers.
    """

    evaluation: Evaluation
    origin: str
    samples: np.ndarray | None = None
    is_quick: bool = False


def recorded_evaluation(subject: Subject) -> EvaluationPart | str:
    """Read the evaluation of a run folder.

    Arguments:
        subject: The model.
    Returns:
        The evaluation; a sentence if it is of other weights or cannot be read; an empty text if there is none.
    """
    file = RunFolder(subject.opened.path).evaluation / FILE
    if subject.recipe is None or not file.is_file():
        return ""
    try:
        fields = load_fields(file)
        evaluation = Evaluation(
            rows=TypeAdapter(tuple[MetricRow, ...]).validate_python(fields.get("metrics")),
            memorization=TypeAdapter(Memorization | None).validate_python(fields.get("memorization")),
            columns=TypeAdapter(dict[str, dict[str, float]]).validate_python(fields.get("columns") or {}),
            warnings=TypeAdapter(tuple[str, ...]).validate_python(fields.get("warnings") or ()),
            protocol=TypeAdapter(dict[str, Any]).validate_python(fields.get("protocol") or {}),
        )
    except (OSError, ValueError, ValidationError):
        return f"{file} cannot be read, so its numbers are not shown."
    step = evaluation.protocol.get("run_step")
    if step is not None and step != subject.opened.step:
        return f"The evaluation in {file} is of step {step}, so its numbers are not shown."
    origin = f"Numbers of sdekit evaluate, from {file}."
    return EvaluationPart(evaluation=evaluation, origin=origin, samples=_recorded_samples(subject, file.parent))


def _recorded_samples(subject: Subject, folder: Path) -> np.ndarray | None:
    """Read the samples of the evaluation of a run folder, or return None if they are missing or of another shape."""
    file = folder / "samples.npy"
    if not file.is_file():
        return None
    try:
        samples = np.asarray(read_npy(str(file), str(file), most_bytes=MOST_BYTES), np.float32)
    except InputError:
        return None
    expected = subject.opened.units.to_data(torch.zeros(1, *subject.opened.data_shape)).shape[1:]
    return samples if samples.shape[1:] == expected else None


def measured_evaluation(
    subject: Subject, drawn: DrawnSamples, progress: Callable[[str], None], *, note: str = ""
) -> EvaluationPart | str:
    """Evaluate the samples of the report by a few metrics.

    Arguments:
        subject: The model and its data.
        drawn: The samples.
        progress: Function that receives the name of each part of the work.
        note: Sentence about a recorded evaluation that is not used, or empty.
    Returns:
        The evaluation, or the reason why there is none.
    """
    if subject.data is None:
        return subject.missing_data
    try:
        real = open_real_data(
            subject.opened, None if subject.own_data else subject.data_spec, subject.data_options or None
        )
        evaluation = evaluate_model(
            subject.opened,
            decoded(subject.opened, drawn.x),
            real,
            metrics=_quick_metrics(subject),
            protocol={"solver": drawn.solver, "network_evaluations": drawn.nfe, "run_step": subject.opened.step},
            on_progress=lambda title: progress(f"evaluating: {title}"),
        )
    except InputError as error:
        return f"The samples were not evaluated: {error}."
    origin = "A quick evaluation of the samples of this report. sdekit evaluate measures more, with more samples."
    origin = f"{note} {origin}".strip()
    return EvaluationPart(evaluation=evaluation, origin=origin, samples=drawn.items, is_quick=True)


def _quick_metrics(subject: Subject) -> tuple[str, ...]:
    """Return the metrics for the kind of data; one column has no correlations."""
    names = QUICK.get(subject.opened.kind, QUICK["vector"])
    return tuple(name for name in names if name != "correlations" or subject.opened.data_shape[0] > 1)


def evaluation_section(subject: Subject, part: EvaluationPart | str) -> Section | None:
    """Show an evaluation.

    Arguments:
        subject: The model.
        part: The evaluation, or the reason why there is none.
    Returns:
        The section, or None without an evaluation and without a reason.
    """
    if isinstance(part, str):
        return Section(name="evaluation", title="Evaluation", blocks=(Text(text=part),)) if part else None
    evaluation, blocks = part.evaluation, [Text(text=f"{part.origin} {EXPLANATION}"), metric_table(part.evaluation)]
    shown: list[Block] = [*blocks, *(Text(text=_sentence(w), warning=True) for w in evaluation.warnings)]
    if evaluation.columns:
        shown.append(_column_table(evaluation))
    if evaluation.memorization is not None:
        shown += _memorization_blocks(subject, evaluation.memorization, part.samples)
    protocol = tuple((k.replace("_", " "), _value(v)) for k, v in evaluation.protocol.items() if k not in HIDDEN)
    shown.append(Details(title="Protocol of the evaluation", blocks=(Facts(rows=protocol),)))
    return Section(name="evaluation", title="Evaluation", blocks=tuple(shown))


EXPLANATION = (
    "The interval contains the value for other samples of the same number with a probability of 95%. The floor is the "
    "range of values of real data against other real data, which a perfect model reaches."
)


def metric_table(evaluation: Evaluation) -> Table:
    """Return the table of metrics, with intervals and floors.

    Arguments:
        evaluation: The evaluation.
    Returns:
        One row for each metric.
    """
    marks = {True: "at the floor", False: "above the floor", None: "no floor"}
    rows = []
    for row in evaluation.rows:
        floor = "–"
        if row.floor_low is not None and row.floor_high is not None:
            floor = f"{_number(row.floor_low)} to {_number(row.floor_high)}"
        better = row.better if isinstance(row.better, str) else f"{row.better:g} is best"
        mark = marks[row.at_floor] if row.better == "lower" or row.at_floor is not False else "not at the floor"
        interval = f"{_number(row.low)} to {_number(row.high)}"
        unit = f" [{row.unit}]" if row.unit else ""
        rows.append((f"{row.title}{unit}", _number(row.value), interval, floor, mark, better))
    header = ("metric", "value", "95% interval", "floor: real against real", "result", "better")
    return Table(header=header, rows=tuple(rows))


def _number(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {_value(v)}" for k, v in value.items())
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"


def _column_table(evaluation: Evaluation) -> Table:
    """Return the Kolmogorov-Smirnov statistic of each column."""
    rows = sorted(evaluation.columns.items(), key=lambda item: -item[1].get("ks", 0.0))[:40]
    names = list(dict.fromkeys(name for _, values in rows for name in values))
    titles = tuple("KS statistic" if name == "ks" else name.replace("_", " ") for name in names)
    cells = tuple((column, *(_number(values.get(name, float("nan"))) for name in names)) for column, values in rows)
    return Table(header=("column", *titles), rows=cells, caption="Columns, the least similar ones first")


def _memorization_blocks(subject: Subject, found: Memorization, samples: np.ndarray | None) -> list[Block]:
    """Describe how near the samples are to training items, and show the nearest pairs."""
    text = (
        f"{found.copies:.1%} of the samples are copies of training items "
        f"({found.copies_low:.1%} to {found.copies_high:.1%}); of {found.compared_with} {found.real_copies:.1%} are. "
        f"A sample is nearer to the training items than {found.compared_with} with a probability of "
        f"{found.nearer:.2f} ({found.nearer_low:.2f} to {found.nearer_high:.2f}); 0.5 means no memorization, and 1 "
        "means that all samples are copies."
    )
    blocks: list[Block] = [Text(text=text, warning=found.flagged)]
    pairs = found.pairs[:MOST_PAIRS]
    if samples is None or not pairs or subject.data is None or not subject.own_data:
        return blocks
    items = [pair.item for pair in pairs]
    if max(items) >= len(subject.data) or max(pair.sample for pair in pairs) >= len(samples):
        return blocks
    data = subject.data.units.to_data(subject.data.batch(items).x)
    drawn = samples[[pair.sample for pair in pairs]]
    title = "The samples nearest to a training item"
    if not subject.is_vector:
        picture = _pair_picture(subject, drawn, data, pairs=len(pairs))
        return [*blocks, Details(title=title, blocks=(picture,))]
    return [*blocks, Details(title=title, blocks=(_pair_table(subject, drawn, data, found),))]


def _pair_picture(subject: Subject, drawn: np.ndarray, data: np.ndarray, *, pairs: int) -> Image:
    """Return samples above their nearest training items."""
    alt = f"{pairs} samples, and below each one the training item that is nearest to it"
    items = np.concatenate([drawn, data])
    caption = "Top: samples. Bottom: the training item that is nearest to each of them."
    return items_block(items, subject.opened, subject.opened.units, alt, caption, columns=pairs)


def _pair_table(subject: Subject, drawn: np.ndarray, data: np.ndarray, found: Memorization) -> Table:
    """Return samples and their nearest training items as rows of numbers."""
    names = subject.columns[:MOST_NUMBERS]
    rows: list[tuple[str, ...]] = []
    for pair, sample, item in zip(found.pairs, drawn, data, strict=False):
        for title, numbers in ((f"sample {pair.sample}", sample), (f"training item {pair.item}", item)):
            distance = f"{pair.distance:.3g}" if numbers is sample else ""
            rows.append((title, *(f"{value:.4g}" for value in numbers[: len(names)]), distance))
    return Table(header=("", *names, "distance"), rows=tuple(rows))


def evaluation_statements(part: EvaluationPart | str) -> list[Statement]:
    """Return the statements of the verdict about the samples.

    Arguments:
        part: The evaluation, or the reason why there is none.
    Returns:
        A statement about the distance of samples to data, and one about copies, as far as both are known.
    """
    if isinstance(part, str) or not part.evaluation.rows:
        return [Statement(title="Not evaluated", text=part if isinstance(part, str) else "", level="unknown")]
    rows, statements = part.evaluation.rows, []
    row = next((row for row in rows if row.metric == "energy"), rows[0])
    numbers = f"{_sentence(row.title)[:-1]} {_number(row.value)} ({_number(row.low)} to {_number(row.high)})"
    known = [other.at_floor for other in rows if other.at_floor is not None]
    if row.at_floor is None or row.floor_high is None:
        statements.append(Statement(title="Distance to the data", text=f"{numbers}; no floor.", level="unknown"))
    else:
        count = f"{sum(known)} of {len(known)} metrics are at the floor" if len(known) > 1 else ""
        floor = f"real data against real data: up to {_number(row.floor_high)}"
        text = f"{numbers}; {floor}. {f'{count}.' if count else ''}".strip()
        near = row.at_floor or _near_floor(row)
        title = (
            "Samples like the data" if all(known) else "Samples near the data" if near else "Samples unlike the data"
        )
        statements.append(Statement(title=title, text=text, level="good" if all(known) else "fair" if near else "bad"))
    if (found := part.evaluation.memorization) is not None:
        text = f"{found.copies:.1%} of the samples are copies; of {found.compared_with} {found.real_copies:.1%} are."
        title = "Copies training items" if found.flagged else "No copies of training items"
        statements.append(Statement(title=title, text=text, level="bad" if found.flagged else "good"))
    return statements


def _near_floor(row: MetricRow) -> bool:
    """Return whether a value is within a few times its floor."""
    return row.floor_high is not None and row.better == "lower" and row.value <= LIKE * max(row.floor_high, 0.0)
