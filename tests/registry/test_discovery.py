"""The registry: discovery, skipped plugins and their messages, options, and imports."""

import importlib.metadata
import inspect
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points as real_entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import pluggy
import pytest

import sdekit
from sdekit import hookimpl, registry
from sdekit.errors import InputError
from sdekit.processes import VP
from sdekit.registry import discovery, hookspecs
from sdekit.registry.moved_modules import MOVED

Install = Callable[..., None]
HEAD = "from sdekit import hookimpl\n"


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """install(name="source", ...): each module becomes an installed plugin of that name, beside the real ones."""
    monkeypatch.syspath_prepend(tmp_path)
    points: list[EntryPoint] = []

    def add(*same_name: EntryPoint, **sources: str) -> None:
        for name, source in sources.items():
            module = f"fake_{tmp_path.name}_{name}"  # unlike that of any other test
            (tmp_path / f"{module}.py").write_text(HEAD + source, "utf-8")
            points.append(EntryPoint(name, module, discovery.GROUP))
        points.extend(same_name)
        registry.load_plugins.cache_clear()

    def fake(*, group: str) -> list[EntryPoint]:
        return [*points, *real_entry_points(group=group)]

    monkeypatch.setattr(importlib.metadata, "entry_points", fake)
    registry.load_plugins.cache_clear()
    yield add
    registry.load_plugins.cache_clear()


def hook(kind: str, returns: str) -> str:
    """Return the source of a hook."""
    return f"@hookimpl\ndef {registry.KINDS[kind]}():\n    return {returns}\n"


def test_built_ins_are_found() -> None:
    """The built-in components are found, and no plugin has a problem."""
    assert registry.load_plugins().problems == ()
    assert {"vp", "sub-vp", "ve", "cosine", "edm", "rectified-flow", "ddpm-linear", "ddpm-cosine"} <= set(
        registry.component_names("sde")
    )
    assert {"ddim", "ddpm", "euler-maruyama", "heun", "ode", "pc"} <= set(registry.component_names("sampler"))
    assert {"uniform", "karras", "log-snr"} <= set(registry.component_names("grid"))
    entry = registry.find_component("sampler", "ddim")
    assert (entry.plugin, entry.package) == ("plugins", "sdekit") and re.fullmatch(r"\d+\.\d+.*", entry.version)


ALL = [(kind, name) for kind in registry.KINDS for name in registry.component_names(kind)]


@pytest.mark.parametrize(("kind", "name"), ALL, ids=["-".join(pair) for pair in ALL])
def test_every_entry_keeps_the_contract(kind: str, name: str) -> None:
    """Every component loads, has a lower-case name and a docstring, and its options have types and defaults."""
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*(\+\+)?", name)
    target = registry.find_component(kind, name).load()
    assert callable(target) and inspect.getdoc(target)
    for option, parameter in registry.parameters(target).items():
        assert parameter.annotation is not parameter.empty and not isinstance(parameter.annotation, str), option
        assert parameter.default is not parameter.empty, option
    assert set(registry.complete_options(kind, name, {})) == set(registry.parameters(target))


def test_an_inherited_option_is_typed_where_it_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An inherited option may have a postponed annotation of a name that only the module of the base imports."""
    monkeypatch.syspath_prepend(tmp_path)
    head = "from __future__ import annotations\nfrom dataclasses import dataclass\n"
    base = head + "from typing import Literal as One\n@dataclass(frozen=True, kw_only=True)\nclass Base:\n"
    (tmp_path / "written_base.py").write_text(base + "    pace: One['slow', 'fast'] = 'slow'\n", "utf-8")
    heir = head + "import written_base\n@dataclass(frozen=True, kw_only=True)\nclass Heir(written_base.Base):\n"
    (tmp_path / "written_heir.py").write_text(heir + "    size: int = 1\n", "utf-8")
    found = registry.parameters(import_module("written_heir").Heir)
    assert {name: p.annotation for name, p in found.items()} == {"pace": Literal["slow", "fast"], "size": int}


def test_every_kind_has_its_hook() -> None:
    """There is one documented hook for each kind, and one for commands."""
    hooks = {name: function for name, function in vars(hookspecs).items() if name.startswith("sdekit_")}
    assert set(registry.KINDS.values()) == set(hooks) - {"sdekit_commands"}
    for kind, name in registry.KINDS.items():
        assert list(inspect.signature(hooks[name]).parameters) == [] and inspect.getdoc(hooks[name]), kind


def test_the_mark_is_pluggys() -> None:
    """`hookimpl` is pluggy's marker of the project "sdekit"; a plugin may create its own."""

    @pluggy.HookimplMarker("sdekit")
    def own() -> None: ...

    @hookimpl
    def ours() -> None: ...

    assert own.sdekit_impl == ours.sdekit_impl  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", registry.KINDS)
