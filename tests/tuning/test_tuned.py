"""Blended denoisers, tuned times, and their file in the run folder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sdekit import SDE, VP, Cosine, GaussianMixture, InputError, RectifiedFlow, sample
from sdekit.processes import as_time
from sdekit.runs import MODEL, save_json, save_tensors
from sdekit.tuning import Blend, Tuned, find_tuned, save_tuned

MIXTURE = GaussianMixture(torch.tensor([[-1.0, 0.3], [0.8, 0.1]]), 0.4)
FOUND = Tuned(
    calls=4, levels=(5.0, 0.5, 0.05), gains=((0.0,), (0.2,), (0.1,), (-0.3,)), starts=9, untuned=0.2, tuned=0.1
)


def test_ddim_with_half_a_difference_is_dpmpp_2m() -> None:
    """On equal steps of log rho, DPM-Solver++(2M) is DDIM on D_k + (D_k - D_{k-1}) / 2 after the first evaluation."""
    sde, n = VP(), 9
    shared = {"shape": (2,), "n": 5, "dtype": torch.float64, "grid": "log-snr", "steps": n}
    half = Blend(((0.0,), *[(0.5,)] * (n - 2), (0.0,)))
    blended = sample(sde, MIXTURE.denoiser(sde), "ddim", guidance=half, **shared)  # type: ignore[arg-type]
    wanted = sample(sde, MIXTURE.denoiser(sde), "dpmpp-2m", **shared)  # type: ignore[arg-type]
    assert blended.nfe == wanted.nfe == n
    torch.testing.assert_close(blended.x, wanted.x, rtol=0, atol=1e-9)


def test_blend_by_hand_and_beyond_its_rows() -> None:
    """Gains apply to the newest evaluation first, and count as 0 without enough evaluations or rows."""
    values = iter([1.0, 3.0, 10.0, 20.0])
    denoise = Blend(((5.0, 5.0), (0.5, 5.0), (1.0, 2.0)))(VP(), lambda x, t: torch.full_like(x, next(values)))
    got = [float(denoise(torch.zeros(1), as_time(0.5))) for _ in range(4)]
    assert got == [1.0, 3 + 0.5 * (3 - 1), 10 + (10 - 3) + 2 * (10 - 1), 20.0]


def test_batches_begin_anew() -> None:
    """A sample does not depend on the batch before it."""
    sde = VP()
    given = {"shape": (2,), "n": 4, "grid": FOUND.times(sde), "guidance": FOUND.guidance}
    whole, single = (
        sample(sde, MIXTURE.denoiser(sde), "auto", batch_size=size, **given).x  # type: ignore[arg-type]
        for size in (4, 1)
    )
    torch.testing.assert_close(whole, single, rtol=0, atol=1e-6)


@pytest.mark.parametrize("sde", [VP(), Cosine(), RectifiedFlow()], ids=lambda sde: type(sde).__name__)
def test_times_are_where_the_levels_are(sde: SDE) -> None:
    """Times are at the tuned levels after t_max, and never before t_min."""
    times = FOUND.times(sde)
    assert times[0] == sde.t_max and (times.diff() < 0).all() and times[-1] >= sde.t_min
    torch.testing.assert_close(sde.rho(times[1:]), torch.tensor(FOUND.levels, dtype=torch.float64))


def weights(run: Path, value: float) -> None:
    """A run folder with the file that tuning reads."""
    save_tensors(run / MODEL, {"w": torch.tensor([value])}, {"step": 1})


def test_stored_and_found(tmp_path: Path) -> None:
    """A stored result is read back; for other options, weights or formats the reason is returned."""
    weights(tmp_path, 1.0)
    path = save_tuned(tmp_path, "auto", {"points": (1, 2)}, FOUND)
    assert path == tmp_path / "tuned" / "auto-4.json"
    assert find_tuned(tmp_path, "auto", {"points": (1, 2)}, 4) == (FOUND, "")
    assert find_tuned(tmp_path, "auto", {"points": (1, 2)}, 5) == (None, "") == find_tuned(tmp_path, "heun", {}, 4)
    assert "other options" in find_tuned(tmp_path, "auto", {}, 4)[1]
    weights(tmp_path, 2.0)
    assert "trained further" in find_tuned(tmp_path, "auto", {"points": (1, 2)}, 4)[1]
    save_json(path, {"format": 99})
    assert "written by sdekit" in find_tuned(tmp_path, "auto", {}, 4)[1]


def test_damaged_files(tmp_path: Path) -> None:
    """A damaged file is named."""
    weights(tmp_path, 1.0)
    path = save_tuned(tmp_path, "auto", {}, FOUND)
    path.write_text(path.read_text().replace("0.5", "0.6", 1))
    with pytest.raises(InputError, match=r"auto-4\.json"):
        find_tuned(tmp_path, "auto", {}, 4)
    save_tuned(tmp_path, "auto", {}, FOUND)
    (tmp_path / MODEL).write_bytes(b"no")
    with pytest.raises(InputError, match="safetensors cannot be read"):
        find_tuned(tmp_path, "auto", {}, 4)
