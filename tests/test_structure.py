"""Laws of the source tree: layers, folders, file names, public faces, docstrings, and what must not be written."""

import ast
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {"sdekit": ROOT, "sdekit_plugins": ROOT / "plugins", "sdekit_cli": ROOT / "cli"}
MAY_IMPORT = {
    "sdekit": {"sdekit"},
    "sdekit_plugins": {"sdekit", "sdekit_plugins"},
    "sdekit_cli": {"sdekit", "sdekit_plugins", "sdekit_cli"},
}
LAYERS = (
    # A folder may import folders further up this table, and itself. Imports inside functions count.
    ("sdekit.errors", "sdekit.arguments"),
    ("sdekit.registry",),
    (
        "sdekit.data",
        "sdekit.data.tables",
        "sdekit.data.formats",
        "sdekit.data.formats.arrays",
        "sdekit.data.formats.sequences",
        "sdekit.data.objects",
        "sdekit.plotting",
    ),
    ("sdekit.processes",),
    ("sdekit.backends",),
    ("sdekit.models",),
    ("sdekit.networks",),
    ("sdekit.guidance",),
    ("sdekit.sampling",),
    ("sdekit.distributed",),
    ("sdekit.integrators",),
    ("sdekit.inverse.operators",),
    ("sdekit.inverse",),
    ("sdekit.distributions",),
    ("sdekit.evaluation", "sdekit.likelihood"),
    ("sdekit.runs",),
    ("sdekit.export", "sdekit.tuning"),
    ("sdekit.drawing",),
    ("sdekit.training.engines", "sdekit.training.monitoring"),
    ("sdekit.training",),
    ("sdekit.training.objectives",),
    ("sdekit.reporting",),
    ("sdekit.verify.common",),
    ("sdekit.verify.component_checks", "sdekit.verify.sampler_checks"),
    ("sdekit.verify",),
    ("sdekit.integrations",),
)
SHORTCUTS = {("sdekit.models", f"sdekit.{name}") for name in ("drawing", "guidance", "sampling")}
"""`OpenedModel.sample` calls a function of a later package, and has the types of its arguments."""
RANK = {folder: rank for rank, folders in enumerate(LAYERS) for folder in folders}
MOST_FILES = 14
"""Python files in a folder, `__init__.py` not counted."""
ANY_NUMBER = {"sdekit_plugins/samplers", "sdekit_cli/commands"}  # one file for each sampler and each command
SAME_NAME = {"__init__", "__main__"}
TOP_MODULES = {"sdekit", "sdekit.arguments", "sdekit.drawing", "sdekit.errors", "sdekit.distributed"}
FORBIDDEN = {
    r"\bpickle\.loads?\b": "unpickling executes what it reads",
    r"\bweights_only\s*=\s*False\b": "unpickling executes what it reads",
    r"\ballow_pickle\s*=\s*True\b": "unpickling executes what it reads",
}

SOURCES = sorted(path for name, base in PACKAGES.items() for path in (base / name).rglob("*.py"))
SCRIPTS = sorted(path for folder in ("benchmarks", "examples") for path in (ROOT / folder).rglob("*.py"))


def name_of(path: Path) -> str:
    """The path below the root, for test ids and messages."""
    return path.relative_to(ROOT).as_posix()


def module_of(path: Path) -> tuple[str, ...]:
    """The import name of a source file, a package's `__init__` included as its last part."""
    base = next(base for name, base in PACKAGES.items() if (base / name) in path.parents)
    return path.relative_to(base).with_suffix("").parts


@cache
def parsed(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text("utf-8"))


def imports(path: Path) -> Iterator[tuple[int, str, tuple[str, ...]]]:
    """Every import of a file: its line, the absolute module, and the names taken from it."""
    package = module_of(path)[:-1]
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name, ()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield node.lineno, module, tuple(alias.name for alias in node.names)


def is_hook(node: ast.AST) -> bool:
    """Whether a function is marked `@hookimpl` or `@overload`: its documentation is that of the hook or function."""
    marks = {"hookimpl", "overload"}
    return any(ast.unparse(decorator) in marks for decorator in getattr(node, "decorator_list", ()))


each_source = pytest.mark.parametrize("path", SOURCES, ids=name_of)


@each_source
def test_imports_run_one_way(path: Path) -> None:
    """cli -> plugins -> sdekit, and never back."""
    allowed = MAY_IMPORT[module_of(path)[0]]
    for line, module, _ in imports(path):
        top = module.split(".")[0]
        assert top not in PACKAGES or top in allowed, f"{name_of(path)}:{line} imports {module}"


@each_source
def test_private_names_stay_at_home(path: Path) -> None:
    """What begins with an underscore is used in its own package only."""
    home = module_of(path)[0]
    for line, module, names in imports(path):
        top, *rest = module.split(".")
        if top in PACKAGES and top != home:
            private = [name for name in (*rest, *names) if name.startswith("_") and not name.endswith("__")]
            assert not private, f"{name_of(path)}:{line} takes {private} from {module}"


