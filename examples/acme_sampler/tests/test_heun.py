"""The conformance checks of sdekit, one test each, and tests of this method."""

import pytest
from acme_sampler.heun import Heun

from sdekit import VP, GaussianMixture, InputError, registry, sample
from sdekit.verify import checks, verify


@pytest.mark.parametrize("check", checks(Heun(), quick=True), ids=str)
def test_conforms(check):
    """Order, noise, calls, dtypes, ...: a failure reports the measurement and a probable cause."""
    check().raise_on_failure()


@pytest.mark.parametrize("corrections", [0, 2])
def test_other_options_conform(corrections):
    """Every option that changes the method passes the same checks."""
    verify(Heun(corrections=corrections), quick=True).raise_on_failure()


def test_one_step_less_correction_is_ddim():
    """Without corrections it is Euler's method, which is DDIM."""
    sde, mixture = VP(), GaussianMixture([[-1.0], [1.0]], 0.3)
    one, two = (
        sample(sde, mixture.denoiser(sde), sampler, shape=(1,), n=8, steps=10).x
        for sampler in (Heun(corrections=0), "ddim")
    )
    assert (one - two).abs().max() < 1e-4


def test_a_wrong_option():
    """A wrong option raises an error that names the range."""
    with pytest.raises(InputError, match="at least 0, got -1"):
        Heun(corrections=-1)


def test_it_is_registered():
    """`--solver acme-heun` finds this class."""
    assert registry.find_component("sampler", "acme-heun").load() is Heun
