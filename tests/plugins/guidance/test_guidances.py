"""Laws of all guidances that combine a conditional and an unconditional model, and each formula."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sdekit import registry
from sdekit.distributions import GaussianMixture
from sdekit.errors import InputError
from sdekit.inverse.operators import read_array
from sdekit.processes import EDM, SDE, VP, Denoiser, RectifiedFlow, as_time, renoise
from sdekit.sampling import sample
from sdekit_plugins.guidance.apg import apg
from sdekit_plugins.guidance.cfg import cfg
from sdekit_plugins.guidance.cfg_pp import cfg_pp
from sdekit_plugins.guidance.cfg_zero_star import cfg_zero_star
from sdekit_plugins.guidance.clip import clip
from sdekit_plugins.guidance.inpaint import inpaint
from sdekit_plugins.guidance.interval import interval
from sdekit_plugins.guidance.rescale import rescale
from sdekit_plugins.guidance.threshold import threshold

MIXTURE = GaussianMixture(
    torch.tensor([[-1.0, 0.5, 0.1], [0.7, -0.4, 0.3], [0.2, 1.0, -0.6]]), 0.4, torch.tensor([0.5, 0.3, 0.2])
)
Y = torch.tensor([0, 1, 2, 0, 1])
FREE = {"cfg": cfg, "rescale": rescale, "apg": apg, "cfg-zero-star": cfg_zero_star, "cfg++": cfg_pp}
each_free = pytest.mark.parametrize("name", FREE)


def trial(sde: SDE, rho: float = 1.0) -> tuple[Tensor, Tensor]:
    t = sde.time(as_time(rho))
    return MIXTURE.sample(5, 3, sde, t), t


@each_free
def test_ends_of_the_scale_are_the_models(name: str) -> None:
    """Scale 1 is exactly the conditional model and 0 the unconditional one; cfg++ has the latter only."""
    sde, base = VP(), MIXTURE.denoiser(VP())
    x, t = trial(sde)
    option = "strength" if name == "cfg++" else "scale"
    assert torch.equal(FREE[name](sde, base, **{option: 0.0})(x, t, Y), base(x, t))
    if option == "scale":
        assert torch.equal(FREE[name](sde, base, scale=1.0)(x, t, Y), base(x, t, Y))


@each_free
@pytest.mark.parametrize("sde", [VP(), RectifiedFlow(), EDM()], ids=lambda s: type(s).__name__)
def test_one_call_on_the_doubled_batch_at_any_level(name: str, sde: SDE) -> None:
    """At t_max and t_min, one call on the doubled batch gives finite results, for t () and t (B,)."""
    calls = []

    def denoise(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        calls.append(len(x))
        return MIXTURE.denoiser(sde)(x, t, y)

    guided = FREE[name](sde, denoise)
    for t in (as_time(sde.t_max), as_time(sde.t_min)):
        x = sde.perturb(MIXTURE.sample(5, 2), t, torch.randn(5, 3, dtype=torch.float64))
        out = guided(x, t, Y)
        assert out.isfinite().all()
        torch.testing.assert_close(guided(x, t.expand(5), Y), out, rtol=0, atol=1e-9)
    assert calls == [10] * 4


@each_free
def test_without_a_condition(name: str) -> None:
    with pytest.raises(InputError, match="this guidance needs a condition"):
        FREE[name](VP(), MIXTURE.denoiser(VP()))(torch.zeros(1, 3), as_time(0.5))


BAD: list[tuple[Callable[..., Any], dict[str, float], str]] = [
    (rescale, {"scale": math.nan}, "rescale: scale must be a finite number, got nan"),
    (rescale, {"phi": 1.5}, "phi must be between 0 and 1, got 1.5"),
    (apg, {"scale": math.inf}, "apg: scale must be a finite number"),
    (apg, {"norm": -1.0}, "apg: needs norm >= 0"),
    (apg, {"momentum": 1.0}, "momentum between -1 and 1"),
    (cfg_zero_star, {"zero_steps": -1}, "zero_steps must not be negative"),
    (cfg_pp, {"strength": 1.5}, r"cfg\+\+: needs strength in \[0, 1\]"),
    (cfg_pp, {"ratio": 1.0}, r"ratio in \[0, 1\)"),
    (interval, {"from_": 2.0, "to": 1.0}, "interval: needs 0 <= from < to, got 2.0 and 1.0"),
    (interval, {"from_": -1.0}, "interval: needs 0 <= from < to"),
    (clip, {"low": -1.0}, "clip: needs the range of the data .*: give low=VALUE,high=VALUE"),
    (clip, {"low": 1.0, "high": 1.0}, "clip: needs finite low < high, got 1.0 and 1.0"),
    (threshold, {}, "threshold: needs the range of the data .*: give low=VALUE,high=VALUE"),
    (threshold, {"low": 1.0, "high": -1.0}, "threshold: needs finite low < high, got 1.0 and -1.0"),
    (threshold, {"low": -1.0, "high": 1.0, "quantile": 0.0}, "threshold: needs 0 < quantile <= 1"),
    (threshold, {"low": -1.0, "high": 1.0, "largest": 0.5}, "largest >= 1, got 0.995 and 0.5"),
]


@pytest.mark.parametrize(("guidance", "options", "message"), BAD, ids=[m for _, _, m in BAD])
def test_bad_options(guidance: Callable[..., Any], options: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        guidance(VP(), MIXTURE.denoiser(VP()), **options)


def test_rescale_keeps_the_contrast() -> None:
    """phi = 0 is cfg, phi = 1 has the standard deviation of the conditional x_0, and constants stay finite."""
    sde, base = VP(), MIXTURE.denoiser(VP())
    x, t = trial(sde)
    plain = cfg(sde, base, scale=4.0)(x, t, Y)
    torch.testing.assert_close(rescale(sde, base, scale=4.0, phi=0.0)(x, t, Y), plain, rtol=0, atol=1e-14)
    full = rescale(sde, base, scale=4.0, phi=1.0)(x, t, Y)
    torch.testing.assert_close(full.std(1), base(x, t, Y).std(1), rtol=1e-12, atol=0)
    assert torch.nn.functional.cosine_similarity(full, plain).min() > 1 - 1e-12
    flat = rescale(sde, lambda x, t, y=None: 0 * x, scale=4.0, phi=1.0)(x, t, Y)
    assert torch.equal(flat, torch.zeros(5, 3, dtype=torch.float64))


def test_apg_splits_along_the_conditional() -> None:
    """eta = 1 is cfg, eta = 0 adds nothing parallel to D_c, and norm limits the change."""
    sde, base = VP(), MIXTURE.denoiser(VP())
    x, t = trial(sde)
    conditional, plain = base(x, t, Y), base(x, t)
    torch.testing.assert_close(apg(sde, base, scale=4.0, eta=1.0)(x, t, Y), cfg(sde, base, scale=4.0)(x, t, Y))
    change = apg(sde, base, scale=4.0)(x, t, Y) - conditional
    assert (change * conditional).sum(1).abs().max() < 1e-12 and (change.norm(dim=1) > 0.01).all()
    short = apg(sde, base, scale=4.0, eta=1.0, norm=0.05)(x, t, Y) - conditional
    lengths = (conditional - plain).norm(dim=1).clamp(max=0.05)
    torch.testing.assert_close(short.norm(dim=1), 3 * lengths)


def test_apg_momentum_runs_down_the_grid_and_starts_anew() -> None:
    """The second call uses d_2 + momentum d_1; after t has increased, as in a new run, there is no momentum."""
    sde, base = VP(), MIXTURE.denoiser(VP())
    x, t = trial(sde)
    s = sde.time(as_time(0.5))
    d = [base(x, u, Y) - base(x, u) for u in (t, s)]
    guided = apg(sde, base, scale=2.0, eta=1.0, momentum=-0.5)
    torch.testing.assert_close(guided(x, t, Y), base(x, t, Y) + d[0])
    torch.testing.assert_close(guided(x, s, Y), base(x, s, Y) + d[1] - 0.5 * d[0])
    torch.testing.assert_close(guided(x, t, Y), base(x, t, Y) + d[0])


def test_cfg_zero_star_scales_the_velocity() -> None:
    """The result equals the paper's formula for the velocity v = eps - x_0 of the rectified flow."""
    sde = RectifiedFlow()
    base = MIXTURE.denoiser(sde)
    x, t = trial(sde)
    v_c, v_0 = ((x - (1 - t) * x0) / t - x0 for x0 in (base(x, t, Y), base(x, t)))
    fit = (v_c * v_0).sum(1, keepdim=True) / (v_0 * v_0).sum(1, keepdim=True)
    v = fit * v_0 + 3.0 * (v_c - fit * v_0)
    torch.testing.assert_close(cfg_zero_star(sde, base, scale=3.0)(x, t, Y), x - t * v, rtol=0, atol=1e-12)


