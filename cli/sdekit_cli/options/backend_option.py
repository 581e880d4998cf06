"""`--backend NAME[:option=value,...]`."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdekit_cli.terminal.console import note

from .assignments import component, named

if TYPE_CHECKING:
    from sdekit.runs import Run

Backend = Annotated[
    str | None,
    typer.Option("--backend", metavar="NAME:OPTION=VALUE,...", help="How the network is run: auto, compile, bf16, ..."),
]
"""The option, for the signature of a command."""

Trust = Annotated[
    bool, typer.Option("--trust", help="RUN is an export of a format that runs what it holds, from a source you trust.")
]
"""The option, for commands that open a run."""


def parse_backend(text: str | None) -> tuple[str, dict[str, Any]] | None:
    """Name and typed options; InputError where there is no such backend or option."""
    if text is None:
        return None
    name, given = named(text)
    return name, component("backend", name, given)


def run_with(run: "Run", chosen: tuple[str, dict[str, Any]] | None) -> None:
    """From now on the run's model uses the backend."""
    if chosen is not None:
        from sdekit.registry import build

        name, options = chosen
        run.model.run_with(build("backend", name, **options), name=name)


@contextmanager
def without_backend_warnings() -> Iterator[None]:
    """Within it a backend that falls back does not warn: `told` says so."""
    import warnings

    from sdekit.backends import BackendWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BackendWarning)
        yield


def backend_record(run: "Run", chosen: tuple[str, dict[str, Any]] | None, *, quiet: bool) -> dict[str, Any] | None:
    """For the record: the backend, its options and what it said; a fallback is also told to a person."""
    backed = run.model.backend
    if chosen is None or backed is None:
        return None
    name, options = chosen
    if backed.fallback:
        note("[yellow]warning:[/] backend {} {}", repr(name), backed.note)
    elif backed.note and not quiet:
        note("backend {}: {}", repr(name), backed.note)
    return {"name": name, "options": options, "note": backed.note, "fell_back": bool(backed.fallback)}
