"""Two-dimensional toy distributions. Models learn them in seconds, and samples can be judged in a scatter plot.

Each data set has n points (n, 2), which depend only on its options. In the units of the model, each axis has mean 0,
and both axes together have standard deviation 1. One scale for both axes preserves the shape.
"""

from __future__ import annotations

import math

import numpy as np

from sdekit.errors import InputError

from .dataset import Units
from .in_memory import InMemoryDataset


def moons(*, n: int = 10_000, noise: float = 0.05, seed: int = 0) -> InMemoryDataset:
    """Two interleaved half circles of radius 1; the label is the half circle.

    Arguments:
        n: Number of points, at least 2.
        noise: Standard deviation of the Gaussian noise added to the curve.
        seed: Seed of the points, at least 0.
    Returns:
        Data set of vectors (2,).
    """
    rng = _generator(n, noise, seed)
    label = np.arange(n) % 2
    angle = np.pi * rng.random(n)
    x = np.where(label == 0, np.cos(angle), 1 - np.cos(angle))
    y = np.where(label == 0, np.sin(angle), 0.5 - np.sin(angle))
    return _toy(np.stack([x, y], axis=1), rng, noise, label)


def checkerboard(*, n: int = 10_000, noise: float = 0.0, seed: int = 0) -> InMemoryDataset:
    """Uniform distribution on the eight dark squares of a 4x4 board over [-2, 2]^2, without labels.

    Arguments:
        n: Number of points, at least 2.
        noise: Standard deviation of the Gaussian noise added to the points.
        seed: Seed of the points, at least 0.
    Returns:
        Data set of vectors (2,).
    """
    rng = _generator(n, noise, seed)
    square = rng.integers(0, 8, n)
    row = square // 2
    corner = np.stack([2 * (square % 2) + row % 2, row], axis=1) - 2
    return _toy(corner + rng.random((n, 2)), rng, noise)


def swiss_roll(*, n: int = 10_000, noise: float = 0.03, seed: int = 0) -> InMemoryDataset:
    """Spiral of one and a half turns, r = angle / (4.5 pi) from 1/3 to 1, without labels.

    Arguments:
        n: Number of points, at least 2.
        noise: Standard deviation of the Gaussian noise added to the curve.
        seed: Seed of the points, at least 0.
    Returns:
        Data set of vectors (2,).
    """
    rng = _generator(n, noise, seed)
    angle = 1.5 * np.pi * (1 + 2 * rng.random(n))
    radius = angle / (4.5 * np.pi)
    return _toy(np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1), rng, noise)


def rings(*, n: int = 10_000, noise: float = 0.02, seed: int = 0) -> InMemoryDataset:
    """Four equally likely concentric circles of radius 1/4, 1/2, 3/4 and 1; labels count from the inside.

    Arguments:
        n: Number of points, at least 2.
        noise: Standard deviation of the Gaussian noise added to the curve.
        seed: Seed of the points, at least 0.
    Returns:
        Data set of vectors (2,).
    """
    rng = _generator(n, noise, seed)
    label = np.arange(n) % 4
    angle = 2 * np.pi * rng.random(n)
    radius = (label + 1) / 4
    return _toy(np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1), rng, noise, label)


def mixture(*, n: int = 10_000, noise: float = 0.1, seed: int = 0) -> InMemoryDataset:
    """Eight equal Gaussians on the unit circle; component k is at the angle k pi / 4, and the label is k.

    Arguments:
        n: Number of points, at least 2.
        noise: Standard deviation of each component.
        seed: Seed of the points, at least 0.
    Returns:
        Data set of vectors (2,).
    """
    rng = _generator(n, noise, seed)
    label = np.arange(n) % 8
    angle = label * np.pi / 4
    return _toy(np.stack([np.cos(angle), np.sin(angle)], axis=1), rng, noise, label)


def _generator(n: int, noise: float, seed: int) -> np.random.Generator:
    """Return the random generator of a data set, or raise InputError if an option is out of range."""
    if n < 2:
        raise InputError(f"n = {n}: a toy data set needs at least 2 points")
    if not (math.isfinite(noise) and noise >= 0):
        raise InputError(f"noise = {noise}: expected a finite standard deviation of at least 0")
    if seed < 0:
        raise InputError(f"seed = {seed}: expected a whole number of at least 0")
    return np.random.default_rng(seed)


def _toy(
    points: np.ndarray, rng: np.random.Generator, noise: float, label: np.ndarray | None = None
) -> InMemoryDataset:
    """Add noise to the points (n, 2) and standardize them with one scale for both axes."""
    points = points + noise * rng.standard_normal(points.shape)
    mean = points.mean(axis=0)
    scale = math.sqrt(np.square(points - mean).mean())
    units = Units(shift=(float(mean[0]), float(mean[1])), scale=scale)
    if label is None:
        return InMemoryDataset(points.astype(np.float32), units=units)
    labels = label.astype(np.int64)
    return InMemoryDataset(points.astype(np.float32), units=units, labels=labels, classes=int(labels.max()) + 1)
