"""What `sdekit tune` has left in a run folder, for `sdekit sample`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sdekit_cli.terminal.console import note, quoted

if TYPE_CHECKING:
    from sdekit.runs import Run
    from sdekit.sampling import Sampler
    from sdekit.tuning import Tuned


def find_tuned_times(
    run: Run, solver: str, sampler: Sampler, steps: int | None, nfe: int | None, *, quiet: bool
) -> Tuned | None:
    """The times and coefficients tuned for this solver and number of calls; says so where they belong to other weights.

    Without steps or nfe: for the sampler's default number of steps.
    """
    from sdekit.tuning import find_tuned

    if sampler.calls_per_step is None or sampler.stochastic:
        return None
    length = (nfe - 1) // sampler.calls_per_step + 1 if nfe else steps or sampler.default_steps
    found, why = find_tuned(run.path, solver, asdict(sampler), (length - 1) * sampler.calls_per_step + 1)
    if why and not quiet:
        note("[yellow]not using what was tuned:[/] {}; sdekit tune {} makes it anew", why, quoted(run.path))
    return found


def tuned_arguments(run: Run, tuned: Tuned) -> dict[str, Any]:
    """What `sdekit.sample` is given of it."""
    return {"steps": None, "nfe": None, "grid": tuned.times(run.model.sde), "guidance": tuned.guidance}


def tuned_record(tuned: Tuned | None) -> dict[str, Any] | None:
    """For the record: the gain on held-out starts."""
    return None if tuned is None else {name: getattr(tuned, name) for name in ("calls", "starts", "untuned", "tuned")}
