"""RePaint: replacement of the measured part, with repeated steps."""

from dataclasses import KW_ONLY, dataclass

from sdekit.inverse import ReplacementSampler


@dataclass(frozen=True)
class RePaint(ReplacementSampler):
    """RePaint: step down, replace the measured part, add the noise again; `repeats` times for each step.

    The repetitions adapt the rest of the sample to the measurement, which a single step (`replacement`) does not. Each
    one costs a network evaluation. No derivative of the network is needed.

    Arguments:
        problem: The inverse problem, with a linear operator.
        sampler: Name of a registered one-step sampler.
        repeats: Number of times that each step is taken, at least 1.
    Raises:
        InputError: If the sampler has no single step, the operator is not linear, or repeats is below 1.
    Source:
        Lugmayr et al. 2022, Algorithm 1, with jumps of length 1.
    """

    _: KW_ONLY
    repeats: int = 5

    default_steps = 50
