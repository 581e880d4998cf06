"""Non-leaking augmentation: the transforms, the vectors that describe them, and a network that does not draw them."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sdekit.models import Condition
from sdekit.runs import TrainOptions
from sdekit.sampling import sample
from sdekit.training import Denoising, Trainer, plan, train
from sdekit.training.augmentation import WIDTH, augment, random_augmentations, transform


def images(n: int = 1, shape: tuple[int, ...] = (1, 8, 8)) -> Tensor:
    """Random images."""
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(0))


def smooth(height: int, width: int, to_input: Any = lambda x, y: (x, y)) -> Tensor:
    """An image (1, 1, H, W) of a smooth function of centred pixel coordinates, after a map of the coordinates."""
    y, x = torch.meshgrid(torch.arange(height) - (height - 1) / 2, torch.arange(width) - (width - 1) / 2, indexing="ij")
    x, y = to_input(x, y)
    return ((x - 3) * 0.15).sin()[None, None] + ((y + 0.3 * x) * 0.2).cos()[None, None]


def vector(**entries: float) -> Tensor:
    """One augmentation vector with some entries, named by i0 to i8."""
    out = torch.zeros(1, WIDTH)
    for name, value in entries.items():
        out[0, int(name[1:])] = value
    return out


def test_probability_0_changes_no_bit() -> None:
    x = images(64)
    out, vectors = augment(x, TrainOptions(steps=1, batch_size=64), 3)
    assert torch.equal(out, x) and not vectors.any()


def test_images_with_a_zero_vector_are_unchanged_beside_transformed_ones() -> None:
    x = images(64)
    out, vectors = augment(x, TrainOptions(steps=1, batch_size=64, augment=0.1), 3)
    plain = ~vectors.any(1)
    assert 10 < int(plain.sum()) < 60
    assert torch.equal(out[plain], x[plain]) and not torch.equal(out[~plain], x[~plain])


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 6, 10)])
def test_flips_are_exact_and_named_by_the_vector(shape: tuple[int, ...]) -> None:
    x = images(2, shape)
    both = torch.cat([vector(i0=1), vector(i1=1)])
    torch.testing.assert_close(transform(x, both), torch.stack([x[0].flip(-1), x[1].flip(-2)]))


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_rotations_are_named_by_the_vector(quarters: int) -> None:
    """A rotation by a takes the x axis towards the y axis, which points down."""
    angle, x = quarters * math.pi / 2, images()
    rotated = transform(x, vector(i3=math.cos(angle) - 1, i4=math.sin(angle)))
    torch.testing.assert_close(rotated, x.rot90(-quarters, (-2, -1)), atol=1e-5, rtol=0)


def test_translations_are_in_eighths_of_the_image() -> None:
    """One pixel to the right is 8 / W; what leaves the image is reflected at its edge."""
    x = images(1, (1, 6, 10))
    right, down = transform(x, vector(i7=8 / 10)), transform(x, vector(i8=8 / 6))
    torch.testing.assert_close(right[..., 1:], x[..., :-1], atol=1e-5, rtol=0)
    torch.testing.assert_close(right[..., 0], x[..., 0], atol=1e-5, rtol=0)
    torch.testing.assert_close(down[..., 1:, :], x[..., :-1, :], atol=1e-5, rtol=0)


@pytest.mark.parametrize("shape", [(33, 33), (25, 41)])
def test_every_transform_is_the_one_that_the_vector_describes(shape: tuple[int, int]) -> None:
    """Compared with the same map of the coordinates of a smooth image, away from its edges."""
    generator = torch.Generator().manual_seed(1)
    for flip, s, a, stretch, b, u in torch.rand(6, 6, generator=generator).tolist():
        entries = [float(flip > 0.5), 0.0, s, math.cos(a) - 1, math.sin(a)]
        entries += [stretch * math.cos(2 * b), stretch * math.sin(2 * b), 0.3 * u, -0.2 * u]

        def to_input(x: Tensor, y: Tensor, e: Any = (flip, s, a, stretch, b, u)) -> tuple[Tensor, Tensor]:
            """The inverse of every transform, last one first."""
            flip, s, a, stretch, b, u = e
            x, y = x - 0.3 * u * shape[1] / 8, y + 0.2 * u * shape[0] / 8
            along, across = x * math.cos(b) + y * math.sin(b), y * math.cos(b) - x * math.sin(b)
            along, across = along * 2 ** (-0.2 * stretch), across * 2 ** (0.2 * stretch)
            x, y = along * math.cos(b) - across * math.sin(b), along * math.sin(b) + across * math.cos(b)
            x, y = x * math.cos(a) + y * math.sin(a), y * math.cos(a) - x * math.sin(a)
            x, y = x * 2 ** (-0.2 * s), y * 2 ** (-0.2 * s)
            return (-x if flip > 0.5 else x), y

        out = transform(smooth(*shape), torch.tensor([entries]))
        inner = (..., slice(9, -9), slice(9, -9))
        torch.testing.assert_close(out[inner], smooth(*shape, to_input)[inner], atol=0.02, rtol=0)


def test_each_transform_has_its_probability() -> None:
    n, probability = 40_000, 0.3
    drawn = random_augmentations(n, probability, torch.Generator().manual_seed(0))
    applied = torch.stack([drawn[:, 2] != 0, drawn[:, 4] != 0, drawn[:, 5] != 0, drawn[:, 7] != 0], 1).double().mean(0)
    torch.testing.assert_close(applied, torch.full_like(applied, probability), atol=0.01, rtol=0)
    torch.testing.assert_close(drawn[:, :2].mean(0), torch.full((2,), probability / 2), atol=0.01, rtol=0)
    scale = drawn[:, 2][drawn[:, 2] != 0]
    assert abs(float(scale.mean())) < 0.03 and abs(float(scale.std()) - 1) < 0.03


def test_is_a_function_of_seed_step_and_row_of_the_global_batch() -> None:
    x, options = images(64), TrainOptions(steps=1, batch_size=64, augment=0.5)
    state = torch.get_rng_state()
    whole, vectors = augment(x, options, 5)
    for rows in (slice(0, 16), slice(16, 64)):
        part, some = augment(x[rows], options, 5, rows)
        assert torch.equal(some, vectors[rows])
        torch.testing.assert_close(part, whole[rows])
    assert not torch.equal(augment(x, options, 6)[1], vectors)
    assert not torch.equal(augment(x, TrainOptions(steps=1, batch_size=64, augment=0.5, seed=1), 5)[1], vectors)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_resumed_run_with_augmentation_is_the_same_run(
    tmp_path: Path, go: Callable[..., Trainer], same_run: Callable[[Path, Path], None]
) -> None:
    """With labels, some of them dropped, and with exact targets, which are for images that are not transformed."""
    options = {"steps": 8, "batch_size": 8, "checkpoint_every": 3, "augment": 0.2, "drop": 0.2, "exact_target": 2048}
    network = {"width": 8, "depth": 1}
    recipe, data = plan("digits", network="mlp", condition="label", options={"network": network, "train": options})
    go(Trainer(recipe, data, tmp_path / "whole"))
    go(Trainer(recipe, data, tmp_path / "parts"), 4)
    go(Trainer(recipe, data, tmp_path / "parts", resume=True))
    same_run(tmp_path / "whole", tmp_path / "parts")


def test_the_exact_target_of_a_transformed_image_is_the_image() -> None:
    """The posterior mean over the training set is that of images which are not transformed."""
    recipe, data = plan("digits", network="mlp", options={"train": {"steps": 1, "augment": 0.2, "exact_target": 2048}})
    objective = Denoising(recipe)
    objective.start(objective.build(), data, np.arange(len(data)))
    batch = data.batch(range(64))
    x0, t, eps, y, mean, vectors = objective.inputs(batch, 0, slice(0, 64))
    assert x0 is not None and t is not None and eps is not None and mean is not None and vectors is not None
    assert y is None and objective.posterior_mean is not None
    plain = ~vectors.any(1)
    assert torch.equal(x0[plain], batch.x[plain]) and torch.equal(mean[~plain], x0[~plain])
    torch.testing.assert_close(mean[plain], objective.posterior_mean(batch.x, t, eps)[plain])


def test_samples_are_not_transformed(tmp_path: Path) -> None:
    """A network trained on flipped images of one asymmetric shape draws the shape, or its mirror image on request."""
    shape = torch.full((8, 8), -1.0)
    shape[1:7, 1:3], shape[5:7, 1:6] = 1.0, 1.0  # the letter L
    brightness = np.random.default_rng(0).uniform(0.8, 1.0, (64, 1, 1, 1)).astype(np.float32)
    np.save(tmp_path / "shapes.npy", shape.numpy()[None, None] * brightness)
    recipe, data = plan(
        f"array:{tmp_path / 'shapes.npy'}",
        network="mlp",
        options={
            "data": {"scale": "none"},
            "network": {"width": 128, "depth": 2},
            "train": {"steps": 400, "augment": 0.3, "learning_rate": 1e-2, "noise_mean": 0.5, "noise_std": 1.5},
        },
    )
    model = train(recipe, data, tmp_path / "run").model.eval()

    def closest(y: Condition | None) -> Tensor:
        """Which of the shape and its three mirror images each sample is closest to."""
        drawn = sample(model.sde, model, "ddim", shape=(1, 8, 8), n=32, steps=10, y=y).x
        candidates = torch.stack([shape, shape.flip(-1), shape.flip(-2), shape.flip(-1).flip(-2)])
        return torch.cdist(drawn.flatten(1), candidates.flatten(1)).argmin(1)

    assert (closest(None) == 0).float().mean() > 0.95
    mirrored = Condition({"augmentation": vector(i0=1).expand(32, -1)})
    assert (closest(mirrored) == 1).float().mean() > 0.95
