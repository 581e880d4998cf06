"""Classifier guidance: Bayes' rule against a mixture's exact conditionals; trained classifiers from their folder."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sdekit import registry
from sdekit.distributions import GaussianMixture
from sdekit.errors import InputError
from sdekit.models import Classifier
from sdekit.networks import Encoder
from sdekit.processes import SDE, VP, as_time
from sdekit.sampling import sample
from sdekit_plugins.guidance.classifier_guidance import classifier
from sdekit_plugins.guidance.interval import interval

MIXTURE = GaussianMixture(
    torch.tensor([[-1.0, 0.5], [0.7, -0.4], [0.2, 1.0]]), torch.tensor([0.4, 0.3, 0.6]), torch.tensor([0.5, 0.3, 0.2])
)
Y = torch.tensor([0, 1, 2, 0, 1])


def exact(sde: SDE) -> Callable[[Tensor, Tensor], Tensor]:
    """Return log p(x_t, y) of each component, the logits of the exact p(y | x_t)."""

    def logits(x: Tensor, t: Tensor) -> Tensor:
        each = [MIXTURE.log_prob(x, sde, t, torch.full((len(x),), k)) for k in range(3)]
        return torch.stack(each, 1) + MIXTURE.log_weights

    return logits


@pytest.mark.parametrize("name", registry.component_names("sde"))
@pytest.mark.parametrize("scale", [1.0, 2.5])
def test_guided_score_is_the_closed_form(name: str, scale: float) -> None:
    """The guided score is grad log p_t(x) + scale grad log p_t(y | x) to 1e-10."""
    sde = registry.build("sde", name)
    base = MIXTURE.denoiser(sde)
    guided = classifier(sde, base, run=exact(sde), scale=scale)
    for part in (0.1, 0.5, 0.9, 1.0):
        t = as_time(sde.t_min + part * (sde.t_max - sde.t_min))
        x = MIXTURE.sample(5, 1, sde, t)
        free, told = MIXTURE.score(x, sde, t), MIXTURE.score(x, sde, t, Y)
        found = sde.score(x, guided(x, t, Y), t)
        torch.testing.assert_close(
            sde.sigma(t) * found, sde.sigma(t) * (free + scale * (told - free)), rtol=0, atol=1e-10
        )


def test_each_row_at_its_own_time() -> None:
    sde = VP()
    guided = classifier(sde, MIXTURE.denoiser(sde), run=exact(sde), scale=2.0)
    x, t = torch.randn(5, 2, dtype=torch.float64), torch.linspace(0.1, 1.0, 5, dtype=torch.float64)
    alone = torch.cat([guided(x[i : i + 1], t[i], Y[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(guided(x, t, Y), alone, rtol=0, atol=1e-10)


def test_scale_0_and_no_label_are_the_plain_model() -> None:
    """Scale 0 is the model itself, and a row with y = -1 is not guided."""
    sde, t = VP(), as_time(0.4)
    base, x = MIXTURE.denoiser(sde), torch.randn(5, 2, dtype=torch.float64)
    assert torch.equal(classifier(sde, base, run=exact(sde), scale=0.0)(x, t, Y), base(x, t))
    none = classifier(sde, base, run=exact(sde), scale=3.0)(x, t, torch.full_like(Y, -1))
    torch.testing.assert_close(none, base(x, t), rtol=0, atol=1e-14)


@pytest.mark.parametrize("sampler", ["ode", "pc", "heun"])
def test_samples_carry_the_label(sampler: str) -> None:
    """The model receives no condition."""
    sde, y = VP(), torch.arange(60) % 3

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        return MIXTURE.denoiser(sde)(x, t)

    guidance = [partial(classifier, run=exact(sde), scale=2.0)]
    drawn = sample(sde, denoise, sampler, shape=(2,), n=60, y=y, guidance=guidance)
    assert (torch.cdist(drawn.x, MIXTURE.means.float()).argmin(1) == y).float().mean() > 0.85


def test_outside_of_an_interval_the_model_is_told_no_label() -> None:
    """Outside of an interval the model receives no condition either, unless `conditional` is set."""
    sde, y, told = VP(), torch.arange(6) % 3, []

    def denoise(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        told.append(y is not None)
        return MIXTURE.denoiser(sde)(x, t, y)

    for conditional in (False, True):
        judge, within = partial(classifier, run=exact(sde), conditional=conditional), partial(interval, to=5.0)
        for guidance in ([judge, within], [judge, lambda sde, guided: lambda x, t, y=None: guided(x, t, y), within]):
            told.clear()
            sample(sde, denoise, "ddim", shape=(2,), n=6, steps=10, y=y, guidance=guidance)
            assert told == [conditional] * 10


def test_it_is_loaded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder is read once for all batches, and again after its files have changed."""
    loads: list[str] = []

    def load(path: str) -> Classifier:
        loads.append(path)
        return Classifier(Encoder((2,), 3, width=8), VP(), torch.ones(3))

    monkeypatch.setattr(sys.modules[classifier.__module__], "load_classifier", load)
    for text in ("first", "second"):
        (tmp_path / "config.json").write_text(text)
        os.utime(tmp_path / "config.json", ns=(0, len(text)))
        guidance = [partial(classifier, run=str(tmp_path))]
        for _ in range(2):
            y = torch.arange(4) % 3
            sample(VP(), MIXTURE.denoiser(VP()), "ddim", shape=(2,), n=4, steps=2, y=y, batch_size=1, guidance=guidance)
    assert loads == [str(tmp_path)] * 2


def test_bad_options() -> None:
    sde = VP()
    base = MIXTURE.denoiser(sde)
    with pytest.raises(InputError, match="classifier: scale must be a finite number"):
        classifier(sde, base, run=exact(sde), scale=math.nan)
    with pytest.raises(InputError, match="classifier: say which classifier to use: run=FOLDER"):
        classifier(sde, base)
    with pytest.raises(InputError, match="this guidance needs a condition"):
        classifier(sde, base, run=exact(sde))(torch.zeros(1, 2), as_time(0.5))
    with pytest.raises(InputError, match="label 3: it supports the labels 0 to 2"):
        classifier(sde, base, run=exact(sde))(torch.zeros(1, 2), as_time(0.5), torch.tensor([3]))
    with pytest.raises(InputError, match="the condition here is not a label"):
        classifier(sde, base, run=exact(sde))(torch.zeros(1, 2), as_time(0.5), torch.zeros(1, 2))
    with pytest.raises(InputError, match="is no folder of sdekit train-classifier"):
        classifier(sde, base, run=str(Path("nowhere")))
