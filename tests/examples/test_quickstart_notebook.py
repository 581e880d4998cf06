"""The notebook `examples/quickstart.ipynb`: its cells run in order, and its results are in the file."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).parents[2] / "examples" / "quickstart.ipynb"
SHORTER = {
    '"steps": 600': '"steps": 20',
    "run.sample(200": "run.sample(20",
    "run.sample(500": "run.sample(50",
    "nfe=199": "nfe=39",
    "frames=8": "frames=3",
}
"""Numbers of the notebook and those of the test, which needs no trained model."""


def display(value: Any) -> None:
    """Compute what a notebook shows for the value of a cell."""
    pictures = [getattr(value, name)() for name in ("_repr_html_", "_repr_png_") if hasattr(value, name)]
    assert repr(value) and (any(pictures) or not pictures)  # a figure has no HTML in most notebooks


def test_cells_run_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each cell runs after those before it, in a folder of its own, and its last value can be shown."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    cells = [cell for cell in json.loads(NOTEBOOK.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]
    text = "\n".join("".join(cell["source"]) for cell in cells)
    assert len(cells) >= 8 and all(text.count(old) for old in SHORTER)
    for number, cell in enumerate(cells, 1):
        source = "".join(cell["source"])
        for old, new in SHORTER.items():
            source = source.replace(old, new)
        body = ast.parse(source).body
        last = body.pop().value if isinstance(body[-1], ast.Expr) else None  # type: ignore[attr-defined]
        exec(compile(ast.Module(body, []), f"cell {number}", "exec"), names)
        if last is not None:
            display(eval(compile(ast.Expression(last), f"cell {number}", "eval"), names))
    assert (tmp_path / "points.csv").exists() and (tmp_path / "points.gif").exists()


def test_notebook_is_small_and_complete() -> None:
    """Readers on the web see the outputs; the file is below 300 kB, and its lines fit on a page."""
    assert NOTEBOOK.stat().st_size < 300_000
    cells = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert sum(bool(cell["outputs"]) for cell in code) >= len(code) - 1
    assert not [line for cell in code for line in cell["source"] if len(line.rstrip("\n")) > 100]
    assert "Error" not in json.dumps([cell["outputs"] for cell in code])
