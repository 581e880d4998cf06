"""Conditions: the null condition, dropping, several parts, what a model takes, and a null condition of its own."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor

from sdekit.errors import InputError
from sdekit.models import (
    Condition,
    Conditioning,
    ScoreModel,
    concatenate_conditions,
    condition_parts,
    drop_conditions,
    is_label,
    is_null,
    null_condition,
)
from sdekit.networks import MLP, ConditionEmbedding
from sdekit.processes import VP, as_time

LABELS, NUMBERS = torch.tensor([2, 0, 1]), torch.tensor([[0.5, -1.0], [0.0, 2.0], [3.0, 0.1]])
SEQUENCE, MASK = torch.randn(3, 4, 2), torch.tensor([[True] * 4, [True] * 2 + [False] * 2, [True] * 4])
each_kind = pytest.mark.parametrize("y", [LABELS, NUMBERS], ids=["labels", "numbers"])


def several() -> Condition:
    """Three samples with four parts."""
    return Condition({"y": LABELS, "sequence": SEQUENCE, "mask": MASK, "augmentation": torch.ones(3, 2)})


@each_kind
def test_null_is_null(y: Tensor) -> None:
    assert null_condition(y).shape == y.shape and null_condition(y).dtype == y.dtype
    assert is_null(null_condition(y)).tolist() == [True] * 3 and is_null(y).tolist() == [False] * 3


@each_kind
def test_dropping(y: Tensor) -> None:
    """The given rows become null, and the others stay."""
    rows = torch.tensor([True, False, True])
    dropped = drop_conditions(y, rows)
    assert torch.equal(is_null(dropped), rows) and torch.equal(dropped[~rows], y[~rows])
    assert torch.equal(drop_conditions(y, rows & False), y)


@each_kind
def test_a_null_row_has_the_embedding_of_no_condition(y: Tensor) -> None:
    """A null row is embedded as y = None is, and the other rows as without it."""
    condition = ConditionEmbedding(16, 3, numbers=0) if y.ndim == 1 else ConditionEmbedding(16, 0, numbers=2)
    c_noise = torch.zeros(3)
    mixed = torch.cat([y[:1], null_condition(y[1:2]), y[2:]])
    out = condition(c_noise, mixed)
    assert torch.equal(out[1], condition(c_noise)[1]) and torch.equal(out[::2], condition(c_noise, y)[::2])
    assert not torch.allclose(out[0], condition(c_noise)[0])


def test_both_kinds_at_once_are_refused() -> None:
    with pytest.raises(InputError, match="labels or numbers"):
        ConditionEmbedding(16, 3, numbers=2)


def test_parts_are_indexed_together() -> None:
    """`len`, rows by slice, indices or mask, `to` and concatenation act on every part."""
    y = several()
    assert len(y) == 3 and y.device.type == "cpu" and list(y.to("cpu").parts) == list(y.parts)
    for rows in (slice(1, 3), torch.tensor([1, 2]), torch.tensor([False, True, True])):
        assert all(torch.equal(part, y.parts[name][1:]) for name, part in y[rows].parts.items())
    again = concatenate_conditions([y[:1], y[1:]])
    assert all(torch.equal(part, y.parts[name]) for name, part in again.parts.items())
    assert torch.equal(concatenate_conditions([LABELS[:1], LABELS[1:]]), LABELS)


def test_parts_of_any_condition() -> None:
    """A tensor is the part "y", and None has no parts."""
    assert list(condition_parts(LABELS)) == ["y"] and condition_parts(None) == {}
    assert list(condition_parts(several())) == ["y", "sequence", "mask", "augmentation"]
    assert is_label(LABELS) and not is_label(NUMBERS) and not is_label(several())


def test_null_of_several_parts() -> None:
    """Every part but the mask and the augmentation becomes null; a row is null if all those parts are."""
    null = null_condition(several())
    assert null.parts["y"].tolist() == [-1] * 3 and null.parts["sequence"].isnan().all()
    assert torch.equal(null.parts["mask"], MASK) and (null.parts["augmentation"] == 1).all()
    assert is_null(null).tolist() == [True] * 3 and is_null(several()).tolist() == [False] * 3
    half = Condition({"y": torch.tensor([-1, -1, 0]), "sequence": SEQUENCE})
    assert is_null(half).tolist() == [False] * 3
    assert is_null(Condition({"augmentation": torch.ones(3, 2)})).tolist() == [True] * 3


def test_dropping_drops_all_parts_of_a_row() -> None:
    """The other rows stay, and so do the mask and the augmentation."""
    rows = torch.tensor([True, False, True])
    dropped = drop_conditions(several(), rows)
    assert torch.equal(is_null(dropped), rows) and dropped.parts["y"].tolist() == [-1, 0, -1]
    for name, part in dropped.parts.items():
        same = ~rows if name in ("y", "sequence") else rows | True
        assert torch.equal(part[same], several().parts[name][same])


@pytest.mark.parametrize(
    "parts", [{}, {"a": torch.zeros(2), "b": torch.zeros(3)}, {"a": torch.zeros(())}], ids=["none", "rows", "scalar"]
)
def test_parts_need_the_same_rows(parts: dict[str, Tensor]) -> None:
    with pytest.raises(InputError, match="parts with the same number of rows"):
        Condition(parts)


@pytest.mark.parametrize("other", [LABELS, NUMBERS[:, :1], Condition({"y": NUMBERS})], ids=["type", "shape", "parts"])
def test_only_conditions_of_one_kind_are_concatenated(other: Any) -> None:
    y = several() if other is LABELS else NUMBERS
    with pytest.raises(InputError, match="must have the same parts and shapes, got"):
        concatenate_conditions([y, other])


PARTS = Conditioning(parts={"y": (), "sequence": (None, 2)})
BAD = [
    (Conditioning(classes=3), torch.tensor([3, 0]), "label 3: this model has the labels 0 to 2"),
    (Conditioning(classes=3), torch.tensor([-2, 0]), "label -2: this model has the labels 0 to 2 (-1 is no label)"),
    (Conditioning(classes=3), torch.tensor([0.5, 1.0]), "takes labels, whole numbers of shape (B,)"),
    (Conditioning(classes=3, null=False), None, "train it with --drop 0.1"),
    (Conditioning(classes=3, null=False), torch.tensor([-1, 0]), "train it with --drop 0.1"),
    (Conditioning(numbers=2), torch.tensor([[1.0], [2.0]]), "takes 2 numbers a sample, (B, 2)"),
    (Conditioning(numbers=2), torch.tensor([1, 2]), "takes 2 numbers a sample"),
    (Conditioning(numbers=2, null=False), torch.tensor([[1.0, torch.nan], [0.0, 0.0]]), "train it with --drop 0.1"),
    (Conditioning(embedding=3), NUMBERS[:2], "takes an embedding (B, 3) as its condition: got torch.float32 of shape"),
    (Conditioning(sequence=(None, 3)), SEQUENCE[:2], "takes a sequence of embeddings (B, L, 3) as its condition"),
    (Conditioning(sequence=(5, 2)), SEQUENCE[:2], "(B, 5, 2) as its condition: got torch.float32 of shape (2, 4, 2)"),
    (PARTS, LABELS[:2], "takes a Condition of y (B,) and sequence (B, L, 2) as its condition: got torch.int64"),
    (PARTS, Condition({"y": LABELS[:2]}), "as its condition: got y (2,)"),
    (PARTS, Condition({"y": NUMBERS[:2], "sequence": SEQUENCE[:2]}), "as its condition: got y (2, 2), sequence"),
    (PARTS, Condition(several()[:2].parts | {"mask": MASK[:2, :1]}), "a mask is boolean and has the shape (B, L)"),
    (Conditioning(classes=3), Condition({"y": LABELS[:2], "sequence": SEQUENCE[:2]}), "takes labels"),
    (Conditioning(classes=3), Condition({"y": LABELS[:2] + 3}), "label 5: this model has the labels 0 to 2"),
    (
        Conditioning(parts=PARTS.parts, null=False),
        Condition({"y": LABELS[:2], "sequence": null_condition(SEQUENCE[:2])}),
        "train it with --drop 0.1",
    ),
    (Conditioning(classes=3, null=False), Condition({"augmentation": NUMBERS[:2]}), "train it with --drop 0.1"),
]


@pytest.mark.parametrize(("declared", "y", "message"), BAD, ids=[m for _, _, m in BAD])
def test_a_model_names_the_condition_that_it_takes(declared: Conditioning, y: Any, message: str) -> None:
    """The message says what the model takes and what it got."""
    network = MLP((2,), declared.classes, width=8, depth=1, conditions=declared.numbers)
    model = ScoreModel(network, VP(), condition=declared)
    with pytest.raises(InputError, match=re.escape(message)):
        model(torch.zeros(2, 2), as_time(0.5), y)


MODELS: list[tuple[Conditioning, dict[str, int], Any]] = [
    (Conditioning(classes=3), {"classes": 3}, LABELS),
    (Conditioning(classes=3), {"classes": 3}, Condition({"y": LABELS})),
    (Conditioning(numbers=2), {"conditions": 2}, NUMBERS),
    (Conditioning(embedding=2), {"embedding_size": 2}, NUMBERS),
    (Conditioning(sequence=(None, 2)), {"sequence": 2}, SEQUENCE),
    (Conditioning(sequence=(4, 2)), {"sequence": 2}, Condition({"y": SEQUENCE, "mask": MASK})),
    (PARTS, {"classes": 3, "sequence": 2, "augmentation": 2}, several()),
]


@pytest.mark.parametrize(("declared", "options", "y"), MODELS)
def test_a_model_takes_the_condition_that_it_declares(
    declared: Conditioning, options: dict[str, int], y: Tensor | Condition
) -> None:
    """Also null rows, and no condition at all."""
    model = ScoreModel(MLP((2,), width=8, depth=1, **options), VP(), condition=declared)
    for condition in (y, null_condition(y), None):
        assert model(torch.zeros(3, 2), as_time(0.5), condition).shape == (3, 2)


def test_one_kind_is_declared() -> None:
    with pytest.raises(InputError, match="one kind of condition, got classes and embedding: declare them as named"):
        Conditioning(classes=3, embedding=2)


class Recording(torch.nn.Module):
    """A network that keeps the condition that it received."""

    y: Any = None

    def forward(self, x: Tensor, c_noise: Tensor, y: Any) -> Tensor:
        self.y = y
        return x


def test_null_rows_become_the_null_condition_of_the_model() -> None:
    """Rows of NaN and y = None become `null_value`, in the denoiser and in the loss; other rows stay."""
    null, network = torch.randn(1, 4, 2), Recording()
    model = ScoreModel(network, VP(), condition=Conditioning(sequence=(4, 2), null_value=null))
    x, t = torch.zeros(3, 2), as_time(0.5)
    mixed = concatenate_conditions([SEQUENCE[:1], null_condition(SEQUENCE[1:])])
    for call in (lambda y: model(x, t, y), lambda y: model.loss(x, t, x, y)):
        call(mixed)
        assert torch.equal(network.y, torch.cat([SEQUENCE[:1], null, null]))
        call(None)
        assert torch.equal(network.y, null.expand(3, -1, -1))
        call(SEQUENCE)
        assert torch.equal(network.y, SEQUENCE)


def test_null_value_of_several_parts() -> None:
    """Null rows take the mask of `null_value` with its other parts, and keep their augmentation."""
    null, network = (
        Condition({"y": torch.tensor([2]), "sequence": torch.randn(1, 4, 2), "mask": MASK[1:2]}),
        Recording(),
    )
    model = ScoreModel(network, VP(), condition=Conditioning(parts=PARTS.parts, null_value=null))
    y = concatenate_conditions([several()[:1], null_condition(several()[1:])])
    model(torch.zeros(3, 2), as_time(0.5), y)
    for name in ("y", "sequence", "mask"):
        expected = [several().parts[name][:1], *[null.parts[name]] * 2]
        assert torch.equal(network.y.parts[name], torch.cat(expected)), name
    assert (network.y.parts["augmentation"] == 1).all()
    plain = Condition({"y": LABELS, "sequence": null_condition(SEQUENCE)})
    model(torch.zeros(3, 2), as_time(0.5), plain)  # a row that is null in one part only is no null row
    assert network.y.parts["sequence"].isnan().all() and network.y.parts["mask"].all()
    model(torch.zeros(3, 2), as_time(0.5), Condition({"augmentation": torch.ones(3, 2)}))
    assert network.y.parts["y"].tolist() == [2] * 3 and network.y.parts["augmentation"].shape == (3, 2)


def test_null_value_has_the_shape_of_the_condition() -> None:
    """A sequence of another length is refused with both shapes."""
    declared = Conditioning(sequence=(None, 2), null_value=torch.zeros(1, 5, 2))
    message = r"'y' has the shape \(3, 4, 2\), and the null condition of the model \(3, 5, 2\): pad the shorter one"
    with pytest.raises(InputError, match=message):
        ScoreModel(Recording(), VP(), condition=declared)(torch.zeros(3, 2), as_time(0.5), SEQUENCE)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"null_value": torch.zeros(2, 3)}, "expected one row"),
        ({"null_value": torch.zeros(1, 3), "null": False}, "expected one row, and null=True"),
        ({"null_value": torch.zeros(1, 4)}, "takes an embedding (B, 3)"),
    ],
)
def test_null_value_must_fit(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        Conditioning(embedding=3, **fields)


def test_labels_by_name_or_number() -> None:
    """A class has a name or its number; the name of one class wins over the number of another."""
    plain, named = Conditioning(classes=3), Conditioning(classes=3, class_names=("cat", "0", "7"))
    assert [plain.label_of(text) for text in ("0", "2")] == [0, 2]
    assert [named.label_of(text) for text in ("cat", "0", "7", "2", "1")] == [0, 1, 2, 2, 1]
    for conditioning, text, message in (
        (named, "cow", "label cow: this model has the labels 0 to 2 (cat, 0, 7)"),
        (plain, "3", "label 3: this model has the labels 0 to 2"),
        (plain, "-1", "label -1: this model has the labels 0 to 2"),
        (Conditioning(numbers=2), "0", "label 0: this model has no labels"),
    ):
        with pytest.raises(InputError, match=re.escape(message)):
            conditioning.label_of(text)
