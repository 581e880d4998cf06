"""One working component of each kind, from which the author of a plugin starts.

NAME and CLASS stand for the name of the component and the name of its class or function.
"""

from __future__ import annotations

SAMPLER = '''\
"""A sampler: the ancestral step with an adjustable amount of fresh noise. Replace it by your own."""

from dataclasses import dataclass

from sdekit import InputError, Sampler
from sdekit.processes import renoise


@dataclass(frozen=True, kw_only=True)
class CLASS(Sampler):
    """Ancestral sampling with an adjustable amount of fresh noise.

    x_s = alpha_s x_0 + sigma_s (sqrt(1 - fresh^2) eps + fresh z), fresh = eta sqrt(1 - (rho_s / rho_t)^2).

    Arguments:
        eta: Scale of the standard deviation of the fresh noise z, between 0 and 1.
    Source:
        Song, Meng & Ermon 2021, eq. 12 and 16.
    """

    eta: float = 1.0

    order = 1  # order of convergence, which `sdekit verify` measures
    calls_per_step = 1  # network evaluations per step
    stochastic = True

    def __post_init__(self):
        if not 0 <= self.eta <= 1:
            raise InputError(f"NAME: eta must be between 0 and 1, got {self.eta}")

    def step(self, sde, denoise, x, t, s, noise):
        """Take one step from x_t (B, *) to x_s, s < t."""
        return renoise(sde, x, denoise(x, t), t, s, noise(t, s), self.eta)
'''

PROCESS = '''\
"""A process: alpha, sigma and the inverse of their ratio. Everything else follows from them."""

import math
from dataclasses import dataclass

import torch
from sdekit import SDE
from sdekit.processes import as_time


@dataclass(frozen=True, kw_only=True)
class CLASS(SDE):
    """Quarter turn from data to noise: alpha = cos(pi t / 2), sigma = sin(pi t / 2).

    Arguments:
        t_min: Smallest time in use, above 0.
        t_max: Largest time in use, at most 1.
    """

    t_min: float = 1e-3
    t_max: float = 1.0

    def alpha(self, t):
        """Return the scale of the signal, of the shape of t."""
        return (as_time(t) * math.pi / 2).cos()

    def sigma(self, t):
        """Return the scale of the noise, of the shape of t."""
        return (as_time(t) * math.pi / 2).sin()

    def time(self, rho):
        """Return the time at which sigma / alpha = rho."""
        return torch.atan(as_time(rho)) * 2 / math.pi

    def published(self, t):
        """Return (f, g^2) as a paper prints them, to which `sdekit verify` compares; remove it if no paper does."""
        rate = math.pi / 2 * (t * math.pi / 2).tan()
        return -rate, 2 * rate
'''

GRID = '''\
"""A grid: the times at which a sampler evaluates the network."""

import torch


def CLASS(sde, n, *, power: float = 2.0):
    """Grid with t - t_min proportional to (1 - i / n)^power.

    Arguments:
        sde: Process.
        n: Number of steps.
        power: Exponent, at least 1; a larger one places more times at low noise.
    Returns:
        Decreasing times (n + 1,) from t_max to t_min, float64.
    """
    share = torch.linspace(1, 0, n + 1, dtype=torch.float64) ** power
    times = sde.t_min + (sde.t_max - sde.t_min) * share
    times[0], times[-1] = sde.t_max, sde.t_min  # without rounding errors
    return times
'''

GUIDANCE = '''\
"""A guidance: a function from a denoiser to a denoiser."""


def CLASS(sde, denoise, *, scale: float = 1.0):
    """Classifier-free guidance: D(x) + scale (D(x, y) - D(x)).

    Arguments:
        sde: Process of the model.
        denoise: Denoiser, `denoise(x, t, y)`.
        scale: 0 is the model without condition, 1 the conditional model.
    Returns:
        The guided denoiser.
    Source:
        Ho & Salimans 2022, eq. 6, with scale = 1 + w.
    """

    def guided(x, t, y=None):
        plain = denoise(x, t)
        return plain if y is None else plain + scale * (denoise(x, t, y) - plain)

    return guided
'''

