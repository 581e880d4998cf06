"""Probabilities of classes from their log-likelihood ratios, their temperature, and the error of their calibration."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sdekit.errors import InputError

TEMPERATURES = (0.05, 1000.0)
"""Range in which `fit_temperature` searches."""


def class_probabilities(
    log_ratio: Tensor, standard_error: Tensor, log_prior: Tensor | None = None, temperature: float | Tensor = 1.0
) -> Tensor:
    """Return the posterior probabilities of classes by Bayes' rule.

        p(y | x) ~ p(x | y)^(1 / T) p(y)

    T = 1 is Bayes' rule itself. Another temperature corrects likelihoods of a network that are too sharp or too flat.
    A log-ratio a with standard error s is averaged over its error: the mean of a logistic function of a normal number
    is the logistic function of a / sqrt(1 + pi s^2 / 8) (MacKay 1992), so that noisy ratios are never near 0 or 1.

    Arguments:
        log_ratio: Log-likelihood of each class relative to one of them, (n, C), as in `ClassComparison`.
        standard_error: Standard error of each log-ratio, (n, C).
        log_prior: Logarithms of the prior probabilities, (C,), -inf for an impossible class; None for equal ones.
        temperature: T, above 0: a number or (n,).
    Returns:
        Probabilities (n, C), float64; each row adds up to 1.
    Raises:
        InputError: If a temperature is not above 0.
    Source:
        MacKay 1992 ("The evidence framework applied to classification networks"); Guo et al. 2017 (temperature).
    """
    t = torch.as_tensor(temperature, dtype=torch.float64).view(-1, 1)
    if not bool((t > 0).all()):
        raise InputError(f"temperature must be above 0, got {float(t.min())}")
    prior = torch.zeros(log_ratio.shape[1]) if log_prior is None else log_prior
    reference = prior.nan_to_num(neginf=0.0)[log_ratio.argmax(1)][:, None]
    log_odds = log_ratio / t + (prior - reference)  # to the most likely class, whose log-ratio has no error
    return (log_odds / (1 + math.pi / 8 * (standard_error / t).square()).sqrt()).softmax(1)


def fit_temperature(
    log_ratio: Tensor, standard_error: Tensor, labels: Tensor, log_prior: Tensor | None = None
) -> float:
    """Fit the temperature that makes labels most probable.

    It minimises -sum log p(label | x) + (log T)^2 / 8. The second term is a weak prior around T = 1. It matters only if
    all labels are predicted correctly, where the first term alone has no minimum.

    Arguments:
        log_ratio: Log-likelihood of each class relative to one of them, (n, C).
        standard_error: Standard error of each log-ratio, (n, C).
        labels: True classes, (n,), from 0 to C - 1.
        log_prior: Logarithms of the prior probabilities, (C,), or None.
    Returns:
        The temperature, 0.05 to 1000.
    Raises:
        InputError: If there are no labels.
    Source:
        Guo et al. 2017 ("On calibration of modern neural networks", section 4.2).
    """
    from scipy.optimize import minimize_scalar

    if not len(labels):
        raise InputError("a temperature needs labelled items to be fitted")

    def objective(log_t: float) -> float:
        probability = class_probabilities(log_ratio, standard_error, log_prior, math.exp(log_t))
        return float(-_log_of_labels(probability, labels).sum()) + log_t**2 / 8

    bounds = tuple(map(math.log, TEMPERATURES))
    return math.exp(minimize_scalar(objective, bounds=bounds, method="bounded", options={"xatol": 1e-4}).x)


def cross_fitted_temperatures(
    log_ratio: Tensor, standard_error: Tensor, labels: Tensor, log_prior: Tensor | None = None
) -> Tensor:
    """Fit a temperature for each item without the item itself.

    The temperature of rows 0, 2, 4, ... is fitted to rows 1, 3, 5, ..., and the other way round, so that the
    calibration of all rows can be measured on labels that were not used.

    Arguments:
        log_ratio: Log-likelihood of each class relative to one of them, (n, C).
        standard_error: Standard error of each log-ratio, (n, C).
        labels: True classes, (n,), from 0 to C - 1.
        log_prior: Logarithms of the prior probabilities, (C,), or None.
    Returns:
        Temperatures (n,); 1 for a single item.
    """
    temperatures = torch.ones(len(labels), dtype=torch.float64)
    for half in (0, 1):
        other = slice(1 - half, None, 2)
        if len(labels[other]):
            temperatures[half::2] = fit_temperature(log_ratio[other], standard_error[other], labels[other], log_prior)
    return temperatures


@dataclass(frozen=True)
class Calibration:
    """How well probabilities agree with the frequencies of correct predictions.

    Arguments:
        error: Expected calibration error, sum_b n_b / n |accuracy_b - confidence_b| over bins of equal counts.
        log_loss: Mean of -log p(label | x) in nats.
        confidence: Mean probability of the predicted class in each bin.
        accuracy: Share of correct predictions in each bin.
    """

    error: float
    log_loss: float
    confidence: Sequence[float]
    accuracy: Sequence[float]


def measure_calibration(probabilities: Tensor, labels: Tensor, bins: int = 10) -> Calibration:
    """Compare the probability of each prediction with whether it is correct.

    Arguments:
        probabilities: Probabilities of the classes, (n, C).
        labels: True classes, (n,).
        bins: Largest number of bins; each contains about the same number of items.
    Returns:
        The errors and the bins.
    Raises:
        InputError: If there are no labels, or bins is not positive.
    Source:
        Naeini et al. 2015; Guo et al. 2017, eq. 3, with bins of equal counts.
    """
    if not len(labels) or bins < 1:
        raise InputError(f"calibration needs labelled items and at least 1 bin, got {len(labels)} and {bins}")
    confidence, predicted = probabilities.double().max(1)
    order = confidence.argsort(stable=True)
    correct = (predicted == labels).double()[order]
    groups = [
        (float(p.mean()), float(hit.mean()), len(p))
        for p, hit in zip(confidence[order].tensor_split(bins), correct.tensor_split(bins), strict=True)
        if len(p)
    ]
    error = sum(count * abs(accuracy - mean) for mean, accuracy, count in groups) / len(labels)
    log_loss = float(-_log_of_labels(probabilities, labels).mean())
    return Calibration(error, log_loss, [mean for mean, _, _ in groups], [accuracy for _, accuracy, _ in groups])


def _log_of_labels(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Return log p(label), (n,)."""
    return probabilities.gather(1, labels[:, None].long()).squeeze(1).clamp(min=1e-300).log()
