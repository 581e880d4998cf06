"""Options that several commands have: --plugin, --device, --backend, --trust, --guidance, -n, --seeds, RUN."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdekit.errors import InputError
from sdekit_cli.terminal.console import note

if TYPE_CHECKING:
    from sdekit.guidance import Guidance
    from sdekit.models import ScoreModel
    from sdekit.runs import Component

ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="Run folder of `sdekit train`, folder of `sdekit export`, or LOADER:PATH,option=value of another format.",
    ),
]

PluginFiles = Annotated[
    list[Path] | None,
    typer.Option("--plugin", metavar="FILE", help="Also use the plugin in this Python file; may be repeated."),
]

Loggers = Annotated[
    list[str] | None,
    typer.Option(
        "--logger",
        metavar="NAME:OPTION=VALUE,...",
        help="Tracker that shows the training: tensorboard, wandb, trackio, ...; may be repeated.",
    ),
]

DeviceName = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1 or mps.")]

BackendName = Annotated[
    str | None,
    typer.Option("--backend", metavar="NAME:OPTION=VALUE,...", help="How to run the network: auto, compile, bf16, ..."),
]

Trust = Annotated[
    bool,
    typer.Option("--trust", help="Open RUN even if its format contains code that is executed; only if you trust it."),
]

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]

SEED_FORM = "write numbers and ranges, such as 0-63 or 3,17,20-29"

MOST_SAMPLES = 10_000_000
"""Largest number of samples of one command, which keeps them all in memory until it writes them."""

MOST_DIGITS = 100
"""Largest number of digits of a seed, leading zeros included; Python does not read more than some thousands."""


def load_plugin_files(files: Sequence[Path] | None, *, quiet: bool = False) -> None:
    """Load the plugin files of --plugin, and print what each provides.

    Arguments:
        files: The files.
        quiet: Whether to print nothing.
    Raises:
        InputError: If a file cannot be loaded.
    """
    from sdekit.registry import load_plugin_file, load_plugins

    for file in files or ():
        load_plugin_file(file)
        provided = [f"{e.kind} {e.name}" for e in load_plugins().entries.values() if e.package == str(file.absolute())]
        if not quiet:
            note("local plugin [bold]{}[/]: {}", file, ", ".join(provided) or "it provides nothing")


def pick_device(name: str) -> str:
    """Return the device to use.

    Arguments:
        name: Value of --device. "auto" is the best device of this machine; each of several processes has its own GPU.
    Returns:
        A device of torch.
    Raises:
        InputError: If this machine has no such device.
    """
    import torch

    if name == "auto":
        if not torch.cuda.is_available():
            return "mps" if torch.backends.mps.is_available() else "cpu"
        if "LOCAL_RANK" not in os.environ:
            return "cuda"
        return f"cuda:{int(os.environ['LOCAL_RANK']) % torch.cuda.device_count()}"
    try:
        torch.zeros(1, device=name).item()
    except (RuntimeError, AssertionError):
        gpus = [f"cuda:{i}" for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
        devices = ["cpu", *gpus, *(["mps"] if torch.backends.mps.is_available() else [])]
        available = f"this machine has {', '.join(devices)} (auto takes the best)"
        raise InputError(f"--device {name} cannot be used here: {available}") from None
    return name


def parse_guidance(texts: Sequence[str]) -> list[tuple[str, dict[str, Any]]]:
    """Parse the values of --guidance.

    Arguments:
        texts: Texts of the form NAME:option=value,option=value.
    Returns:
        Name and options of each guidance, in this order.
    Raises:
        InputError: If a name or an option does not exist, or a value has another type.
    """
    from sdekit.registry import component_options, parse_component

    chosen = []
    for text in texts:
        name, assignments = parse_component(text, "guidance")
        chosen.append((name, component_options("guidance", name, assignments)))
    return chosen


def build_guidance(
    chosen: Sequence[tuple[str, dict[str, Any]]], data_range: tuple[float, float] | None
) -> tuple[list[Guidance], list[dict[str, Any]]]:
    """Build guidances for one model.

    Arguments:
        chosen: Name and options of each guidance, as `parse_guidance` returns them.
        data_range: Smallest and largest value of the data in the model's units, or None if they are unknown. They
            replace the options low and high of a guidance that are None.
    Returns:
        The guidances in this order, and the record of each: its name and all of its options.
    """
    from sdekit.registry import build, complete_options, option_name

    guidances, records = [], []
    for name, given in chosen:
        options = complete_options("guidance", name, given)
        if data_range is not None and {"low", "high"} <= options.keys():
            for bound, value in zip(("low", "high"), data_range, strict=True):
                options[bound] = value if options[bound] is None else options[bound]
        guidances.append(build("guidance", name, **options))
        records.append({"name": name, "options": {option_name(k): v for k, v in options.items()}})
    return guidances, records


def parse_backend(text: str | None) -> tuple[str, dict[str, Any]] | None:
    """Parse the value of --backend.

    Arguments:
        text: Text of the form NAME:option=value,option=value, or None.
    Returns:
        Name and options of the backend, or None.
    Raises:
        InputError: If the name or an option does not exist, or a value has another type.
    """
    from sdekit.registry import component_options, parse_component

    if text is None:
        return None
    name, assignments = parse_component(text, "backend")
    return name, component_options("backend", name, assignments)


def parse_loggers(texts: Sequence[str] | None) -> list[Component] | None:
    """Parse the values of --logger, and check that the loggers can be used.

    Arguments:
        texts: Texts of the form NAME:option=value,option=value. The only text "none" means no logger. None without
            --logger.
    Returns:
        The loggers, or None without --logger.
    Raises:
        InputError: If a name or an option does not exist, a value has another type, or a package is not installed.
    """
    from sdekit.registry import component_options, parse_component

    if texts is None:
        return None
    if list(texts) == ["none"]:
        return []
    from sdekit.runs import Component
    from sdekit.training import check_loggers

    chosen = []
    for text in texts:
        name, assignments = parse_component(text, "logger")
        chosen.append(Component(name=name, options=component_options("logger", name, assignments)))
    check_loggers(chosen)
    return chosen


def use_backend(model: ScoreModel, backend: tuple[str, dict[str, Any]] | None) -> None:
    """Make a model run its network with a backend that `parse_backend` returned, if there is one."""
    if backend is not None:
        from sdekit.registry import build

        name, options = backend
        model.run_with(build("backend", name, **options), name=name)


@contextmanager
def without_backend_warnings() -> Iterator[None]:
    """Context manager that silences the warnings of backends that fall back; `backend_record` reports these."""
    import warnings

    from sdekit.backends import BackendWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BackendWarning)
        yield


def backend_record(
    model: ScoreModel, backend: tuple[str, dict[str, Any]] | None, *, quiet: bool
) -> dict[str, Any] | None:
    """Describe the backend that a model used, and warn if it fell back to running the network eagerly.

    Arguments:
        model: The model, after it has been used.
        backend: Name and options, or None.
        quiet: Whether to print only warnings.
    Returns:
        The record of the backend, or None without one.
    """
    network = model.backend
    if backend is None or network is None:
        return None
    name, options = backend
    if network.fallback:
        note("[yellow]warning:[/] backend {} {}", repr(name), network.note)
    elif network.note and not quiet:
        note("backend {}: {}", repr(name), network.note)
    return {"name": name, "options": options, "note": network.note, "fell_back": bool(network.fallback)}


def check_sample_count(option: str, n: int) -> int:
    """Return n. Raises InputError, which names the option, if n is larger than `MOST_SAMPLES`."""
    if n > MOST_SAMPLES:
        raise InputError(
            f"{option} asks for {n} samples, and one command draws {MOST_SAMPLES} at most: draw them in parts"
        )
    return n


def parse_seeds(n: int | None, text: str | None, default: int = 64) -> tuple[int, ...]:
    """Return the seeds of -n and --seeds: -n 3, --seeds 0-2 and --seeds 0,1,2 all give (0, 1, 2).

    Arguments:
        n: Value of -n.
        text: Value of --seeds.
        default: Number of seeds without -n and --seeds.
    Returns:
        The seeds, without repetitions.
    Raises:
        InputError: If both are given, a value is out of range, or a seed occurs twice.
    """
    if text is None:
        n = default if n is None else n
        if n < 1:
            raise InputError(f"-n must be at least 1, got {n}")
        return tuple(range(check_sample_count("-n", n)))
    if n is not None:
        raise InputError("give -n or --seeds, not both")
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise InputError(f"--seeds {text!r}: {SEED_FORM}")
        if max(len(first), len(last)) > MOST_DIGITS or int(last or first) >= 2**32:
            raise InputError(f"--seeds {text!r}: a seed is below 2^32")
        if dash and int(last) < int(first):
            raise InputError(f"--seeds {text!r}: {SEED_FORM}")
        end = int(last or first) + 1
        check_sample_count("--seeds", len(seeds) + end - int(first))
        seeds.extend(range(int(first), end))
    if len(set(seeds)) < len(seeds):
        raise InputError(f"--seeds {text!r} names a seed twice")
    return tuple(seeds)


def refuse_export(run: Path, reason: str) -> None:
    """Check that RUN is not an export, for commands that need the run folder itself.

    Arguments:
        run: The folder.
        reason: Why the command needs a run folder, for the message.
    Raises:
        InputError: If `sdekit export` wrote the folder.
    """
    from sdekit.runs import is_export

    if is_export(run):
        raise InputError(f"{run} is an export already: {reason}; name the run that it was made of")