@pytest.mark.parametrize("path", [p for p in SOURCES if module_of(p)[0] == "sdekit_plugins"], ids=name_of)
def test_plugins_stand_alone(path: Path) -> None:
    """A plugin could move to a repository of its own: it imports no other plugin. Only the index knows them all."""
    if module_of(path)[1:] == ("__init__",):
        return
    own = module_of(path)[:2]  # a plugin that is a folder may import its own files
    for line, module, names in imports(path):
        parts = tuple(module.split("."))
        targets = [(*parts, name) for name in names] or [parts]
        for target in targets:
            assert target[0] != "sdekit_plugins" or target[:2] == own, f"{name_of(path)}:{line} imports {module}"


def folder_of(path: Path) -> str:
    """The folder of a core file as a package name; a top-level module of `sdekit` is its own folder."""
    parts = module_of(path)
    return ".".join(parts if len(parts) == 2 and parts[-1] != "__init__" else parts[:-1])


def imported_folders(path: Path) -> Iterator[tuple[int, str]]:
    """Line and folder of every import of the core in a file."""
    for line, module, _ in imports(path):
        if module.startswith("sdekit."):
            folder = ROOT.joinpath(*module.split("."))
            parent = module.rpartition(".")[0]
            yield line, module if folder.is_dir() or parent == "sdekit" else parent


CORE = [path for path in SOURCES if module_of(path)[0] == "sdekit" and module_of(path) != ("sdekit", "__init__")]


@pytest.mark.parametrize("path", CORE, ids=name_of)
def test_folders_have_no_cycles(path: Path) -> None:
    """A folder imports only folders in earlier layers of `LAYERS`."""
    own = folder_of(path)
    assert own in RANK, f"{name_of(path)}: add the folder {own} to LAYERS"
    for line, folder in imported_folders(path):
        above = folder == own or RANK[folder] <= RANK[own] or (own, folder) in SHORTCUTS
        assert above, f"{name_of(path)}:{line}: {own} must not import {folder}"


@pytest.mark.parametrize("folders", LAYERS, ids=" ".join)
def test_folders_of_one_layer_have_no_cycle(folders: tuple[str, ...]) -> None:
    """Within one layer imports run to the left."""
    for path in CORE:
        if (own := folder_of(path)) in folders:
            for line, folder in imported_folders(path):
                late = folder in folders and folders.index(folder) > folders.index(own)
                assert not late, f"{name_of(path)}:{line}: {own} must not import {folder}"


@pytest.mark.parametrize("folder", sorted({path.parent for path in SOURCES}), ids=name_of)
def test_folders_are_small(folder: Path) -> None:
    """A reader can take in a folder at one look."""
    name = "/".join(module_of(folder / "__init__.py")[:-1])
    files = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
    assert name in ANY_NUMBER or len(files) <= MOST_FILES, f"{name} has {len(files)} files, more than {MOST_FILES}"


def test_file_names_have_one_meaning() -> None:
    """No two files share a name."""
    by_name: dict[str, list[str]] = {}
    for path in SOURCES:
        by_name.setdefault(path.stem, []).append(name_of(path))
    twice = {name: paths for name, paths in by_name.items() if len(paths) > 1 and name not in SAME_NAME}
    assert not twice


@pytest.mark.parametrize("path", [p for p in SOURCES if module_of(p)[0] != "sdekit"], ids=name_of)
def test_plugins_and_commands_import_public_faces(path: Path) -> None:
    """Plugins and the command line import names that a package of sdekit lists in its `__all__`."""
    for line, module, names in imports(path):
        if module.split(".")[0] != "sdekit":
            continue
        is_face = module in TOP_MODULES or ROOT.joinpath(*module.split(".")).is_dir()
        assert is_face, f"{name_of(path)}:{line}: import from the package, not from {module}"
        public = getattr(import_module(module), "__all__", None)
        missing = [name for name in names if public is not None and name not in (*public, "__version__")]
        assert not missing, f"{name_of(path)}:{line}: {missing} are not public names of {module}"


@each_source
def test_no_override_is_ignored(path: Path) -> None:
    """Traits are properties: a subclass overrides them without an exemption from the type checker."""
    assert "type: ignore[override]" not in path.read_text("utf-8")


@each_source
def test_public_things_are_documented(path: Path) -> None:
    """Every module, public class and public function says what it is; a hook implementation has its hook for that."""
    tree = parsed(path)
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    public = [n for n in tree.body if isinstance(n, kinds) and not n.name.startswith("_") and not is_hook(n)]
    missing = [node.name for node in public if not ast.get_docstring(node)]
    assert ast.get_docstring(tree), f"{name_of(path)} has no docstring"
    assert not missing, f"{name_of(path)}: no docstring on {missing}"


