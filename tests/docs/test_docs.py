"""Every Python block of the documentation and the README runs, and prints what its `#>` comments say."""

import sys
import traceback
from pathlib import Path
from types import FrameType

import pytest
from pytest_examples import CodeExample, EvalExample, find_examples

ROOT = Path(__file__).parents[2]
PAGES = sorted(path for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")] if path.exists())
# `py` also opens blocks that merely begin like it: keep to the ones marked as Python.
EXAMPLES = [example for example in find_examples(*PAGES) if example.prefix.split()[:1] in (["python"], ["py"])]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: f"{e.path.relative_to(ROOT)}:{e.start_line}")
def test_block_runs(
    example: CodeExample, eval_example: EvalExample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A block needs nothing but itself: no other block, no file of the checkout."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])  # pytest-examples puts the block there
    eval_example.set_config(line_length=120)
    # pytest --update-examples writes the printed lines into the page
    run = eval_example.run_print_update if eval_example.update_examples else eval_example.run_print_check
    failure = None
    try:
        run(example)
    except Exception as error:
        lines = [line for frame, line in traceback.walk_tb(error.__traceback__) if _in_page(frame, example)]
        where = f"{example.path.relative_to(ROOT)}:{lines[-1] if lines else example.start_line}"
        failure = f"{where}: {type(error).__name__}: {error}"
    if failure:  # out here, so that pytest never meets the traceback that pytest-examples makes: pytest 9 breaks on it
        pytest.fail(failure, pytrace=False)


def _in_page(frame: FrameType, example: CodeExample) -> bool:
    """Whether a traceback's frame is one of the page."""
    return Path(frame.f_code.co_filename) == example.path
