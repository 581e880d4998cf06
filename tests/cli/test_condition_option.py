"""The options --label and --condition: a label, numbers or embeddings for each sample."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sdekit.data import Units
from sdekit.errors import InputError
from sdekit.models import Conditioning, OpenedModel, ScoreModel
from sdekit.networks import MLP
from sdekit.processes import VP
from sdekit_cli.options.condition_option import conditions


def opened(declared: Conditioning | None = None, **fields: Any) -> OpenedModel:
    """A model with a condition."""
    return OpenedModel(model=ScoreModel(MLP((2,), depth=1), VP(), condition=declared), shape=(2,), **fields)


LABELLED = Conditioning(classes=3, class_names=("cat", "2", "dog"))


@pytest.mark.parametrize(("label", "expected"), [("cat", 0), ("2", 1), ("dog", 2), ("1", 1), ("0", 0)])
def test_a_label_is_the_name_or_the_number_of_a_class(label: str, expected: int) -> None:
    """The name of a class wins over the number of another one."""
    y = conditions(opened(LABELLED, class_names=LABELLED.class_names), label, (5, 6))
    assert y is not None and y.tolist() == [expected] * 2


def test_without_a_label_the_seed_decides() -> None:
    """Each seed has its own class, whatever other seeds are drawn."""
    y = conditions(opened(LABELLED), None, (7, 2, 3))
    assert y is not None and y.tolist() == [1, 2, 0]
    assert conditions(opened(), None, (7, 2)) is None


def test_a_guidance_may_use_the_label_of_an_unconditional_model() -> None:
    """Then the classes of the data count."""
    y = conditions(opened(classes=2), "1", (0,), guided=True)
    assert y is not None and y.tolist() == [1]


UNITS = Units(scale=2.0)
KINDS: dict[str, tuple[Conditioning, tuple[int, ...]]] = {
    "embedding": (Conditioning(embedding=3), (3,)),
    "sequence": (Conditioning(sequence=(None, 3)), (4, 3)),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [None, 1, 2])
def test_embeddings_come_from_a_file(kind: str, rows: int | None, tmp_path: Path) -> None:
    """One row is used for every sample; as many rows as samples are used one by one; units are those of the data."""
    declared, shape = KINDS[kind]
    array = np.random.default_rng(0).normal(size=shape if rows is None else (rows, *shape))
    np.save(tmp_path / "y.npy", array)
    y = conditions(opened(declared, condition_units=UNITS), None, (0, 1), numbers=str(tmp_path / "y.npy"))
    assert y is not None and y.shape == (2, *shape)
    torch.testing.assert_close(y, torch.from_numpy(np.broadcast_to(array, (2, *shape)) / 2).float())


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 4)), "takes an embedding (B, 3) as its condition: got torch.float32 of shape (2, 4)"),
        (np.zeros((5, 3)), "expected finite numbers in one row or 2 rows, got shape (5, 3)"),
        (np.full((2, 3), np.nan), "expected finite numbers"),
        (None, "expected a .npy file of embeddings"),
    ],
    ids=["width", "rows", "nan", "text"],
)
def test_embeddings_that_do_not_fit_are_refused(array: np.ndarray | None, message: str, tmp_path: Path) -> None:
    """The message names the file, what was expected and what it contains."""
    path = tmp_path / "y.npy"
    path.write_text("no array") if array is None else np.save(path, array)
    with pytest.raises(InputError, match=re.escape(f"--condition {path}: ") + ".*" + re.escape(message)):
        conditions(opened(KINDS["embedding"][0], condition_units=UNITS), None, (0, 1), numbers=str(path))


def test_embeddings_may_be_left_out_if_the_model_was_trained_without_them_too() -> None:
    """Otherwise the message says how to give them."""
    assert conditions(opened(Conditioning(embedding=3)), None, (0,)) is None
    with pytest.raises(InputError, match=r"was trained on embeddings: add --condition FILE.npy"):
        conditions(opened(Conditioning(embedding=3, null=False)), None, (0,))
    with pytest.raises(InputError, match="was trained without labels"):
        conditions(opened(Conditioning(embedding=3)), "1", (0,))
