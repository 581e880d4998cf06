"""What `sdekit plugins new` writes: sources with NAME, PACKAGE and CLASS in place of the plugin's own."""

from __future__ import annotations

from .skeletons import COMPONENTS

PYPROJECT = """\
[build-system]
requires = ["hatchling>=1.26"]
build-backend = "hatchling.build"

[project]
name = "NAME"
version = "0.1.0"
description = "KIND NAME for sdekit"
readme = "README.md"
requires-python = ">=3.11"
dependencies = ["sdekit>=VERSION"]

[project.optional-dependencies]
test = ["pytest>=8"]

# sdekit finds the plugin through this group; the name may be anything that is unlike other plugins'.
[project.entry-points.sdekit]
NAME = "PACKAGE"

[tool.hatch.build.targets.wheel]
packages = ["src/PACKAGE"]
"""

README = """\
# NAME

KIND `NAME` for [sdekit](https://pypi.org/project/sdekit/).

```sh
pip install .
sdekit plugins show NAME
sdekit verify NAME
```

Develop it with `pip install -e '.[test]'` and `pytest`: the tests are sdekit's own conformance checks.
"""

INIT = '''\
"""KIND `NAME` for sdekit."""

from sdekit import hookimpl

sdekit_api = API


@hookimpl
def HOOK():
    """Imported when it is used, so that `sdekit plugins list` stays fast."""
    return {"NAME": "PACKAGE.component:CLASS"}
'''

TEST = '''\
"""sdekit's conformance checks, one test each: what was measured, what was expected, and the equation."""

import pytest
from sdekit import registry
from sdekit.verify import checks

from PACKAGE.component import CLASS


@pytest.mark.parametrize("check", checks(CLASS, kind="REGISTRY_KIND", quick=True), ids=str)
def test_conforms(check):
    """A failure says what is probably wrong."""
    check().raise_on_failure()


def test_it_is_registered():
    """The entry point leads here; needs an installed package (`pip install -e .`)."""
    assert registry.find_component("REGISTRY_KIND", "NAME").load() is CLASS
'''

WORKFLOW = """\
name: test
on: [push, pull_request]
jobs:
  test:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-python@v5
        with: { python-version: "3.11" }
      - run: pip install '.[test]'
      - run: pytest
      - run: sdekit plugins check
      - run: sdekit verify NAME
"""


def plugin_files(name: str, kind: str, *, hook: str, version: str, api: int) -> dict[str, str]:
    """Return the files of a new plugin: path below its folder, and text."""
    package = name.replace("-", "_")
    registry_kind, component = COMPONENTS[kind]
    words = {
        "REGISTRY_KIND": registry_kind,
        "VERSION": version,
        "PACKAGE": package,
        "CLASS": _camel(name) if registry_kind in ("sampler", "sde", "network") else package,
        "HOOK": hook,
        "KIND": kind.capitalize(),
        "NAME": name,
        "API": str(api),
    }

    def filled(text: str) -> str:
        for word, value in words.items():
            text = text.replace(word, value)
        return text

    texts = {
        "pyproject.toml": PYPROJECT,
        "README.md": README,
        f"src/{package}/__init__.py": INIT,
        f"src/{package}/component.py": component,
        "tests/test_conforms.py": TEST,
        ".github/workflows/test.yml": WORKFLOW,
        ".gitignore": "__pycache__/\n*.egg-info/\ndist/\n.venv/\n",
    }
    return {path: filled(text) for path, text in texts.items()}


def _camel(name: str) -> str:
    """ "acme-heun" to "AcmeHeun"."""
    return "".join(part.capitalize() for part in name.split("-"))
