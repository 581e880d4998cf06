"""sdekit's samplers as functions in the convention of k-diffusion, which ComfyUI, SD.Next and A1111 use too."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from sdekit.errors import InputError
from sdekit.guidance import Guidance, SamplingContext, compose, resolve_guidance
from sdekit.processes import EDM, SDE, RectifiedFlow
from sdekit.registry import resolve
from sdekit.sampling import Brownian, Grid, Noise, Sampler, SeedNoise, start_at_finite_rho

Process = Literal["edm", "flow"]
"""Process of the model: "edm" is x = x_0 + sigma eps, and "flow" is x = (1 - sigma) x_0 + sigma eps."""
NoiseSampler = Callable[[Tensor, Tensor], Tensor]
"""k-diffusion's source of noise, `noise_sampler(sigma, sigma_next)`, standard normal with the shape of x."""
Callback = Callable[[dict[str, Any]], Any]
"""Function of {"x", "i", "sigma", "sigma_hat", "denoised"}."""


class SamplerFunction(Protocol):
    """A sampler in the convention of k-diffusion."""

    def __call__(
        self,
        model: Callable[..., Tensor],
        x: Tensor,
        sigmas: Tensor,
        extra_args: Mapping[str, Any] | None = None,
        callback: Callback | None = None,
        disable: bool | None = None,
        noise_sampler: NoiseSampler | None = None,
        seeds: Sequence[int] | None = None,
    ) -> Tensor:
        """Sample from sigmas[0] to sigmas[-1].

        Arguments:
            model: Denoiser `model(x, sigma, **extra_args)`, for sigma (B,).
            x: State at sigmas[0], (B, *).
            sigmas: Decreasing noise levels, (n + 1,). The last one is usually 0; then x_0 is returned.
            extra_args: Further arguments of the model. A "seed" is also used for the noise: sample i has seed + i.
            callback: Function that is called once per step with the input x and the result of its first evaluation.
            disable: Not used: there is no progress bar.
            noise_sampler: Source of the noise; None uses the noise of sdekit.
            seeds: Seed of each sample, instead of the "seed" in extra_args. Without either, the seeds are drawn from
                torch's global random generator.
        Returns:
            State at sigmas[-1], (B, *).
        """
        ...


def sampler(
    name: Sampler | str,
    *,
    process: Process | None = None,
    noise: Literal["seed", "brownian"] | None = None,
    guidance: Sequence[Guidance | str] | Guidance | str = (),
    **options: Any,
) -> SamplerFunction:
    """Return a sampler of sdekit as a function that k-diffusion, ComfyUI, SD.Next and A1111 can call.

    Arguments:
        name: Registered name of the sampler, or the sampler itself.
        process: Process of the model. None means "flow" for a flow model of ComfyUI (its `model_sampling` is a `CONST`)
            and "edm" for all other models.
        noise: Source of the noise if the caller passes no `noise_sampler`, see `sdekit.sampling.sample`.
        guidance: Guidances around the model, in addition to those of the caller.
        options: Options of the sampler.
    Returns:
        Function `f(model, x, sigmas, extra_args=None, callback=None, disable=None)`, see `SamplerFunction`.
    Raises:
        InputError: If a name or an option does not exist.
    """
    method: Sampler = resolve("sampler", name, **options)
    guides = resolve_guidance(guidance)
    if process not in (None, "edm", "flow"):
        raise InputError(f"process must be 'edm' or 'flow', or left out, got {process!r}")
    if noise not in (None, "seed", "brownian"):
        raise InputError(f"noise must be 'seed' or 'brownian', got {noise!r}")

    @torch.no_grad()
    def run(
        model: Callable[..., Tensor],
        x: Tensor,
        sigmas: Tensor,
        extra_args: Mapping[str, Any] | None = None,
        callback: Callback | None = None,
        disable: bool | None = None,
        noise_sampler: NoiseSampler | None = None,
        seeds: Sequence[int] | None = None,
    ) -> Tensor:
        extra_args, levels = extra_args or {}, _check_levels(sigmas)
        if len(levels) < 2:
            return x
        if method.requires_single_sample and len(x) > 1:
            raise InputError(f"{type(method).__name__} draws one sample at a time, got a batch of {len(x)}")
        times = levels if levels[-1] else levels[:-1]
        sde = _process(process or ("flow" if _is_flow(model) else "edm"), times)
        own = _own_noise(noise or method.default_noise, sde, _seeds(seeds, extra_args, len(x)), x)
        source = own if noise_sampler is None else _CallerNoise(noise_sampler, own, x)
        report = _Report(callback, sigmas, times, method.calls_per_step)

        def evaluate(x: Tensor, t: Tensor, y: Any = None) -> Tensor:
            sigma = x.new_full((len(x),), t.item()) if t.ndim == 0 else t.to(x)
            return model(x, sigma, **extra_args).to(x)

        times, factor = start_at_finite_rho(method, sde, times)
        x, guided = factor * x, compose(sde, evaluate, guides)

        def denoise(x: Tensor, t: Tensor, y: Any = None) -> Tensor:
            x0 = guided(x, t)
            report(x, t, x0)
            return x0

        with SamplingContext(times, adaptive=method.calls_per_step is None).active():
            for state in method.trajectory(sde, denoise, x, times, source):
                x = state
            return x if levels[-1] else denoise(x, times[-1])

    return run