def test_a_third_party_plugin(install: Install, kind: str) -> None:
    """A plugin can provide every kind of component, as a function or as "module:Name"."""
    before = registry.component_names(kind)
    install(acme="def f(*, a: int = 1):\n    return a\n" + hook(kind, "{'acme-one': f, 'acme-two': __name__ + ':f'}"))
    assert registry.load_plugins().problems == ()
    assert registry.component_names(kind) == sorted([*before, "acme-one", "acme-two"])
    for name in ("acme-one", "acme-two"):
        entry = registry.find_component(kind, name)
        assert (entry.kind, entry.name, entry.plugin) == (kind, name, "acme")
        assert registry.complete_options(kind, name, {"a": 3}) == {"a": 3} and registry.complete_options(
            kind, name, {}
        ) == {"a": 1}
        made = registry.build(kind, name, a=5)
        assert (made() if callable(made) else made) == 5


def test_build() -> None:
    """Samplers and processes are built, the options of grids are bound, and dotted targets are resolved."""
    assert registry.build("sampler", "ddim", eta=0.5).eta == 0.5
    assert registry.build("sde", "ddpm-linear", n=10).betas[-1] == 0.02
    grid = registry.build("grid", "karras", p=2.0)
    assert len(grid(registry.build("sde", "vp", beta_max=5.0), 4)) == 5


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("sampler", "ddmi", "no sampler 'ddmi'; did you mean 'ddim'? Installed: "),
        ("sampler", "heum", "did you mean 'heun'?"),
        ("sde", "qqq", "no process 'qqq'. Installed: cosine, "),
        ("grid", "logsnr", "no grid 'logsnr'; did you mean 'log-snr'?"),
        ("nonsense", "x", "no nonsense 'x'. Installed: none"),
    ],
)
def test_a_wrong_name_suggests(kind: str, name: str, message: str) -> None:
    """A wrong name is refused with the nearest name and all names."""
    for function in (registry.find_component, registry.build):
        with pytest.raises(InputError, match=re.escape(message)):
            function(kind, name)


def test_options() -> None:
    """Options are completed with defaults; an unknown one is refused with the nearest one and all options."""
    assert registry.complete_options("sampler", "euler-ancestral", {}) == {"eta": 1.0, "s_noise": 1.0}
    assert registry.complete_options("sde", "vp", {"beta_min": 0.2}) == {
        "beta_min": 0.2,
        "beta_max": 20.0,
        "t_min": 1e-5,
        "t_max": 1.0,
    }
    with pytest.raises(InputError, match=r"no option of sampler 'ddim' named 'etta'; did you mean 'eta'\? It has: eta"):
        registry.complete_options("sampler", "ddim", {"etta": 1})
    with pytest.raises(InputError, match=r"no option of grid 'uniform' named 'p'. It has: none"):
        registry.build("grid", "uniform", p=3.0)


@pytest.mark.parametrize(
    ("kind", "source", "message"),
    [
        ("metric", "def f(*, a: int):\n    return a\n", "its option 'a' has no default: give it one"),
        ("metric", "def f(*, a=1):\n    return a\n", "its option 'a' has no type: annotate it"),
        (
            "sampler",
            "class f:\n    pass\n",
            "f is no dataclass: decorate it with @dataclass(frozen=True, kw_only=True)",
        ),
        (
            "sde",
            "from dataclasses import dataclass\n@dataclass\nclass f:\n    a: int = 1\n",
            "but not frozen: decorate",
        ),
    ],
)
def test_a_component_that_cannot_be_configured(install: Install, kind: str, source: str, message: str) -> None:
    """Using it is one error with component, package and cause; the listing and other components keep working."""
    install(acme=source + hook(kind, "{'acme': f}"))
    assert registry.load_plugins().problems == () and "acme" in registry.component_names(kind)
    for function in (lambda: registry.build(kind, "acme"), lambda: registry.find_component(kind, "acme").load()):
        with pytest.raises(
            InputError, match=re.escape(f"{registry.kind_name(kind)} 'acme' of plugin 'acme' (? ?): ")
        ) as error:
            function()
        assert message in str(error.value)


