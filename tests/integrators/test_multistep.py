"""The coefficients of linear multistep methods: exact integrals on every process, finite where alpha is 0."""

import math
from collections.abc import Callable

import pytest
import torch
from scipy.integrate import quad
from torch import Tensor

from sdekit import registry
from sdekit.distributions import GaussianMixture
from sdekit.errors import InputError
from sdekit.integrators import (
    IntegralForm,
    Variable,
    adams_bashforth,
    check_start,
    data_prediction,
    nodes,
    noise_prediction,
    polynomial_weights,
)
from sdekit.integrators.multistep import weighted_sum
from sdekit.processes import EDM, SDE, VP, FlowCoordinates, RectifiedFlow
from sdekit.sampling import sample

PROCESSES = {name: registry.build("sde", name) for name in registry.component_names("sde")}
each_process = pytest.mark.parametrize("process", PROCESSES)
FORMS: dict[str, Callable[[SDE, Tensor], IntegralForm]] = {"data": data_prediction, "noise": noise_prediction}
each_form = pytest.mark.parametrize("form", FORMS)
VARIABLES: dict[str, Variable] = {
    "log": torch.log,
    "root": lambda rho: rho**0.25,
    "bounded": lambda rho: 1 / (1 + 1 / rho),
}


def no_noise(t: Tensor | None = None, s: Tensor | None = None) -> Tensor:
    """A source of noise that must not be called."""
    raise AssertionError("a deterministic method drew noise")


@each_process
@each_form
@pytest.mark.parametrize("variable", VARIABLES)
@pytest.mark.parametrize("implicit", [False, True])
def test_polynomials_are_integrated(process: str, form: str, variable: str, implicit: bool) -> None:
    """With three known nodes, 1, w and w^2 in the variable integrate to the values of scipy's adaptive quadrature."""
    sde, w = PROCESSES[process], VARIABLES[variable]
    grid = FORMS[form](sde, registry.build("grid", "karras")(sde, 8))
    coefficients, u = polynomial_weights(grid, w, 3, implicit=implicit), nodes(grid.rho, w)
    # the place of an infinite rho is a convention: from the step on where it is no node
    for i in range(3 if grid.rho[0].isinf() else 2, 8):
        known = u[[i + int(implicit) - j for j in range(3)]]
        span = float(known[0] - known[2])
        for power in (0, 1, 2):

            def integrand(c: float, power: int = power, centre: float = float(known[0]), span: float = span) -> float:
                value = float(w(grid.rho_at(torch.tensor(c, dtype=torch.float64))))
                return ((value - centre) / span) ** power

            start, end = grid.c[i : i + 2].tolist()
            exact = quad(integrand, start, end, epsabs=0, epsrel=1e-9, limit=200)[0]
            ours = float(coefficients[i] @ ((known - known[0]) / span) ** power)
            assert math.isclose(ours, exact, rel_tol=1e-7), (i, power)


@pytest.mark.parametrize(
    ("order", "implicit", "row"),
    [
        (1, False, [1]),
        (2, False, [3 / 2, -1 / 2]),
        (3, False, [23 / 12, -16 / 12, 5 / 12]),
        (4, False, [55 / 24, -59 / 24, 37 / 24, -9 / 24]),
        (2, True, [1 / 2, 1 / 2]),
        (3, True, [5 / 12, 8 / 12, -1 / 12]),
        (4, True, [9 / 24, 19 / 24, -5 / 24, 1 / 24]),
    ],
)
def test_equal_steps_are_adams(order: int, implicit: bool, row: list[float]) -> None:
    """With equal steps of rho, a polynomial in rho gives the tables of Adams-Bashforth and Adams-Moulton."""
    sde = EDM()
    form = noise_prediction(sde, torch.linspace(80, 0.5, 9, dtype=torch.float64))
    got = polynomial_weights(form, FlowCoordinates.edm(sde).r_at, order, implicit=implicit)[-1] / form.c.diff()[-1]
    assert torch.allclose(got, torch.tensor(row, dtype=torch.float64), rtol=0, atol=1e-10)


@each_process
@each_form
@pytest.mark.parametrize("variable", VARIABLES)
@pytest.mark.parametrize("grid", registry.component_names("grid"))
def test_finite_and_consistent(process: str, form: str, variable: str, grid: str) -> None:
    """On any grid of 1 to 200 steps all weights are finite and a constant q is integrated exactly."""
    sde = PROCESSES[process]
    for n in (1, 2, 3, 10, 200):
        f = FORMS[form](sde, registry.build("grid", grid)(sde, n))
        for implicit in (False, True):
            w = polynomial_weights(f, VARIABLES[variable], 4, implicit=implicit)
            assert w.isfinite().all()
            # cancellation costs digits, between weights of either sign as between close values of the clock
            tolerance = 1e-11 * w.abs().sum(1) + 1e-15 * f.c[1:]
            assert ((w.sum(1) - f.c.diff()).abs() <= tolerance).all()


