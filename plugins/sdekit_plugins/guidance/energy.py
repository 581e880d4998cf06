"""Energy guidance, by any differentiable function."""

import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any, Literal

import torch
from torch import Tensor

from sdekit.distributions import GaussianMixture
from sdekit.errors import InputError, SdekitError
from sdekit.guidance import require_finite, tilt
from sdekit.processes import SDE, Denoiser, broadcast

LARGEST_RHO = 100.0
"""Largest noise level at which the network is differentiated: above it, the Jacobian of a network is inaccurate, and
x_0 is close to the mean of the data."""


def energy(
    sde: SDE,
    denoise: Denoiser,
    *,
    function: str | Callable[..., Tensor] = "",
    scale: float = 1.0,
    through: Literal["network", "x0", "xt"] = "network",
    data_std: float = 1.0,
) -> Denoiser:
    """Energy guidance towards p(x_0) exp(-scale E(x_0)): D - scale C grad E(D).

    C approximates Cov[x_0 | x_t]. One network evaluation.

    Arguments:
        sde: Process of the denoiser.
        denoise: The denoiser.
        function: The energy E, a differentiable function from x_0 (B, *) in the model's units to (B,), or
            "module:name" to import one.
        scale: Factor of E; 0 is the model itself, exactly, and a negative scale leads to a high E.
        through: How C is computed. "network": C = sigma^2 / alpha dD/dx by a backward pass, exact for a linear E and
            Gaussian data. "x0": the variance of x_0 if the data were Gaussian, without a backward pass. "xt": no C; E
            is a function E(x_t, t) of the noisy x_t, and the density of x_t is multiplied by exp(-scale E), exactly.
        data_std: Standard deviation of the data in the model's units, above 0, for "x0".
    Returns:
        The guided denoiser.
    Raises:
        InputError: If an option is out of range or the function cannot be imported; when called, if the function fails
            or its result has no gradient.
    Source:
        Song et al. 2023 ("Loss-guided diffusion models for plug-and-play controllable generation"), eq. 8-9, without
        their noise around x_0; "x0" as in He et al. 2023 (MPGD).
    """
    require_finite("energy", scale=scale)
    if not data_std > 0:
        raise InputError(f"energy: data_std must be positive, got {data_std}")
    evaluate_energy = _checked(_imported(function) if isinstance(function, str) else function)

    def guided(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        if scale == 0:
            return denoise(x, t, y)
        if through == "xt":
            return denoise(x, t, y) + tilt(sde, x, t, lambda z, u: -scale * evaluate_energy(z, u))
        if through == "x0":
            x0 = denoise(x, t, y)
            with torch.enable_grad():
                leaf = x0.detach().requires_grad_()
                (gradient,) = torch.autograd.grad(evaluate_energy(leaf).sum(), leaf)
            alpha, sigma = sde.alpha(t), sde.sigma(t)
            variance = (data_std * sigma) ** 2 / ((data_std * alpha) ** 2 + sigma**2)
            return x0 - broadcast(scale * variance, x0) * gradient
        x0_with_graph: list[Tensor] = []

        def log_weight(z: Tensor, u: Tensor) -> Tensor:
            x0_with_graph.append(denoise(z, u, y))
            if not x0_with_graph[0].requires_grad:
                raise InputError(
                    "energy: the network gives no gradients with respect to x: choose the backend eager, or through=x0"
                )
            return -scale * evaluate_energy(x0_with_graph[0])

        change = tilt(sde, x, t, log_weight, largest_rho=LARGEST_RHO)
        return x0_with_graph[0].detach() + change

    return guided


def _imported(name: str) -> Callable[..., Tensor]:
    module, _, path = name.partition(":")
    if not module or not path:
        raise InputError(f"energy: say which function to use: function=module:name, got {name!r}")
    try:
        function: Callable[..., Tensor] = getattr(import_module(module), path)
    except (Exception, SystemExit) as error:  # a module may raise anything while it is imported
        raise InputError(
            f"energy: {name!r} cannot be imported ({type(error).__name__}: {error}): name an installed module, or "
            "write a plugin (--plugin FILE)"
        ) from error
    if not callable(function):
        raise InputError(f"energy: {name!r} is not a function but a {type(function).__name__}")
    return function


def _checked(function: Callable[..., Any]) -> Callable[..., Tensor]:
    """Return a function that raises InputError with the name of `function` if this fails or gives no gradient."""
    name = getattr(function, "__name__", type(function).__name__)

    def call(x: Tensor, *time: Tensor) -> Tensor:
        try:
            with warnings.catch_warnings():  # an error follows if the result has no gradient
                warnings.filterwarnings("ignore", "Converting a tensor with requires_grad=True to a scalar")
                value = function(x, *time)
        except (SdekitError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # a function of the user may raise anything
            raise InputError(
                f"energy: function {name} failed on x {tuple(x.shape)} {x.dtype}: {type(error).__name__}: {error}"
            ) from error
        if not (isinstance(value, Tensor) and value.requires_grad):
            kind = "a tensor without gradient" if isinstance(value, Tensor) else f"a {type(value).__name__}"
            raise InputError(
                f"energy: function {name} returned {kind}: compute E, (B,), from x, (B, *), by functions of torch"
            )
        result: Tensor = value
        return result

    return call


def _trial(sde: SDE, mixture: GaussianMixture) -> Any:
    """Options and exact result for `sdekit verify`: with a linear E(x_t), the score changes by a constant."""
    from sdekit.verify import Trial  # imported here, because sampling does not need it

    base = mixture.denoiser(sde)

    def exact(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        return base(x, t, y) - broadcast(2 * sde.sigma(t) ** 2 / sde.alpha(t), x)

    return Trial({"function": lambda x, t: x.flatten(1).sum(1), "scale": 2.0, "through": "xt"}, exact)


energy.trial = _trial  # type: ignore[attr-defined]
