"""Bayes' rule with noisy ratios, temperatures, and the measured calibration."""

import math

import pytest
import torch

from sdekit import InputError
from sdekit.likelihood import (
    class_probabilities,
    cross_fitted_temperatures,
    fit_temperature,
    measure_calibration,
)


def draw(n: int, temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-ratios (n, 4) that are too sharp by a temperature, and labels that are drawn with the true probabilities."""
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(n, 4, generator=generator, dtype=torch.float64)
    labels = torch.multinomial(logits.softmax(1), 1, generator=generator).squeeze(1)
    logits = temperature * logits
    return logits - logits.amax(1, keepdim=True), labels


def test_bayes_rule() -> None:
    """Without errors the probabilities are those of Bayes' rule, and the prior decides between equal likelihoods."""
    ratio = torch.tensor([[0.0, math.log(0.5), math.log(0.25)], [0.0, 0.0, 0.0]], dtype=torch.float64)
    none = torch.zeros_like(ratio)
    assert torch.allclose(class_probabilities(ratio, none)[0], torch.tensor([4.0, 2, 1]).double() / 7)
    prior = torch.tensor([0.0, 0.25, 0.75], dtype=torch.float64)
    found = class_probabilities(ratio, none, prior.log())
    assert torch.allclose(found[1], prior) and torch.allclose(found[0], torch.tensor([0.0, 0.4, 0.6]).double())
    sharp = class_probabilities(ratio, none, temperature=torch.tensor([1.0, 2.0]))
    assert torch.allclose(sharp[0], class_probabilities(ratio, none)[0])


def test_the_error_of_a_ratio_is_averaged() -> None:
    """The probability is the mean over a normal error of the log-odds, to 0.02."""
    z = torch.linspace(-6, 6, 2001, dtype=torch.float64)
    weight = (-0.5 * z.square()).softmax(0)
    for odds, error in ((-1.0, 0.5), (-3.0, 2.0), (-10.0, 5.0)):
        expected = float((weight * torch.sigmoid(odds + error * z)).sum())
        ratio = torch.tensor([[0.0, odds]], dtype=torch.float64)
        found = float(class_probabilities(ratio, torch.tensor([[0.0, error]]).double())[0, 1])
        assert found == pytest.approx(expected, abs=0.02)


def test_the_fitted_temperature_calibrates() -> None:
    """A temperature is recovered, and probabilities with the temperature of the other half are calibrated."""
    ratio, labels = draw(4000, 5.0)
    none = torch.zeros_like(ratio)
    assert fit_temperature(ratio, none, labels) == pytest.approx(5, rel=0.1)
    each = cross_fitted_temperatures(ratio, none, labels)
    before = measure_calibration(class_probabilities(ratio, none), labels)
    after = measure_calibration(class_probabilities(ratio, none, temperature=each), labels)
    assert after.error < 0.03 < 0.1 < before.error and after.log_loss < before.log_loss
    assert len(after.confidence) == 10 and list(after.confidence) == sorted(after.confidence)


def test_a_fit_without_mistakes_is_finite() -> None:
    """If all predictions are correct, the temperature stays between its bounds; a single item has temperature 1."""
    ratio = torch.tensor([[0.0, -3.0]] * 10, dtype=torch.float64)
    labels = torch.zeros(10, dtype=torch.int64)
    assert 0.1 < fit_temperature(ratio, torch.zeros_like(ratio), labels) < 1
    assert cross_fitted_temperatures(ratio[:1], torch.zeros(1, 2), labels[:1]).tolist() == [1.0]


def test_calibration_error_of_known_probabilities() -> None:
    """Predictions of 80% that are right in half of the cases have an error of 0.3."""
    probabilities = torch.tensor([[0.8, 0.2]] * 10, dtype=torch.float64)
    found = measure_calibration(probabilities, torch.tensor([0, 1] * 5), bins=1)
    assert found.error == pytest.approx(0.3)
    assert found.log_loss == pytest.approx(-(math.log(0.8) + math.log(0.2)) / 2)


def test_bad_arguments_are_refused() -> None:
    """A temperature of 0 and an empty set of labels are refused."""
    ratio, labels = torch.zeros(2, 2), torch.zeros(0, dtype=torch.int64)
    with pytest.raises(InputError, match="temperature"):
        class_probabilities(ratio, ratio, temperature=0.0)
    with pytest.raises(InputError, match="labelled"):
        fit_temperature(ratio[:0], ratio[:0], labels)
    with pytest.raises(InputError, match="labelled"):
        measure_calibration(ratio[:0], labels)