@pytest.mark.parametrize(
    ("declared", "advice"),
    [
        ("0", "upgrade ?, or change the names in the tables of renames in CHANGELOG.md and set sdekit_api = 2"),
        ("1", "upgrade ?, or change the names in the tables of renames in CHANGELOG.md and set sdekit_api = 2"),
        ("3", "upgrade sdekit"),
        ("'x'", "upgrade sdekit"),
    ],
)
def test_the_api_version(install: Install, declared: str, advice: str) -> None:
    """A plugin for another version of the API is skipped, and the message says what to upgrade or change."""
    install(acme=f"sdekit_api = {declared}\n" + hook("metric", "{'acme': repr}"))
    (problem,) = registry.load_plugins().problems
    assert f"version {declared} of the plugin API" in problem and problem.endswith(f"has version 2: {advice}")
    assert "acme" not in registry.component_names("metric")


def test_the_same_api_version(install: Install) -> None:
    """A plugin that declares the present version of the API is loaded."""
    install(acme="sdekit_api = 2\n" + hook("metric", "{'acme': repr}"))
    assert registry.load_plugins().problems == () and "acme" in registry.component_names("metric")


def test_a_local_file(tmp_path: Path) -> None:
    """A plugin file is a plugin with the name of the file; loading it twice has no effect."""
    path = tmp_path / "acme_file.py"
    path.write_text(
        HEAD + "def f(*, a: int = 1):\n    return a\n" + hook("metric", "{'acme': f, 'lazy': __name__ + ':f'}")
    )
    try:
        registry.load_plugin_file(path)
        registry.load_plugin_file(path)
        entry = registry.find_component("metric", "lazy")
        assert (entry.plugin, entry.package, entry.version) == ("acme_file", str(path), "local")
        assert entry.load()(a=3) == 3 and registry.plugin_files() == [str(path)]
    finally:
        registry.forget_plugin_files()
    assert "acme" not in registry.component_names("metric") and registry.plugin_files() == []


def test_a_local_file_is_imported_once(tmp_path: Path) -> None:
    """A plugin file is imported once, even if other files are loaded later; after a failure it is read again."""
    one, other = tmp_path / "acme_one.py", tmp_path / "acme_other.py"
    one.write_text(HEAD + "def f(*, kind: int = 1):\n    return kind\n" + hook("metric", "{'acme': f}"))
    other.write_text("1 / 0\n")
    try:
        registry.load_plugin_file(one)
        with pytest.raises(InputError, match="ZeroDivisionError"):
            registry.load_plugin_file(other)
        assert registry.build("metric", "acme", kind=3)() == 3  # an option may be called kind
        kept = registry.find_component("metric", "acme").load()
        other.write_text(HEAD + hook("metric", "{'beta': repr}"))
        registry.load_plugin_file(other)
        assert registry.find_component("metric", "acme").load() is kept and "beta" in registry.component_names("metric")
    finally:
        registry.forget_plugin_files()


BROKEN = {
    "import_error": (
        "import there_is_no_such_module\n",
        "ModuleNotFoundError: No module named 'there_is_no_such_module'",
    ),
    "syntax_error": ("def f(:\n", "SyntaxError"),
    "runtime_error": ("1 / 0\n", "ZeroDivisionError: division by zero"),
    "hook_fails": ("@hookimpl\ndef sdekit_sdes():\n    raise KeyError('gone')\n", "KeyError: 'gone'"),
    "hook_wants_more": ("@hookimpl\ndef sdekit_sdes(x):\n    return {}\n", "PluginValidationError"),
    "returns_list": (
        hook("sde", "['vp']"),
        "InputError: sdekit_sdes returned list, expected a dict of names and targets",
    ),
    "returns_none": (hook("grid", "None"), "InputError: sdekit_grids returned NoneType"),
    "returns_numbers": (hook("grid", "{'a': 5}"), "InputError: sdekit_grids: 'a': 5 is neither a class, a factory nor"),
    "names_are_numbers": (hook("grid", "{5: 'a:b'}"), "InputError: sdekit_grids: 5: 'a:b' is neither"),
    "misspelt": (
        "@hookimpl\ndef sdekit_sampler():\n    return {}\n",
        "InputError: no hook 'sdekit_sampler'; did you mean 'sdekit_samplers'? Hooks: sdekit_sdes, sdekit_samplers, ",
    ),
    "misspelt_specname": (
        "@hookimpl(specname='sdekit_grid')\ndef anything():\n    return {}\n",
        "no hook 'sdekit_grid'; did",
    ),
}


