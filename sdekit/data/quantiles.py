"""Increasing maps from a standard normal number z to the values of a column, fitted to its quantiles."""

from __future__ import annotations

import math

import numpy as np

Curve = tuple[tuple[float, ...], tuple[float, ...]]
"""Numbers z, increasing, and the values of the column at them, not decreasing. The map is linear in between."""

EVEN_SHARES, EVEN_NUMBERS = 160, 64
"""Numbers of knots with equal shares of the rows between them, and with equal distances in z."""

LEAST_ROWS = 10
"""Smallest number of rows between neighbouring knots. The slope between closer knots, and so the density, is mostly
chance: with k rows, log-densities of new rows are too low by about 1 / (2 k) for each column."""

ATOM = 0.01
"""Smallest share of the rows with the same value that makes the value an atom: an interval of z with one value."""


def fit_curve(values: np.ndarray) -> Curve:
    """Fit the map of a column, so that a standard normal z has the distribution of the values.

    Arguments:
        values: Values of the column (N,), which are not all equal.
    Returns:
        Knots of the map. A value that occurs in at least a hundredth of the rows is an atom and has two knots.
    """
    from scipy.special import ndtr, ndtri

    ordered, n = np.sort(values.astype(np.float64)), len(values)
    distinct, first, counts = np.unique(ordered, return_index=True, return_counts=True)
    ends = 0.5 / n, 1 - 0.5 / n
    z_ends = float(ndtri(ends[0])), float(ndtri(ends[1]))
    shares = np.concatenate([np.linspace(*ends, EVEN_SHARES), ndtr(np.linspace(*z_ends, EVEN_NUMBERS))])
    knots = np.unique((shares * n - 0.5).round().astype(int).clip(0, n - 1))
    atoms = (counts >= max(2, ATOM * n)).nonzero()[0]
    smooth = np.setdiff1d(np.unique(ordered[knots]), distinct[atoms])
    place = np.searchsorted(distinct, smooth)
    middle = first[place] + counts[place] / 2
    edges = np.concatenate([first[atoms], first[atoms] + counts[atoms], middle[smooth == ordered[0]], [n]])
    spaced = _spaced(middle, edges) | (smooth == ordered[0]) | (smooth == ordered[-1])
    pairs = [*zip(middle[spaced] / n, smooth[spaced], strict=True)]
    for i in atoms:
        pairs += [(first[i] / n, distinct[i]), ((first[i] + counts[i]) / n, distinct[i])]
    pairs.sort()
    z = ndtri(np.clip([share for share, _ in pairs], *ends))
    values_of = np.array([value for _, value in pairs])
    # Neighbouring atoms share an end, which must be two different numbers for the map to have an inverse.
    for k in range(1, len(z)):
        z[k] = max(z[k], z[k - 1] + 1e-6)
    return tuple(z.tolist()), tuple(values_of.tolist())


def _spaced(rows: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Choose knots that are at least `LEAST_ROWS` rows apart from each other and from the edges, from left to right.

    Arguments:
        rows: Position of each knot in the ordered rows (K,), increasing.
        edges: Positions of the knots that are chosen already, in any order.
    Returns:
        Whether each knot is chosen (K,).
    """
    far = np.abs(rows[:, None] - edges).min(1) >= LEAST_ROWS
    last = -math.inf
    for k, row in enumerate(rows):
        far[k] &= row - last >= LEAST_ROWS
        last = row if far[k] else last
    return np.asarray(far)


def curve_to_data(z: np.ndarray, curve: Curve) -> np.ndarray:
    """Return the values at z. Values are limited to the range of the knots."""
    return np.asarray(np.interp(z, *curve))


def curve_to_model(values: np.ndarray, curve: Curve, positions: np.ndarray | float = 0.5) -> np.ndarray:
    """Return z for values of a column, the inverse of `curve_to_data` in the range of the knots.

    Arguments:
        values: Values (N,). Outside of the range of the knots, the map continues with the slope of its first or last
            segment of positive length.
        curve: Knots of the map.
        positions: Position in (0, 1) in the interval of an atom: the share of its probability below z.
    Returns:
        Numbers z (N,), float64.
    """
    from scipy.special import ndtr, ndtri

    z, knots = (np.asarray(part) for part in curve)
    slope, left = _segment(values, z, knots)
    result = z[left] + (values - knots[left]) / slope
    low, high = atom_ends(values, z, knots)
    inside = high > low
    spread = ndtri(ndtr(low) + positions * (ndtr(high) - ndtr(low)))
    return np.asarray(np.where(inside, spread, result))


def curve_log_volume(values: np.ndarray, curve: Curve) -> np.ndarray:
    """Return log |dz / dvalue| (N,) between atoms, and for an atom the logarithm of the probability over the density.

    With log p(z) of a model, log p(z) + result is the log-density of a value. For an atom it is a lower bound, in
    expectation over the position, of its log-probability: log p(z) - log q(z), where q is the standard normal density
    restricted to the interval of the atom and z is its centre.
    """
    from scipy.special import ndtr

    z, knots = (np.asarray(part) for part in curve)
    slope, _ = _segment(values, z, knots)
    low, high = atom_ends(values, z, knots)
    inside = high > low
    centre = curve_to_model(values, curve)
    log_normal = -0.5 * centre**2 - 0.5 * math.log(2 * math.pi)
    mass = np.where(inside, ndtr(high) - ndtr(low), 1.0)
    return np.asarray(np.where(inside, np.log(mass) - log_normal, -np.log(slope)))


def atom_ends(values: np.ndarray, z: np.ndarray, knots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends in z of the interval of each value (N,), which are equal unless the value is an atom."""
    left, right = np.searchsorted(knots, values, "left"), np.searchsorted(knots, values, "right") - 1
    atom = right > left
    return z[np.where(atom, left, 0)], z[np.where(atom, right, 0)]


def _segment(values: np.ndarray, z: np.ndarray, knots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the slope dvalue / dz and the left knot of the segment of each value that has a positive length."""
    rising = np.flatnonzero(np.diff(knots) > 0)
    number = (np.searchsorted(knots[rising], values, "right") - 1).clip(0, len(rising) - 1)
    left = rising[number]
    return (knots[left + 1] - knots[left]) / (z[left + 1] - z[left]), left
