"""What `sdekit plugins new` writes: sources with NAME, PACKAGE and CLASS in place of the plugin's own."""

from __future__ import annotations

PYPROJECT = """\
[build-system]
requires = ["hatchling>=1.26"]
build-backend = "hatchling.build"

[project]
name = "NAME"
version = "0.1.0"
description = "KIND NAME for sdekit"
readme = "README.md"
requires-python = ">=3.11"
dependencies = ["sdekit>=VERSION"]

[project.optional-dependencies]
test = ["pytest>=8"]

# sdekit finds the plugin through this group; the name may be anything that is unlike other plugins'.
[project.entry-points.sdekit]
NAME = "PACKAGE"

[tool.hatch.build.targets.wheel]
packages = ["src/PACKAGE"]
"""

README = """\
# NAME

KIND `NAME` for [sdekit](https://pypi.org/project/sdekit/).

```sh
pip install .
sdekit plugins show NAME
sdekit verify NAME
```

Develop it with `pip install -e '.[test]'` and `pytest`: the tests are sdekit's own conformance checks.
"""

INIT = '''\
"""KIND `NAME` for sdekit."""

from sdekit import hookimpl

sdekit_api = API


@hookimpl
def HOOK():
    """Imported when it is used, so that `sdekit plugins list` stays fast."""
    return {"NAME": "PACKAGE.component:CLASS"}
'''

TEST = '''\
"""sdekit's conformance checks, one test each: what was measured, what was expected, and the equation."""

import pytest
from sdekit import plugins
from sdekit.verify import checks

from PACKAGE.component import CLASS


@pytest.mark.parametrize("check", checks(CLASS, kind="REGISTRY_KIND", quick=True), ids=str)
def test_conforms(check):
    """A failure says what is probably wrong."""
    check().raise_on_failure()


def test_it_is_registered():
    """The entry point leads here; needs an installed package (`pip install -e .`)."""
    assert plugins.entry("REGISTRY_KIND", "NAME").load() is CLASS
'''

WORKFLOW = """\
name: test
on: [push, pull_request]
jobs:
  test:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-python@v5
        with: { python-version: "3.11" }
      - run: pip install '.[test]'
      - run: pytest
      - run: sdekit plugins check
      - run: sdekit verify NAME
"""

SAMPLER = '''\
"""A sampler: the ancestral step with an adjustable amount of fresh noise, to be replaced by your own."""

from dataclasses import dataclass

from sdekit import InputError, Sampler
from sdekit.renoise import renoise


@dataclass(frozen=True, kw_only=True)
class CLASS(Sampler):
    """x_s = alpha_s x_0 + sigma_s (sqrt(1 - fresh^2) eps + fresh z), fresh = eta sqrt(1 - (rho_s / rho_t)^2).

    eta: scales the standard deviation of the fresh noise z, between 0 and 1.
    Source: Song, Meng & Ermon 2021, eq. 12 and 16.
    """

    eta: float = 1.0

    order = 1  # what `sdekit verify` measures
    calls = 1  # network calls a step
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
from sdekit.sde import as_time


@dataclass(frozen=True, kw_only=True)
class CLASS(SDE):
    """alpha = cos(pi t / 2), sigma = sin(pi t / 2): a quarter turn from data to noise."""

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
        """x (B, *shape), c_noise (B,), y (B,) or None, to (B, *shape)."""
        h = self.first(torch.cat([x.flatten(1), c_noise[:, None]], 1))
        h = h if y is None else h + self.label(y)
        return self.last(nn.functional.silu(h)).view_as(x)
'''

DATASET = '''\
"""A data set: items by index, and the units in which the user thinks of them."""

import numpy as np
from sdekit import InputError
from sdekit.data.base import Units
from sdekit.data.memory import MemoryDataset


def CLASS(*, n: int = 5000, seed: int = 0):
    """n points of a spiral, (2,), radius 0 to 3; a function of its options alone."""
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

COMPONENTS: dict[str, tuple[str, str]] = {
    "sampler": ("sampler", SAMPLER),
    "process": ("sde", PROCESS),
    "grid": ("grid", GRID),
    "guidance": ("guidance", GUIDANCE),
    "network": ("network", NETWORK),
    "dataset": ("dataset", DATASET),
    "metric": ("metric", METRIC),
}
"""Kind as people say it to the registry's kind and the component's source."""


def files(name: str, kind: str, *, hook: str, version: str, api: int) -> dict[str, str]:
    """Path below the new folder to its text."""
    package = name.replace("-", "_")
    registry_kind, component = COMPONENTS[kind]
    words = {
        "REGISTRY_KIND": registry_kind,
        "VERSION": version,
        "PACKAGE": package,
        "CLASS": package if registry_kind in ("grid", "guidance", "dataset", "metric") else _camel(name),
        "HOOK": hook,
        "KIND": kind.capitalize(),
        "NAME": name,
        "API": str(api),
    }

    def filled(text: str) -> str:
        for word, value in words.items():
            text = text.replace(word, value)
        return text

    texts = {
        "pyproject.toml": PYPROJECT,
        "README.md": README,
        f"src/{package}/__init__.py": INIT,
        f"src/{package}/component.py": component,
        "tests/test_conforms.py": TEST,
        ".github/workflows/test.yml": WORKFLOW,
        ".gitignore": "__pycache__/\n*.egg-info/\ndist/\n.venv/\n",
    }
    return {path: filled(text) for path, text in texts.items()}


def _camel(name: str) -> str:
    """ "acme-heun" to "AcmeHeun"."""
    return "".join(part.capitalize() for part in name.split("-"))
