"""Evaluation of samples: intervals, floors, differences, features and bad input."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from sdekit import registry
from sdekit.data import Units
from sdekit.errors import InputError, SdekitError
from sdekit.evaluation import Extractor, evaluate, extract_features

EXAMPLES = Path(__file__).parents[2] / "examples" / "single_files"


def points(n: int, seed: int, shift: float = 0.0) -> Tensor:
    """Draw n points in two dimensions."""
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(seed)) + shift


GOOD, BAD, DATA, MORE = points(60, 0), points(60, 1, 1.5), points(60, 2), points(80, 3)
FAST = ("energy", "ks", "precision", "frechet")


def test_a_good_and_a_bad_model() -> None:
    """Values of a perfect model are at the floor, those of another model are not, and intervals contain the value."""
    for samples, at_floor in ((GOOD, True), (BAD, False)):
        rows = evaluate(samples, DATA, metrics=FAST, real=MORE).rows
        assert [row.metric for row in rows] == list(FAST)
        for row in rows:
            assert row.low <= row.value <= row.high and row.floor_n == row.n == row.reference_n == 60
            assert row.floor is not None and row.floor_low is not None and row.floor_high is not None
            assert row.floor_low <= row.floor <= row.floor_high
            assert row.at_floor is at_floor or row.metric == "precision"


def test_it_does_not_depend_on_the_order_of_metrics_or_on_other_draws() -> None:
    """The same arguments give the same numbers, whatever the global seed and the other metrics."""
    first = evaluate(GOOD, DATA, metrics=FAST, real=MORE)
    torch.manual_seed(7)
    assert evaluate(GOOD, DATA, metrics=FAST[::-1], real=MORE).rows[::-1] == first.rows


def test_few_real_items() -> None:
    """Without further real items the floor is that of halves, and a warning says so; too few give no floor."""
    evaluation = evaluate(GOOD, DATA, metrics=["energy"])
    assert evaluation.rows[0].floor_n == 30 and any(
        "the floor is that of 30 real items" in w for w in evaluation.warnings
    )
    alone = evaluate(GOOD, DATA[:5], metrics=["energy"])
    assert alone.rows[0].floor is None and alone.rows[0].at_floor is None
    assert any("too few real items for a floor" in w for w in alone.warnings)
    assert any("5 reference items are few" in w for w in alone.warnings)


def test_paired_differences() -> None:
    """Common noise makes the interval of a difference shorter, and the better model is named."""
    near = GOOD + 0.1
    row = evaluate(GOOD, DATA, metrics=["energy"], against=near).differences[0]
    assert row.difference == pytest.approx(row.value - row.other) and row.low <= row.difference <= row.high
    single = evaluate(GOOD, DATA, metrics=["energy"]).rows[0]
    assert row.high - row.low < single.high - single.low
    worse = evaluate(GOOD, DATA, metrics=["energy", "coverage"], against=BAD).differences
    assert [row.better for row in worse] == ["first", "first"]
    with pytest.raises(InputError, match="60 samples against 50: draw both with the same seeds"):
        evaluate(GOOD, DATA, metrics=["energy"], against=BAD[:50])


def test_the_record_is_json() -> None:
    """The record contains every row, the columns, the memorization and the protocol, as JSON."""
    metrics = ("energy", "sliced-w2", "mmd", "ks")
    evaluation = evaluate(
        GOOD, DATA, metrics=metrics, training=MORE, columns=("a", "b"), protocol={"run": "r", "seeds": [0]}
    )
    record = json.loads(json.dumps(evaluation.as_dict(), allow_nan=False))
    assert record["run"] == "r" and record["columns"].keys() == {"a", "b"} and record["memorization"]["n"] == 60
    assert {row["metric"] for row in record["metrics"]} == set(metrics)
    assert record["protocol"]["extractor"]["name"] == "raw" and evaluation.row("energy") is evaluation.rows[0]


def test_plugins_work(tmp_path: Path) -> None:
    """Metrics and extractors of others need no traits."""
    registry.load_plugin_file(EXAMPLES / "acme_metric.py")
    registry.load_plugin_file(EXAMPLES / "acme_features.py")
    try:
        row = evaluate(BAD, DATA, metrics=["acme-energy"], real=MORE).rows[0]
        assert row.low < row.value < row.high and row.floor is not None and row.at_floor is False
        images = [torch.randn(30, 3, 8, 8, generator=torch.Generator().manual_seed(i)) for i in range(2)]
        row = evaluate(*images, metrics=["frechet"], features="acme-colours").rows[0]
        assert row.title == "Frechet distance (colours)" and row.extractor == "colours"
    finally:
        registry.forget_plugin_files()


def test_a_metric_that_fails() -> None:
    """An exception or NaN of a plugin is one message with the name of the metric."""
    plugin = registry.load_plugins().entries["metric", "energy"]
    for function, words in (
        (lambda x, y: 1 / 0, "failed: ZeroDivisionError"),
        (lambda x, y: float("nan"), "returned nan"),
    ):
        entry = registry.Entry("metric", "broken", function, plugin.plugin, plugin.package, plugin.version)
        entries = {**registry.load_plugins().entries, ("metric", "broken"): entry}
        broken = registry.Registry(entries, registry.load_plugins().manager, (), {})
        with pytest.MonkeyPatch.context() as patch, pytest.raises(SdekitError, match=f"metric 'broken' {words}"):
            patch.setattr("sdekit.registry.discovery.load_plugins", lambda broken=broken: broken)
            evaluate(GOOD, DATA, metrics=["broken"])


@pytest.mark.parametrize(
    ("samples", "reference", "metric", "words"),
    [
        (torch.full((60, 2), torch.nan), DATA, "energy", "samples number 0 contains a number that is not finite"),
        (GOOD, torch.full((60, 2), torch.inf), "energy", "reference number 0 contains a number that is not finite"),
        (points(60, 0)[:, :1], DATA, "energy", r"samples have the shape \(1,\), and the reference \(2,\)"),
        (GOOD[:10], DATA, "precision", "metric 'precision' needs at least 12 samples, got 10"),
        (GOOD, DATA[:10], "coverage", "metric 'coverage' needs at least 12 reference items, got 10"),
        (GOOD[:, :1], DATA[:, :1], "correlations", "metric 'correlations' needs items of at least 2 numbers, got 1"),
        (
            torch.zeros(60, 1, 8, 8),
            torch.zeros(60, 1, 8, 8),
            "ks",
            "metric 'ks' is for data of kind vector, and the data",
        ),
        (GOOD, DATA, "enrgy", "no metric 'enrgy'; did you mean 'energy'"),
    ],
)
def test_bad_input(samples: Tensor, reference: Tensor, metric: str, words: str) -> None:
    """NaN, other shapes, too few items and metrics for other data are refused with a message that says so."""
    with pytest.raises(InputError, match=words):
        evaluate(samples, reference, metrics=[metric])


def test_default_metrics_that_do_not_fit_are_left_out() -> None:
    """Fewer samples than a default metric needs leave it out with a warning."""
    evaluation = evaluate(GOOD[:10], DATA)
    assert evaluation.row("energy") and not evaluation.row("precision")
    assert any("needs at least 12 samples, got 10" in warning for warning in evaluation.warnings)


def test_extractors_receive_what_they_expect() -> None:
    """Grey images are scaled, repeated and resized, and the features of an item do not depend on its batch."""
    seen: list[Tensor] = []

    def extract(x: Tensor) -> Tensor:
        seen.append(x)
        return x.flatten(1)

    x = torch.rand(70, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    units = Units(shift=8.0, scale=8.0, low=0.0, high=16.0)
    extractor = Extractor(name="net", extract=extract, range=(0.0, 255.0), channels=3, size=(4, 6))
    features = extract_features(extractor, x, units=units)
    assert features.shape == (70, 72) and features.dtype == torch.float64
    assert seen[0].shape == (64, 3, 4, 6) and 100 < float(seen[0].mean()) < 150
    assert torch.equal(features[66:67], extract_features(extractor, x[66:67], units=units))
    assert extractor.as_record()["resize"] == "to 6x4, bilinear, antialiased"
    other = Extractor(name="other", extract=lambda x: x.flatten(1), units=Units(shift=0.0, scale=16.0))
    assert np.allclose(extract_features(other, x, units=units), (x.flatten(1) + 1) / 2, atol=1e-6)


@pytest.mark.parametrize(
    ("extract", "words"),
    [
        (lambda x: x, r"expected features \(6, d\), got \(6, 1, 8, 8\)"),
        (lambda x: x.flatten(1)[:3], r"got \(3, 64\)"),
        (lambda x: x.flatten(1) * torch.nan, "not finite"),
        (lambda x: "text", "got 'text'"),
    ],
)
def test_wrong_features(extract: object, words: str) -> None:
    """An extractor with another output is refused by name."""
    with pytest.raises(InputError, match=f"features net: .*{words}"):
        extract_features(Extractor(name="net", extract=extract), torch.zeros(6, 1, 8, 8))  # type: ignore[arg-type]


def test_fid_is_the_name_of_inception_features_only() -> None:
    """Only an extractor of Inception features gives FID and KID."""
    for inception, titles in ((True, ["FID", "KID"]), (False, ["Frechet distance (net)", "kernel distance (net)"])):
        net = Extractor(name="net", extract=lambda x: x, inception=inception)
        rows = evaluate(GOOD, DATA, metrics=["frechet", "kernel"], features=net).rows
        assert [row.title for row in rows] == titles
