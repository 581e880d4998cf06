"""Progress and callbacks of `sample`: they see every step, and do not change a number."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest
import torch
from torch import Tensor

from sdekit import VP, GaussianMixture, sample
from sdekit.errors import InputError
from sdekit.registry import component_names
from sdekit.sampling import SamplingStep, StopSampling

SDE = VP()
MIXTURE = GaussianMixture(torch.tensor([[-1.0, 0.0], [1.0, 0.5]]), 0.4)
DENOISE = MIXTURE.denoiser(SDE)
OPTIONS: dict[str, Any] = {"shape": (2,), "n": 3, "steps": 4}
WHOLE_GRID = {"adaptive-sde"}  # samplers that return the first state after the last step


def spoil(state: SamplingStep) -> None:
    """Callback that overwrites everything it receives."""
    state.x.zero_()
    if state.x0 is not None:
        state.x0.fill_(torch.nan)


@pytest.mark.parametrize("sampler", component_names("sampler"))
def test_numbers_do_not_change(sampler: str) -> None:
    """The samples of every sampler are equal bit by bit with and without progress and callback."""
    seen: list[tuple[int, int]] = []
    plain = sample(SDE, DENOISE, sampler, **OPTIONS)
    watched = sample(SDE, DENOISE, sampler, **OPTIONS, callback=spoil, progress=lambda *p: seen.append(p))
    assert torch.equal(plain.x, watched.x) and plain.nfe == watched.nfe
    done, total = seen[-1]
    assert total in (None, done) and [d for d, _ in seen] == sorted({d for d, _ in seen})


@pytest.mark.parametrize("sampler", component_names("sampler"))
def test_callback_sees_each_step(sampler: str) -> None:
    """Steps are counted up to the final denoising, with the states of the trajectory and the times of the grid."""
    states: list[SamplingStep] = []
    drawn = sample(SDE, DENOISE, sampler, **OPTIONS, trajectory=True, callback=states.append)
    assert drawn.trajectory is not None
    per_sample = len(states) // 4
    assert per_sample in (1, 3)  # samplers that need batches of one sample
    for i, state in enumerate(states):
        step = i % 4 + 1
        assert (state.step, state.steps, len(state.seeds)) == (step, 4, len(state.x))
        assert state.t == float(drawn.times[min(step, 3)])
        rows = [drawn.seeds.index(seed) for seed in state.seeds]
        assert torch.equal(state.x, drawn.trajectory[step, rows])
        if sampler not in WHOLE_GRID:
            assert state.x0 is not None and state.nfe >= step
    assert states[-1].x0 is not None and torch.equal(states[-1].x0, states[-1].x)


def test_estimates_are_those_of_the_guided_denoiser() -> None:
    """x0 of a method of one call per step is the result of the call at the time before the step."""
    results: list[Tensor] = []

    def denoise(x: Tensor, t: Tensor, y: Any = None) -> Tensor:
        results.append(DENOISE(x, t))
        return results[-1]

    states: list[SamplingStep] = []
    double = [lambda sde, inner: lambda x, t, y=None: 2 * inner(x, t)]
    sample(SDE, denoise, "ddim", **OPTIONS, guidance=double, callback=states.append)
    assert len(states) == len(results) == 4
    for state, result in zip(states, results, strict=True):
        assert state.x0 is not None and torch.equal(state.x0, 2 * result)


@pytest.mark.parametrize("sampler", ["ddim", "heun", "dpmpp-2m", "euler-ancestral", "ode"])
def test_a_callback_stops_early(sampler: str) -> None:
    """True and StopSampling leave out the remaining steps, and x is denoised at its time."""

    def raises(state: SamplingStep) -> None:
        if state.step == 2:
            raise StopSampling

    options = {**OPTIONS, "trajectory": True, "batch_size": 2, "grid": None}
    whole = sample(SDE, DENOISE, sampler, **options)
    for callback in (raises, lambda state: state.step == 2):
        drawn = sample(SDE, DENOISE, sampler, **options, callback=callback)
        assert drawn.trajectory is not None and whole.trajectory is not None
        assert torch.equal(drawn.trajectory[:3], whole.trajectory[:3])
        expected = DENOISE(drawn.trajectory[2], drawn.times[2])
        torch.testing.assert_close(drawn.x, expected)
        assert torch.equal(drawn.trajectory[3:], drawn.x.expand(2, 3, 2)) and drawn.nfe < whole.nfe
    assert torch.equal(sample(SDE, DENOISE, sampler, **options, callback=lambda state: 1).x, whole.x)  # only True
    states: list[SamplingStep] = []
    sample(SDE, DENOISE, sampler, **options, callback=lambda state: states.append(state) or state.step == 2)
    assert [state.step for state in states[:3]] == [1, 2, 4] and states[2].t == states[1].t  # 4: the final denoising
    assert states[2].x0 is not None and torch.equal(states[2].x0, states[2].x)


def test_errors_of_a_callback_are_not_hidden() -> None:
    """Any other error ends `sample`, as does a callback that is no function."""

    def fails(state: SamplingStep) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        sample(SDE, DENOISE, "ddim", **OPTIONS, callback=fails)
    for name in ("callback", "progress"):
        with pytest.raises(InputError, match=name):
            sample(SDE, DENOISE, "ddim", **OPTIONS, **{name: 3})


def test_progress_counts_all_batches_and_guidances() -> None:
    """The total is known for methods of a fixed number of calls, and guidance multiplies it."""
    twice = [lambda sde, inner: lambda x, t, y=None: 2 * inner(x, t) - inner(x, t)]
    seen: list[tuple[int, int]] = []
    sample(SDE, DENOISE, "heun", **OPTIONS, batch_size=2, guidance=twice, progress=lambda *p: seen.append(p))
    assert seen[-1] == (28, 28)


def test_progress_is_a_line_of_text(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a terminal the last line is printed on stderr, and nothing else; without progress there is no output."""
    sample(SDE, DENOISE, "heun", **OPTIONS)
    assert capsys.readouterr() == ("", "")
    sample(SDE, DENOISE, "heun", **OPTIONS, progress=True)
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("sampling 3 with heun: 7/7 network evaluations") and err.count("\n") == 1


def test_progress_in_a_notebook_rewrites_its_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the kernel of a notebook there is one line on stdout."""

    class Kernel:
        @staticmethod
        def get_ipython() -> object:
            return object()

    monkeypatch.setitem(sys.modules, "IPython", Kernel)  # type: ignore[arg-type]
    sample(SDE, DENOISE, "heun", **OPTIONS, progress=True)
    out, err = capsys.readouterr()
    assert err == "" and out.startswith("\rsampling 3") and out.endswith(" s\n") and out.count("\n") == 1


def test_progress_in_a_terminal_is_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal gets a bar of rich on stderr."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    sample(SDE, DENOISE, "heun", **OPTIONS, progress=True)
    assert "7/7" in terminal.getvalue() and "heun" in terminal.getvalue()