NETWORK = '''\
"""A network F(x, c_noise, y). Its inputs have about unit variance."""

from math import prod

import torch
from torch import nn


class CLASS(nn.Module):
    """Network of two layers over the flattened sample, the noise level c_noise = log(rho) / 4 and the label.

    Arguments:
        shape: Shape of one sample.
        classes: Number of labels, 0 for a model without condition.
        width: Number of features of the hidden layer.
    """

    def __init__(self, shape, classes=0, *, width: int = 128):
        super().__init__()
        self.options = {"width": width}  # sdekit rebuilds the network from them
        self.first = nn.Linear(prod(shape) + 1, width)
        self.label = nn.Embedding(classes, width) if classes else None
        self.last = nn.Linear(width, prod(shape))

    def forward(self, x, c_noise, y=None):
        """Map x (B, *shape), c_noise (B,) and labels y (B,), -1 for no label, or None, to (B, *shape)."""
        h = self.first(torch.cat([x.flatten(1), c_noise[:, None]], 1))
        if y is not None:
            h = h + self.label(y.clamp(min=0)) * (y >= 0)[:, None]
        return self.last(nn.functional.silu(h)).view_as(x)
'''

DATASET = '''\
"""A data set: items by index, and the units of the data."""

import numpy as np
from sdekit import InputError
from sdekit.data import InMemoryDataset, Units


def CLASS(*, n: int = 5000, seed: int = 0):
    """Points (2,) on a spiral with radii from 0 to 3.

    Arguments:
        n: Number of points, at least 2.
        seed: Seed of the points, which are a function of the options only.
    Returns:
        The data set.
    Raises:
        InputError: If n is less than 2.
    """
    if n < 2:
        raise InputError(f"NAME: needs n >= 2, got {n}")
    rng = np.random.default_rng(seed)
    angle = 6 * np.pi * np.sqrt(rng.random(n))
    points = angle[:, None] / (2 * np.pi) * np.stack([np.cos(angle), np.sin(angle)], 1)
    return InMemoryDataset(points.astype(np.float32), units=Units(scale=1.5))  # the model sees data / 1.5
'''

METRIC = '''\
"""A metric: a number that compares samples with a reference."""


def CLASS(samples, reference):
    """Euclidean distance of the means.

    Arguments:
        samples: Samples (n, *).
        reference: Reference samples (m, *).
    Returns:
        The distance, 0 for equal means.
    """
    return float((samples.flatten(1).mean(0) - reference.flatten(1).mean(0)).norm())
'''

BACKEND = '''\
"""A backend: a function from a network to another way to run it."""

import torch


def CLASS(network):
    """Run the network in inference mode, which records nothing for a backward pass.

    Arguments:
        network: The network, `network(x, c_noise, y)`.
    Returns:
        Function with the same arguments and results.
    """

    def run(x, c_noise, y=None):
        if torch.is_grad_enabled() and x.requires_grad:  # some guidances need gradients
            return network(x, c_noise, y)
        with torch.inference_mode():
            out = network(x, c_noise, y)
        return out.clone()  # an ordinary tensor, which later operations may differentiate

    return run
'''

LOADER = '''\
"""A loader: it opens a model that another program saved. It reads tensors and executes nothing."""

import torch
from safetensors.torch import load_file
from sdekit import VP, InputError, OpenedModel, ScoreModel
from torch import nn


class Matrix(nn.Module):
    """The network x -> x W."""

    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(weight, requires_grad=False)

    def forward(self, x, c_noise, y=None):
        """Map x (B, d) to (B, d)."""
        return x @ self.weight


def CLASS(path):
    """Model that predicts x_0 = x W, from the array "weight" (d, d) of a safetensors file.

    Arguments:
        path: The file.
    Returns:
        The model.
    Raises:
        InputError: If the file has another format.
    """
    try:
        weight = load_file(path)["weight"].to(torch.float32)
    except Exception as error:  # safetensors raises exceptions of its own types
        raise InputError(f"{path}: not a safetensors file with an array 'weight' ({type(error).__name__})") from error
    if weight.ndim != 2 or weight.shape[0] != weight.shape[1]:
        raise InputError(f"{path}: the array 'weight' must be square, but its shape is {tuple(weight.shape)}")
    return OpenedModel(model=ScoreModel(Matrix(weight), VP(), "x0"), shape=(weight.shape[0],))
'''

