"""Results of `sdekit classify`: probabilities, accuracy and calibration, as a record, a table, a CSV and a picture."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sdekit.errors import InputError

if TYPE_CHECKING:
    from rich.table import Table
    from torch import Tensor

LEAST_IN_BIN = 20
"""Smallest number of items in a bin of the calibration error, which chance alone would make large with fewer."""
MOST_SHOWN = 20
"""Largest number of classes for which the terminal shows the whole confusion matrix."""


@dataclass(frozen=True)
class ClassResults:
    """Predictions for items, from their log-likelihood ratios.

    Arguments:
        names: Names of the classes.
        items: Indices of the items, (n,).
        labels: True classes (n,), or None.
        probabilities: Calibrated probabilities, (n, C).
        uncalibrated: Probabilities at temperature 1, (n, C).
        temperature: Temperature that calibrates the probabilities of further items.
        log_odds: Log-odds of the two most probable classes at temperature 1, (n,).
        log_odds_error: Standard error of these log-odds, (n,).
        evaluations: Network evaluations of each item, (n,).
    """

    names: Sequence[str]
    items: Sequence[int]
    labels: Tensor | None
    probabilities: Tensor
    uncalibrated: Tensor
    temperature: float
    log_odds: Tensor
    log_odds_error: Tensor
    evaluations: Tensor

    @property
    def predicted(self) -> Tensor:
        """The most probable class of each item, (n,)."""
        return self.probabilities.argmax(1)

    @property
    def counts(self) -> Tensor | None:
        """Numbers of items by true and predicted class, (C, C), or None without labels."""
        import torch

        if self.labels is None:
            return None
        size = len(self.names)
        return torch.bincount(self.labels * size + self.predicted, minlength=size**2).view(size, size)

    def record(self) -> dict[str, Any]:
        """Return the JSON-ready facts: accuracy, calibration, confusion matrix."""
        from scipy.stats import binomtest

        from sdekit.likelihood import measure_calibration

        facts: dict[str, Any] = {
            "temperature": self.temperature,
            "evaluations_per_item": float(self.evaluations.double().mean()),
        }
        if self.labels is None or (counts := self.counts) is None:
            return facts
        n, correct = len(self.labels), int(counts.diagonal().sum())
        interval = binomtest(correct, n).proportion_ci(method="wilson")
        accuracy = correct / n
        bins = max(1, min(10, n // LEAST_IN_BIN))
        after, before = (measure_calibration(p, self.labels, bins) for p in (self.probabilities, self.uncalibrated))
        return facts | {
            "accuracy": accuracy,
            "accuracy_error": (accuracy * (1 - accuracy) / n) ** 0.5,
            "accuracy_interval": [float(interval.low), float(interval.high)],
            "calibration_error": after.error,
            "log_loss": after.log_loss,
            "uncalibrated": {"calibration_error": before.error, "log_loss": before.log_loss},
            "reliability": {"confidence": list(after.confidence), "accuracy": list(after.accuracy)},
            "confusion": counts.tolist(),
        }

    def csv(self) -> bytes:
        """Return the table of the items."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        columns = ("item", "label", "predicted", *(f"p_{name}" for name in self.names))
        writer.writerow([*columns, "log_odds", "log_odds_error", "evaluations"])
        labels = [None] * len(self.items) if self.labels is None else self.labels.tolist()
        for row, (item, label) in enumerate(zip(self.items, labels, strict=True)):
            writer.writerow([
                item, "" if label is None else self.names[label], self.names[int(self.predicted[row])],
                *(f"{p:.6g}" for p in self.probabilities[row].tolist()),
                f"{float(self.log_odds[row]):.6g}", f"{float(self.log_odds_error[row]):.4g}",
                int(self.evaluations[row]),
            ])  # fmt: skip
        return text.getvalue().encode()

    def table(self) -> Table:
        """Return the confusion matrix, the most frequent confusions of many classes, or the predicted counts."""
        from rich.table import Table

        counts, size = self.counts, len(self.names)
        if counts is None:
            table = Table("class", "predicted", box=None)
            shares = self.predicted.bincount(minlength=size).tolist()
            for name, count in sorted(zip(self.names, shares, strict=True), key=lambda pair: -pair[1])[:MOST_SHOWN]:
                table.add_row(name, str(count))
            return table
        if size > MOST_SHOWN:
            table = Table("true", "predicted", "items", box=None)
            wrong = counts - counts.diagonal().diag()
            for cell in wrong.flatten().argsort(descending=True, stable=True)[:MOST_SHOWN].tolist():
                if wrong.flatten()[cell]:
                    table.add_row(self.names[cell // size], self.names[cell % size], str(int(wrong.flatten()[cell])))
            return table
        table = Table("true \\ predicted", *self.names, box=None)
        for name, row in zip(self.names, counts.tolist(), strict=True):
            table.add_row(name, *(str(count) if count else "." for count in row))
        return table


def collect_results(rows: Tensor, names: Sequence[str], prior: Tensor, temperature: float | None) -> ClassResults:
    """Turn the rows of `row_columns` into predictions.

    Arguments:
        rows: Numbers (n, columns).
        names: Names of the classes.
        prior: Prior probabilities, (C,).
        temperature: Temperature of the likelihoods. None fits it to the labels; without labels it is then 1.
    Returns:
        The predictions.
    Raises:
        InputError: If the temperature is not above 0.
    """
    import torch

    from sdekit.likelihood import class_probabilities, cross_fitted_temperatures, fit_temperature

    size = len(names)
    found, ratios, errors = rows[:, 1].long(), rows[:, 3 : 3 + size], rows[:, 3 + size :]
    labels = None if bool((found < 0).any()) else found
    log_prior = prior.log()
    each: Tensor | float = 1.0 if temperature is None else temperature
    if labels is not None and temperature is None:
        each = cross_fitted_temperatures(ratios, errors, labels, log_prior)
        temperature = fit_temperature(ratios, errors, labels, log_prior)
    probabilities = class_probabilities(ratios, errors, log_prior, each)
    first, second = probabilities.topk(2, 1).indices.unbind(1)
    pick = torch.arange(len(rows))
    log_odds = (ratios + log_prior)[pick, first] - (ratios + log_prior)[pick, second]
    return ClassResults(
        names=names,
        items=[int(item) for item in rows[:, 0]],
        labels=labels,
        probabilities=probabilities,
        uncalibrated=class_probabilities(ratios, errors, log_prior),
        temperature=1.0 if temperature is None else temperature,
        log_odds=log_odds,
        log_odds_error=(errors[pick, first].square() + errors[pick, second].square()).sqrt(),
        evaluations=rows[:, 2].long(),
    )


def row_columns(classes: int) -> tuple[str, ...]:
    """Return the columns of the rows that the command collects: a log-ratio and its error for each class."""
    ratios = [f"log_ratio_{k}" for k in range(classes)]
    return ("item", "label", "evaluations", *ratios, *(f"error_{k}" for k in range(classes)))


def check_temperature(text: str | None, has_labels: bool, spec: str) -> float | None:
    """Return the number of --temperature, or None if it is to be fitted.

    Arguments:
        text: "fit", a number, or None.
        has_labels: Whether the data have labels.
        spec: The data, for messages.
    Returns:
        The temperature, or None.
    Raises:
        InputError: If it is no positive number, or must be fitted without labels.
    """
    if text is None or text == "fit":
        if text == "fit" and not has_labels:
            raise InputError(
                f"--temperature fit: {spec} has no labels. Fit it to labelled data, whose classify.json contains the "
                "temperature, and give this number"
            )
        return None
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not 0 < number < float("inf"):
        raise InputError(f"--temperature {text}: expected fit or a number above 0")
    return number