@pytest.mark.parametrize(("source", "message"), BROKEN.values(), ids=BROKEN)
def test_a_broken_plugin_is_skipped_and_named(install: Install, source: str, message: str) -> None:
    """A faulty plugin is skipped with one message that names it and the cause; the others work."""
    before = {kind: registry.component_names(kind) for kind in registry.KINDS}
    # a good hook beside the bad one goes with its plugin
    install(bad=source + hook("backend", "{'from-bad': repr}"), good=hook("backend", "{'from-good': repr}"))
    (problem,) = registry.load_plugins().problems
    assert problem.startswith("plugin 'bad' of ? ? was skipped: ") and message in problem
    assert {kind: registry.component_names(kind) for kind in registry.KINDS} == before | {
        "backend": sorted([*before["backend"], "from-good"])
    }
    assert not registry.load_plugins().manager.has_plugin("bad")


def test_a_plugin_that_calls_its_hooks_otherwise(install: Install) -> None:
    """pluggy's specname is supported, and functions without the marker are ignored."""
    install(
        acme="def sdekit_helper():\n    pass\n"
        "@hookimpl(specname='sdekit_backends')\ndef anything():\n    return {'acme': repr}\n"
    )
    assert registry.load_plugins().problems == () and registry.find_component("backend", "acme").load() is repr


def test_two_plugins_of_one_component(install: Install) -> None:
    """Using a name that two plugins provide is an error with both plugins and a remedy; all other names work."""
    source = "def f():\n    return 5\n" + hook("sampler", "{'clash': f, 'NAME': f}")
    install(one=source.replace("NAME", "mine"), two=source.replace("NAME", "yours"))
    with pytest.raises(
        InputError, match="sampler 'clash' is provided by plugin 'one' .* plugin 'two' .*PLUGINS=two"
    ) as error:
        registry.build("sampler", "clash")
    assert registry.load_plugins().problems == (str(error.value),)
    assert registry.build("sampler", "mine") == registry.build("sampler", "yours") == 5


