"""Comparison of samplers: correct errors, the best sampler, and names."""

import math

import pytest
import torch

from sdekit import VP, registry, sample
from sdekit.distributions import GaussianMixture
from sdekit.errors import InputError, SdekitError
from sdekit.evaluation import (
    Measurement,
    as_report,
    average_error,
    best_by_budget,
    exact_solution,
    measure_errors,
    plot_errors,
    recommended_pair,
    ring_mixture,
    sampler_grid_pairs,
)


def one(sampler: str, nfe: int, error: float | None) -> Measurement:
    """A measurement on some grid."""
    return Measurement(sampler, "g", nfe, nfe, error, 0.0)


def test_exact_and_measured_on_a_gaussian() -> None:
    """For N(0, s^2) the flow is x_0 = s x_T / std(x_T); the measured error is that of the sampler's own samples."""
    sde, s = VP(), 0.5
    denoise = GaussianMixture(torch.zeros(1, 3), s).denoiser(sde)
    x = torch.randn(20, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    t = torch.tensor(sde.t_max, dtype=torch.float64)
    truth = s * x / ((sde.alpha(t) * s) ** 2 + sde.sigma(t) ** 2).sqrt()
    torch.testing.assert_close(exact_solution(sde, denoise, x), truth, atol=1e-5, rtol=0)
    found = list(measure_errors(sde, denoise, x, truth, [("ddim", "karras"), ("heun", "karras")], [1, 8]))
    assert [(m.sampler, m.nfe, m.calls) for m in found] == [
        ("ddim", 1, 1), ("ddim", 8, 8), ("heun", 1, 0), ("heun", 8, 7),  # Heun needs 3 calls
    ]  # fmt: skip
    # one call alone: the denoiser at t_max, s^2 alpha x / var(x_T)
    alone = s**2 * sde.alpha(t) * x / ((sde.alpha(t) * s) ** 2 + sde.sigma(t) ** 2)
    assert found[0].error == pytest.approx(float((alone - truth).square().mean().sqrt()))
    assert found[1].error is not None and 0 < found[1].error < 0.3


def test_the_standard_deviation_is_passed_on() -> None:
    """`auto` and its grid measure rho in units of data_std, which is more accurate on small data."""
    sde, errors = VP(), {}
    small = GaussianMixture(ring_mixture().means / 10, 0.014)
    x = small.sample(50, 0, sde, sde.t_max)
    truth = exact_solution(sde, small.denoiser(sde), x)
    for data_std in (0.1, 1.0):
        (found,) = measure_errors(sde, small.denoiser(sde), x, truth, [("auto", "auto")], [15], data_std=data_std)
        errors[data_std] = found.error or math.inf
    told = sample(
        sde, small.denoiser(sde), registry.build("sampler", "auto", data_std=0.1), shape=(2,), x=x, nfe=15,
        dtype=torch.float64,
    )  # fmt: skip
    assert errors[0.1] == pytest.approx(float((told.x - truth).square().mean().sqrt()))
    assert errors[0.1] < 0.6 * errors[1.0]


def test_averages_over_starts() -> None:
    """One start of ten that is far off changes the root mean square, but neither the median nor the trimmed mean."""
    truth, x0 = torch.zeros(10, 4), torch.zeros(10, 4)
    x0 += torch.arange(1, 11)[:, None]
    average = average_error(x0, truth)
    assert average["median"] == 5.5 and average["trimmed"] == 5.5
    assert average["rms"] == pytest.approx(math.sqrt(38.5))
    x0[9] = 1000.0
    far = average_error(x0, truth)
    assert far["rms"] > 300 and (far["median"], far["trimmed"]) == (5.5, 5.5)
    assert average_error(x0[9:], truth[9:]) == {"rms": 1000.0, "median": 1000.0, "trimmed": 1000.0}


def test_best_and_recommended() -> None:
    """The best sampler of each budget is found; the recommended one has the least mean log ratio and never failed."""
    found = [one("a", 5, 1.0), one("a", 10, 0.1), one("b", 5, 0.9), one("b", 10, 0.9), one("c", 5, None),
             one("c", 10, 0.09)]  # fmt: skip
    assert {n: m.sampler for n, m in best_by_budget(found).items()} == {5: "b", 10: "c"}
    assert recommended_pair(found) == ("a", "g")
    told = as_report(found)
    assert told["recommended"] == {"sampler": "a", "grid": "g"} and told["best"]["10"]["error"] == 0.09
    assert len(told["measurements"]) == 6
    with pytest.raises(SdekitError, match="no sampler gave a finite result"):
        recommended_pair([one("a", 5, None)])


def test_methods() -> None:
    """The default is every deterministic sampler on its own grid; samplers without an error are refused."""
    own = dict(sampler_grid_pairs())
    assert own["auto"] == "auto" and own["ddim"] == "karras" and not {"ddpm", "ode"} & own.keys()
    assert sampler_grid_pairs(["ddim"], ["uniform", "karras"]) == [("ddim", "uniform"), ("ddim", "karras")]
    assert [grid for _, grid in sampler_grid_pairs(["ddim"], ["all"])] == registry.component_names("grid")
    for samplers, grids, told in ((["ddpm"], [], "noise"), (["ode"], [], "fixed"), (["ddmi"], [], "ddim"),
                                  (["ddim"], ["karas"], "karras")):  # fmt: skip
        with pytest.raises(InputError, match=told):
            sampler_grid_pairs(samplers, grids)


def test_the_picture_is_a_png() -> None:
    """A plot with a failure and a highlighted sampler is a PNG file."""
    drawn = plot_errors([one("a", 5, 0.5), one("a", 10, None), one("b", 5, None)], lambda sampler, _: sampler == "a")
    assert drawn.startswith(b"\x89PNG")


def test_ring_has_unit_variance() -> None:
    """Each coordinate of the mixture has unit variance."""
    mixture = ring_mixture()
    variance = mixture.means.square().mean() + mixture.variances.mean()
    assert math.isclose(float(variance), 1.0)
