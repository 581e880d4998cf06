"""Table of an evaluation for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from sdekit_cli.terminal.console import note, show_table

if TYPE_CHECKING:
    from sdekit.evaluation import Difference, Evaluation, Memorization, MetricRow


def show_evaluation(evaluation: Evaluation, *, against: str | None = None) -> None:
    """Print the metrics with intervals and floors, the check for memorization, and warnings.

    Arguments:
        evaluation: The evaluation.
        against: Name of the other model or solver, if two were compared.
    """
    protocol = evaluation.protocol
    rounded = ", samples rounded like the data" if protocol.get("rounded_like_data") else ""
    note("{} samples against {} {}{}", protocol["n"], protocol["reference_n"], protocol["reference"], rounded)
    table = Table(
        "metric", "better", "value", "95% interval", "perfect models", "verdict", box=None, header_style="bold"
    )
    for row in evaluation.rows:
        table.add_row(*_cells(row))
    show_table(table)
    if evaluation.differences:
        table = Table("metric", "this", escape(against or "other"), "difference", "95% interval", box=None)
        for difference in evaluation.differences:
            table.add_row(*_difference_cells(difference))
        show_table(table)
    if evaluation.memorization is not None:
        note("{}", _sentence(evaluation.memorization))
    for warning in evaluation.warnings:
        note("[yellow]warning:[/] {}", warning)


def number(value: float) -> str:
    """Write a number with at most three significant digits and at most four decimals."""
    return f"{value:.3g}" if abs(value) >= 1e-3 or not value else f"{value:.1e}"


def _cells(row: MetricRow) -> tuple[str, ...]:
    """Return the cells of a metric."""
    better = row.better if isinstance(row.better, str) else f"{row.better:g}"
    floor = "-"
    if row.floor_low is not None and row.floor_high is not None:
        floor = f"{number(row.floor_low)} to {number(row.floor_high)}"
    verdict = {True: "[green]as real[/]", False: "[yellow]worse[/]", None: ""}[row.at_floor]
    return escape(row.title), better, number(row.value), f"{number(row.low)} to {number(row.high)}", floor, verdict


def _difference_cells(difference: Difference) -> tuple[str, ...]:
    """Return the cells of a paired comparison; the better value is bold."""
    one, other = number(difference.value), number(difference.other)
    return (
        escape(difference.title),
        f"[bold]{one}[/]" if difference.better == "first" else one,
        f"[bold]{other}[/]" if difference.better == "second" else other,
        number(difference.difference),
        f"{number(difference.low)} to {number(difference.high)}",
    )


def _sentence(found: Memorization) -> str:
    """Describe the check for memorization."""
    verdict = "copies found" if found.flagged else "no copies found"
    share = f"{found.copies:.1%} of the samples ({found.copies_low:.1%} to {found.copies_high:.1%})"
    return (
        f"memorization: {verdict}: {share} copy one of {found.training_n} training items, "
        f"and {found.real_copies:.1%} of {found.real_n} {found.compared_with}"
    )
