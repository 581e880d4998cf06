"""What every command that draws may be asked: its options, and how a command comes to have them."""

import inspect
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import typer

from sdekit.errors import InputError
from sdekit_cli.options.backend_option import Backend, Trust
from sdekit_cli.options.plugin_option import PluginFiles


@dataclass(frozen=True, kw_only=True)
class SamplingOptions:
    """The options as given. Raises InputError for numbers out of range, and for two that exclude each other."""

    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder of `sdekit train`, or of `sdekit export`.")]
    out: Annotated[Path, typer.Option(help="Folder to write.")]
    solver: Annotated[
        str | None, typer.Option(help="ode, auto, ddim, ddpm, heun, ...; each command has a default.")
    ] = None
    steps: Annotated[int | None, typer.Option(help="Steps, the final denoising counted.")] = None
    nfe: Annotated[int | None, typer.Option(help="Network calls at most, instead of steps.")] = None
    n: Annotated[int | None, typer.Option("-n", help="How many samples: seeds 0 to n - 1 (sample: 64, else 8).")] = None
    seeds: Annotated[str | None, typer.Option(help="Which samples: 0-63 or 3,17,20-29.")] = None
    label: Annotated[
        str | None, typer.Option(help="Class to draw, by number or name, of a run trained with --condition label.")
    ] = None
    condition: Annotated[
        str | None, typer.Option(metavar="X,Y", help="The numbers to draw for, of a run trained on numbers.")
    ] = None
    guidance: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME:OPTION=VALUE,...", help="cfg, interval, ...; repeat it, the first is innermost."),
    ] = None
    grid: Annotated[str | None, typer.Option(help="karras, uniform, log-snr, ...; each solver has a default.")] = None
    option: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="An option of the solver (grid.NAME: of the grid).")
    ] = None
    noise: Annotated[str | None, typer.Option(help="seed, or brownian: the same path at any number of steps.")] = None
    batch_size: Annotated[int | None, typer.Option(help="Samples at a time; changes no sample.")] = None
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto"
    backend: Backend = None
    trust: Trust = False
    plugin: PluginFiles = None
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the results in --out.")] = False
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False

    def __post_init__(self) -> None:
        for name in ("steps", "nfe", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"--{name.replace('_', '-')} must be at least 1, got {value}")
        if self.steps is not None and self.nfe is not None:
            raise InputError("--steps and --nfe both given: choose one")
        if self.noise not in (None, "seed", "brownian"):
            raise InputError(f"--noise {self.noise}: choose seed or brownian")


def sampling_command(command: Callable[..., None]) -> Callable[..., None]:
    """The command with each field of `Asked` as an option, after its own; what is given comes to it as `asked`."""

    def run(**given: Any) -> None:
        common = {field.name: given.pop(field.name) for field in fields(SamplingOptions)}
        command(asked=SamplingOptions(**common), **given)

    keyword, empty = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.empty
    own = [p.replace(kind=keyword) for p in inspect.signature(command).parameters.values() if p.name != "asked"]
    common = [
        inspect.Parameter(f.name, keyword, default=empty if f.default is MISSING else f.default, annotation=f.type)
        for f in fields(SamplingOptions)
    ]
    run.__doc__, run.__signature__ = command.__doc__, inspect.Signature([*own, *common])  # type: ignore[attr-defined]
    return run