def sigmas(
    n: int,
    sigma_min: float,
    sigma_max: float,
    grid: Grid | str = "auto",
    *,
    process: Process = "edm",
    device: torch.device | str = "cpu",
    **options: Any,
) -> Tensor:
    """Return the noise levels of a grid of sdekit, followed by 0, as `get_sigmas_karras` of k-diffusion does.

    Arguments:
        n: Number of levels before the 0, at least 1.
        sigma_min: Smallest level of the model, above 0.
        sigma_max: Largest level of the model, the first one of the result.
        grid: Registered name of the grid, or `grid(sde, n)`, such as `lambda sde, n: tuned.times(sde)`.
        process: Process of the model.
        device: Device of the result.
        options: Options of the grid.
    Returns:
        Decreasing levels, (n + 1,), float32.
    Raises:
        InputError: If a number is out of range.
    """
    if n < 1 or not 0 < sigma_min < sigma_max:
        raise InputError(f"sigmas: needs n >= 1 and 0 < sigma_min < sigma_max, got {n}, {sigma_min} and {sigma_max}")
    chosen: Grid = resolve("grid", grid, **options)
    levels = torch.tensor([sigma_min, sigma_max], dtype=torch.float64)
    times = chosen(_process(process, levels.flip(0)), n - 1) if n > 1 else levels[1:]
    levels = torch.cat([times, times.new_zeros(1)])
    return levels.to(device, torch.float32)


def _process(name: str, times: Tensor) -> SDE:
    """Return the process in which the time is sigma, for decreasing times."""
    high, low = float(times[0]), float(times[-1])
    low = low if low < high else high / 2
    if name == "edm":
        return EDM(sigma_min=low, sigma_max=high)
    if high > 1:
        raise InputError(f"a flow model has sigmas between 0 and 1, got {high:g}: use process='edm'")
    return RectifiedFlow(t_min=low, t_max=high)


def _is_flow(model: Any) -> bool:
    """Whether ComfyUI marks the model, or a model that it wraps, as a flow model."""
    while model is not None:
        kind = type(getattr(model, "model_sampling", None))
        if any(base.__name__ == "CONST" for base in kind.__mro__):
            return True
        model = getattr(model, "inner_model", None)
    return False


def _check_levels(sigmas: Tensor) -> Tensor:
    """Return the different noise levels, float64, on the CPU."""
    if sigmas.ndim != 1:
        raise InputError(f"sigmas must be one row of noise levels, got shape {tuple(sigmas.shape)}")
    # a schedule that is read from a table may repeat a level
    levels: Tensor = torch.unique_consecutive(sigmas.detach().to("cpu", torch.float64))
    if not bool(levels.isfinite().all()) or bool((levels < 0).any()) or bool((levels.diff() >= 0).any()):
        raise InputError(f"sigmas must be finite and decrease to 0 or to a positive level, got {levels.tolist()}")
    return levels


def _seeds(seeds: Sequence[int] | None, extra_args: Mapping[str, Any], n: int) -> Sequence[int]:
    """Return the seeds of n samples; ComfyUI's seeds have 64 bits, of which sdekit uses 32."""
    if seeds is not None:
        if len(seeds) != n:
            raise InputError(f"got {len(seeds)} seeds for {n} samples")
        return seeds
    if (seed := extra_args.get("seed")) is not None:
        return [(int(seed) + i) % 2**32 for i in range(n)]
    drawn: list[int] = torch.randint(2**32, (n,)).tolist()
    return drawn


def _own_noise(kind: str, sde: SDE, seeds: Sequence[int], x: Tensor) -> Noise:
    """Return sdekit's noise after its first draw, which belongs to the prior: x may have been drawn with this seed."""
    shape = x.shape[1:]
    noise: SeedNoise | Brownian
    if kind == "brownian":
        noise = Brownian(sde, seeds, shape, dtype=x.dtype, device=x.device)
    else:
        noise = SeedNoise(seeds, shape, dtype=x.dtype, device=x.device)
    noise.skip()
    return noise


class _CallerNoise:
    """Noise of the caller for the steps; sdekit's noise for corrections and for raising the noise level."""

    def __init__(self, noise_sampler: NoiseSampler, own: Noise, x: Tensor) -> None:
        self.noise_sampler, self.own, self.x = noise_sampler, own, x

    def __call__(self, t: Tensor | None = None, s: Tensor | None = None) -> Tensor:
        if t is None or s is None or bool((t == s).any()):
            return self.own()
        z: Tensor = self.noise_sampler(t, s)
        return z.to(self.x)


class _Report:
    """Calls k-diffusion's callback once per step, at its first evaluation.

    With a fixed number of calls per step, the number of the call determines the step. Otherwise, an evaluation belongs
    to the last step that starts at or above its noise level, and a step is reported once.
    """

    def __init__(self, callback: Callback | None, sigmas: Tensor, times: Tensor, calls_per_step: int | None) -> None:
        self.callback, self.sigmas, self.times = callback, sigmas, times
        self.calls_per_step, self.calls, self.last = calls_per_step, 0, -1
        levels = sigmas.to("cpu", torch.float64)
        steps = torch.searchsorted(-levels, -times).tolist()  # repeated sigmas make no step
        self.steps = [i for i in steps if i < len(sigmas) - 1]

    def __call__(self, x: Tensor, t: Tensor, x0: Tensor) -> None:
        """Report an evaluation that begins a step."""
        if self.callback is None:
            return
        if self.calls_per_step is not None:
            step, later = divmod(self.calls, self.calls_per_step)
            begins = not later
        else:
            step = int((self.times >= t.max().cpu()).sum()) - 1
            begins = step > self.last
        self.calls += 1
        if begins and 0 <= step < len(self.steps):
            self.last, i = step, self.steps[step]
            sigma_hat = t.to(self.sigmas)
            self.callback({"x": x, "i": i, "sigma": self.sigmas[i], "sigma_hat": sigma_hat, "denoised": x0})