def test_cfg_zero_star_stands_still_at_first() -> None:
    """In the first step of the grid, x / (alpha + sigma) does not change."""
    sde = RectifiedFlow()
    guidance = partial(cfg_zero_star, scale=3.0, zero_steps=1)
    drawn = sample(
        sde, MIXTURE.denoiser(sde), "ddim", shape=(3,), n=5, y=Y, steps=6, trajectory=True, guidance=[guidance]
    )
    assert drawn.trajectory is not None and drawn.nfe == 5
    torch.testing.assert_close(drawn.trajectory[1], drawn.trajectory[0])
    assert not torch.allclose(drawn.trajectory[2], drawn.trajectory[1], atol=1e-3)


@pytest.mark.parametrize("steps", [1, 2, 9])
@pytest.mark.parametrize("sde", [VP(), RectifiedFlow(), EDM()], ids=lambda s: type(s).__name__)
def test_cfg_pp_with_ddim_is_exact(sde: SDE, steps: int) -> None:
    """With ddim, the samples equal the published loop x_s = alpha_s D' + sigma_s eps_0."""
    base, strength = MIXTURE.denoiser(sde), 0.7
    arguments: dict[str, Any] = dict(shape=(3,), n=5, y=Y, steps=steps, dtype=torch.float64)
    guidance = partial(cfg_pp, strength=strength)
    drawn = sample(sde, base, "ddim", guidance=[guidance], trajectory=True, **arguments)
    assert drawn.trajectory is not None
    x = drawn.trajectory[0]
    for t, s in zip(drawn.times[:-1], drawn.times[1:], strict=True):
        x0, free = base(x, t) + strength * (base(x, t, Y) - base(x, t)), base(x, t)
        x = sde.alpha(s) * x0 + sde.sigma(s) * sde.eps(x, free, t)
        assert not torch.allclose(x, renoise(sde, x, free, t, s, None))
    x0 = base(x, drawn.times[-1]) + strength * (base(x, drawn.times[-1], Y) - base(x, drawn.times[-1]))
    torch.testing.assert_close(drawn.x, x0, rtol=0, atol=1e-9)


