"""Conditions: the null one, drop-out, and what a model refuses."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor

from sdekit.errors import InputError
from sdekit.models import Conditioning, ScoreModel, drop_conditions, is_null, null_condition
from sdekit.networks import MLP, ConditionEmbedding
from sdekit.processes import VP, as_time

LABELS, NUMBERS = torch.tensor([2, 0, 1]), torch.tensor([[0.5, -1.0], [0.0, 2.0], [3.0, 0.1]])
each_kind = pytest.mark.parametrize("y", [LABELS, NUMBERS], ids=["labels", "numbers"])


@each_kind
def test_null_is_null(y: Tensor) -> None:
    assert null_condition(y).shape == y.shape and null_condition(y).dtype == y.dtype
    assert is_null(null_condition(y)).tolist() == [True] * 3 and is_null(y).tolist() == [False] * 3


@each_kind
def test_dropping(y: Tensor) -> None:
    """Each row whole or not at all, as often as said, the same for the same generator."""
    many = y.repeat(2000, *[1] * (y.ndim - 1))
    one, two = (drop_conditions(many, 0.3, torch.Generator().manual_seed(1)) for _ in range(2))
    gone = is_null(one)
    assert abs(float(gone.float().mean()) - 0.3) < 0.03 and torch.equal(gone, is_null(two))
    assert torch.equal(one[~gone], many[~gone])
    assert torch.equal(drop_conditions(y, 0.0, torch.Generator().manual_seed(1)), y)


@each_kind
def test_networks_hear_nothing_in_a_null_row(y: Tensor) -> None:
    """A null row is y = None, and the others are what they are without it."""
    condition = ConditionEmbedding(16, 3, numbers=0) if y.ndim == 1 else ConditionEmbedding(16, 0, numbers=2)
    c_noise = torch.zeros(3)
    mixed = torch.cat([y[:1], null_condition(y[1:2]), y[2:]])
    out = condition(c_noise, mixed)
    assert torch.equal(out[1], condition(c_noise)[1]) and torch.equal(out[::2], condition(c_noise, y)[::2])
    assert not torch.allclose(out[0], condition(c_noise)[0])


def test_both_kinds_at_once_are_refused() -> None:
    with pytest.raises(InputError, match="labels or numbers"):
        ConditionEmbedding(16, 3, numbers=2)


BAD = [
    (Conditioning(classes=3), torch.tensor([3, 0]), "label 3: this model has the labels 0 to 2"),
    (Conditioning(classes=3), torch.tensor([-2, 0]), "label -2: this model has the labels 0 to 2 (-1 is no label)"),
    (Conditioning(classes=3), torch.tensor([0.5, 1.0]), "takes labels, whole numbers of shape (B,)"),
    (Conditioning(classes=3, null=False), None, "train it with --drop 0.1"),
    (Conditioning(classes=3, null=False), torch.tensor([-1, 0]), "train it with --drop 0.1"),
    (Conditioning(numbers=2), torch.tensor([[1.0], [2.0]]), "takes 2 numbers a sample, (B, 2)"),
    (Conditioning(numbers=2), torch.tensor([1, 2]), "takes 2 numbers a sample"),
    (Conditioning(numbers=2, null=False), torch.tensor([[1.0, torch.nan], [0.0, 0.0]]), "train it with --drop 0.1"),
]


@pytest.mark.parametrize(("told", "y", "message"), BAD, ids=[m for _, _, m in BAD])
def test_a_model_says_what_it_was_not_trained_for(told: Conditioning, y: Tensor | None, message: str) -> None:
    network = MLP((2,), told.classes, width=8, depth=1, conditions=told.numbers)
    model = ScoreModel(network, VP(), condition=told)
    with pytest.raises(InputError, match=re.escape(message)):
        model(torch.zeros(2, 2), as_time(0.5), y)


def test_what_fits_passes() -> None:
    for told, y in ((Conditioning(classes=3), LABELS), (Conditioning(numbers=2), NUMBERS)):
        network = MLP((2,), told.classes, width=8, depth=1, conditions=told.numbers)
        model = ScoreModel(network, VP(), condition=told)
        for one in (y, null_condition(y), None):
            assert model(torch.zeros(3, 2), as_time(0.5), one).shape == (3, 2)
