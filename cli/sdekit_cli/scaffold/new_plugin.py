"""`sdekit plugins new`."""

import keyword
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

import sdekit
from sdekit.errors import InputError, SdekitError
from sdekit.registry import KINDS, load_plugins, unknown_name
from sdekit_cli.terminal.console import note, quoted

from .skeletons import COMPONENTS
from .templates import plugin_files


def new(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Name of the component, in lower case with hyphens: acme-heun.")
    ],
    kind: Annotated[str, typer.Option(help=f"Kind of the component: {', '.join(COMPONENTS)}.")] = "sampler",
    out: Annotated[Path | None, typer.Option(help="Folder to create (default: NAME).")] = None,
) -> None:
    """Create a new plugin: a package with one working component, its tests, a README and a CI file.

    Example:

      sdekit plugins new acme-heun --kind sampler
    """
    out = Path(name) if out is None else out
    kind = next((own for own, (registry_kind, _) in COMPONENTS.items() if registry_kind == kind), kind)  # sde: process
    _check_new(name, kind, out)
    hook = KINDS[COMPONENTS[kind][0]]
    files = plugin_files(name, kind, hook=hook, version=sdekit.__version__, api=sdekit.API_VERSION)
    try:
        for path, text in files.items():
            (out / path).parent.mkdir(parents=True, exist_ok=True)
            (out / path).write_text(text, "utf-8")
    except OSError as error:
        raise SdekitError(f"cannot write into {out}: {error.strerror or error}") from error
    component = out / "src" / name.replace("-", "_") / "component.py"
    note("wrote {} files into [bold]{}[/]; edit {}", len(files), out, component)
    note(
        "next: pip install -e {} && pytest {} && sdekit verify {}", quoted(f"{out.absolute()}[test]"), quoted(out), name
    )


def _check_new(name: str, kind: str, out: Path) -> None:
    """Check that the new plugin would work, and that it would overwrite nothing."""
    if kind not in COMPONENTS:
        raise InputError(unknown_name("kind of plugin", kind, list(COMPONENTS), "Kinds"))
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise InputError(f"plugin {name!r}: a name is lower case, with hyphens, such as acme-heun")
    package = name.replace("-", "_")
    if keyword.iskeyword(package) or find_spec(package) is not None:
        raise InputError(f"plugin {name!r}: Python already has a module {package!r}: choose another name")
    existing = load_plugins().entries.get((COMPONENTS[kind][0], name))
    if existing is not None:
        provider = f"{existing.package} {existing.version}"
        raise InputError(f"{kind} {name!r} exists already, in {provider}: choose another name")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists already: choose another folder with --out")