def test_cfg_pp_without_a_grid() -> None:
    """Without a grid, cfg++ is cfg with the scale strength / (1 - ratio)."""
    sde, base = VP(), MIXTURE.denoiser(VP())
    x, t = trial(sde)
    torch.testing.assert_close(cfg_pp(sde, base, strength=0.6, ratio=0.8)(x, t, Y), cfg(sde, base, scale=3.0)(x, t, Y))
    ones, others = (
        sample(sde, base, "ode", shape=(3,), n=5, y=Y, guidance=[g], dtype=torch.float64).x
        for g in (partial(cfg_pp, strength=0.6, ratio=0.8), partial(cfg, scale=3.0))
    )
    torch.testing.assert_close(ones, others, rtol=0, atol=1e-6)


def test_zero_init_is_each_samples_own() -> None:
    """With an adaptive solver, each sample leaves the zero steps at its own time."""
    sde = EDM()
    arguments: dict[str, Any] = dict(
        shape=(3,), guidance=[partial(cfg_zero_star, zero_steps=1)], steps=6, dtype=torch.float64
    )
    drawn = sample(sde, MIXTURE.denoiser(sde), "ode", n=5, y=Y, **arguments).x
    for i in range(5):
        alone = sample(sde, MIXTURE.denoiser(sde), "ode", seeds=[i], y=Y[i : i + 1], **arguments).x
        torch.testing.assert_close(alone[0], drawn[i], rtol=0, atol=1e-9)


