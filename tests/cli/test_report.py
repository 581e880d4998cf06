"""`sdekit report`: one file with everything in it, of runs, exports and tables, and its messages."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from sdekit.errors import SdekitError
from sdekit.reporting.provenance import train_command
from sdekit.reporting.subject import gather
from sdekit.reporting.verdict import training_statements
from sdekit.runs import load_run, read_recipe

HOSTILE = "<script>alert(1)</script>"
VOID = {"meta", "link", "img", "br", "hr", "input"}


class Reader(HTMLParser):
    """Reader of a page: elements, attributes and text; it asserts that every element is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def values(self, name: str) -> list[str]:
        """All values of an attribute."""
        return [value for _, attributes in self.elements if (value := attributes.get(name)) is not None]


def check_page(path: Path) -> Reader:
    """Assert that a page needs nothing else: no script, no address, no style of another file, no repeated id."""
    text = path.read_text("utf-8")
    page = Reader(text)
    assert not {"script", "iframe", "object", "embed", "form"} & {tag for tag, _ in page.elements}
    assert not re.search(r"https?:|//www|@import|url\((?!#|\")", text)
    addresses = [value for name in ("src", "href", "xlink:href") for value in page.values(name)]
    assert all(value.startswith(("#", "data:")) for value in addresses)
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert {value[1:] for value in page.values("href") if value.startswith("#")} <= set(ids)
    assert all(a.get("alt") for tag, a in page.elements if tag == "img")
    assert all(a.get("aria-label") for _, a in page.elements if a.get("role") == "img")
    assert text.count("<h1>") == 1 and "{{" not in text and "nan" not in text.lower().split()
    return page


def test_report_of_images(reports: dict[str, Path]) -> None:
    """The report of a run of images has all sections, with pictures."""
    page = check_page(reports["images"])
    sections = {"data", "model", "training", "samples", "evaluation", "settings", "environment", "commands"}
    assert sections <= set(page.values("id"))
    assert sum(tag == "img" for tag, _ in page.elements) >= 4
    text = " ".join(page.texts)
    for word in ("1797 grey images of 8x8 pixels", "unet", "vp (beta_min = 0.1", "auto, 4 network evaluations"):
        assert word in text
    assert "Not trained yet" in text and "energy distance" in text


def test_report_replaces_a_report_only(
    sdekit: Callable[..., Any], refused: Callable[..., str], digits_run: Path, tmp_path: Path
) -> None:
    """An earlier report is replaced; a file of another program and a folder are refused."""
    out = tmp_path / "r.html"
    for _ in range(2):
        result = sdekit("report", digits_run, "--out", out, "--no-samples", "--json")
        assert result.code == 0
    fields = json.loads(result.out)
    assert fields["report"] == str(out) and fields["bytes"] == out.stat().st_size
    assert all({"title", "text", "level"} == set(statement) for statement in fields["verdict"])
    out.write_text("<html>my page</html>")
    assert "not a report of sdekit" in refused("report", digits_run, "--out", out)
    assert "is a folder" in refused("report", digits_run, "--out", tmp_path)


def test_bad_input(refused: Callable[..., str], digits_run: Path, tmp_path: Path) -> None:
    """Data of another shape, an unknown solver and options without data are refused, and nothing is written."""
    out = ("--out", tmp_path / "r.html")
    message = refused("report", digits_run, *out, "--data", "moons")
    assert "moons has items of shape (2,)" in message and "(1, 8, 8)" in message
    assert "did you mean 'ddim'" in refused("report", digits_run, *out, "--solver", "ddmi")
    assert "--data SPEC" in refused("report", digits_run, *out, "--option", "n=3")
    assert "nfe must be at least 1" in refused("report", digits_run, *out, "--nfe", 0)
    assert "no such" in refused("report", tmp_path / "missing", *out).lower()


def test_report_of_a_table(reports: dict[str, Path]) -> None:
    """The report of a table shows the names of its columns, escaped."""
    page = check_page(reports["table"])
    text = " ".join(page.texts)
    assert HOSTILE in text and "Länge [mm]" in text and "$a_1 & b$" in text and "run <b>" in text
    assert sum(tag == "svg" for tag, _ in page.elements) >= 4
    assert "samples: mean" in text and "Kolmogorov-Smirnov" in text


