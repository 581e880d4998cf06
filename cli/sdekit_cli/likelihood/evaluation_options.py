"""Options of the commands that evaluate a model on data or latents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from sdekit_cli.options.shared_options import DeviceName, ModelArgument, PluginFiles, Trust

if TYPE_CHECKING:
    from sdekit.likelihood import FlowSolver
    from sdekit.models import OpenedModel

    from .data_items import DataItems


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """Values of the options that choose the data, described by the help of each field."""

    data: Annotated[
        str | None, typer.Option(metavar="SPEC", help="Data, such as images:PATH (default: the run's held-out items).")
    ] = None
    n: Annotated[int | None, typer.Option("-n", help="Number of items, evenly spaced (default: at most 256).")] = None
    every: Annotated[bool, typer.Option("--all", help="Evaluate all items.")] = False
    option: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="Option of the data set.")] = None

    def open(self, opened: OpenedModel) -> DataItems:
        """Open the items for a model."""
        from .data_items import open_items

        return open_items(opened, self.data, options=self.option or (), n=self.n, every=self.every)


@dataclass(frozen=True, kw_only=True)
class FlowOptions:
    """Values of the options of the probability flow, described by the help of each field."""

    solver: Annotated[
        str, typer.Option(help="dopri5, bosh3, or a deterministic solver such as ddim, with --steps.")
    ] = "dopri5"
    tolerance: Annotated[
        float | None,
        typer.Option(help="Tolerance of dopri5 and bosh3 (default: 1e-5, in float64 3e-6; 1e-4 with random probes)."),
    ] = None
    steps: Annotated[int | None, typer.Option(help="Steps of another solver (default: of the solver).")] = None

    def build(self) -> FlowSolver:
        """Return the solver. Raises InputError if an option is not valid."""
        from sdekit.likelihood import FlowSolver

        return FlowSolver(method=self.solver, tolerance=self.tolerance, steps=self.steps)


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Values of the options of the model and how it is evaluated, described by the help of each field."""

    run: ModelArgument
    label: Annotated[
        str | None, typer.Option(metavar="NAME,...", help="Class of all items (default: the class of each item).")
    ] = None
    condition: Annotated[
        str | None,
        typer.Option(metavar="X,Y", help="Numbers to condition on (default: the numbers of each item)."),
    ] = None
    prompt: Annotated[list[str] | None, typer.Option(metavar="TEXT", help="Text of all items, if RUN takes texts.")] = (
        None
    )
    guidance: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME:OPTION=VALUE,...",
            help="Evaluate the guided model: cfg, ...; may be repeated, the first one is innermost.",
        ),
    ] = None
    batch_size: Annotated[int, typer.Option(help="Items at a time; does not change the result.")] = 64
    dtype: Annotated[str, typer.Option(help="float32 or float64.")] = "float32"
    device: DeviceName = "auto"
    trust: Trust = False
    plugin: PluginFiles = None


Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an earlier result.")]
