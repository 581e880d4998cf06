"""The base class of samplers: traits, the cost of a run, and plugins that use names of an earlier version."""

from dataclasses import dataclass

import pytest
import torch

from sdekit import VP, InputError, Sampler, registry


@dataclass(frozen=True, kw_only=True)
class Traits(Sampler):
    """Overrides traits by a class attribute, a field and a property."""

    order: int = 3
    extra_calls: int = 1

    stochastic = True
    default_noise = "brownian"

    @property
    def calls_per_step(self) -> int:
        return 1 + self.extra_calls


def test_traits_are_attributes_fields_or_properties() -> None:
    sampler, changed = Traits(), Traits(order=2, extra_calls=3)
    assert (sampler.order, sampler.calls_per_step, sampler.stochastic, sampler.default_noise) == (
        3,
        2,
        True,
        "brownian",
    )
    assert (changed.order, changed.calls_per_step) == (2, 4)
    plain = Sampler()
    assert (plain.order, plain.stochastic, plain.calls_per_step, plain.requires_single_sample) == (
        None,
        False,
        1,
        False,
    )
    assert (plain.default_steps, plain.default_grid, plain.grid_options, plain.default_noise) == (
        50,
        "karras",
        {},
        "seed",
    )


@pytest.mark.parametrize("cost", [1, 2, 3])
@pytest.mark.parametrize("extra_calls", [0, 1, 3])
def test_steps_for_is_the_largest_number_of_steps_that_fits(extra_calls: int, cost: int) -> None:
    sampler = Traits(extra_calls=extra_calls)
    least = cost if extra_calls == 0 else cost * (sampler.calls_per_step + 1)
    for nfe in range(least, 40):
        steps = sampler.steps_for(nfe, cost)
        made, more = sampler.evaluations(steps, cost), sampler.evaluations(steps + 1, cost)
        assert made is not None and more is not None and made <= nfe < more
    with pytest.raises(InputError, match=f"nfe must be at least {least} for Traits .*, got {least - 1}"):
        sampler.steps_for(least - 1, cost)


def test_a_method_without_a_fixed_number_of_calls_has_no_cost() -> None:
    ode = registry.build("sampler", "ode")
    assert ode.evaluations(10) is None
    with pytest.raises(InputError, match="ODE has no fixed number of calls per step"):
        ode.steps_for(10)


def test_the_default_grid_has_the_options_of_the_sampler() -> None:
    auto = registry.build("sampler", "auto", data_std=0.5)
    expected = registry.build("grid", "auto", data_std=0.5)(VP(), 5)
    assert torch.equal(auto.build_default_grid()(VP(), 5), expected)


@pytest.mark.parametrize(("old", "new"), [("calls", "calls_per_step"), ("alone", "requires_single_sample")])
def test_names_of_version_0_1_are_an_error(old: str, new: str) -> None:
    """An old plugin is reported when its class is created, not silently run with the defaults."""
    with pytest.raises(TypeError, match=f"Acme: `{old}` is now `{new}`"):
        type("Acme", (Sampler,), {old: 2})
    with pytest.raises(TypeError, match=f"Acme: `{old}` is now `{new}`"):
        type("Acme", (Sampler,), {old: property(lambda self: 2)})
