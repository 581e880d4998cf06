"""Export a model to a folder, and open the folder without the Python code of the network."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sdekit.arguments import check_device
from sdekit.backends import PreparedNetwork, needs_gradient, no_gradients_message
from sdekit.data import Units
from sdekit.errors import InputError, SdekitError
from sdekit.models import (
    Condition,
    Conditioning,
    NetworkInput,
    OpenedModel,
    ScoreModel,
    example_conditions,
    recognises,
)
from sdekit.processes import SDE, TabulatedVP
from sdekit.registry import component_names, find_component, unknown_name
from sdekit.runs import (
    EXPORT,
    EXPORTED_NETWORKS,
    Component,
    ExportAbout,
    ExportRecord,
    Recipe,
    Run,
    build_recorded,
    check_fields,
    is_export,
    load_json,
    read_record,
    save_json,
    staged_export,
)

from .export_formats import FORMATS, Format, machine
from .file_checksums import check_files, checksums
from .model_card import CARD, model_card
from .portable_exports import PORTABLE, read_pipeline, read_weights
from .traced_program import Inputs, program, quiet

RUN_VERSION, VERSION = 1, 2
"""Versions of the layout: an export of a run, and an export of a model without a recipe."""

TABLE = "tabulated"
"""Name of a process with a table of betas in an export."""

FACTS = ("kind", "classes", "class_names", "condition_names", "grid", "units", "condition_units")
CONDITIONING = ("classes", "numbers", "embedding", "null", "class_names", "untrained")
"""Facts about a model without a recipe, and about its condition, that export.json records."""

TOLERANCE = 1e-4
"""Largest deviation of an exported network's output, relative to the largest output."""


def export_model(opened: OpenedModel, out: Path, form: str, *, overwrite: bool = False) -> float:
    """Write the network of a model, everything else that sampling needs, and a model card into a new folder.

    The network's files are read back and compared with the network at four noise levels before the folder is put in
    place.

    Arguments:
        opened: A run, or a model in another format.
        out: Folder to write.
        form: A key of `FORMATS`, "safetensors" or "diffusers".
        overwrite: Replace an earlier export in the folder.
    Returns:
        Largest deviation of an output, relative to the largest output.
    Raises:
        InputError: If the folder contains other files, a package is missing, the process or the condition of the model
            cannot be recorded, or the format does not suit the model.
        SdekitError: If the network cannot be exported, or the result deviates by more than `TOLERANCE`.
    """
    check_format(form)
    model = opened.model
    network = model.network
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    traced = form not in PORTABLE
    saved: Recipe | _SavedModel | None = None
    if isinstance(opened, Run):
        saved = opened.recipe
    elif traced:
        saved = _SavedModel.of(opened)
    version = RUN_VERSION if isinstance(saved, Recipe) else VERSION
    about: dict[str, Any] = {"version": version, "format": form, "step": opened.step, **machine(device)}
    fields = {} if saved is None else {"recipe" if isinstance(saved, Recipe) else "model": saved.as_dict()}
    with staged_export(out, overwrite=overwrite) as folder:
        worst = _write_programs(opened, folder, FORMATS[form], device) if traced else PORTABLE[form](opened, folder)
        if not worst <= TOLERANCE:
            raise SdekitError(f"format {form!r} deviates from the network by {worst:.2g}: nothing was written")
        (folder / CARD).write_text(model_card(opened, form), "utf-8")
        about["files"] = checksums(folder)
        save_json(folder / EXPORT, {"export": about, **fields})
    return worst


def _write_programs(opened: OpenedModel, folder: Path, form: Format, device: torch.device) -> float:
    """Write the network as programs, and return the largest deviation of their outputs."""
    worst, sde = 0.0, opened.model.sde
    levels = sde.time(torch.logspace(1, -2, 4, dtype=torch.float64)).clamp(sde.t_min, sde.t_max)
    c_noise = opened.model.inputs.c_noise(sde, levels)
    condition = opened.recipe.conditioning if isinstance(opened, Run) else opened.conditioning
    for network_name, inputs in traced_inputs(opened.shape, condition, device).items():
        file = folder / (network_name + form.suffix)
        with quiet():
            form.save(program(opened.model.network, inputs), file)
            worst = max(worst, deviation(opened.model.network, form.read(file, device), inputs, c_noise))
    return worst


