"""An exported run: a folder with the network's files, and export.json, which holds all else."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sdekit.backends import PreparedNetwork, needs_gradient, no_gradients_message
from sdekit.errors import InputError, SdekitError
from sdekit.models import Condition, ScoreModel, recognises
from sdekit.registry import unknown_name
from sdekit.runs import EXPORT, Recipe, Run, is_export, load_json, save_json

from .export_formats import FORMATS, Format, machine
from .traced_program import Inputs, program, quiet

VERSION = 1
"""Of the folder's layout."""

NETWORKS = ("unconditional", "conditional")
"""What the files' names begin with, before the suffix of their format."""

TOLERANCE = 1e-4
"""Largest deviation of an exported network's output, relative to the largest output."""


def export_run(run: Run, out: Path, form: str, *, overwrite: bool = False) -> float:
    """Write the network of a run, and its recipe, into a new folder `out`; returns the largest relative deviation.

    form: a key of `FORMATS`. The file is read again and compared with the network at four noise levels, before
    anything is put in place. Raises InputError where `out` holds something (an earlier export goes with overwrite), or
    a package is missing; SdekitError where the network cannot be exported, or the result deviates by more than
    `TOLERANCE`.
    """
    written = format_of(form)
    written.check(f"format {form!r}")
    check_out(out, overwrite=overwrite)
    network = run.model.network
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        place = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    except OSError as error:
        raise SdekitError(f"cannot write into {out.parent}: {error.strerror or error}") from error
    try:
        worst = 0.0
        for name, inputs in examples(run.recipe, device).items():
            file = place / (name + written.suffix)
            with quiet():
                written.write(program(network, inputs), file)
                worst = max(worst, deviation(network, written.read(file, device), inputs))
        if not worst <= TOLERANCE:
            raise SdekitError(f"format {form!r} deviates from the network by {worst:.2g}: nothing was written")
        about = {"version": VERSION, "format": form, "step": run.step, **machine(device)}
        save_json(place / EXPORT, {"export": about, "recipe": run.recipe.as_dict()})
        place.chmod(0o755)
        if out.exists():
            shutil.rmtree(out)
        place.rename(out)
    except OSError as error:
        raise SdekitError(f"could not write {out}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return worst


@recognises(is_export)
def load_export(path: str | Path, *, device: torch.device | str = "cpu", trust: bool = False) -> Run:
    """A folder of `sdekit export`: a run whose model needs no Python network.

    Arguments:
        path: The folder.
        device: Device that the network runs on.
        trust: Allow formats that run code from the file (`Format.code`).
    Returns:
        The run.
    Raises:
        InputError: If the export is damaged or newer than this sdekit, its format needs `trust` or a missing package,
            or it was compiled for another machine.
    """
    path = Path(path)
    fields = load_json(path / EXPORT)
    try:
        about, recipe = fields["export"], Recipe.from_dict(fields["recipe"])
        version, form = int(about["version"]), str(about["format"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path / EXPORT} describes no export ({type(error).__name__}: {error})") from error
    if version > VERSION:
        raise InputError(f"{path} was exported by a newer sdekit (layout {version}, this knows {VERSION}): upgrade it")
    known, device = format_of(form), torch.device(device)
    if known.code and not trust:
        raise InputError(
            f"{path}: opening the format {form!r} runs what the file holds, as any program does. If you trust where it "
            "comes from, add --trust (in Python: trust=True); format 'onnx' needs no trust"
        )
    known.check(f"{path} (format {form!r})", writing=False)
    here = machine(device)
    differ = [f"{name} {about.get(name)}, not {here[name]}" for name in here if about.get(name) != here[name]]
    if known.pinned and differ:
        raise InputError(f"{path} was compiled for {'; '.join(differ)}: export the run again here")
    network = Exported(path, recipe, known, device)
    model = ScoreModel(
        network, recipe.sde.build("sde"), recipe.prediction, data_std=recipe.data_std, condition=recipe.conditioning
    )
    return Run.from_recipe(path, recipe, model, int(about["step"]))


class Exported(nn.Module):
    """The network of an exported model, float32: x (B, *), c_noise (B,), y (B, ...) or None, to (B, *)."""

    def __init__(self, path: Path, recipe: Recipe, form: Format, device: torch.device) -> None:
        super().__init__()
        self.path, self.runners = path, dict[bool, PreparedNetwork]()
        for name, (_, _, y) in examples(recipe, device).items():
            file = path / (name + form.suffix)
            if not file.is_file():
                raise InputError(f"{file} is missing: export the run again")
            try:
                with quiet():
                    self.runners[y is not None] = form.read(file, device)
            except InputError:
                raise
            except Exception as error:  # of many kinds, from three libraries
                raise InputError(f"{file} cannot be read ({type(error).__name__}: {error})") from error

    def forward(self, x: Tensor, c_noise: Tensor, y: Tensor | Condition | None = None) -> Tensor:
        if isinstance(y, Condition):
            raise InputError(f"{self.path} takes no condition of several parts: sample the run itself")
        runner = self.runners.get(y is not None)
        if runner is None:  # the model says so before, where it knows its condition
            raise InputError(f"{self.path} was trained {'without conditions' if y is not None else 'with conditions'}")
        if x.dtype != torch.float32:
            raise InputError(f"{self.path} was exported in float32, and x is {x.dtype}")
        if needs_gradient(x, y) and not runner.differentiable:
            raise InputError(no_gradients_message(str(self.path)))
        return runner(x, c_noise, y)


def check_out(out: Path, *, overwrite: bool) -> None:
    """InputError where a folder holds something else than an export that may be replaced."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file: choose another --out")
    if out.is_dir() and any(out.iterdir()):
        found = {path.name for path in out.iterdir()}
        if EXPORT not in found:
            raise InputError(f"{out} is not empty and holds no export: choose another --out")
        if not overwrite:
            raise InputError(f"{out} already holds an export: replace it with --overwrite, or choose another --out")
        if others := sorted(name for name in found if name != EXPORT and name.partition(".")[0] not in NETWORKS):
            raise InputError(f"{out} holds {others[0]!r} too, which is no part of an export: choose another --out")


def format_of(name: str) -> Format:
    """The format of that name; InputError with a suggestion where there is none."""
    if name not in FORMATS:
        raise InputError(unknown_name("format", name, sorted(FORMATS), "Formats"))
    return FORMATS[name]


def examples(recipe: Recipe, device: torch.device) -> dict[str, Inputs]:
    """For each file the inputs that it is traced with: one row."""
    x, c_noise, y = torch.zeros(1, *recipe.shape, device=device), torch.zeros(1, device=device), recipe.examples(1)
    unconditional, conditional = NETWORKS
    found: dict[str, Inputs] = {unconditional: (x, c_noise, None)} if recipe.conditioning.null else {}
    return found if y is None else found | {conditional: (x, c_noise, y.to(device))}


def deviation(network: nn.Module, runner: PreparedNetwork, inputs: Inputs, rows: int = 4) -> float:
    """Largest difference of the outputs, relative to the largest output, for standard normal x at four noise levels."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(rows, *inputs[0].shape[1:], generator=generator).to(inputs[0])
    c_noise = torch.linspace(-1.5, 1, rows).to(x)
    given: tuple[Any, ...] = (x, c_noise, None if inputs[2] is None else inputs[2].repeat_interleave(rows, 0))
    with torch.no_grad():
        expected = network(*given)
        return float((runner(*given) - expected).abs().max() / expected.abs().max().clamp(min=1e-6))
