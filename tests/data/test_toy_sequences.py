"""Toy sequences: their spectra are those of two sines, and they depend on the options alone."""

from __future__ import annotations

import numpy as np
import pytest

from sdekit.data import sines
from sdekit.errors import InputError


def test_spectra_have_two_bands() -> None:
    """Nearly all power is between the smallest and the largest frequency of the two sines, and both bands occur."""
    data = sines(n=200)
    assert data.shape == (1, 128) and data.kind == "sequence" and len(data) == 200
    x = data.batch(range(200)).x[:, 0].double().numpy()
    assert abs(x.std() - 1) < 1e-3
    power = np.square(np.abs(np.fft.rfft(x * np.hanning(128)))).mean(0)
    shares = [power[low : high + 1].sum() / power.sum() for low, high in ((0, 5), (6, 18))]
    assert sum(shares) > 0.99 and shares[1] > 0.05


def test_options() -> None:
    """The seed and the sizes determine the sequences; impossible sizes are refused."""
    assert np.array_equal(sines(n=9).array, sines(n=9).array)
    assert not np.array_equal(sines(n=9).array, sines(n=9, seed=1).array)
    assert sines(n=3, length=50).shape == (1, 50)
    for options in ({"n": 1}, {"length": 1}, {"seed": -1}):
        with pytest.raises(InputError, match="expected a whole number"):
            sines(**options)