def test_nobody_takes_a_built_in_name(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin that provides "ddim" is in conflict with the built-in one until it is disabled."""
    install(aaa=hook("sampler", "{'ddim': dict}"))
    with pytest.raises(InputError, match=r"provided by plugin 'plugins' .*sdekit .* plugin 'aaa' .*PLUGINS=aaa"):
        registry.build("sampler", "ddim")
    monkeypatch.setenv("SDEKIT_DISABLE_PLUGINS", "aaa")
    registry.load_plugins.cache_clear()
    assert type(registry.build("sampler", "ddim")).__name__ == "DDIM"


def test_two_plugins_of_one_name(install: Install) -> None:
    """The second of two plugins of one name is reported, and the first one works."""
    install(acme=hook("backend", "{'first': repr}"))
    install(EntryPoint("acme", "there_is_no_such_module", discovery.GROUP))
    (problem,) = registry.load_plugins().problems
    assert problem == "plugin 'acme' of ? ? was skipped: a plugin of another package has the same name"
    assert "first" in registry.component_names("backend")


@pytest.mark.parametrize("value", ["acme", "acme,other", " other , acme ", "plugins acme"])
def test_a_plugin_can_be_switched_off(install: Install, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """SDEKIT_DISABLE_PLUGINS contains names, separated by commas or spaces, of plugins that are not imported."""
    install(acme="1 / 0\n", stays=hook("backend", "{'stays': repr}"))
    assert len(registry.load_plugins().problems) == 1
    monkeypatch.setenv("SDEKIT_DISABLE_PLUGINS", value)
    registry.load_plugins.cache_clear()
    assert registry.load_plugins().problems == () and "stays" in registry.component_names("backend")
    assert ("ddim" in registry.component_names("sampler")) == ("plugins" not in value)


@pytest.mark.parametrize(
    "target", ["there_is_no_such_module:X", "math:there_is_no_such_name", "math", "math:pi.real.gone"]
)
def test_a_target_that_is_not_there(install: Install, target: str) -> None:
    """A target that cannot be imported is an error with component, plugin, target and cause when it is used."""
    install(acme=hook("backend", f"{{'gone': {target!r}}}"))
    assert "gone" in registry.component_names("backend")
    expected = f"backend 'gone' of plugin 'acme' cannot be loaded from {target!r}: "
    with pytest.raises(InputError, match=re.escape(expected) + r"\w+Error: "):
        registry.build("backend", "gone")


def test_listing_imports_no_torch() -> None:
    """Listing all components imports neither torch nor numpy nor scipy."""
    code = (
        "import sys; from sdekit import registry; print([registry.component_names(k) for k in registry.KINDS]); "
        "heavy = {'torch', 'numpy', 'scipy', 'sklearn', 'torchdiffeq', 'PIL', 'pydantic'} & set(sys.modules); "
        "sys.exit(str(heavy) if heavy else 0)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    assert "'ddim'" in run.stdout


def test_resolve_builds_names_and_returns_objects() -> None:
    """A registered name is built, with options; an object is returned as it is and takes no options."""
    assert registry.resolve("sde", "vp", beta_max=10.0) == VP(beta_max=10.0)
    process = VP()
    assert registry.resolve("sde", process) is process
    with pytest.raises(InputError, match="no process 'vpp'; did you mean 'vp'"):
        registry.resolve("sde", "vpp")
    with pytest.raises(InputError, match="beta_max apply to a registered name, but VP.* is an object already"):
        registry.resolve("sde", process, beta_max=10.0)


MOVED_IMPORTS = {
    "from sdekit.line import Line": "import from sdekit.processes instead",
    "from sdekit.data.memory import MemoryDataset": "import from sdekit.data instead",
    "import sdekit.operators.base": "import from sdekit.inverse.operators instead",
    "from sdekit.guidance import pair": ": the tables of renames in CHANGELOG.md list all changes",
    "from sdekit.inverse import moved": ": the tables of renames in CHANGELOG.md list all changes",
}


@pytest.mark.parametrize(("statement", "advice"), MOVED_IMPORTS.items())
def test_a_plugin_of_version_0_1_learns_the_new_place(install: Install, statement: str, advice: str) -> None:
    """An import of a module or name of version 0.1 is one line with the new package or the table of renames."""
    install(acme=f"{statement}\n", lazy=hook("sampler", "{'acme': __name__ + '_target:f'}"), lazy_target=statement)
    first, second = registry.load_plugins().problems
    assert first.startswith("plugin 'acme' of ? ? was skipped: ") and advice in first and "CHANGELOG.md" in first
    assert second.startswith("plugin 'lazy_target' of ? ? was skipped: ")
    with pytest.raises(InputError, match="sampler 'acme' of plugin 'lazy' cannot be loaded") as error:
        registry.build("sampler", "acme")
    assert advice in str(error.value) and "\n" not in str(error.value)


def test_moved_modules_name_existing_packages() -> None:
    """Every old module of the table is gone, and every new package exists."""
    for old, new in MOVED.items():
        assert find_spec(new), new
        assert not (Path(sdekit.__file__).parents[1] / f"{old.replace('.', '/')}.py").exists(), old


def test_a_sampler_of_version_0_1_learns_the_new_attribute(install: Install) -> None:
    """A plugin whose sampler declares `calls` is skipped with a message that names `calls_per_step`."""
    install(
        acme="from sdekit import Sampler\nclass Acme(Sampler):\n    calls = 2\n" + hook("sampler", "{'acme': Acme}")
    )
    (problem,) = registry.load_plugins().problems
    assert "Acme: `calls` is now `calls_per_step` (see CHANGELOG.md)" in problem


def test_option_meanings_come_from_the_arguments_section() -> None:
    """Every option of the class and its bases that the section describes, in one line; other options are missing."""

    @dataclass(frozen=True, kw_only=True)
    class Base:
        """A base.

        Arguments:
            eta: Scale of the fresh noise,
                between 0 and 1.
            own: Overridden below.
        """

        eta: float = 1.0
        own: int = 0

    @dataclass(frozen=True, kw_only=True)
    class Heir(Base):
        """An heir.

        Arguments:
            own, other: Two numbers: any.

        Source: nobody.
        """

        other: int = 0
        silent: int = 0

    def factory(shape: int, *, width: int = 1) -> None:
        """A factory: of things.

        Arguments:
            shape: Not an option.
            width: Of the layer.
        Raises:
            InputError: Never.
        """

    assert registry.option_meanings(Heir) == {
        "eta": "Scale of the fresh noise, between 0 and 1.",
        "own": "Two numbers: any.",
        "other": "Two numbers: any.",
    }
    assert registry.option_meanings(factory) == {"width": "Of the layer."}
    assert registry.option_meanings(len) == {}
