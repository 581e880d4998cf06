"""sdekit's samplers as a scheduler of diffusers, for unchanged pipelines."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sdekit.errors import InputError, SdekitError
from sdekit.guidance import Guidance
from sdekit.processes import SDE, VP, RectifiedFlow, TruncatedSDE, broadcast
from sdekit.registry import build, component_options, parse_component, unknown_name
from sdekit.sampling import Grid, Sampler, SeedNoise
from sdekit.tuning import Blend, Tuned

from .scheduler_config import TrainedModel, read_scheduler_config
from .stepwise import Evaluation, Stepwise, evaluation_times, run_sampler

try:
    import diffusers
    from diffusers.configuration_utils import ConfigMixin, register_to_config
    from diffusers.schedulers.scheduling_utils import SchedulerMixin
    from diffusers.utils import BaseOutput
except ImportError as error:
    raise ImportError(f"{__name__} needs diffusers ({error}): pip install 'sdekit[diffusers]'") from error

SCHEDULER_GRID = "scheduler"
"""Value of the option `grid` for the times of the scheduler that the pipeline came with."""


@dataclass
class SdekitSchedulerOutput(BaseOutput):  # type: ignore[misc]  # diffusers has no types
    """Result of `SdekitScheduler.step`.

    Arguments:
        prev_sample: x at the time of the next evaluation, or x_0 after the last one.
        pred_original_sample: The denoised x_0 of this evaluation.
    """

    prev_sample: Tensor
    pred_original_sample: Tensor


class SdekitScheduler(SchedulerMixin, ConfigMixin):  # type: ignore[misc]  # diffusers has no types
    """Scheduler of diffusers that samples with a sampler of sdekit.

        pipe.scheduler = SdekitScheduler.from_config(pipe.scheduler.config, sampler="auto")

    The pipeline calls `step` once for each network evaluation. `num_inference_steps` is the number of grid times, so
    that a method with one call per step makes that many evaluations. The process and the prediction follow from the
    configuration of the scheduler that the pipeline came with.

    x keeps the scale of sdekit, x_t = alpha x_0 + sigma eps. If the pipeline changes x between two evaluations, as
    inpainting does, the sampler continues from the changed x.

    Arguments:
        sampler: Sampler, as "NAME" or "NAME:option=value,option=value"; not an adaptive one.
        grid: Grid, as "NAME" or "NAME:option=value"; "scheduler" for the times of the scheduler that the pipeline came
            with; None for the grid of the sampler.
        tuned: Result of `sdekit tune`: its file, or a `sdekit.tuning.Tuned`. It replaces the grid.
        seeds: Seed of each sample, for samplers that draw noise. None means that the seeds are drawn from the generator
            that the pipeline passes to `step`, or from torch's global generator. Pipelines that evaluate several copies
            of each sample may use a multiple of these seeds.
        trained_with: Class of the scheduler that the pipeline came with; `from_config` fills it in.
    Raises:
        InputError: If the sampler is adaptive, or a name or an option does not exist.
    """

    _compatibles: list[str] = []
    order: int
    timesteps: Tensor
    num_inference_steps: int | None
    init_noise_sigma: float
    _times: Tensor  # grid
    _calls: Tensor  # time of each evaluation; the first `_unused` ones only move x, or do nothing
    _coefficients: Tensor  # c_skip and c_out of each evaluation, (calls, 2)
    _unused: int
    _factor: float  # of x before the first evaluation
    _begin: int | None
    _index: int | None
    _last_unused: int
    _run: Stepwise | None
    _evaluation: Evaluation | None  # the next one
    _given: Tensor | None  # what the pipeline received

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        sampler: str = "auto",
        grid: str | None = None,
        tuned: str | Mapping[str, Any] | Tuned | None = None,
        seeds: Sequence[int] | None = None,
        trained_with: str | None = None,
    ) -> None:
        self.tuned = _read_tuned(tuned)
        # the contents, so that a saved scheduler does not depend on the file
        fields = None if self.tuned is None else asdict(self.tuned)
        self.register_to_config(tuned=fields, seeds=None if seeds is None else list(seeds))
        self.method, self.seeds = _build_sampler(sampler), seeds
        if self.method.calls_per_step is None:  # raises InputError for an adaptive sampler
            evaluation_times(self.method, VP(), torch.linspace(1, 0.1, 4, dtype=torch.float64))
        if grid is not None and grid != SCHEDULER_GRID:
            _build_grid(grid)
        self.order = self.method.calls_per_step or 1
        self.init_noise_sigma = 1.0
        self.num_inference_steps = None
        self.timesteps = torch.zeros(0)
        self._forget()

    @classmethod
    def from_config(cls, config: Mapping[str, Any], return_unused_kwargs: bool = False, **options: Any) -> Any:
        """Create a scheduler from the configuration of any scheduler of diffusers, or of an `SdekitScheduler`.

        Arguments:
            config: Configuration: `pipe.scheduler.config`, or the contents of scheduler_config.json.
            return_unused_kwargs: Whether to return the options that are not used, instead of refusing them.
            options: Arguments of `SdekitScheduler`, and values that replace those of the configuration.
        Returns:
            The scheduler; with `return_unused_kwargs`, the scheduler and the unused options.
        Raises:
            InputError: If an option does not exist, or the configuration belongs to another kind of model.
        """
        complete = _complete_config(config, cls.__name__)
        names: list[str] = sorted(cls._get_init_keys(cls) - {"self"})
        unused = {name: options.pop(name) for name in list(options) if name not in (*names, *complete)}
        if unused and not return_unused_kwargs:
            raise InputError(unknown_name("option of SdekitScheduler named", next(iter(unused)), names, "It has"))
        complete |= options
        scheduler = cls(**{name: complete.pop(name) for name in names if name in complete})
        scheduler.register_to_config(**complete)
        if complete:
            _ = scheduler.trained  # refuses a configuration of another kind of model at once
        return (scheduler, unused) if return_unused_kwargs else scheduler

    @cached_property
    def trained(self) -> TrainedModel:
        """How the network was trained."""
        if self.config.trained_with is None and "num_train_timesteps" not in self.config:
            raise InputError(
                "this SdekitScheduler does not know the process of the model: create it by "
                "SdekitScheduler.from_config(pipe.scheduler.config, sampler=...)"
            )
        return read_scheduler_config(self.config, self.config.trained_with)

    # times

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: torch.device | str | None = None,
        timesteps: Sequence[float] | None = None,
        sigmas: Sequence[float] | None = None,
        mu: float | None = None,
    ) -> None:
        """Choose the times of a run, and end the previous run.

        Arguments:
            num_inference_steps: Number of grid times.
            device: Device of `timesteps`.
            timesteps: Time inputs of the network, as grid.
            sigmas: Noise levels, as grid: t for flow models and rho = sigma / alpha for others. Pipelines of flow
                models always pass them; there, only their number counts, except with grid="scheduler".
            mu: Shift for the resolution, for grid="scheduler".
        Raises:
            InputError: If the number of steps is missing or does not suit the tuned times.
        """
        self._forget()
        self._sde: SDE = self.trained.sde
        self._times = self._grid_times(num_inference_steps, timesteps, sigmas, mu)
        self.num_inference_steps = len(self._times)
        calls, factor = evaluation_times(self.method, self._sde, self._times)
        sigma = float(self._sde.sigma(self._times[0]))
        # on flows no pipeline multiplies by init_noise_sigma: one evaluation at t_max goes unused, and x moves after it
        self._unused = int(factor is None or (self._is_flow and abs(factor - 1) > 1e-6))
        self._factor = 1.0 if factor is None or self._unused else factor
        self.init_noise_sigma = sigma * self._factor
        self._calls = torch.cat([self._times[:1], calls]) if self._unused else calls
        self._coefficients = torch.stack(self.trained.coefficients(self._calls), 1)
        self.timesteps = self.trained.timestep(self._calls).to(device, torch.float32)

    @property
    def sigmas(self) -> Tensor:
        """Noise level of each evaluation, and 0: t for flow models, rho = sigma / alpha for others."""
        levels = self._calls if self._is_flow else self._sde.rho(self._calls)
        return torch.cat([levels, torch.zeros(1, dtype=torch.float64)]).float()

    @property
    def begin_index(self) -> int | None:
        """Index of the first evaluation, or None."""
        return self._begin

    @property
    def step_index(self) -> int | None:
        """Index of the next evaluation, or None before the first one."""
        return self._index

    def set_begin_index(self, begin_index: int = 0) -> None:
        """Start the next run at a later evaluation, as img2img does.

        The sampler starts anew there. If its times then differ from the last part of `timesteps`, this part is
        changed in place, so that the pipeline, which has taken a view of it, evaluates the network at the right times.

        Arguments:
            begin_index: Index of the first evaluation.
        """
        self._begin = begin_index
        if begin_index:
            self._start_at(begin_index)

    def _start_at(self, begin: int) -> None:
        """Replace the run by the run of the sampler from evaluation `begin`, with at most the remaining evaluations."""
        remaining, first = len(self._calls) - begin, self._calls[begin]
        if not 0 < remaining:
            raise InputError(f"the run has {len(self._calls)} evaluations: it cannot begin at number {begin}")
        step, within = divmod(begin - self._unused, self.order)
        if self.method.calls_per_step and not within:
            step = min(step, len(self._times) - 1)
        else:  # in the middle of a step: from the next time of the grid
            step = min(int((self._times > first * (1 + 1e-6)).sum()), len(self._times) - 1)
        for i in range(step, len(self._times)):
            sde, times = self._from(self._times[i:])
            calls, _ = evaluation_times(self.method, sde, times)
            # x is at the time of the first evaluation, and not at the time of the grid before it
            sde, times = self._from(torch.cat([calls[:1], times[1:]]))
            calls, _ = evaluation_times(self.method, sde, times)
            if len(calls) <= remaining:
                break
        self._sde, self._times, self._unused, self._factor = sde, times, remaining - len(calls), 1.0
        self._calls = torch.cat([self._calls[:begin], calls[:1].expand(self._unused), calls])
        self._coefficients = torch.stack(self.trained.coefficients(self._calls), 1)
        self.timesteps[begin:] = self.trained.timestep(self._calls[begin:]).to(self.timesteps)

    def _from(self, times: Tensor) -> tuple[SDE, Tensor]:
        """Return the process that ends at times[0], and the times."""
        sde, end = self.trained.sde, float(times[0])
        return (TruncatedSDE(sde, end) if sde.t_min < end < sde.t_max else sde), times

    def _grid_times(
        self, n: int | None, timesteps: Sequence[float] | None, sigmas: Sequence[float] | None, mu: float | None
    ) -> Tensor:
        """Return the grid."""
        sde = self.trained.sde
        n = next((len(given) for given in (timesteps, sigmas) if given is not None), n)
        if n is None or n < 1:
            raise InputError(f"num_inference_steps must be at least 1, got {n}")
        if timesteps is not None:
            return _grid_of(sde, self.trained.time(torch.as_tensor(timesteps, dtype=torch.float64)))
        if self.config.grid == SCHEDULER_GRID:
            return _grid_of(sde, self._original_times(n, sigmas, mu))
        if sigmas is not None and not self._is_flow:
            levels = torch.as_tensor(sigmas, dtype=torch.float64)
            return _grid_of(sde, sde.time(levels[levels > 0]))
        if self.tuned is not None:
            if n != len(self.tuned.levels) + 1:
                raise InputError(
                    f"the times are tuned for num_inference_steps={len(self.tuned.levels) + 1}, got {n}: tune again "
                    "with that number, or leave out tuned"
                )
            return self.tuned.times(sde)
        grid = self.method.build_default_grid() if self.config.grid is None else _build_grid(self.config.grid)
        return grid(sde, n - 1) if n > 1 else torch.tensor([sde.t_max], dtype=torch.float64)

    def _original_times(self, n: int, sigmas: Sequence[float] | None, mu: float | None) -> Tensor:
        """Return the times of the scheduler that the pipeline came with."""
        kind: Any = getattr(diffusers, str(self.config.trained_with), None)
        if kind is None:
            raise InputError(
                f"grid='scheduler': diffusers has no scheduler {self.config.trained_with!r}. Give the class of the "
                "scheduler that the pipeline came with, such as trained_with='DDIMScheduler'"
            )
        names = kind._get_init_keys(kind)
        original = kind(**{name: value for name, value in self.config.items() if name in names})
        if self._is_flow:
            flow = {"mu": mu} if mu is not None else {}
            original.set_timesteps(**({"sigmas": sigmas} if sigmas is not None else {"num_inference_steps": n}), **flow)
            return torch.as_tensor(original.sigmas[:-1]).double()
        original.set_timesteps(n)
        return self.trained.time(torch.as_tensor(original.timesteps))

    @property
    def _is_flow(self) -> bool:
        return isinstance(self.trained.sde, RectifiedFlow)

    # a run

    def step(
        self,
        model_output: Tensor,
        timestep: Tensor | float,
        sample: Tensor,
        generator: torch.Generator | list[torch.Generator] | None = None,
        return_dict: bool = True,
    ) -> SdekitSchedulerOutput | tuple[Tensor, Tensor]:
        """Continue the sampler with the output of the network for `sample`.

        Arguments:
            model_output: Output of the network, (B, *).
            timestep: Time input of the network, an element of `timesteps`.
            sample: x, (B, *).
            generator: Source of the seeds, if the scheduler has none: one generator, or one for each sample.
            return_dict: Whether to return a `SdekitSchedulerOutput` instead of a tuple.
        Returns:
            x for the next evaluation, or x_0 after the last one; and the denoised x_0.
        Raises:
            InputError: If the run is over, or cannot start at `timestep`.
        """
        if self._index is None:
            self._index = self._begin if self._begin is not None else self._find(timestep)
            self._last_unused = self._index + self._unused - 1
        if self._index >= len(self._calls):
            raise InputError("the run is over, or has not begun: call set_timesteps before the first step")
        try:
            result = self._advance(model_output, sample, generator)
        except BaseException:
            self._close()
            raise
        self._index += 1
        return SdekitSchedulerOutput(*result) if return_dict else result

    @torch.no_grad()
    def _advance(self, output: Tensor, sample: Tensor, generator: Any) -> tuple[Tensor, Tensor]:
        """Return x for the next evaluation, or x_0, and the denoised x_0."""
        assert self._index is not None
        if self.trained.learned_variance and output.shape[1] == 2 * sample.shape[1]:
            output = output[:, : sample.shape[1]]
        if self._index < self._last_unused:
            return sample, self._denoised(output, sample).to(sample)
        if self._index == self._last_unused:  # the sampler moves x to its first evaluation
            self._evaluation = self._begin_run(sample, generator)
            return self._returned(self._evaluation.x, sample), self._denoised(output, sample).to(sample)
        if self._run is None:
            self._evaluation = self._begin_run(sample / self._factor, generator)
        assert self._evaluation is not None and self._run is not None
        x, t = self._evaluation.x, self._evaluation.t
        if abs(float(t) - float(self._calls[self._index])) > 1e-3 * float(t):
            raise SdekitError(
                f"evaluation {self._index} was expected at t = {float(self._calls[self._index]):g}, but the sampler "
                f"makes it at t = {float(t):g}"
            )
        if sample is not self._given:  # the pipeline, or its callback, has changed x
            x.copy_(sample)
        x0 = self._denoised(output, x)
        message = self._run.send(x0)
        if isinstance(message, Tensor):
            self._run = self._evaluation = None
            return message.to(sample), x0.to(sample)
        self._evaluation = message
        return self._returned(message.x, sample), x0.to(sample)

    def _denoised(self, output: Tensor, x: Tensor) -> Tensor:
        """Return D = c_skip x + c_out F for the output of the network in the current evaluation."""
        c_skip, c_out = self._coefficients[self._index or 0].unbind()
        return c_skip * x + c_out * output.to(x)

    def _returned(self, x: Tensor, sample: Tensor) -> Tensor:
        """Return a copy of x for the pipeline, which is recognised if it comes back unchanged."""
        self._given = x.to(sample.dtype, copy=True)
        return self._given

    def _begin_run(self, x: Tensor, generator: Any) -> Evaluation:
        """Start the sampler at x, in float32 if the pipeline works in half precision."""
        x = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x.clone()
        seeds = self._draw_seeds(len(x), generator) if self.method.stochastic else [0] * len(x)
        noise = SeedNoise(seeds, x.shape[1:], dtype=x.dtype, device=x.device)
        noise.skip()  # the first draw belongs to the prior
        method, sde, times, guidance = self.method, self._sde, self._times, self._guidance()
        self._run = Stepwise(lambda denoise: run_sampler(method, sde, denoise, x, times, noise, guidance), x.device)
        return self._run.start()

    def _guidance(self) -> list[Guidance]:
        """Return the limits of x_0 that the model was trained with, and the coefficients of the tuned result."""
        guidance = []
        for text in self.trained.guidance:
            name, options = parse_component(text)
            guidance.append(build("guidance", name, **component_options("guidance", name, options)))
        if self.tuned is not None and self.tuned.gains:
            gains = self.tuned.gains[(self._index or 0) :]
            guidance += [Blend(gains)] if gains else []
        return guidance

    def _draw_seeds(self, n: int, generator: Any) -> list[int]:
        """Return the seeds of n samples."""
        if self.seeds is not None:
            if n % len(self.seeds):
                raise InputError(f"SdekitScheduler has {len(self.seeds)} seeds, but the pipeline draws {n} samples")
            return list(self.seeds) * (n // len(self.seeds))
        if isinstance(generator, list) and len(generator) == n:
            return [seed for one in generator for seed in _random_seeds(1, one)]
        return _random_seeds(n, generator[0] if isinstance(generator, list) else generator)

    def _find(self, timestep: Tensor | float) -> int:
        """Return the index of the first evaluation, which starts a step, for a pipeline that does not set it."""
        near = (self.timesteps - timestep).abs() <= 1e-4 * self.timesteps.abs().clamp(min=1)
        found: list[int] = near.nonzero().flatten().tolist()
        if not found:
            raise InputError(f"timestep {float(timestep):g} is not one of the timesteps of this run")
        begin = next((i for i in found if not (i - self._unused) % self.order), found[0])
        if begin:
            first = self.timesteps[begin].clone()
            self._start_at(begin)
            if not torch.isclose(self.timesteps[begin], first, rtol=1e-4):
                raise InputError(
                    f"{type(self.method).__name__} cannot start at timestep {float(first):g} on this grid: call "
                    f"set_begin_index({begin}) before the first evaluation, or use grid='karras'"
                )
        return begin

    def _forget(self) -> None:
        """Return to the state before a run."""
        self._close()
        self._begin = None
        self._index = None
        self._calls = self._times = torch.zeros(0, dtype=torch.float64)
        self._unused, self._factor, self._last_unused = 0, 1.0, -1

    def _close(self) -> None:
        """End the thread of a run."""
        run: Stepwise | None = vars(self).get("_run")
        if run is not None:
            run.close()
        self._run = None
        self._evaluation = None
        self._given = None

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for a copy, which is not in a run."""
        return {**vars(self), "_run": None, "_evaluation": None, "_given": None}

    # what pipelines and training scripts use beside a run

    def scale_model_input(self, sample: Tensor, timestep: Tensor | float | None = None) -> Tensor:
        """Scale x for the network.

        Arguments:
            sample: x, (B, *).
            timestep: Time input of the network; None means the next evaluation.
        Returns:
            c_in x, (B, *).
        """
        if not self.trained.inputs.normalize:
            return sample
        t = (
            self._calls[self._index or self._begin or 0]
            if timestep is None
            else self.trained.time(torch.as_tensor(timestep))
        )
        c_in = self.trained.inputs.c_in(self.trained.sde, t, self.trained.data_std)
        assert c_in is not None
        return broadcast(c_in.to(sample), sample) * sample

    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Add noise to x_0: x_t = alpha x_0 + sigma eps.

        Arguments:
            original_samples: x_0, (B, *).
            noise: eps, (B, *).
            timesteps: Time inputs of the network, () or (B,).
        Returns:
            x_t, (B, *).
        """
        t = self.trained.time(torch.as_tensor(timesteps).cpu())
        t = t.reshape(-1) if t.ndim else t
        return self.trained.sde.perturb(original_samples, t, noise)

    def scale_noise(self, sample: Tensor, timestep: Tensor, noise: Tensor | None = None) -> Tensor:
        """Add noise to x_0, as `add_noise` does, under the name and with the arguments of flow-matching schedulers.

        Arguments:
            sample: x_0, (B, *).
            timestep: Time inputs of the network, () or (B,).
            noise: eps, (B, *); None draws it from torch's global generator.
        Returns:
            x_t, (B, *).
        """
        return self.add_noise(sample, torch.randn_like(sample) if noise is None else noise, timestep)

    def __len__(self) -> int:
        return int(self.config.get("num_train_timesteps", 1000))


def _build_sampler(text: str) -> Sampler:
    """Build a sampler from "NAME:option=value"."""
    name, options = parse_component(text)
    if name == "ddim":  # the same steps; torchdiffeq's solver does not notice if a pipeline changes x
        options.setdefault("solver", "closed-form")
    sampler: Sampler = build("sampler", name, **component_options("sampler", name, options))
    return sampler


def _build_grid(text: str) -> Grid:
    """Build a grid from "NAME:option=value"."""
    name, options = parse_component(text)
    grid: Grid = build("grid", name, **component_options("grid", name, options))
    return grid


def _read_tuned(tuned: str | Mapping[str, Any] | Tuned | None) -> Tuned | None:
    """Return a tuned result from its file, from a dictionary, or as it is."""
    if tuned is None or isinstance(tuned, Tuned):
        return tuned
    path = Path(str(tuned)) if not isinstance(tuned, Mapping) else None
    try:
        fields: Any = tuned if path is None else json.loads(path.read_text("utf-8"))
        numbers = {name: fields[name] for name in ("calls", "starts", "untuned", "tuned")}
        return Tuned(levels=tuple(fields["levels"]), gains=tuple(map(tuple, fields["gains"])), **numbers)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"tuned: {path or 'the dictionary'} is not a result of `sdekit tune` ({error})") from error


def _complete_config(config: Mapping[str, Any], own: str) -> dict[str, Any]:
    """Return a configuration with the defaults of its scheduler, and with the name of its class as `trained_with`."""
    if not isinstance(config, Mapping):
        raise InputError(
            f"from_config takes a configuration, such as pipe.scheduler.config, got {type(config).__name__}"
        )
    fields = {name: value for name, value in config.items() if not name.startswith("_")}
    kind = config.get("_class_name")
    if kind == own or "trained_with" in fields:
        return fields
    original: Any = getattr(diffusers, str(kind), None)
    if original is not None:
        names = original._get_init_keys(original)
        complete = original(**{name: value for name, value in fields.items() if name in names}).config
        fields = {name: value for name, value in complete.items() if not name.startswith("_")} | fields
    return {**fields, "trained_with": kind}


def _grid_of(sde: SDE, times: Tensor) -> Tensor:
    """Return the different times, decreasing, within the process."""
    times = times.clamp(sde.t_min, sde.t_max).unique().flip(0)
    if len(times) < 1 or not bool(times.isfinite().all()):
        raise InputError(f"the times of a run must be finite and within the process, got {times.tolist()}")
    return times


def _random_seeds(n: int, generator: torch.Generator | None) -> list[int]:
    """Draw n seeds from a generator, or from torch's global one."""
    device = "cpu" if generator is None else generator.device
    seeds: list[int] = torch.randint(2**32, (n,), generator=generator, device=device).tolist()
    return seeds
