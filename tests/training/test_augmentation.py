"""Mirrored and turned training images: which they are, how often, at which noise levels, and what goes with them."""

import torch

from sdekit.models import ScoreModel
from sdekit.networks import Mixer
from sdekit.processes import VP
from sdekit.runs import TrainOptions
from sdekit.training import SYMMETRIES, PosteriorMean, augment

OPTIONS = TrainOptions(steps=1, turn_below=0.25)
SQUARE, WIDE = torch.arange(9.0).view(1, 1, 3, 3), torch.arange(6.0).view(1, 1, 2, 3)


def test_the_symmetries_are_the_eight_of_a_square_and_the_first_four_of_a_rectangle() -> None:
    images = {tuple(s(SQUARE).flatten().tolist()) for s in SYMMETRIES}
    assert len(images) == len(SYMMETRIES) == 8
    again = {tuple(a(b(SQUARE)).flatten().tolist()) for a in SYMMETRIES for b in SYMMETRIES}
    assert again == images  # a group
    assert torch.equal(SYMMETRIES[0](SQUARE), SQUARE)
    wide = {tuple(s(WIDE).flatten().tolist()) for s in SYMMETRIES[:4]}
    assert len(wide) == 4 and all(s(WIDE).shape == WIDE.shape for s in SYMMETRIES[:4])


def test_a_rectangle_keeps_its_shape() -> None:
    n = 400
    found, _, _ = augment(torch.zeros(n), OPTIONS, 0, WIDE.expand(n, -1, -1, -1), WIDE.expand(n, -1, -1, -1), None)
    kinds = {tuple(row.flatten().tolist()) for row in found}
    assert kinds == {tuple(s(WIDE).flatten().tolist()) for s in SYMMETRIES[:4]}


def test_how_often() -> None:
    """Seven in eight of those that are moved look otherwise; far above turn_below, and at an infinite rho, none is."""
    n = 20_000
    x = SQUARE.expand(n, -1, -1, -1)
    for rho, chance in ((0.0, 1.0), (0.25, 0.5), (0.5, 1 / 17), (torch.inf, 0.0)):
        found, _, _ = augment(torch.full((n,), rho, dtype=torch.float64), OPTIONS, 0, x, x, None)
        other = float((found != x).flatten(1).any(1).float().mean())
        assert abs(other - chance * 7 / 8) < 4 * (0.25 / n) ** 0.5, rho


def test_noise_and_posterior_mean_go_with_the_image() -> None:
    """The moved noisy image has the moved mean: that of the moved training set."""
    generator = torch.Generator().manual_seed(0)
    sde, rows = VP(), torch.randn(30, 1, 3, 3, generator=generator)
    index, eps = torch.arange(30), torch.randn(30, 1, 3, 3, generator=generator)
    t = sde.time(torch.full((30,), 0.25, dtype=torch.float64))
    mean = PosteriorMean(sde, rows)(rows[index], t, eps)
    x0, noise, moved = augment(sde.rho(t), OPTIONS, 3, rows[index], eps, mean)
    assert moved is not None and not torch.equal(x0, rows)
    for i in range(30):
        symmetry = next(s for s in SYMMETRIES if torch.equal(s(rows[i]), x0[i]))
        exact = PosteriorMean(sde, symmetry(rows))(x0[i : i + 1], t[i : i + 1], noise[i : i + 1])
        torch.testing.assert_close(moved[i : i + 1], exact)


def test_is_a_function_of_seed_and_step() -> None:
    x, rho = torch.randn(64, 1, 3, 3, generator=torch.Generator().manual_seed(0)), torch.full((64,), 0.1)

    def at(seed: int, step: int) -> torch.Tensor:
        return augment(rho, TrainOptions(steps=1, seed=seed, turn_below=0.25), step, x, x, None)[0]

    state = torch.get_rng_state()
    assert torch.equal(at(0, 5), at(0, 5))
    assert not torch.equal(at(0, 5), at(0, 6)) and not torch.equal(at(0, 5), at(1, 5))
    assert torch.equal(torch.get_rng_state(), state)


def test_0_is_never() -> None:
    x = torch.randn(8, 1, 3, 3)
    found = augment(torch.zeros(8), TrainOptions(steps=1), 0, x, x, x)
    assert all(z is x for z in found)


def test_the_loss_of_a_moved_row_is_that_of_its_image() -> None:
    """With a network that treats all directions alike (here one that answers 0), moving changes no loss."""
    model = ScoreModel(Mixer((1, 8, 8), width=8, depth=1, blocks=1), VP(), data_std=0.5)
    generator = torch.Generator().manual_seed(0)
    x0, eps = (torch.randn(16, 1, 8, 8, generator=generator) for _ in range(2))
    t = model.sde.time(torch.full((16,), 0.1, dtype=torch.float64))
    moved, noise, mean = augment(model.sde.rho(t), OPTIONS, 0, x0, eps, x0)
    assert not torch.equal(moved, x0)
    with torch.no_grad():
        torch.testing.assert_close(model.loss(moved, t, noise, mean=mean), model.loss(x0, t, eps))
