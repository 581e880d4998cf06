"""The options of every command that draws samples, and the decorator that adds them to a command."""

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import typer

from sdekit.errors import InputError
from sdekit_cli.options.option_classes import with_options
from sdekit_cli.options.shared_options import AsJson, BackendName, DeviceName, ModelArgument, PluginFiles, Trust

DEFAULT_SOLVER = "auto"
"""Solver of new samples if the user names none."""


@dataclass(frozen=True, kw_only=True)
class SamplingOptions:
    """Values of the options of a command that draws samples, described by the help of each field.

    Raises:
        InputError: If a number is out of range, or two options exclude each other.
    """

    run: ModelArgument
    out: Annotated[Path, typer.Option(help="Folder to write.")]
    solver: Annotated[
        str | None, typer.Option(help="Solver: auto, ode, ddim, ddpm, heun, ..., or NAME:option=value.")
    ] = None
    steps: Annotated[
        int | None, typer.Option(help="Number of steps, the final denoising included (default: of the solver).")
    ] = None
    nfe: Annotated[
        int | None, typer.Option(help="Largest number of network evaluations per sample, instead of --steps.")
    ] = None
    n: Annotated[
        int | None,
        typer.Option("-n", help="Number of samples, with the seeds 0 to n - 1."),
    ] = None
    seeds: Annotated[str | None, typer.Option(help="Seeds of the samples: 0-63 or 3,17,20-29.")] = None
    label: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,...", help="Class of the samples, by name or position; of several, the seed chooses one."
        ),
    ] = None
    condition: Annotated[
        str | None, typer.Option(metavar="X,Y", help="Numbers to condition on, if RUN was trained on numbers.")
    ] = None
    prompt: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="Text of the samples; may be repeated: of several, the seed chooses one."),
    ] = None
    negative: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Text that guidance moves samples away from, in place of no text."),
    ] = None
    size: Annotated[
        str | None, typer.Option(metavar="WIDTHxHEIGHT", help="Size of the images, if RUN makes images of any size.")
    ] = None
    guidance: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME:OPTION=VALUE,...",
            help="Guidance: cfg, interval, ...; may be repeated, the first one is innermost.",
        ),
    ] = None
    grid: Annotated[
        str | None,
        typer.Option(
            help="Time grid: karras, uniform, log-snr, ..., or maker, that of RUN's makers (default: of the solver)."
        ),
    ] = None
    option: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Option of the solver, or grid.NAME of the grid.")
    ] = None
    noise: Annotated[str | None, typer.Option(help="seed, or brownian: the same path for any number of steps.")] = None
    batch_size: Annotated[
        int | None, typer.Option(help="Samples at a time (of texts: 1); does not change the samples.")
    ] = None
    device: DeviceName = "auto"
    backend: BackendName = None
    trust: Trust = False
    plugin: PluginFiles = None
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the results in --out.")] = False
    json: AsJson = False

    def __post_init__(self) -> None:
        for name in ("steps", "nfe", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"--{name.replace('_', '-')} must be at least 1, got {value}")
        if self.steps is not None and self.nfe is not None:
            raise InputError("--steps and --nfe both given: choose one")
        if self.noise not in (None, "seed", "brownian"):
            raise InputError(f"--noise {self.noise}: choose seed or brownian")


def sampling_command(
    command: Callable[..., None] | None = None,
    *,
    folder: str | None = None,
    n: str = "8, of texts 4",
    solver: str = "ddim",
) -> Callable[..., Any]:
    """Decorator that adds the fields of `SamplingOptions` to the options of a command.

    Arguments:
        command: Function whose parameter `options` receives them as one `SamplingOptions`.
        folder: Name of the folder within a run that is the default of --out, for the help; None if --out is required.
        n: Default of -n, for the help.
        solver: Default of --solver, for the help.
    Returns:
        The function that Typer calls.
    """
    changes: dict[str, dict[str, Any]] = {"n": _with_default("n", n), "solver": _with_default("solver", solver)}
    if folder is not None:
        help_of_out = f"Folder to write (default: RUN/{folder})."
        changes["out"] = {"annotation": Annotated[Path | None, typer.Option(help=help_of_out)], "default": None}
    return with_options(command, changes=changes)


def _with_default(name: str, default: str) -> dict[str, Any]:
    """Return the annotation of an option whose help shows a default of its command's own."""
    value, option = get_args(get_type_hints(SamplingOptions, include_extras=True)[name])
    option = copy(option)
    option.show_default = default
    return {"annotation": Annotated[value, option]}


def folder_of_run(run: str, folder: str) -> Path:
    """Return a folder within a run. Raises InputError if RUN is not a run folder."""
    from sdekit.runs import is_run

    if not is_run(Path(run)):
        raise InputError(f"{run} is not a run folder: add --out FOLDER for the results")
    return Path(run) / folder
