"""Laws of the tree: which way imports run, what an import may load, how long a file may be, what may not be written."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {"sdekit": ROOT, "sdekit_plugins": ROOT / "plugins", "sdekit_cli": ROOT / "cli"}
MAY_IMPORT = {
    "sdekit": {"sdekit"},
    "sdekit_plugins": {"sdekit", "sdekit_plugins"},
    "sdekit_cli": {"sdekit", "sdekit_plugins", "sdekit_cli"},
}
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


def imports(path: Path) -> Iterator[tuple[int, str, tuple[str, ...]]]:
    """Every import of a file: its line, the absolute module, and the names taken from it."""
    package = module_of(path)[:-1]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name, ()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield node.lineno, module, tuple(alias.name for alias in node.names)


def is_hook(node: ast.AST) -> bool:
    """Whether a function is marked `@hookimpl`: its documentation is the hook's specification."""
    return any("hookimpl" in ast.unparse(decorator) for decorator in getattr(node, "decorator_list", ()))


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


@each_source
def test_public_things_are_documented(path: Path) -> None:
    """Every module, public class and public function says what it is; a hook implementation has its hook for that."""
    tree = ast.parse(path.read_text("utf-8"))
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
    for node in ast.walk(ast.parse(text)):
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