def test_interval_makes_no_call_that_it_does_not_need() -> None:
    """Inside the range there is one doubled batch, outside one call; a mixed batch is split."""
    sde, sizes = EDM(), []

    def denoise(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        sizes.append(len(x))
        return MIXTURE.denoiser(sde)(x, t, y)

    guidance = [partial(cfg, scale=3.0), partial(interval, from_=0.5, to=2.0)]
    grid = torch.tensor([80.0, 2.0, 1.0, 0.5, 0.4])
    drawn = sample(sde, denoise, "ddim", shape=(3,), n=5, y=Y, grid=grid, guidance=guidance)
    assert sizes == [5, 10, 10, 10, 5] and drawn.nfe == 5
    guided = interval(sde, plugins_guided(sde, denoise), from_=0.5, to=2.0)
    x, t = torch.randn(5, 3, dtype=torch.float64), torch.tensor([80.0, 2.0, 1.0, 0.1, 0.2], dtype=torch.float64)
    sizes.clear()
    out = guided(x, t, Y)
    assert sizes == [4, 3]
    alone = torch.cat([guided(x[i : i + 1], t[i], Y[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(out, alone, rtol=0, atol=1e-12)


def plugins_guided(sde: SDE, denoise: Denoiser) -> Denoiser:
    """Return the denoiser with cfg, as `sample` composes it."""
    from sdekit.guidance import compose

    return compose(sde, denoise, [partial(cfg, scale=3.0)])


def test_interval_outside_is_the_conditional_model() -> None:
    sde, base = VP(), MIXTURE.denoiser(VP())
    x, t = trial(sde, 10.0)
    assert torch.equal(interval(sde, plugins_guided(sde, base))(x, t, Y), base(x, t, Y))
    x, t = trial(sde, 1.0)
    assert torch.equal(interval(sde, plugins_guided(sde, base))(x, t, Y), cfg(sde, base, scale=3.0)(x, t, Y))


@pytest.mark.parametrize("sampler", ["ode", "pc", "heun", "dpmpp-2m"])
def test_interval_with_samplers(sampler: str) -> None:
    """Every kind of sampler works across the ends of the interval."""
    guidance = [registry.build("guidance", "cfg", scale=2.0), registry.build("guidance", "interval")]
    sde = RectifiedFlow()
    drawn = sample(sde, MIXTURE.denoiser(sde), sampler, shape=(3,), n=5, y=Y, guidance=guidance)
    assert drawn.x.isfinite().all()


def test_clip_limits_x0_to_the_range() -> None:
    """Inside of the range x_0 is unchanged; outside of it, x_0 is the nearest end, and so are the samples."""
    sde, base = VP(), MIXTURE.denoiser(VP())
    x, t = trial(sde)
    assert torch.equal(clip(sde, base, low=-9.0, high=9.0)(x, t, Y), base(x, t, Y))
    assert torch.equal(clip(sde, base, low=-0.2, high=0.1)(x, t), base(x, t).clamp(-0.2, 0.1))
    guidance = [partial(cfg, scale=5.0), partial(clip, low=-0.2, high=0.1)]
    drawn = sample(sde, base, "ddim", shape=(3,), n=5, y=Y, steps=6, guidance=guidance)
    assert drawn.nfe == 6 and -0.2 <= drawn.x.min() and drawn.x.max() <= 0.1 + 1e-6


def test_threshold_divides_each_sample_by_its_own_quantile() -> None:
    """It equals clip if the quantile is in the range, and diffusers' dynamic thresholding in [-1, 1]."""
    diffusers = pytest.importorskip("diffusers")
    x = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(0)) * torch.tensor([0.2, 1, 3, 9]).view(
        4, 1, 1, 1
    )
    t = as_time(0.5)

    def guided(**options: float) -> Tensor:
        return threshold(VP(), lambda x, t: x, **options)(x, t)

    for ratio, largest in ((0.995, math.inf), (0.9, 2.5), (1.0, math.inf)):
        scheduler = diffusers.DDPMScheduler(
            thresholding=True, dynamic_thresholding_ratio=ratio, sample_max_value=largest
        )
        theirs = scheduler._threshold_sample(x)
        torch.testing.assert_close(guided(quantile=ratio, largest=largest, low=-1, high=1), theirs)
    assert torch.equal(guided(low=-1, high=1)[0], x[0])
    torch.testing.assert_close(guided(low=-0.2, high=1.2, largest=1.0), x.clamp(-0.2, 1.2))
    moved = threshold(VP(), lambda x, t: 2 * x + 3, low=1, high=5)(x, t)
    torch.testing.assert_close(moved, 2 * guided(low=-1, high=1) + 3)


def test_inpaint_reads_its_files_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are read once for all batches, and again after one has changed."""
    module, reads = sys.modules[inpaint.__module__], []
    monkeypatch.setattr(module, "read_array", lambda path, what: reads.append(what) or read_array(path, what))
    np.save(tmp_path / "m.npy", np.array([1.0, 0.0, 1.0]))
    guidance = [partial(inpaint, mask=str(tmp_path / "m.npy"), image=str(tmp_path / "x.npy"))]
    for known in (0.5, -0.5):
        np.save(tmp_path / "x.npy", np.full(3, known))
        os.utime(tmp_path / "x.npy", ns=(0, int(1 + known)))
        for _ in range(2):
            drawn = sample(
                VP(), MIXTURE.denoiser(VP()), "ddim", shape=(3,), n=3, steps=8, batch_size=1, guidance=guidance
            )
            torch.testing.assert_close(drawn.x[:, ::2], torch.full((3, 2), known), rtol=0, atol=0.05)
    assert reads == ["image"] * 2