@each_process
def test_forms_are_the_flow(process: str) -> None:
    """For a constant x_0 every step is alpha_s x_0 + sigma_s eps, in both forms."""
    sde = PROCESSES[process]
    times = registry.build("grid", "karras")(sde, 6)
    x0, eps = torch.randn(2, 5, 3, dtype=torch.float64)
    x = sde.perturb(x0, times[0], eps)
    for form in FORMS.values():
        f = form(sde, times)
        path = list(f.coefficients(f.c.diff()[:, None]).run(lambda x, t: x0, x, times, no_noise))
        for x_s, s in zip(path, times[1:], strict=True):
            exact = sde.perturb(x0, s, eps)
            assert (x_s - exact).abs().max() < 1e-10 * max(1.0, float(x.abs().max()))


def test_an_empty_corrector_changes_nothing() -> None:
    """Rows of zeros repeat no step; every x of the path has memory of its own."""
    sde = VP()
    times = registry.build("grid", "karras")(sde, 5)
    denoise = GaussianMixture(torch.tensor([[-1.0], [1.0]]), 0.3).denoiser(sde)
    form, x = data_prediction(sde, times), torch.randn(4, 1, dtype=torch.float64)
    w = polynomial_weights(form, torch.log, 2)
    plain = list(form.coefficients(w).run(denoise, x, times, no_noise))
    idle = list(form.coefficients(w, torch.zeros(5, 3, dtype=torch.float64)).run(denoise, x, times, no_noise))
    assert len(plain) == len(idle) == 5 and all(torch.equal(a, b) for a, b in zip(plain, idle, strict=True))
    assert len({v.data_ptr() for v in (x, *plain)}) == 6


def test_corrected_start_keeps_third_order() -> None:
    """On equal steps in r, DDIM's first step limits the order to 2; a corrected start gives 3 without further calls."""
    sde, errors = RectifiedFlow(), {}
    mixture = GaussianMixture(torch.tensor([[-1.0], [1.0]]), torch.tensor([0.8, 0.6]))
    x = torch.linspace(-2, 2, 7, dtype=torch.float64)[:, None]

    def end(n: int, start: str) -> Tensor:
        # from half-way down, where q changes as much as anywhere
        times, calls = torch.linspace(0.6, sde.t_min, n + 1, dtype=torch.float64), 0

        def denoise(x: Tensor, t: Tensor) -> Tensor:
            nonlocal calls
            calls += 1
            return mixture.denoiser(sde)(x, t)

        *_, last = adams_bashforth(noise_prediction(sde, times), sde.time, 3, start).run(denoise, x, times, no_noise)  # type: ignore[arg-type]
        assert calls == n
        return last

    exact = end(2000, "corrected")
    for start in ("plain", "corrected"):
        errors[start] = [float((end(n, start) - exact).abs().max()) for n in (100, 200)]
    slopes = {start: math.log2(a / b) for start, (a, b) in errors.items()}
    assert 1.8 < slopes["plain"] < 2.3 and slopes["corrected"] > 2.75
    assert errors["corrected"][1] < errors["plain"][1] / 5


def test_weighted_sum() -> None:
    """x + sum of w q, which leaves x as it is; surplus weights belong to q's that are not known yet."""
    x, a, b = torch.randn(3, 2, 4)
    before = x.clone()
    assert torch.allclose(weighted_sum(x, [2.0, -1.0, 7.0], [a, b]), x + 2 * a - b) and torch.equal(x, before)


def test_a_wrong_start_is_refused() -> None:
    """The error names the sampler and the valid choices."""
    check_start("lms", "plain")
    with pytest.raises(InputError, match="lms: start must be 'plain' or 'corrected', got 'slow'"):
        check_start("lms", "slow")


@pytest.mark.parametrize("name", ["dpmpp-3m", "unipc", "sa-solver", "dpmpp-3m-sde"])
@pytest.mark.parametrize("grid", ["uniform", "cosine"])
def test_a_long_last_step(grid: str, name: str) -> None:
    """Grids in t end with a step many times as long as the others in log rho: samples stay of the data's size."""
    sde = VP()
    mixture = GaussianMixture(torch.tensor([[1.5, 0.3], [-1.0, -0.5]]), torch.tensor([[0.3], [0.2]]))
    size = mixture.sample(1000, 0).square().mean().sqrt()
    for steps in (6, 20):
        drawn = sample(sde, mixture.denoiser(sde), name, shape=(2,), n=64, steps=steps, grid=grid)
        assert 0.8 < drawn.x.square().mean().sqrt() / size < 1.2