@pytest.mark.parametrize("path", [*SOURCES, *SCRIPTS], ids=name_of)
def test_nothing_is_unpickled(path: Path) -> None:
    """A loader never executes what it loads."""
    text = path.read_text("utf-8")
    for pattern, why in FORBIDDEN.items():
        found = re.search(pattern, text)
        assert not found, f"{name_of(path)} contains {found and found.group()}: {why}"
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
            safe = any(k.arg == "weights_only" and ast.unparse(k.value) == "True" for k in node.keywords)
            assert safe, f"{name_of(path)}:{node.lineno}: torch.load without weights_only=True"


def modules_after(code: str) -> set[str]:
    """The top-level modules that a fresh interpreter holds after it ran the code."""
    code = f"import sys\ntry:\n    {code}\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
    code += "print('\\n' + ' '.join({name.split('.')[0] for name in sys.modules}))"
    path = os.pathsep.join(str(base) for base in PACKAGES.values())
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    return set(run.stdout.splitlines()[-1].split())


def test_importing_sdekit_does_not_import_torch() -> None:
    """Public names resolve on first use."""
    assert not modules_after("import sdekit") & {"torch", "scipy", "numpy", "sklearn", "matplotlib"}


def test_help_does_not_import_torch() -> None:
    """`python -m sdekit_cli --help` answers at once."""
    code = "import runpy; sys.argv = ['sdekit', '--help']; runpy.run_module('sdekit_cli', run_name='__main__')"
    assert not modules_after(code) & {"torch", "scipy", "numpy", "sklearn", "matplotlib"}


def test_constraints_are_plain() -> None:
    """Every line is `name==version`, with no address and no local version: any index can serve it."""
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line)] == []


@pytest.mark.parametrize("name", ["bootstrap", "demo", "test"])
def test_scripts_run(name: str) -> None:
    """The set-up scripts are executable and are POSIX sh."""
    script = ROOT / "scripts" / name
    assert os.access(script, os.X_OK)
    assert script.read_text("utf-8").startswith("#!/bin/sh\n")
    subprocess.run(["sh", "-n", script], check=True, timeout=60)


FACES = sorted(".".join(module_of(path)[:-1]) for path in SOURCES if path.with_suffix(".pyi").exists())


def sections_missing(name: str, thing: Any) -> Iterator[str]:
    """Yield what the docstring of a public function or class lacks, given its signature."""
    doc = inspect.getdoc(thing) or ""
    if isinstance(thing, type):  # the arguments are inherited with the constructor
        doc += next(inspect.getdoc(base) or "" for base in thing.__mro__ if "__init__" in vars(base))
    own = thing.__dict__.get("__doc__") if isinstance(thing, type) else thing.__doc__
    if not own or own.startswith(f"{thing.__name__}("):
        yield f"{name} has no docstring"
        return
    try:
        parameters = [p for p in inspect.signature(thing).parameters if p not in ("self", "cls", "args", "kwargs")]
    except (TypeError, ValueError):
        parameters = []
    if issubclass(thing, (Exception, tuple)) if isinstance(thing, type) else False:
        return
    if isinstance(thing, type) and (getattr(thing, "_is_protocol", False) or inspect.isabstract(thing)):
        parameters = []
    if parameters and "Arguments:" not in doc:
        yield f"{name} has no section Arguments"
    for parameter in parameters if "Arguments:" in doc else ():
        if not re.search(rf"^    [\w, ]*\b{parameter}\b[\w, ]*:", doc, re.MULTILINE):
            yield f"{name}: Arguments has no entry for {parameter}"
    if isinstance(thing, type):
        return
    source = inspect.getsource(thing)
    returns = thing.__annotations__.get("return")
    if parameters and returns not in (None, "None", type(None)) and not re.search(r"^(Returns|Yields):", doc, re.M):
        yield f"{name} has no section Returns"
    if "raise InputError" in source and not re.search(r"^Raises:", doc, re.M):
        yield f"{name} has no section Raises"


@pytest.mark.parametrize("face", FACES)
def test_public_names_have_docstring_sections(face: str) -> None:
    """Every public function and class says what it does, and documents its arguments, result and errors."""
    package = import_module(face)
    missing = []
    for name in package.__all__:
        thing = getattr(package, name)
        if (inspect.isfunction(thing) or isinstance(thing, type)) and thing.__module__.startswith("sdekit"):
            missing += sections_missing(name, thing)
    assert not missing


@pytest.mark.parametrize("face", FACES)
def test_faces_list_public_names_only(face: str) -> None:
    """`dir` and completion show the names of the face: no submodules, no imports, nothing private."""
    package = import_module(face)
    for name in package.__all__:
        getattr(package, name)
    listed = [name for name in dir(package) if not name.startswith("__")]
    assert listed == sorted(package.__all__)
    modules = [name for name in listed if inspect.ismodule(getattr(package, name))]
    assert not [name for name in listed if name.startswith("_")]
    assert not modules or face == "sdekit.integrations"  # its face is two modules, one for each other toolkit
    for name in listed:
        thing = getattr(package, name)
        if inspect.isfunction(thing):
            assert inspect.signature(thing) and inspect.getdoc(thing), f"help({face}.{name}) shows nothing"
