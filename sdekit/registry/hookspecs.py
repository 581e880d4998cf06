"""What a plugin may provide: one hook a kind. A hook takes nothing and returns `{name: target}`.

A target is a class, a factory, or the string "module:Name", which is imported when it is used. **Its keyword-only
parameters are its options** (of a dataclass with `kw_only=True`: its fields), each typed and with a default; what
comes before them is given by sdekit. Names are lower case with hyphens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    import typer

hookspec = pluggy.HookspecMarker("sdekit")

Target = str | Callable[..., Any]
Targets = Mapping[str, Target]


@hookspec
def sdekit_sdes() -> Targets:  # type: ignore[empty-body]
    """Processes: `target(**options) -> SDE`."""


@hookspec
def sdekit_samplers() -> Targets:  # type: ignore[empty-body]
    """Samplers: `target(**options) -> Sampler`, as a rule the frozen dataclass itself."""


@hookspec
def sdekit_grids() -> Targets:  # type: ignore[empty-body]
    """Time grids: `target(sde, n, **options) -> (n + 1,)` decreasing times, float64, on the CPU."""


@hookspec
def sdekit_guidances() -> Targets:  # type: ignore[empty-body]
    """Guidances: `target(sde, denoise, **options) -> Denoise`."""


@hookspec
def sdekit_operators() -> Targets:  # type: ignore[empty-body]
    """Measurement operators: `target(shape, **options) -> Operator` for samples of that shape."""


@hookspec
def sdekit_restorers() -> Targets:  # type: ignore[empty-body]
    """Methods for inverse problems: `target(problem, **options) -> Guidance | Sampler`, see `sdekit.inverse`."""


@hookspec
def sdekit_networks() -> Targets:  # type: ignore[empty-body]
    """Networks: `target(shape, classes, **options) -> nn.Module`, called as in `sdekit.networks`."""


@hookspec
def sdekit_backends() -> Targets:  # type: ignore[empty-body]
    """Backends, ways to run a network: `target(network, **options) -> Callable` with the network's signature, or a
    `sdekit.backends.backend.PreparedNetwork` to say more of it."""


@hookspec
def sdekit_datasets() -> Targets:  # type: ignore[empty-body]
    """Data sets: `target(**options) -> Dataset`, or `target(path, **options)` for a SPEC of the form NAME:PATH."""


@hookspec
def sdekit_metrics() -> Targets:  # type: ignore[empty-body]
    """Metrics: `target(samples, reference, **options) -> float`."""


@hookspec
def sdekit_loaders() -> Targets:  # type: ignore[empty-body]
    """Loaders of models that something else saved: `target(path, **options) -> ScoreModel`."""


@hookspec
def sdekit_commands(app: typer.Typer) -> None:
    """Add commands to the command line: `app.command()(function)`."""
