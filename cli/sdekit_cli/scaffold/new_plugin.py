"""`sdekit plugins new`."""

import keyword
import os
import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

import sdekit
from sdekit.errors import InputError
from sdekit.registry import KINDS, kind_name, load_plugins, unknown_name
from sdekit_cli.options.component_kinds import registry_kind
from sdekit_cli.terminal.console import note, quoted

from .skeletons import COMPONENTS


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
    from sdekit.runs import staged

    from .templates import plugin_files

    out = Path(name) if out is None else out
    kind = kind_name(registry_kind(kind) or kind)
    _check_new(name, kind, out)
    hook = KINDS[COMPONENTS[kind][0]]
    files = plugin_files(name, kind, hook=hook, version=sdekit.__version__, api=sdekit.API_VERSION)
    with staged(out, lambda: _check_empty(out)) as new_files:
        for path, text in files.items():
            (new_files / path).parent.mkdir(parents=True, exist_ok=True)
            (new_files / path).write_text(text, "utf-8")
    component = out / "src" / name.replace("-", "_") / "component.py"
    note("wrote {} files into [bold]{}[/]; edit {}", len(files), out, component)
    note(
        "next: pip install -e {} && pytest {} && sdekit verify {}", quoted(f"{out.absolute()}[test]"), quoted(out), name
    )


def _check_new(name: str, kind: str, out: Path) -> None:
    """Check that the new plugin would work, and that it would overwrite nothing."""
    from sdekit.runs import recover

    if kind not in COMPONENTS:
        if kind in KINDS:
            raise InputError(
                f"there is no template for the kind {kind}: start from examples/single_files/acme_{kind}.py, or use "
                f"one of the kinds {', '.join(COMPONENTS)}"
            )
        raise InputError(unknown_name("kind of plugin", kind, list(COMPONENTS), "Kinds"))
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        example = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+", "-", name).strip("-").lower()
        example = example if re.match("[a-z]", example) else "acme-heun"
        raise InputError(f"plugin {name!r}: a name is lower case, with hyphens, such as {example}")
    package = name.replace("-", "_")
    if keyword.iskeyword(package) or find_spec(package) is not None:
        raise InputError(f"plugin {name!r}: Python already has a module {package!r}: choose another name")
    existing = load_plugins().entries.get((COMPONENTS[kind][0], name))
    if existing is not None:
        provider = f"{existing.package} {existing.version}"
        raise InputError(f"{kind_name(kind)} {name!r} exists already, in {provider}: choose another name")
    recover(out)
    _check_empty(out)


def _check_empty(out: Path) -> Sequence[str]:
    """Return no names to replace. Raises InputError if the folder contains files."""
    from sdekit.runs import names_in

    try:
        if os.path.lexists(out) and (not out.is_dir() or names_in(out)):
            raise InputError(f"{out} exists already: choose another folder with --out")
    except OSError as error:
        raise InputError(f"--out {out} cannot be read ({error.strerror or error}): choose another folder") from error
    return ()
