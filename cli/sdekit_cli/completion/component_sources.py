"""Descriptions and options of components, read from their source, because importing them would import torch."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any, NamedTuple

from sdekit.registry import Entry, argument_entries, option_meanings, option_name, parameters, type_name


class ComponentOption(NamedTuple):
    """An option of a component.

    Attributes:
        name: Name as it is written on the command line.
        type: Type as it is written in Python.
        default: Default as it is written in Python.
        meaning: Description, empty if the docstring has none.
    """

    name: str
    type: str
    default: str
    meaning: str

    @property
    def values(self) -> list[str]:
        """The values that the option can take, if its type lists them."""
        choices = [str(value) for text in re.findall(r"Literal\[(.*?)\]", self.type) for value in _literals(text)]
        return [*choices, *(["true", "false"] if re.search(r"\bbool\b", self.type) else [])]


def component_summary(entry: Entry) -> str:
    """Return the first line of the docstring of a component.

    Arguments:
        entry: The component.
    Returns:
        The line; empty if the source cannot be read.
    """
    if not isinstance(entry.target, str):
        return (inspect.getdoc(entry.target) or "").partition("\n")[0]
    node = _definition(*entry.target.split(":"))[1]
    return ((ast.get_docstring(node) if node is not None else None) or "").partition("\n")[0]


def options_in_source(entry: Entry) -> list[ComponentOption]:
    """Return the options of a component.

    Arguments:
        entry: The component.
    Returns:
        The fields of a dataclass, those of its base classes first, or the keyword-only parameters of a function.
    """
    if isinstance(entry.target, str):
        return list(options_at(*entry.target.split(":")).values())
    meanings = option_meanings(entry.target)
    return [
        ComponentOption(option_name(name), type_name(p.annotation), repr(p.default), meanings.get(name, ""))
        for name, p in parameters(entry.target).items()
    ]


def reads_files(entry: Entry) -> bool:
    """Return whether a data set takes a path, so that it is named as NAME:PATH.

    Arguments:
        entry: The data set.
    Returns:
        Whether its first parameter is positional.
    """
    if isinstance(entry.target, str):
        node = _definition(*entry.target.split(":"))[1]
        return isinstance(node, ast.FunctionDef) and bool(node.args.args)
    kinds = [p.kind for p in inspect.signature(entry.target).parameters.values()]
    return inspect.Parameter.POSITIONAL_OR_KEYWORD in kinds or inspect.Parameter.POSITIONAL_ONLY in kinds


def options_at(module: str, path: str) -> dict[str, ComponentOption]:
    """Return the options of a class or function of a module, without importing the module.

    Arguments:
        module: Name of the module.
        path: Name of the class or function, or "Class.method".
    Returns:
        Maps names to options; empty if the source cannot be found.
    """
    module, node = _definition(module, path)
    if node is None:
        return {}
    if isinstance(node, ast.ClassDef):
        options: dict[str, ComponentOption] = {}
        for base in node.bases:
            if isinstance(base, ast.Name):
                options |= options_at(module, base.id)
        fields = [
            (field.target.id, field.annotation, field.value)
            for field in node.body
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and field.value is not None
        ]
        fields = [
            (name, annotation, value)
            for name, annotation, value in fields
            if "ClassVar" not in ast.unparse(annotation) and "init=False" not in ast.unparse(value)
        ]
        constructor = next((f for f in node.body if isinstance(f, ast.FunctionDef) and f.name == "__init__"), None)
    else:
        options, fields, constructor = {}, [], node
    if constructor is not None:
        node_args = constructor.args
        pairs = zip(node_args.kwonlyargs, node_args.kw_defaults, strict=True)
        fields += [(a.arg, a.annotation, value) for a, value in pairs if a.annotation is not None and value is not None]
    meanings = argument_entries(ast.get_docstring(node) or "")
    for name, annotation, default in fields:
        written = ast.unparse(annotation), ast.unparse(default)
        options[name] = ComponentOption(option_name(name), *written, meanings.get(name, ""))
    return options


def _literals(text: str) -> tuple[Any, ...]:
    """Return the values of a `Literal[...]`."""
    try:
        return tuple(ast.literal_eval(f"({text},)"))
    except (ValueError, SyntaxError):
        return ()


def _definition(module: str, path: str) -> tuple[str, ast.ClassDef | ast.FunctionDef | None]:
    """Find the definition of a class or function; names that a module imports are followed to their own module."""
    for _ in range(5):
        tree = _tree(module)
        node: Any = tree
        for part in path.split("."):
            children = getattr(node, "body", [])
            node = next((child for child in children if getattr(child, "name", None) == part), None)
        if node is not None or tree is None:
            return module, node if isinstance(node, ast.ClassDef | ast.FunctionDef) else None
        source = next((own for own, name in _imports(module, tree) if name == path), None)
        if source is None:
            return module, None
        module = source
    return module, None


def _imports(module: str, tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield the module and the name of each import of the form `from MODULE import NAME`."""
    file = _source_file(module)
    package = module.split(".") if file is not None and file.stem == "__init__" else module.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            parent = package[: len(package) - node.level + 1] if node.level else []
            for alias in node.names:
                yield ".".join([*parent, *filter(None, [node.module])]), alias.name


@cache
def _tree(module: str) -> ast.Module | None:
    """Parse the stub of a package or the source of a module; None if neither is found."""
    file = _source_file(module)
    if file is None:
        return None
    stub = file.with_suffix(".pyi")
    try:
        return ast.parse((stub if stub.exists() else file).read_text("utf-8"))
    except (OSError, ValueError, SyntaxError):
        return None


@cache
def _source_file(module: str) -> Path | None:
    """Find the file of a module without importing the module or its parents."""
    path = None
    for i in range(len(parts := module.split("."))):
        spec = PathFinder.find_spec(".".join(parts[: i + 1]), path)
        if spec is None:
            return None
        path = spec.submodule_search_locations
    return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None