@recognises(is_export)
def load_export(path: str | Path, *, device: torch.device | str = "cpu", trust: bool = False) -> OpenedModel:
    """A folder of `sdekit export`, which does not need the Python code of the network.

    Arguments:
        path: The folder.
        device: Device that the network runs on.
        trust: Allow formats that run code from the file (`Format.code`).
    Returns:
        A `Run` for an export of a run, else an `OpenedModel`.
    Raises:
        InputError: If the export is damaged or newer than this sdekit, its format needs `trust` or a missing package,
            or it was compiled for another machine.
    """
    path, device = Path(path), check_device("load_export", device)
    about, saved = _read_description(path)
    form, step = about.format, about.step
    checked = {"checksums": check_files(path, about.files)} if form in PORTABLE else {}
    if saved is None:
        return _with_facts(read_pipeline(path, device), checked)
    if form == "safetensors" and isinstance(saved, Recipe):
        model = read_weights(path, saved)
        return _with_facts(Run.from_recipe(path, saved, model, step or 0), checked)
    export_format = format_of(form)
    if export_format.code and not trust:
        raise InputError(
            f"{path}: opening the format {form!r} runs code from the file. If you trust its source, add --trust (in "
            "Python: trust=True); format 'onnx' needs no trust"
        )
    export_format.check(f"{path} (format {form!r})", writing=False)
    here = machine(device)
    differ = [f"{name} {getattr(about, name)}, not {here[name]}" for name in here if getattr(about, name) != here[name]]
    if export_format.pinned and differ:
        raise InputError(f"{path} was compiled for {'; '.join(differ)}: export the model again on this machine")
    checked = {"checksums": check_files(path, about.files)}
    condition = saved.conditioning
    network = ExportedNetwork(path, saved.shape, condition, export_format, device)
    sde: SDE = build_recorded(
        path / EXPORT, "sde", lambda: saved.sde.build("sde") if isinstance(saved, Recipe) else saved.build_process()
    )
    inputs = NetworkInput() if isinstance(saved, Recipe) else saved.inputs
    model = ScoreModel(
        network, sde, saved.prediction, data_std=saved.data_std, condition=condition, inputs=inputs
    ).eval()  # fmt: skip
    if isinstance(saved, Recipe):
        return _with_facts(Run.from_recipe(path, saved, model, step or 0), checked)
    return OpenedModel(path=path, model=model, shape=saved.shape, step=step, facts=checked, **saved.facts)


def _with_facts(opened: OpenedModel, facts: Mapping[str, Any]) -> OpenedModel:
    """Return an opened model with further facts for `sdekit info`."""
    return replace(opened, facts={**opened.facts, **facts})


