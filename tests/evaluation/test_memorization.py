"""The check for memorization flags copies, and neither fresh nor blurred samples."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import mannwhitneyu
from torch import Tensor

from sdekit.data import digits
from sdekit.errors import InputError
from sdekit.evaluation import Memorization, check_memorization


def some_digits(first: int, n: int) -> Tensor:
    """Return digits in the model's units."""
    return digits().batch(np.arange(first, first + n)).x


TRAINING, HELD_OUT, FRESH = some_digits(0, 600), some_digits(600, 100), some_digits(800, 150)


def checked(samples: Tensor, training: Tensor = TRAINING, held_out: Tensor | None = HELD_OUT) -> Memorization:
    """Check samples; the training items come in batches of 250."""
    found = check_memorization(samples, training.split(250), held_out)
    assert found is not None
    return found


def noise(x: Tensor, std: float) -> Tensor:
    """Add noise."""
    return x + std * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))


def test_copies_are_flagged() -> None:
    """Noisy copies of training items are flagged, with the pairs, also if only some of the samples are copies."""
    found = checked(noise(TRAINING[:100], 0.02))
    assert found.flagged and found.copies == 1.0 and found.nearer > 0.95 and found.z < -5
    assert all(pair.item == pair.sample for pair in found.pairs)
    assert checked(torch.cat([FRESH[:130], noise(TRAINING[:20], 0.02)])).flagged


def test_a_run_that_memorized_twenty_images() -> None:
    """Copies of 20 images are flagged by held-out items, and by the other training items without any."""
    twenty = TRAINING[:20]
    samples = noise(twenty.repeat(5, 1, 1, 1), 0.1)
    assert checked(samples, twenty).compared_with == "held-out items" and checked(samples, twenty).flagged
    alone = checked(samples, twenty, None)
    assert alone.compared_with == "other training items" and alone.flagged and alone.real_copies < 0.2


@pytest.mark.parametrize("blur", [0.0, 0.5])
def test_new_samples_are_not_flagged(blur: float) -> None:
    """Unseen digits are not copies, and neither are their averages with the mean digit."""
    samples = (1 - blur) * FRESH + blur * TRAINING.mean(0)
    found = checked(samples)
    assert not found.flagged and found.copies < 0.02


def test_duplicates() -> None:
    """Copies of items that the data contain twice are copies too."""
    assert checked(noise(TRAINING[:100], 0.02), TRAINING.repeat(2, 1, 1, 1)).copies == 1.0


def test_batches_do_not_matter() -> None:
    """The result does not depend on the batches of the training items, and z is that of scipy."""
    one, other = (check_memorization(FRESH, TRAINING.split(size), HELD_OUT) for size in (600, 77))
    assert one is not None and other is not None
    assert one.z == pytest.approx(other.z) and one.nearer == pytest.approx(other.nearer) and one.copies == other.copies
    assert [pair.item for pair in one.pairs] == [pair.item for pair in other.pairs]
    rows = TRAINING.flatten(1).double()
    near = [torch.cdist(x.flatten(1).double(), rows).amin(1).numpy().round(9) for x in (FRESH, HELD_OUT)]
    p = mannwhitneyu(*near, method="asymptotic", use_continuity=False).pvalue
    assert p == pytest.approx(float(2 * torch.distributions.Normal(0.0, 1.0).cdf(torch.tensor(-abs(one.z)))), rel=1e-2)


def test_bad_training_items() -> None:
    """Other shapes and NaN are refused, and two items are too few to compare with."""
    with pytest.raises(InputError, match=r"the shape \(1, 8\), and the samples \(1, 8, 8\)"):
        check_memorization(FRESH, [torch.zeros(3, 1, 8)], None)
    with pytest.raises(InputError, match="not finite"):
        check_memorization(FRESH, [torch.full((3, 1, 8, 8), torch.nan)], None)
    assert check_memorization(FRESH, [TRAINING[:2]], None) is None
