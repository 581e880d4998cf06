"""RePaint: replacement, with each step taken several times over."""

from dataclasses import KW_ONLY, dataclass

from sdekit.inverse import ReplacementSampler


@dataclass(frozen=True)
class RePaint(ReplacementSampler):
    """A step down and the measurement put in place, then noise back up and down again, `repeats` times in all.

    Going up and down brings what was drawn into harmony with what was measured, which `replacement` alone (repeats 1)
    does not; each time costs a call. No derivative of the network. repeats: >= 1. sampler: a registered one-step
    sampler. Source: Lugmayr et al. 2022, Algorithm 1, with jumps of length 1.
    """

    _: KW_ONLY
    repeats: int = 5

    default_steps = 50
