"""The hooks of a plugin, one for each kind of component. A hook takes no argument and returns `{name: target}`.

A target is a class, a factory, or the string "module:Name", which is imported when the component is first used. **The
keyword-only parameters of a target are its options** (for a dataclass with `kw_only=True`: its fields). Each option has
a type and a default. sdekit passes the arguments before the options. Names are in lower case, with hyphens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    import typer

hookspec = pluggy.HookspecMarker("sdekit")

GROUP = "sdekit"
"""Group of entry points of plugins."""
BUILT_IN = ("core", "plugins")
"""Names of the entry points of sdekit itself."""

Target = str | Callable[..., Any]
Targets = Mapping[str, Target]


@hookspec
def sdekit_sdes() -> Targets:  # type: ignore[empty-body]
    """Processes: `target(**options) -> SDE`."""


@hookspec
def sdekit_samplers() -> Targets:  # type: ignore[empty-body]
    """Samplers: `target(**options) -> Sampler`, usually the frozen dataclass itself."""


@hookspec
def sdekit_grids() -> Targets:  # type: ignore[empty-body]
    """Time grids: `target(sde, n, **options) -> Tensor`, n + 1 decreasing times in float64 on the CPU."""


@hookspec
def sdekit_guidances() -> Targets:  # type: ignore[empty-body]
    """Guidances: `target(sde, denoise, **options) -> Denoiser`."""


@hookspec
def sdekit_operators() -> Targets:  # type: ignore[empty-body]
    """Measurement operators: `target(shape, **options) -> Operator` for samples of this shape."""


@hookspec
def sdekit_restorers() -> Targets:  # type: ignore[empty-body]
    """Methods for inverse problems: `target(problem, **options) -> Guidance | Sampler`, see `sdekit.inverse`."""


@hookspec
def sdekit_networks() -> Targets:  # type: ignore[empty-body]
    """Networks: `target(shape, classes, **options) -> nn.Module`; `sdekit.networks` describes how it is called."""


@hookspec
def sdekit_backends() -> Targets:  # type: ignore[empty-body]
    """Backends, which run a network: `target(network, **options) -> Callable` with the signature of the network.

    The result may also be a `sdekit.backends.PreparedNetwork`, which has attributes for messages and checks.
    """


@hookspec
def sdekit_datasets() -> Targets:  # type: ignore[empty-body]
    """Data sets: `target(**options) -> Dataset`, or `target(path, **options)` if it is named as NAME:PATH."""


@hookspec
def sdekit_metrics() -> Targets:  # type: ignore[empty-body]
    """Metrics: `target(samples, reference, **options) -> float`; `sdekit.evaluation.metric_traits` adds facts."""


@hookspec
def sdekit_features() -> Targets:  # type: ignore[empty-body]
    """Extractors of features: `target(**options) -> sdekit.evaluation.Extractor`, for metrics of features.

    If a target has options named `device` or `trust`, `sdekit evaluate` passes them.
    """


@hookspec
def sdekit_loaders() -> Targets:  # type: ignore[empty-body]
    """Loaders of saved models: `target(path, **options) -> sdekit.models.OpenedModel`.

    A loader may also return a ScoreModel, or a pair of a ScoreModel and the shape of one sample. If it has options
    named `device`, `trust` or `step`, `sdekit.open_model` passes them. An attribute `recognises(path) -> bool` lets
    `open_model` suggest the loader for a path without its name.
    """


@hookspec
def sdekit_objectives() -> Targets:  # type: ignore[empty-body]
    """Objectives of training: `target(recipe, **options) -> Objective`, see `sdekit.training.objective`."""


@hookspec
def sdekit_loggers() -> Targets:  # type: ignore[empty-body]
    """Loggers, which show a training in a tracker: `target(run_folder, recipe, **options) -> sdekit.training.Logger`.

    The target is usually a subclass of `Logger`. Its class method `check(**options)` is called before a run is written.
    """


@hookspec
def sdekit_commands(app: typer.Typer) -> None:
    """Commands for the command line: the hook adds them by `app.command()(function)`."""
