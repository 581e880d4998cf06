"""Documentation of the registered samplers: a short first line, every option and a source."""

import inspect
import re
from dataclasses import fields

import pytest

from sdekit import registry


@pytest.mark.parametrize("name", registry.component_names("sampler"))
def test_docstring(name: str) -> None:
    sampler = registry.find_component("sampler", name).load()
    doc = inspect.getdoc(sampler) or ""
    assert len(doc.splitlines()[0]) <= 100
    assert re.search(r"^Source:", doc, re.M)
    for option in fields(sampler):
        assert re.search(rf"^    {option.name}: ", doc, re.M), f"no entry for {option.name}"