@dataclass(frozen=True, kw_only=True)
class _SavedModel:
    """What export.json records of a model without a recipe."""

    sde: Component
    prediction: str
    data_std: float
    conditioning: Conditioning
    shape: tuple[int, ...]
    facts: dict[str, Any]
    inputs: NetworkInput = NetworkInput()

    @classmethod
    def of(cls, opened: OpenedModel) -> _SavedModel:
        """Describe an opened model. Raises InputError if its process or condition cannot be written as JSON."""
        condition, model = opened.conditioning, opened.model
        if condition.parts or condition.sequence or condition.null_value is not None:
            raise InputError(
                f"{opened.path}: this model cannot be exported, because its condition has several parts, is a "
                "sequence, or has a null value of its own"
            )
        if opened.codec is not None or opened.encoder is not None:
            raise InputError(f"{opened.path}: a model with a codec or an encoder cannot be exported")
        facts = {name: getattr(opened, name) for name in FACTS}
        return cls(
            sde=_registered(model.sde, opened.path), prediction=model.prediction, data_std=model.data_std,
            conditioning=condition, shape=opened.shape, facts=facts, inputs=model.inputs,
        )  # fmt: skip

    def as_dict(self) -> dict[str, Any]:
        condition = {name: getattr(self.conditioning, name) for name in CONDITIONING}
        units = {k: vars(v) if isinstance(v, Units) else v for k, v in self.facts.items()}
        inputs = vars(self.inputs)
        return vars(self) | {"sde": vars(self.sde), "conditioning": condition, "facts": units, "inputs": inputs}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> _SavedModel:
        known = {name: fields["facts"][name] for name in FACTS if name in fields["facts"]}
        facts = _tuples(known)
        for name in ("units", "condition_units"):
            facts[name] = None if facts.get(name) is None else Units.from_dict(facts[name])
        condition = Conditioning(**_tuples({n: v for n, v in fields["conditioning"].items() if n in CONDITIONING}))
        sde = Component.from_dict(fields["sde"])
        inputs = NetworkInput(**fields.get("inputs") or {})
        plain = {name: fields[name] for name in ("prediction", "data_std")}
        shape = tuple(fields["shape"])
        return cls(sde=sde, conditioning=condition, shape=shape, facts=facts, inputs=inputs, **plain)

    def build_process(self) -> SDE:
        """Build the process."""
        if self.sde.name == TABLE:
            return TabulatedVP(tuple(self.sde.options["betas"]))
        sde: SDE = self.sde.build("sde")
        return sde


def _read_description(path: Path) -> tuple[ExportAbout, Recipe | _SavedModel | None]:
    """Read export.json and check all of its fields. A pipeline of diffusers describes its model itself."""
    where, fields = path / EXPORT, load_json(path / EXPORT)
    about = read_record(ExportAbout, fields.get("export"), where, "an export")
    if about.version > VERSION:
        raise InputError(
            f"{path} was exported by a newer sdekit (layout {about.version}; this reads {VERSION}): upgrade it"
        )
    record = read_record(ExportRecord, fields, where, "an export")
    if about.format == "diffusers":
        return about, None
    try:
        if record.recipe is not None:
            check_fields(fields["recipe"], where, "an export")
            return about, Recipe.from_dict(fields["recipe"])
        if record.model is not None:
            return about, _SavedModel.from_dict(fields["model"])
    except (InputError, TypeError) as error:
        raise InputError(f"{where} does not describe an export ({error})") from error
    raise InputError(f"{where} does not describe an export (recipe and model are missing)")


def _tuples(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}


def _registered(sde: SDE, path: Path) -> Component:
    """Return the registered name and the options of a process, or its table of betas."""
    if isinstance(sde, TabulatedVP):
        return Component(name=TABLE, options={"betas": list(sde.betas)})
    process: Any = sde
    fields = dataclasses.fields(process) if dataclasses.is_dataclass(process) else ()
    options = {field.name: getattr(sde, field.name) for field in fields if field.init}
    plain = all(isinstance(value, (bool, int, float, str)) for value in options.values())
    for name in component_names("sde") if plain else ():
        if find_component("sde", name).load() is type(sde):
            return Component(name=name, options=options)
    raise InputError(
        f"{path}: its process {type(sde).__name__} is not a registered one with numbers as options, so it cannot be "
        "exported"
    )


