"""Completion of the values of options and arguments: names of components, their options, runs, devices, formats."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from sdekit.errors import SdekitError


class Completion(NamedTuple):
    """One proposal for the word at the cursor, with the fields that click's shells read.

    Attributes:
        value: The whole word.
        help: Description in one line.
        type: Kind of the word; "plain" is printed as it is.
    """

    value: str
    help: str = ""
    type: str = "plain"


Proposals = Iterable[tuple[str, str]]

DEVICES = {"auto": "the best device of this machine", "cpu": "", "cuda": "NVIDIA or AMD GPU", "mps": "Apple GPU"}
PRECISIONS = {"fp32": "float32", "bf16": "bfloat16 where it is safe"}
NUMBER_TYPES = {"float32": "", "float64": "twice the digits"}
FORMATS = {
    "onnx": "graph for ONNX Runtime", "torch": "program of torch.export", "aoti": "compiled by AOTInductor",
    "safetensors": "weights and recipe", "diffusers": "a DDPMPipeline",
}  # fmt: skip
NOISES = {"seed": "noise of each step by the seed", "brownian": "the same path for any number of steps"}
TRACES = {"auto": "", "exact": "all derivatives", "hutchinson": "random probes", "hutch++": "low rank and probes"}
BINS = {"uniform": "", "truncated-normal": "", "none": ""}
TIMES = {"snr": "optimal for normal data", "uniform": "uniform in log-SNR"}
CLASSIFIERS = {"bound": "variational, fast", "nll": "exact"}
ADAPTIVE = {"dopri5": "adaptive Runge-Kutta method of order 5", "bosh3": "adaptive Runge-Kutta method of order 3"}
CONDITIONS = {"none": "no condition", "label": "classes of the data"}
PREDICTIONS = {"edm": "", "eps": "the noise", "v": "", "flow": "", "x0": "the data"}
COMPONENT_OPTIONS = {
    "solver": "sampler", "guidance": "guidance", "backend": "backend", "metric": "metric", "features": "features",
    "operator": "operator", "logger": "logger", "grid": "grid", "against_solver": "sampler", "network": "network",
    "process": "sde",
}  # fmt: skip
"""Maps options to the kind of component that they name."""
CHOICES = {
    "device": DEVICES, "precision": PRECISIONS, "dtype": NUMBER_TYPES, "format": FORMATS, "noise": NOISES,
    "trace": TRACES, "dequantization": BINS, "importance": TIMES, "prediction": PREDICTIONS,
}  # fmt: skip
"""Maps options to their values."""
FLOW = ("nll", "encode", "decode", "interpolate")
"""Commands whose solver may also be an adaptive method."""
DATA = ("data", "against")


def complete_value(parameter: Any, ctx: Any, incomplete: str) -> list[Completion]:
    """Propose values for an option or an argument.

    Arguments:
        parameter: The parameter of click.
        ctx: Context of click, with the values of the command line so far.
        incomplete: Beginning of the value.
    Returns:
        The proposals that begin with it; an empty list means names of files.
    """
    try:
        own = {item for item in ctx.params.get(parameter.name) or ()} if parameter.nargs == -1 else set()
        found = _proposals(parameter, ctx, incomplete)
        lower = incomplete.lower()
        return [Completion(v, h) for v, h in found if v.lower().startswith(lower) and v != "" and v not in own]
    except SdekitError:  # an unknown component: its options cannot be proposed
        return []


def _proposals(parameter: Any, ctx: Any, incomplete: str) -> Proposals:
    """Return the proposals for a parameter; they may also begin with another text."""
    name, command = parameter.name, ctx.info_name
    if parameter.param_type_name == "argument":
        return _argument(name, command, ctx, incomplete)
    _load_files(ctx)
    if name == "option":
        return _assignments(command, ctx, incomplete)
    if name == "against_option":
        return _dataset_options(ctx.params.get("against"), incomplete)
    if name in DATA and not (name == "against" and command == "evaluate"):
        return _data(incomplete)
    if name == "against":
        return _runs(incomplete)
    if name == "kind":
        return _kinds(command)
    if name == "label":
        return _classes(ctx.params.get("run"), incomplete)
    if name == "method":
        return component_values("restorer", incomplete) if command == "restore" else CLASSIFIERS.items()
    if name == "condition" and command == "train":
        return CONDITIONS.items()
    if name in COMPONENT_OPTIONS:
        kind = COMPONENT_OPTIONS[name]
        extra = ADAPTIVE if name == "solver" and command in FLOW else {"maker": "grid of RUN's makers"}
        extra = extra if name == "solver" and command in FLOW or (name == "grid" and command != "bench") else {}
        options = not (name == "grid" and command == "bench")
        return [*component_values(kind, incomplete, options=options), *extra.items()]
    if name in CHOICES:
        return CHOICES[name].items()
    choices = getattr(getattr(parameter, "type_descriptor", None), "choices", None)
    return [(str(choice), "") for choice in choices or ()]


def _argument(name: str, command: str, ctx: Any, incomplete: str) -> Proposals:
    """Return the proposals for an argument: runs, or names of components."""
    if name == "run":
        if ctx.params.get("run") is not None:
            return []
        return [*_runs(incomplete), *([("mixture", "an exact mixture")] if command == "bench" else [])]
    if name == "shell":
        return [("bash", ""), ("zsh", ""), ("fish", "")]
    if name == "of_kind":
        return _kinds(command)
    if name in ("names", "name") and command != "new":
        _load_files(ctx)
        return _all_components(ctx.params.get("kind"), incomplete)
    return []


def _kinds(command: str) -> Iterator[tuple[str, str]]:
    """Yield the kinds of components that a command takes, with their purposes."""
    from sdekit.registry import kind_name
    from sdekit_cli.options.component_kinds import PURPOSES
    from sdekit_cli.scaffold.skeletons import COMPONENTS

    created = {kind for kind, _ in COMPONENTS.values()}
    yield from ((kind_name(kind), text) for kind, (text, _) in PURPOSES.items() if command != "new" or kind in created)
    if command == "verify":
        yield "prediction", "Quantity that a network predicts."


def component_values(kind: str, incomplete: str, *, options: bool = True) -> Iterator[tuple[str, str]]:
    """Yield NAME, or NAME:option=value for a text that contains a colon.

    Arguments:
        kind: Kind of the component.
        incomplete: Beginning of the value.
        options: Whether the value may contain options.
    """
    from sdekit.registry import find_component, load_plugins

    from .component_sources import component_summary, options_in_source

    name, colon, rest = incomplete.partition(":")
    if not colon or not options:
        for (other, entry_name), entry in sorted(load_plugins().entries.items()):
            if other == kind and entry_name.startswith(name.lower()):
                yield entry_name, component_summary(entry)
        return
    before, comma, last = rest.rpartition(",")
    given = {part.partition("=")[0] for part in before.split(",")}
    for value, text in _options(options_in_source(find_component(kind, name)), last, given=given):
        yield f"{name}:{before}{comma}{value}", text


def _options(options: Iterable[Any], last: str, prefix: str = "", given: Iterable[str] = ()) -> Proposals:
    """Yield NAME= for each option, or NAME=VALUE for a text that contains the name already."""
    written, equals, _ = last.removeprefix(prefix).partition("=")
    for option in options:
        if equals and option.name.replace("-", "_") == written.replace("-", "_"):
            for value in option.values or ():
                yield f"{prefix}{written}={value}", ""
        elif not equals and option.name not in given:
            yield f"{prefix}{option.name}=", f"{option.type}, default {option.default}. {option.meaning}".strip()


def _assignments(command: str, ctx: Any, incomplete: str) -> Iterator[tuple[str, str]]:
    """Yield the options that --option of a command takes."""
    from sdekit.registry import find_component

    from .component_sources import options_in_source

    params = ctx.params
    if command.startswith("train"):
        yield from _training_assignments(command, params, incomplete)
        return
    if command in ("nll", "bound", "encode", "classify", "ood", "report"):
        yield from _dataset_options(params.get("data"), incomplete)
        return
    default = "auto" if command in ("sample", "evaluate", "tune") else "ddim"
    solver = (params.get("solver") or default).partition(":")[0]
    yield from _options(options_in_source(find_component("sampler", solver)), incomplete)
    if params.get("grid") and not isinstance(params["grid"], list):
        grid = params["grid"].partition(":")[0]
        yield from _options(options_in_source(find_component("grid", grid)), incomplete, "grid.")
    if command == "evaluate":
        yield from _dataset_options(params.get("data"), incomplete, "data.")


def _training_assignments(command: str, params: dict[str, Any], incomplete: str) -> Iterator[tuple[str, str]]:
    """Yield GROUP. for each group of options, or GROUP.NAME= for the options of a group."""
    from sdekit.registry import find_component

    from .component_sources import options_at, options_in_source

    groups = {"data": "data set", "process": "process", "network": "network", "train": "optimizer, length and the like"}
    if command == "train-classifier":
        del groups["process"]
    group, dot, _ = incomplete.partition(".")
    if not dot:
        yield from ((f"{name}.", f"options of the {text}") for name, text in groups.items())
    elif group == "train":
        yield from _options(options_at("sdekit.runs", "TrainOptions").values(), incomplete, "train.")
    elif group == "data":
        yield from _dataset_options(params.get("data"), incomplete, "data.")
    elif group in ("process", "sde") and "process" in groups:
        process = (params.get("process") or "vp").partition(":")[0]
        yield from _options(options_in_source(find_component("sde", process)), incomplete, f"{group}.")
    elif group == "network" and command == "train":
        network = (params.get("network") or "unet").partition(":")[0]
        yield from _options(options_in_source(find_component("network", network)), incomplete, "network.")
    elif group == "network":
        yield from _options(options_at("sdekit.networks", "Encoder").values(), incomplete, "network.")


def _dataset_options(spec: str | None, incomplete: str, prefix: str = "") -> Proposals:
    """Return the options of a data set such as images:PATH."""
    from sdekit.registry import find_component

    from .component_sources import options_in_source

    name = (spec or "digits").partition(":")[0]
    return _options(options_in_source(find_component("dataset", name)), incomplete, prefix)


def _data(incomplete: str) -> Iterator[tuple[str, str]]:
    """Yield data sets. Those that read files end with a colon, and their paths follow it."""
    from sdekit.registry import find_component

    from .component_sources import reads_files

    name, colon, path = incomplete.partition(":")
    if colon:
        yield from ((f"{name}:{file}", "") for file in _paths(path))
        return
    for value, text in component_values("dataset", incomplete, options=False):
        yield (f"{value}:" if reads_files(find_component("dataset", value)) else value), text


def _runs(incomplete: str) -> Iterator[tuple[str, str]]:
    """Yield run folders and, as LOADER:PATH, models in other formats."""
    from .run_folders import run_folders

    loader, colon, path = incomplete.partition(":")
    if colon:
        yield from ((f"{loader}:{file}", "") for file in _paths(path))
        return
    yield from ((path, "run folder") for path in run_folders(incomplete))
    if "/" not in incomplete:
        yield from ((f"{n}:", text) for n, text in component_values("loader", incomplete, options=False))


def _paths(incomplete: str) -> list[str]:
    """Return the files and folders whose path begins with a text; folders end with a slash."""
    import os
    from glob import escape, glob

    found = sorted(glob(f"{escape(os.path.expanduser(incomplete))}*"))
    return [f"{path}/" if os.path.isdir(path) else path for path in found]


def _classes(run: str | None, incomplete: str) -> Iterator[tuple[str, str]]:
    """Yield the names of the classes of a run, after those that are written already."""
    import json
    from pathlib import Path

    before, comma, _ = incomplete.rpartition(",")
    try:
        fields = json.loads((Path(run or "") / "config.json").read_text("utf-8"))
        names = fields.get("class_names") or [str(k) for k in range(int(fields.get("classes") or 0))]
    except (OSError, ValueError, TypeError, AttributeError):
        return
    yield from ((f"{before}{comma}{name}", "") for name in names)


def _all_components(kind: str | None, incomplete: str) -> Iterator[tuple[str, str]]:
    """Yield the components of a kind, or of all kinds with their kind as the description."""
    from sdekit.registry import load_plugins
    from sdekit_cli.options.component_kinds import registry_kind

    if (kind := registry_kind(kind, "prediction")) not in (None, "prediction") and ":" not in incomplete:
        yield from component_values(kind, incomplete, options=False)
        return
    name, colon, _ = incomplete.partition(":")
    entries = load_plugins().entries
    if colon:
        for other in [k for k, n in entries if n == name.lower()]:
            yield from component_values(other, incomplete)
        return
    yield from ((entry_name, entry_kind) for entry_kind, entry_name in sorted(entries, key=lambda entry: entry[1]))


def _load_files(ctx: Any) -> None:
    """Load the plugins of --plugin, so that their components are proposed too."""
    from pathlib import Path

    from sdekit.registry import load_plugin_file

    for file in ctx.params.get("plugin") or ():
        load_plugin_file(Path(file))
