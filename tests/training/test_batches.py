"""Batches in order, read ahead by a thread where the data bear it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sdekit.data import Batch, Dataset, Units, batch_indices
from sdekit.errors import SdekitError
from sdekit.training import Batches, Trainer, plan, train

INDICES = np.arange(20) * 3


class Recorded(Dataset):
    """Item i is the number i; it knows who read what, and fails at the item `bad`."""

    shape, kind, units = (1,), "vector", Units()

    def __init__(self, concurrent: bool, bad: int = -1) -> None:
        self.concurrent, self.bad = concurrent, bad
        self.read: list[tuple[list[int], str]] = []
        self.done = threading.Semaphore(0)

    def __len__(self) -> int:
        return 60

    def batch(self, indices: Sequence[int] | np.ndarray) -> Batch:
        """As any; records the thread."""
        self.read.append((list(map(int, indices)), threading.current_thread().name))
        self.skipped = (*self.skipped, "one")
        self.done.release()
        if self.bad in indices:
            raise SdekitError(f"item {self.bad} is damaged")
        return Batch(torch.as_tensor(np.asarray(indices), dtype=torch.float32)[:, None], None)


@pytest.mark.parametrize("concurrent", [False, True])
def test_order_is_that_of_the_steps(concurrent: bool) -> None:
    """Any step may come first and be followed by any; each gets its own items, and counts what its reading skipped."""
    data = Recorded(concurrent)
    batches = Batches(data, INDICES, 8, seed=3, ahead=True)
    for step in (5, 6, 7, 2, 2, 3):
        expected = INDICES[batch_indices(20, 8, step, 3)]
        assert batches(step).x[:, 0].tolist() == expected.tolist()
        place = max(i for i, (items, _) in enumerate(data.read) if items == expected.tolist())
        assert batches.skipped <= place + 1


def test_reads_one_step_ahead() -> None:
    """The next batch is read, and no more than that, before it is asked for; other data are read when asked."""
    data = Recorded(concurrent=True)
    Batches(data, INDICES, 8, seed=0, ahead=True)(0)
    assert data.done.acquire(timeout=10) and data.done.acquire(timeout=10)
    assert [items for items, _ in data.read] == [INDICES[batch_indices(20, 8, step, 0)].tolist() for step in (0, 1)]
    assert not data.done.acquire(timeout=0.05) and all(name.startswith("sdekit-batches") for _, name in data.read)

    for concurrent, ahead in ((False, True), (True, False)):
        plain = Recorded(concurrent)
        Batches(plain, INDICES, 8, seed=0, ahead=ahead)(0)
        assert [name for _, name in plain.read] == [threading.current_thread().name]


@pytest.mark.parametrize("concurrent", [False, True])
def test_error_comes_at_its_own_step(concurrent: bool) -> None:
    """A batch that fails when it is read ahead fails the step that needs it, not the one before; and again."""
    bad = int(INDICES[batch_indices(20, 4, 2, 0)][1])
    batches = Batches(Recorded(concurrent, bad), INDICES, 4, seed=0, ahead=True)
    assert len(batches(0).x) == len(batches(1).x) == 4
    for _ in range(2):
        with pytest.raises(SdekitError, match=f"item {bad} is damaged"):
            batches(2)
    assert len(batches(3).x) == 4


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """40 images of 8x8 pixels."""
    (tmp_path / "pictures").mkdir()
    for i, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (40, 8, 8)).astype(np.uint8)):
        Image.fromarray(pixels).save(tmp_path / "pictures" / f"{i:02d}.png")
    return tmp_path / "pictures"


GIVEN: dict[str, dict[str, Any]] = {
    "network": {"width": 8, "depth": 1},
    "train": {"steps": 12, "batch_size": 4, "log_every": 2, "checkpoint_every": 5, "held_out": 0.1, "exact_target": 0},
}


def test_resumed_run_on_images_is_the_same_run(
    tmp_path: Path, pictures: Path, go: Callable[..., Trainer], same_run: Callable[[Path, Path], None]
) -> None:
    """Reading ahead changes no bit of a run that is stopped and resumed."""
    recipe, data = plan(f"images:{pictures}", network="mlp", options=GIVEN)
    train(recipe, data, tmp_path / "whole")

    def reading_ahead(**kwargs: Any) -> Trainer:
        trainer = Trainer(recipe, data, tmp_path / "parts", **kwargs)
        trainer.batches = Batches(data, trainer.indices, 4, recipe.train.seed, ahead=True)
        return trainer

    go(reading_ahead(), 7)
    go(reading_ahead(resume=True))
    same_run(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.parametrize("saved", [True, False])
def test_image_found_damaged_while_training(tmp_path: Path, pictures: Path, saved: bool) -> None:
    """The file is named, and what is kept of the training."""
    recipe, data = plan(f"images:{pictures}", network="mlp", options=GIVEN)
    trainer = Trainer(recipe, data, tmp_path / "run")
    step = 8 if saved else 3
    end = 5 if saved else 3  # with the first checkpoint, the baseline of the held-out loss reads the training items
    items = trainer.batches.indices
    first = {i: s for s in range(11, -1, -1) for i in items[batch_indices(len(items), 4, s, 0)]}
    bad = next(int(i) for i, s in first.items() if s == step)
    (pictures / f"{bad:02d}.png").write_bytes(b"nothing")
    kept = "the last good checkpoint, of step 5, is kept" if saved else "no checkpoint had been saved yet"
    with pytest.raises(SdekitError, match=f"'{bad:02d}.png'.*stopped after step {end} and {kept}"):
        for _ in trainer.run():
            pass
    assert trainer.step == end