def test_report_of_an_export(sdekit: Callable[..., Any], moons_run: Path, tmp_path: Path) -> None:
    """The report of an export has no training curves but data and samples."""
    export = tmp_path / "export"
    assert sdekit("export", moons_run, "--format", "safetensors", "--out", export).code == 0
    assert sdekit("report", export, "--no-samples").code == 0
    page = check_page(export / "report.html")
    assert {"data", "model", "samples", "commands"} <= set(page.values("id"))
    assert sdekit("export", moons_run, "--format", "safetensors", "--out", export, "--overwrite").code == 0
    assert not (export / "report.html").exists()


@pytest.mark.parametrize("run", ["digits_run", "moons_run", "numbers_run", "dropped_run", "table_run"])
def test_train_command_repeats_the_recipe(
    sdekit: Callable[..., Any],
    run: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The command of the report plans the same run again."""
    path = request.getfixturevalue(run)
    command = shlex.split(train_command(gather("run", load_run(path))))
    command[command.index("--out") + 1] = str(tmp_path / "again")
    monkeypatch.setattr("sdekit_cli.training.training_session.run_training", lambda trainer, **_: 0.0)
    assert sdekit(*command[1:]).code == 0
    read_recipe(path).check_same(read_recipe(tmp_path / "again"))
    assert read_recipe(path) == read_recipe(tmp_path / "again")


def test_report_without_samples_of_a_broken_model(
    sdekit: Callable[..., Any], moons_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the samples are not finite, the page states it and shows the other sections."""

    def fail(*_: Any, **__: Any) -> None:
        raise SdekitError("3 samples are not finite")

    monkeypatch.setattr("sdekit.reporting.report_writer.draw_samples", fail)
    assert sdekit("report", moons_run, "--out", tmp_path / "r.html").code == 0
    page = check_page(tmp_path / "r.html")
    assert "3 samples are not finite." in page.texts and {"data", "training", "model"} <= set(page.values("id"))


@pytest.mark.parametrize(
    ("losses", "titles"),
    [
        ([0.4, 0.31, 0.3], ["Trained", "No overfitting"]),
        ([1.0, 0.5, 0.3], ["Still improving", "No overfitting"]),
        ([1.0, 0.3, 0.9], ["Trained", "Overfitting"]),
        ([1.2, 1.1, 1.09], ["Not trained yet", "No overfitting"]),
        ([], []),
    ],
)
def test_verdict(moons_run: Path, losses: list[float], titles: list[str]) -> None:
    """The statements follow from the held-out losses and the loss without training."""
    rows = [
        {"step": 10 * 4**i, "held_out_loss": loss, "baseline_loss": 0.95, "trivial_loss": 2.0}
        for i, loss in enumerate(losses)
    ]
    subject = replace(gather("run", load_run(moons_run)), metrics=rows)
    subject = replace(subject, opened=replace(subject.opened, step=1000))
    assert [statement.title for statement in training_statements(subject, None)] == titles


def test_verdict_on_earlier_weights(moons_run: Path) -> None:
    """If the weights are those from before the held-out loss rose, they do not overfit; the text states the rise."""
    rows = [{"step": step, "held_out_loss": loss, "baseline_loss": 0.95} for step, loss in ((10, 0.4), (20, 0.7))]
    subject = replace(gather("run", load_run(moons_run)), metrics=rows)
    subject = replace(subject, opened=replace(subject.opened, step=10))
    _, statement = training_statements(subject, None)
    assert statement.title == "No overfitting" and "It rose to 0.7 at step 20" in statement.text


def test_the_wheel_contains_the_template() -> None:
    """A wheel contains the files of the page."""
    from hatchling.builders.wheel import WheelBuilder

    root = Path(__file__).parents[2]
    files = {file.distribution_path for file in WheelBuilder(str(root)).recurse_included_files()}
    templates = (root / "sdekit" / "reporting" / "templates").iterdir()
    assert {f"sdekit/reporting/templates/{file.name}" for file in templates} <= files
