"""`sdekit sample`."""

from sdekit_cli.sampling.sampling_options import SamplingOptions, sampling_command
from sdekit_cli.sampling.session import SamplingSession
from sdekit_cli.sampling.tuned_times import find_tuned_times, tuned_arguments, tuned_record


@sampling_command
def sample(asked: SamplingOptions) -> None:
    """Draw samples from a trained run with any solver.

    Writes samples.npy (in the data's units), sample.json (how they were made), and pictures: grid.png and images/ for
    images, scatter.png for 2-D data. Sample i depends on seed i alone. Without --solver it is auto for --steps or
    --nfe, else ode. A solver's options: sdekit plugins show ode

    Examples:

      sdekit sample run --out samples

      sdekit sample run --nfe 10 --out quick

      sdekit sample run --solver ddpm --steps 500 -n 16 --out ddpm

      sdekit sample run --label 7 --guidance cfg:scale=2 --guidance interval:from=0.2,to=5 --out sevens

      sdekit sample run --solver ode --option method=rk4 --nfe 41 --seeds 0-99 --out rk4
    """
    session = SamplingSession(asked, n=64, solver=None)
    session.open()
    sampler, solver = session.sampler, session.solver
    plain = asked.grid is None and not session.guidance
    tuned = find_tuned_times(session.run, solver, sampler, asked.steps, asked.nfe, quiet=asked.json) if plain else None
    drawn = session.draw(sampler, name=solver, **({} if tuned is None else tuned_arguments(session.run, tuned)))
    if drawn is None:  # of several processes the first one writes
        return

    record = {**session.solving, "tuned": tuned_record(tuned)}
    how = solver if tuned is None else f"{solver}, tuned (--grid {sampler.default_grid}: untuned)"
    record |= {} if tuned is None else {"grid": "tuned"}
    session.finish(drawn, record, f"samples with {how}", keys=("solver", "grid", "steps", "nfe", "n", "seconds"))
