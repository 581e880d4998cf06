"""One component of each kind that works as it is: where an author of a plugin starts from."""

from __future__ import annotations

SAMPLER = '''\
"""A sampler: the ancestral step with an adjustable amount of fresh noise, to be replaced by your own."""

from dataclasses import dataclass

from sdekit import InputError, Sampler
from sdekit.processes import renoise


@dataclass(frozen=True, kw_only=True)
class CLASS(Sampler):
    """x_s = alpha_s x_0 + sigma_s (sqrt(1 - fresh^2) eps + fresh z), fresh = eta sqrt(1 - (rho_s / rho_t)^2).

    eta: scales the standard deviation of the fresh noise z, between 0 and 1.
    Source: Song, Meng & Ermon 2021, eq. 12 and 16.
    """

    eta: float = 1.0

    order = 1  # what `sdekit verify` measures
    calls_per_step = 1  # network calls a step
    stochastic = True

    def __post_init__(self):
        if not 0 <= self.eta <= 1:
            raise InputError(f"NAME: eta must be between 0 and 1, got {self.eta}")

    def step(self, sde, denoise, x, t, s, noise):
        """From x_t (B, *) to x_s, s < t."""
        return renoise(sde, x, denoise(x, t), t, s, noise(t, s), self.eta)
'''

PROCESS = '''\
"""A process: alpha and sigma, and the inverse of their ratio. All else follows."""

import math
from dataclasses import dataclass

import torch
from sdekit import SDE
from sdekit.processes import as_time


@dataclass(frozen=True, kw_only=True)
class CLASS(SDE):
    """alpha = cos(pi t / 2), sigma = sin(pi t / 2): a quarter turn from data to noise.

    t_min, t_max: the times in use, within [0, 1].
    """

    t_min: float = 1e-3
    t_max: float = 1.0

    def alpha(self, t):
        """Signal scale, shape of t."""
        return (as_time(t) * math.pi / 2).cos()

    def sigma(self, t):
        """Noise scale, shape of t."""
        return (as_time(t) * math.pi / 2).sin()

    def time(self, rho):
        """The t at which sigma / alpha = rho."""
        return torch.atan(as_time(rho)) * 2 / math.pi

    def published(self, t):
        """(f, g^2) as a paper prints them, for `sdekit verify` to compare with; leave it out if none does."""
        rate = math.pi / 2 * (t * math.pi / 2).tan()
        return -rate, 2 * rate
'''

GRID = '''\
"""A grid: where a sampler evaluates."""

import torch


def CLASS(sde, n, *, power: float = 2.0):
    """n steps from t_max to t_min, (n + 1,): t - t_min falls as (1 - i / n)^power, a larger power crowds low noise."""
    share = torch.linspace(1, 0, n + 1, dtype=torch.float64) ** power
    times = sde.t_min + (sde.t_max - sde.t_min) * share
    times[0], times[-1] = sde.t_max, sde.t_min  # exactly
    return times
'''

GUIDANCE = '''\
"""A guidance: a denoiser in, a denoiser out."""


def CLASS(sde, denoise, *, scale: float = 1.0):
    """Classifier-free guidance: D = D(x) + scale (D(x, y) - D(x)); scale 0 is the plain model, 1 the conditional.

    Source: Ho & Salimans 2022, eq. 6, with scale = 1 + w.
    """

    def guided(x, t, y=None):
        plain = denoise(x, t)
        return plain if y is None else plain + scale * (denoise(x, t, y) - plain)

    return guided
'''

NETWORK = '''\
"""A network: F(x, c_noise, y), inputs of about unit variance."""

from math import prod

import torch
from torch import nn


class CLASS(nn.Module):
    """Two layers over the flattened sample, the noise level c_noise = log(rho) / 4 and the label.

    shape: of one sample; classes: number of labels, 0 for none. width: of the hidden layer.
    """

    def __init__(self, shape, classes=0, *, width: int = 128):
        super().__init__()
        self.options = {"width": width}  # these rebuild it
        self.first = nn.Linear(prod(shape) + 1, width)
        self.label = nn.Embedding(classes, width) if classes else None
        self.last = nn.Linear(width, prod(shape))

    def forward(self, x, c_noise, y=None):
        """x (B, *shape), c_noise (B,), y (B,), -1 for no label, or None, to (B, *shape)."""
        h = self.first(torch.cat([x.flatten(1), c_noise[:, None]], 1))
        if y is not None:  # a row of -1 is told nothing
            h = h + self.label(y.clamp(min=0)) * (y >= 0)[:, None]
        return self.last(nn.functional.silu(h)).view_as(x)
'''

