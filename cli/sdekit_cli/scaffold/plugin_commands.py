"""`sdekit plugins new` and `sdekit plugins check`: for those who write plugins."""

import ast
import inspect
import keyword
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from rich.markup import escape
from rich.table import Table

import sdekit
from sdekit.errors import InputError, SdekitError
from sdekit.registry import KINDS, Entry, load_plugins, parameters, unknown_name
from sdekit_cli.options.assignments import option_name
from sdekit_cli.options.plugin_option import PluginFiles, load_plugin_files
from sdekit_cli.terminal.console import note, print_json, quoted, show_table, shown

from .skeletons import COMPONENTS
from .templates import files


def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the component: lower case, with hyphens.")],
    kind: Annotated[str, typer.Option(help=f"One of {', '.join(COMPONENTS)}.")] = "sampler",
    out: Annotated[Path | None, typer.Option(help="Folder to make; NAME unless said.")] = None,
) -> None:
    """Write a new plugin: a package with one component, its tests, a README and a CI file.

    Example:

      sdekit plugins new acme-heun --kind sampler
    """
    out = Path(name) if out is None else out
    kind = next((said for said, (of, _) in COMPONENTS.items() if of == kind), kind)  # sde is a process here
    _check_new(name, kind, out)
    registry_kind = COMPONENTS[kind][0]
    written = files(name, kind, hook=KINDS[registry_kind], version=sdekit.__version__, api=sdekit.API_VERSION)
    try:
        for path, text in written.items():
            (out / path).parent.mkdir(parents=True, exist_ok=True)
            (out / path).write_text(text, "utf-8")
    except OSError as error:
        raise SdekitError(f"cannot write into {out}: {error.strerror or error}") from error
    package = name.replace("-", "_")
    part = out / "src" / package / "component.py"
    note("wrote {} files into [bold]{}[/]; your part is {}", len(written), out, part)
    place = quoted(f"{out.absolute()}[test]")
    note("next: pip install -e {} && pytest {} && sdekit verify {}", place, quoted(out), name)


def _check_new(name: str, kind: str, out: Path) -> None:
    """InputError where the plugin would not work, or would overwrite something."""
    if kind not in COMPONENTS:
        raise InputError(unknown_name("kind of plugin", kind, list(COMPONENTS), "Kinds"))
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise InputError(f"plugin {name!r}: a name is lower case, with hyphens, such as acme-heun")
    package = name.replace("-", "_")
    if keyword.iskeyword(package) or find_spec(package) is not None:
        raise InputError(f"plugin {name!r}: Python already has a module {package!r}: choose another name")
    taken = load_plugins().entries.get((COMPONENTS[kind][0], name))
    if taken is not None:
        raise InputError(f"{kind} {name!r} is there already, from {taken.package} {taken.version}: choose another name")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} is there already: choose another folder with --out")


class Verdict(NamedTuple):
    """One thing that was checked. verdict: ok, advice or FAILED."""

    plugin: str
    subject: str
    verdict: str
    message: str


def check(
    plugin: PluginFiles = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check every installed plugin: it loads, is documented, types its options, and is listed without torch.

    Exit code 0 if all is well (advice aside), 1 if not.

    Example:

      sdekit plugins check
    """
    load_plugin_files(plugin, quiet=json)
    verdicts = list(_verdicts())
    failed = [v for v in verdicts if v.verdict == "FAILED"]
    if json:
        print_json({"passed": not failed, "checks": [v._asdict() for v in verdicts]})
    else:
        table = Table("plugin", "what", "", "", box=None, header_style="bold")
        for v in verdicts:
            if v.verdict != "ok":
                table.add_row(*map(escape, v))
        if table.row_count:
            show_table(table)
        plugins = len({v.plugin for v in verdicts})
        shown.print(f"{len(verdicts)} checks of {plugins} plugins, {len(failed)} failed")
    if failed:
        raise typer.Exit(1)


def _verdicts() -> Iterator[Verdict]:
    found = load_plugins()
    for problem in found.problems:
        name = re.search(r"plugin '([^']*)'", problem)
        yield Verdict(name[1] if name else "?", "loading", "FAILED", problem)
    modules: dict[str, Any] = dict(sorted(found.manager.list_name_plugin()))
    for plugin, module in modules.items():
        yield from _imports(plugin, Path(inspect.getfile(module)))
        for entry in found.entries.values():
            if entry.plugin == plugin:
                yield from _component(entry)
    yield from _light({name: m.__name__ for name, m in modules.items() if not m.__name__.startswith("sdekit_local_")})


def _imports(plugin: str, file: Path) -> Iterator[Verdict]:
    """A plugin leans on sdekit's public names: not on its command line, nor on what begins with an underscore."""
    for path in sorted(file.parent.rglob("*.py")) if file.name == "__init__.py" else [file]:
        wrong = [name for name in _imported(path) if name.split(".")[0] == "sdekit_cli" or _private(name)]
        if wrong:
            yield Verdict(plugin, path.name, "FAILED", f"imports {', '.join(wrong)}, which may change at any time")
        else:
            yield Verdict(plugin, path.name, "ok", "imports public names only")


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _private(name: str) -> bool:
    first, *rest = name.split(".")
    return first == "sdekit" and any(part.startswith("_") and not part.endswith("__") for part in rest)


def _component(entry: Entry) -> Iterator[Verdict]:
    """It loads, can be configured, and says what it is and what its options are."""
    subject = f"{entry.kind} {entry.name}"
    try:
        target = entry.load()
    except SdekitError as error:
        yield Verdict(entry.plugin, subject, "FAILED", str(error))
        return
    doc = inspect.getdoc(target) or ""
    own = target.__doc__ or ""
    told = own if not own.startswith(f"{getattr(target, '__name__', '')}(") else ""  # what @dataclass makes up
    if not told.strip():
        yield Verdict(entry.plugin, subject, "FAILED", "it has no docstring: its first line is what people see listed")
        return
    untold = [option for option in parameters(target) if not re.search(rf"\b{option_name(option)}\b", doc)]
    if untold:
        yield Verdict(entry.plugin, subject, "advice", f"its docstring does not mention {', '.join(untold)}")
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*(\+\+)?", entry.name):
        yield Verdict(entry.plugin, subject, "advice", "names are lower case, with hyphens")
    yield Verdict(entry.plugin, subject, "ok", doc.partition("\n")[0])


def _light(modules: dict[str, str]) -> Iterator[Verdict]:
    """Importing a plugin's module, which every `sdekit` command does, should not import torch. modules: by plugin."""
    code = (
        "import sys; from importlib import import_module\n"
        "for name in sys.argv[1:]:\n    import_module(name)\n    if 'torch' in sys.modules: sys.exit(name)"
    )
    left = dict(modules)
    while left:  # up to the first that imports torch, then those after it in a new process
        done = subprocess.run([sys.executable, "-c", code, *left.values()], capture_output=True, text=True, timeout=120)
        heavy = next((plugin for plugin in left if left[plugin] == done.stderr.strip()), None)
        for plugin in list(left):
            del left[plugin]
            if plugin == heavy:
                cause = "importing it imports torch, which slows every command: return 'module:Name' from its hooks"
                yield Verdict(plugin, "listing", "advice", cause)
                break
            yield Verdict(plugin, "listing", "ok", "imports no torch")
