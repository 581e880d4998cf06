"""`sdekit sample`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sdekit_cli.sampling.sampling_options import DEFAULT_SOLVER, SamplingOptions, sampling_command
from sdekit_cli.terminal.console import note, quoted

if TYPE_CHECKING:
    from sdekit.tuning import Tuned
    from sdekit_cli.sampling.session import SamplingSession

TUNED_RECORD = ("calls", "starts", "untuned", "tuned")
"""Fields of a tuning result in the record: what it was fitted with, and its gain."""


@sampling_command(n="64, of texts 4", solver=DEFAULT_SOLVER)
def sample(options: SamplingOptions) -> None:
    """Draw samples from a trained run with any solver.

    Writes samples.npy (in the units of the data), sample.json (how they were drawn), and pictures: grid.png and images/
    for images, scatter.png for 2-D data. Sample i depends on seed i only. The default solver is auto, with 30 network
    evaluations. To show the options of a solver: sdekit plugins show auto

    Examples:

      sdekit sample run --out samples

      sdekit sample run --nfe 10 --out quick

      sdekit sample run --solver ddpm --steps 500 -n 16 --out ddpm

      sdekit sample run --label 7 --guidance cfg:scale=2 --guidance interval:from=0.2,to=5 --out sevens

      sdekit sample run --solver ode --option method=rk4 --nfe 41 --seeds 0-99 --out rk4
    """
    from sdekit_cli.sampling.sample_results import write_samples
    from sdekit_cli.sampling.session import SamplingSession

    session = SamplingSession(options, n=64, solver=DEFAULT_SOLVER)
    session.open()
    sampler, solver = session.sampler, session.solver
    tuned = _find_tuned(session)
    if tuned is None:
        samples = session.draw(sampler, name=solver)
    else:
        times = tuned.times(session.opened.model.sde)
        samples = session.draw(sampler, name=solver, guidance=tuned.guidance, steps=None, nfe=None, grid=times)
    if samples is None:  # only the first of several processes writes
        return
    record = {**session.solver_record, "tuned": None}
    if tuned is not None:
        record |= {"tuned": {name: getattr(tuned, name) for name in TUNED_RECORD}, "grid": "tuned"}
    method = solver if tuned is None else f"{solver}, tuned (--grid {sampler.default_grid}: untuned)"
    write_samples(
        session, samples, record, f"samples with {method}", keys=("solver", "grid", "steps", "nfe", "n", "seconds")
    )


def _find_tuned(session: SamplingSession) -> Tuned | None:
    """Find the times that `sdekit tune` has stored in the run folder for this solver and number of evaluations.

    A grid or guidance of the user's choice takes precedence over them.
    """
    if session.grid is not None or session.guidance:
        return None
    from sdekit.tuning import find_tuned_for

    options, run = session.options, session.opened.path
    tuned, reason = find_tuned_for(run, session.solver, session.sampler, steps=options.steps, nfe=options.nfe)
    if reason and not options.json:
        note("[yellow]not using the tuned times:[/] {}; sdekit tune {} tunes again", reason, quoted(run))
    return tuned