OPERATOR = '''\
"""An operator: it maps a sample to a measurement."""

from sdekit import InputError
from sdekit.inverse.operators import LinearOperator


class Differences(LinearOperator):
    """x_(i + 1) - x_i along the last axis. The adjoint and the singular values follow from `apply`.

    Arguments:
        shape: Shape of one sample.
    """

    def __init__(self, shape):
        self.shape = tuple(shape)
        self.measured = (*self.shape[:-1], self.shape[-1] - 1)

    def apply(self, x):
        """Map x (B, *shape) to (B, *measured)."""
        return x.diff(dim=-1)


def CLASS(shape):
    """Differences of neighbours along the last axis.

    Arguments:
        shape: Shape of one sample, with at least 2 entries along the last axis.
    Returns:
        The operator.
    Raises:
        InputError: If the last axis is too short.
    """
    if shape[-1] < 2:
        raise InputError(f"NAME: needs at least two entries along the last axis, got samples of shape {tuple(shape)}")
    return Differences(shape)
'''

RESTORER = '''\
"""A method for inverse problems: a guidance that depends on the measurement and its operator."""

from sdekit import InputError
from sdekit.inverse import posterior_mean_guidance, regularized_least_squares


def CLASS(problem, *, data_std: float = 1.0):
    """Pseudo-inverse guidance: D + C A* (v A A* + noise_std^2 I)^-1 (y - A D).

    v is the variance of x_0 given x_t for data of the distribution N(0, data_std^2 I).

    Arguments:
        problem: The inverse problem, with a linear operator.
        data_std: Standard deviation of the data, above 0.
    Returns:
        The guidance.
    Raises:
        InputError: If data_std is not positive, or the operator is not linear.
    Source:
        Song et al. 2023.
    """
    if not data_std > 0:
        raise InputError(f"NAME: data_std must be positive, got {data_std}")
    operator, noise_variance = problem.linear("NAME"), problem.noise_std**2

    def gradient(linearized, residual, adjoint):
        variance = linearized.gaussian_variance(data_std)
        return regularized_least_squares(operator, residual, variance, noise_variance)

    return posterior_mean_guidance(problem, gradient)
'''

LOGGER = '''\
"""A logger: it shows the numbers of a training in a tracker. Replace the file by your tracker."""

import json

from sdekit.training import Logger


class CLASS(Logger):
    """Numbers of a training as JSON lines, in a file of the run folder.

    Arguments:
        run_folder: Run folder. Store files in its folder `trackers`, and nowhere else in it.
        recipe: Recipe of the run; recipe.as_dict() has all options.
        digits: Number of digits of each value.
    """

    requires = {}  # modules and the names by which pip installs them, such as {"wandb": "wandb"}

    def __init__(self, run_folder, recipe, *, digits: int = 6):
        self.path, self.digits = run_folder / "trackers" / "NAME.jsonl", digits
        self.path.parent.mkdir(exist_ok=True)

    @property
    def location(self):
        """Where to see the tracker's run: an address, a command or a file."""
        return str(self.path)

    def log(self, step, values):
        """Append the numbers of a step. An earlier session of the training has appended the numbers before."""
        rounded = {name: float(f"{value:.{self.digits}g}") for name, value in values.items()}
        with open(self.path, "a") as file:
            file.write(json.dumps({"step": step, **rounded}) + "\\n")
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
    "logger": ("logger", LOGGER),
}
"""Maps each kind, as users name it, to the registry's kind and the source of a component."""