class ExportedNetwork(nn.Module):
    """The network of an exported model. It maps x (B, *) in float32, c_noise (B,) and y (B, ...) or None to (B, *).

    Arguments:
        path: Folder of the export.
        shape: Shape of one sample.
        condition: Condition of the model, which determines the files of the export.
        form: Format of the files.
        device: Device that the network runs on.
    Raises:
        InputError: If a file is missing or cannot be read.
    """

    def __init__(
        self, path: Path, shape: tuple[int, ...], condition: Conditioning, form: Format, device: torch.device
    ) -> None:
        super().__init__()
        self.path, self.prepared = path, dict[bool, PreparedNetwork]()
        for name, (_, _, y) in traced_inputs(shape, condition, device).items():
            file = path / (name + form.suffix)
            if not file.is_file():
                raise InputError(f"{file} is missing: export the model again")
            try:
                with quiet():
                    self.prepared[y is not None] = form.read(file, device)
            except InputError:
                raise
            except Exception as error:  # the three libraries raise many types
                raise InputError(f"{file} cannot be read ({type(error).__name__}: {error})") from error

    def forward(self, x: Tensor, c_noise: Tensor, y: Tensor | Condition | None = None) -> Tensor:
        """Run the file for inputs with a condition, or the file for inputs without one."""
        if isinstance(y, Condition):
            raise InputError(f"{self.path} takes no condition of several parts: sample the model itself")
        prepared = self.prepared.get(y is not None)
        if prepared is None:  # a ScoreModel that checks its condition raises an error earlier
            raise InputError(f"{self.path} was trained {'without conditions' if y is not None else 'with conditions'}")
        if x.dtype != torch.float32:
            raise InputError(f"{self.path} was exported in float32, and x is {x.dtype}")
        if needs_gradient(x, y) and not prepared.differentiable:
            raise InputError(no_gradients_message(str(self.path)))
        return prepared(x, c_noise, y)


def format_of(name: str) -> Format:
    """Return the export format with a given name.

    Arguments:
        name: A key of `FORMATS`.
    Returns:
        The format.
    Raises:
        InputError: If there is no such format; the message suggests a similar name.
    """
    if name not in FORMATS:
        raise InputError(unknown_name("format", name, sorted(FORMATS), "Formats"))
    return FORMATS[name]


def check_format(name: str) -> None:
    """Check that a format of an export exists, and that the packages that it needs are installed.

    Arguments:
        name: A key of `FORMATS` or `PORTABLE`.
    Raises:
        InputError: If there is no such format (the message suggests a similar name), or a package is missing.
    """
    if name in FORMATS:
        FORMATS[name].check(f"format {name!r}")
    elif name not in PORTABLE:
        raise InputError(unknown_name("format", name, sorted([*FORMATS, *PORTABLE]), "Formats"))


def traced_inputs(shape: tuple[int, ...], condition: Conditioning, device: torch.device) -> dict[str, Inputs]:
    """Return the inputs, of one row, with which each file of an export is traced.

    Arguments:
        shape: Shape of one sample.
        condition: Condition of the model.
        device: Device of the inputs.
    Returns:
        Inputs by the name of the file without its suffix.
    """
    x, c_noise = torch.zeros(1, *shape, device=device), torch.zeros(1, device=device)
    y = example_conditions(condition, 1)
    unconditional, conditional = EXPORTED_NETWORKS
    inputs: dict[str, Inputs] = {unconditional: (x, c_noise, None)} if condition.null else {}
    return inputs | ({conditional: (x, c_noise, y.to(device))} if isinstance(y, Tensor) else {})


def deviation(network: nn.Module, prepared: PreparedNetwork, inputs: Inputs, c_noise: Tensor) -> float:
    """Compare a prepared network with the network itself, for standard normal x at several noise levels.

    Arguments:
        network: The network.
        prepared: The network as read from an export.
        inputs: Inputs of one row, for shapes and the condition.
        c_noise: Time inputs of the network at these noise levels, (n,).
    Returns:
        Largest difference of the outputs, relative to the largest output.
    """
    generator = torch.Generator().manual_seed(0)
    rows = len(c_noise)
    x = torch.randn(rows, *inputs[0].shape[1:], generator=generator).to(inputs[0])
    batch: tuple[Any, ...] = (x, c_noise.to(x), None if inputs[2] is None else inputs[2].repeat_interleave(rows, 0))
    with torch.no_grad():
        expected = network(*batch)
        return float((prepared(*batch) - expected).abs().max() / expected.abs().max().clamp(min=1e-6))
