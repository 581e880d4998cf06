"""Difference of the mean power spectra of samples and data."""

import torch
from torch import Tensor

from sdekit.evaluation import metric_traits


@metric_traits(title="power spectrum", unit="relative difference", low=0.0, kinds=("vector", "sequence"))
def power_spectrum_distance(samples: Tensor, reference: Tensor) -> float:
    """Relative difference of the mean power spectra of samples and data.

    It is sum |P_x - P_y| / sum P_y, averaged over the channels of the sequences.

    P(f) is the mean of |FFT(x)(f)|^2 over the sequences. The value is 0.1 if the spectra differ by 10% of the power of
    the data. It is positive even for equal distributions, and it decreases with n: compare it with the floor.

    Arguments:
        samples: Samples x, (n, C, L) or (n, L).
        reference: Data y, of the same shape (m, C, L) or (m, L).
    Returns:
        The difference. It is infinite if a channel of the data is 0 and a channel of the samples is not.
    """
    p, q = (torch.fft.rfft(x.double(), dim=-1).abs().square().mean(0) for x in (samples, reference))
    return float(((p - q).abs().sum(-1) / q.sum(-1)).nan_to_num(posinf=torch.inf).mean())
