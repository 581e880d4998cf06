"""Files of a new plugin. NAME, PACKAGE, CLASS and the like stand for the words of the plugin."""

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

# sdekit finds plugins through this group. The name must differ from those of other plugins.
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

For development: `pip install -e '.[test]'`, then `pytest`, which runs the conformance checks of sdekit.
"""

INIT = '''\
"""KIND `NAME` for sdekit."""

from sdekit import hookimpl

sdekit_api = API


@hookimpl
def HOOK():
    """Return addresses, so that the component is imported only when it is used."""
    return {"NAME": "PACKAGE.component:CLASS"}
'''

TEST = '''\
"""The conformance checks of sdekit, one test for each."""

import pytest
from sdekit.registry import find_component
from sdekit.verify import checks

from PACKAGE.component import CLASS


@pytest.mark.parametrize("check", checks(CLASS, kind="REGISTRY_KIND", quick=True), ids=str)
def test_conforms(check):
    """The component passes the check; a failure reports the measured and the expected value, and the likely cause."""
    check().raise_on_failure()


def test_it_is_registered():
    """The entry point of the installed package provides the component."""
    assert find_component("REGISTRY_KIND", "NAME").load() is CLASS
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
    """Return the files of a new plugin.

    Arguments:
        name: Name of the component.
        kind: A key of `COMPONENTS`.
        hook: Hook that provides this kind of component.
        version: Least version of sdekit.
        api: Version of the plugin API.
    Returns:
        Maps paths below the folder of the plugin to texts.
    """
    package = name.replace("-", "_")
    registry_kind, component = COMPONENTS[kind]
    words = {
        "REGISTRY_KIND": registry_kind,
        "VERSION": version,
        "PACKAGE": package,
        "CLASS": _camel_case(name) if registry_kind in ("sampler", "sde", "network", "logger") else package,
        "HOOK": hook,
        "KIND": kind.capitalize(),
        "NAME": name,
        "API": str(api),
    }
    texts = {
        "pyproject.toml": PYPROJECT,
        "README.md": README,
        f"src/{package}/__init__.py": INIT,
        f"src/{package}/component.py": component,
        "tests/test_conforms.py": TEST,
        ".github/workflows/test.yml": WORKFLOW,
        ".gitignore": "__pycache__/\n*.egg-info/\ndist/\n.venv/\n",
    }
    for word, value in words.items():
        texts = {path: text.replace(word, value) for path, text in texts.items()}
    return texts


def _camel_case(name: str) -> str:
    """Turn "acme-heun" into "AcmeHeun"."""
    return "".join(part.capitalize() for part in name.split("-"))
