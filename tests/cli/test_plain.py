"""JSON on stdout is valid for other programs, which do not read Infinity or NaN."""

from __future__ import annotations

import json
import math

import pytest

from sdekit_cli.terminal.console import print_json


def test_numbers_that_json_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    """Infinity and NaN become texts at any depth; everything else is unchanged."""
    print_json({"a": math.inf, "b": [1.5, (-math.inf, None)], "c": {"d": math.nan, "e": "inf", "f": True}})
    assert json.loads(capsys.readouterr().out, parse_constant=pytest.fail) == {
        "a": "inf",
        "b": [1.5, ["-inf", None]],
        "c": {"d": "nan", "e": "inf", "f": True},
    }