DATASET = '''\
"""A data set: items by index, and the units in which the user thinks of them."""

import numpy as np
from sdekit import InputError
from sdekit.data.base import Units
from sdekit.data.memory import MemoryDataset


def CLASS(*, n: int = 5000, seed: int = 0):
    """n points of a spiral, (2,), radius 0 to 3; a function of its options alone. seed: of all that is random."""
    if n < 2:
        raise InputError(f"NAME: needs n >= 2, got {n}")
    rng = np.random.default_rng(seed)
    angle = 6 * np.pi * np.sqrt(rng.random(n))
    points = angle[:, None] / (2 * np.pi) * np.stack([np.cos(angle), np.sin(angle)], 1)
    return MemoryDataset(points.astype(np.float32), units=Units(scale=1.5))  # the model sees data / 1.5
'''

METRIC = '''\
"""A metric: how far samples are from a reference."""


def CLASS(samples, reference):
    """Distance of the means, for samples (n, *) and a reference (m, *); 0 for equal means."""
    return float((samples.flatten(1).mean(0) - reference.flatten(1).mean(0)).norm())
'''

BACKEND = '''\
"""A backend: a network in, another way to run it out."""

import torch


def CLASS(network):
    """Under inference mode, which keeps nothing for a backward pass; results are copies that may be differentiated."""

    def run(x, c_noise, y=None):
        if torch.is_grad_enabled() and x.requires_grad:  # as guidances ask for it
            return network(x, c_noise, y)
        with torch.inference_mode():
            out = network(x, c_noise, y)
        return out.clone()

    return run
'''

LOADER = '''\
"""A loader: a model that something else saved, as a denoiser. It reads tensors and runs nothing."""

import torch
from safetensors.torch import load_file
from sdekit import VP, InputError, ScoreModel
from torch import nn


class Matrix(nn.Module):
    """x (B, d) to x W."""

    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(weight, requires_grad=False)

    def forward(self, x, c_noise, y=None):
        """x (B, d), c_noise (B,), y (B,) or None, to (B, d)."""
        return x @ self.weight


def CLASS(path):
    """The matrix W (d, d) of a safetensors file, array "weight", as a model that predicts x_0 = x W."""
    try:
        weight = load_file(path)["weight"].to(torch.float32)
    except Exception as error:  # safetensors has errors of its own
        raise InputError(f"{path}: not a safetensors file with an array 'weight' ({type(error).__name__})") from error
    model = ScoreModel(Matrix(weight), VP(), "x0").eval()
    model.shape = (weight.shape[0],)  # of one sample, for `sdekit verify`
    return model
'''

OPERATOR = '''\
"""An operator: what is measured of a sample."""

from sdekit import InputError
from sdekit.inverse.operators import LinearOperator


class Differences(LinearOperator):
    """x_(i + 1) - x_i along the last axis; the adjoint and the singular values come from `apply`."""

    def __init__(self, shape):
        self.shape = tuple(shape)
        self.measured = (*self.shape[:-1], self.shape[-1] - 1)

    def apply(self, x):
        """x (B, *shape) to (B, *measured)."""
        return x.diff(dim=-1)


def CLASS(shape):
    """Differences of neighbours along the last axis, for samples of that shape."""
    if shape[-1] < 2:
        raise InputError(f"NAME: needs two numbers in a row at least, and a sample here has shape {tuple(shape)}")
    return Differences(shape)
'''

RESTORER = '''\
"""A method for inverse problems: a guidance made of what was measured, and how."""

from sdekit import InputError
from sdekit.inverse import posterior_mean_guidance, regularized_least_squares


def CLASS(problem, *, data_std: float = 1.0):
    """D(x) + Cov[x_0 | x_t] A* (v A A* + noise_std^2 I)^-1 (y - A D(x)), v = Var[x_0 | x_t] of data N(0, data_std^2 I).

    data_std: the data's standard deviation, > 0. Source: Song et al. 2023.
    """
    if not data_std > 0:
        raise InputError(f"NAME: data_std must be positive, got {data_std}")
    operator, noise_variance = problem.linear("NAME"), problem.noise_std**2

    def gradient(linearized, residual, adjoint):
        """A* Cov[y | x_t]^-1 (y - A D(x)), the gradient of the log-likelihood."""
        return regularized_least_squares(operator, residual, linearized.gaussian_variance(data_std), noise_variance)

    return posterior_mean_guidance(problem, gradient)
'''

COMPONENTS: dict[str, tuple[str, str]] = {
    "sampler": ("sampler", SAMPLER),
    "process": ("sde", PROCESS),
    "grid": ("grid", GRID),
    "guidance": ("guidance", GUIDANCE),
    "network": ("network", NETWORK),
    "dataset": ("dataset", DATASET),
    "metric": ("metric", METRIC),
    "backend": ("backend", BACKEND),
    "loader": ("loader", LOADER),
    "operator": ("operator", OPERATOR),
    "restorer": ("restorer", RESTORER),
}
"""Kind as people say it to the registry's kind and the component's source."""
