"""SDEdit: how much of the edited image remains, on every process and every grid."""

from __future__ import annotations

import pytest
import torch

from sdekit import EDM, VP, GaussianMixture, RectifiedFlow, registry
from sdekit.errors import InputError
from sdekit.processes import SDE, TruncatedSDE, as_time, same_process
from sdekit.sampling import edit, sample, time_of_strength

GENERATOR = torch.Generator().manual_seed(0)
MIXTURE = GaussianMixture(torch.randn(3, 6, generator=GENERATOR, dtype=torch.float64), 0.3)
START = MIXTURE.means[1]
each_process = pytest.mark.parametrize("sde", [VP(), EDM(), RectifiedFlow()], ids=lambda sde: type(sde).__name__)


@each_process
def test_a_strength_means_the_same_on_every_process(sde: SDE) -> None:
    """Little noise keeps the image, full noise keeps nothing of it; a sample depends on its seed alone."""
    assert float(sde.rho(time_of_strength(sde, 0.5, data_std=2.0))) == pytest.approx(2.0)
    assert time_of_strength(sde, 1.0) == sde.t_max
    denoise = MIXTURE.denoiser(sde)
    near = edit(sde, denoise, START, time_of_strength(sde, 0.1), seeds=range(4), steps=8).x
    far = edit(sde, denoise, START, time_of_strength(sde, 1.0), seeds=range(16), nfe=8)
    assert (near - START).square().mean().sqrt() < 0.5 < (far.x - START).square().mean().sqrt()
    assert far.nfe == 8
    whole = edit(sde, denoise, START, time_of_strength(sde, 0.5), seeds=range(4), steps=5, sampler="ddpm").x
    alone = edit(sde, denoise, START, time_of_strength(sde, 0.5), seeds=[3], steps=5, sampler="ddpm").x
    torch.testing.assert_close(alone[0], whole[3])


@each_process
def test_a_shorter_process_is_the_same_up_to_there(sde: SDE) -> None:
    """Every grid starts at the end of a truncated process, whose denoiser is that of the whole process."""
    t = time_of_strength(sde, 0.5)
    until = TruncatedSDE(sde, float(t))
    for name in registry.component_names("grid"):
        times = registry.build("grid", name)(until, 6)
        assert times[0] == t and times[-1] >= sde.t_min and bool((times.diff() < 0).all()), name
    assert same_process(sde, until) and not same_process(until, sde)
    u = as_time(0.4 * float(t))
    assert (until.alpha(u), until.f(u), until.g(u), until.time(u)) == (sde.alpha(u), sde.f(u), sde.g(u), sde.time(u))


@each_process
def test_adaptive_solvers_start_there_too(sde: SDE) -> None:
    """From t_max, `ode` ends at the same x_0 as from the prior."""
    found = edit(sde, MIXTURE.denoiser(sde), 0 * START, as_time(sde.t_max), seeds=range(3), sampler="ode").x
    drawn = sample(sde, MIXTURE.denoiser(sde), "ode", shape=(6,), n=3)
    torch.testing.assert_close(found, drawn.x)


def test_refusals() -> None:
    denoise = MIXTURE.denoiser(VP())
    with pytest.raises(InputError, match="above 0 and at most 1, got 0"):
        time_of_strength(VP(), 0.0)
    with pytest.raises(InputError, match="t must be above"):
        edit(VP(), denoise, START, as_time(2.0))
    with pytest.raises(InputError, match="steps must be at least 1"):
        edit(VP(), denoise, START, as_time(0.5), steps=0)
