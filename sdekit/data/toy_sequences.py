"""Toy data set of sequences. A small network learns it in minutes, and samples can be judged by their spectra."""

from __future__ import annotations

import numpy as np

from sdekit.errors import InputError

from .dataset import Units
from .in_memory import InMemoryDataset

SLOW, FAST = (1.0, 4.0), (6.0, 16.0)
"""Ranges of the numbers of periods in a sequence."""


def sines(*, n: int = 2000, length: int = 128, seed: int = 0) -> InMemoryDataset:
    """Sums of a slow and a fast sine with random frequencies, phases and amplitudes.

    x(u) = a_1 sin(2 pi f_1 u + phi_1) + a_2 sin(2 pi f_2 u + phi_2) for u = 0, 1/L, ..., 1 - 1/L. The frequencies f_1
    and f_2 are uniform in [1, 4] and [6, 16], the amplitudes a_1 and a_2 in [0.5, 1] and [0.2, 0.5], and the phases in
    [0, 2 pi].

    Arguments:
        n: Number of sequences, at least 2.
        length: Number of values L of a sequence, at least 2.
        seed: Seed of the sequences, at least 0.
    Returns:
        Data set of sequences (1, length).
    Raises:
        InputError: If an option is out of range.
    """
    for name, value, least in (("n", n, 2), ("length", length, 2), ("seed", seed, 0)):
        if value < least:
            raise InputError(f"{name} = {value}: expected a whole number of at least {least}")
    rng = np.random.default_rng(seed)
    u = np.arange(length) / length
    x = np.zeros((n, length))
    for frequencies, amplitudes in ((SLOW, (0.5, 1.0)), (FAST, (0.2, 0.5))):
        f, a, phase = (rng.uniform(*ends, (n, 1)) for ends in (frequencies, amplitudes, (0.0, 2 * np.pi)))
        x += a * np.sin(2 * np.pi * f * u + phase)
    units = Units(shift=float(x.mean()), scale=float(x.std()))
    return InMemoryDataset(x[:, None].astype(np.float32), units=units)
