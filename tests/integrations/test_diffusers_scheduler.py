"""sdekit's samplers in unchanged pipelines of diffusers."""

import copy
import gc
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sdekit.errors import InputError
from sdekit.guidance import resolve_guidance
from sdekit.processes import SDE, TruncatedSDE
from sdekit.registry import build, component_names, component_options, parse_component
from sdekit.sampling import Sampler, sample
from sdekit.tuning import Tuned

diffusers = pytest.importorskip("diffusers")
from sdekit.integrations.diffusers import SdekitScheduler  # noqa: E402

ADAPTIVE = ("ode", "adaptive-sde")
NAMES = [name for name in component_names("sampler") if name not in ADAPTIVE]
NAMES += ["ode:method=rk4", "ode:method=explicit_adams", "ddim:eta=0.5", "unipc:order=2", "pc:corrections=2"]
Pipelines = Callable[[str], Any]


class Numbers:
    """A model of two numbers with the process of a pipeline, for laws that need no large network."""

    shape = (2,)

    def __init__(self, config: Any) -> None:
        self.config = config

    @staticmethod
    def network(x: Tensor, timestep: Tensor) -> Tensor:
        return torch.tanh(x) * (1 + 0.5 * torch.sin(timestep.float() / 300))


def built(text: str) -> Sampler:
    """Build a sampler from its text."""
    name, options = parse_component(text)
    sampler: Sampler = build("sampler", name, **component_options("sampler", name, options))
    return sampler


def denoiser(tiny: Any, scheduler: Any) -> Callable[[Tensor, Tensor], Tensor]:
    """The denoiser of a pipeline."""
    model = scheduler.trained

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        c_skip, c_out = model.coefficients(t)
        return c_skip * x + c_out * tiny.network(x, model.timestep(t))

    return denoise


def own_loop(tiny: Any, scheduler: Any, noise: Tensor, text: str, *, seeds: list[int], **arguments: Any) -> Tensor:
    """The samples of `sdekit.sampling.sample` with the network of a pipeline."""
    sde: SDE = scheduler.trained.sde
    arguments = {"x": sde.prior(noise), **arguments}
    return sample(sde, denoiser(tiny, scheduler), built(text), shape=tiny.shape, seeds=seeds, **arguments).x


def noise_for(tiny: Any, rows: int = 1) -> Tensor:
    return torch.randn(rows, *tiny.shape, generator=torch.Generator().manual_seed(1))


def close(x: Tensor, expected: Tensor, tolerance: float = 1e-4) -> None:
    """Check that the largest deviation is small relative to the largest value."""
    error = float((x - expected).abs().max() / expected.abs().max())
    assert error < tolerance, f"deviation {error:.2g}"


def threads() -> int:
    """Number of running threads of samplers, after those that have to end are gone."""
    for attempt in range(200):
        if not (count := sum(thread.name == "sdekit" for thread in threading.enumerate())):
            return 0
        if attempt == 20:
            gc.collect()
        time.sleep(0.005)
    return count


@pytest.mark.parametrize("text", NAMES)
@pytest.mark.parametrize("kind", ["sd", "sd3"])
def test_every_sampler_equals_the_own_loop(pipelines: Pipelines, kind: str, text: str) -> None:
    """The pipeline gives the latents of `sample` from the same noise and with the same seeds."""
    tiny, noise = pipelines(kind), noise_for(pipelines(kind))
    scheduler = SdekitScheduler.from_config(tiny.config, sampler=text, seeds=[3])
    close(tiny.sample(scheduler, noise, 4), own_loop(tiny, scheduler, noise, text, seeds=[3], steps=4))


@pytest.mark.parametrize("text", ["auto", "heun", "dpmpp-2m-sde"])
@pytest.mark.parametrize("kind", ["sdxl", "flux"])
def test_other_pipelines_equal_the_own_loop(pipelines: Pipelines, kind: str, text: str) -> None:
    """The same law for SDXL and Flux."""
    tiny, noise = pipelines(kind), noise_for(pipelines(kind))
    scheduler = SdekitScheduler.from_config(tiny.config, sampler=text, seeds=[3])
    close(tiny.sample(scheduler, noise, 4), own_loop(tiny, scheduler, noise, text, seeds=[3], steps=4))


def test_number_of_evaluations(pipelines: Pipelines) -> None:
    """num_inference_steps is the number of grid times; on flows, a method that moves x first makes one call more."""
    for kind, text, calls in (("sd", "auto", 6), ("sd", "heun", 11), ("sd3", "auto", 7), ("sd3", "heun", 11)):
        scheduler = SdekitScheduler.from_config(pipelines(kind).config, sampler=text)
        scheduler.set_timesteps(6)
        assert len(scheduler.timesteps) == calls and scheduler.num_inference_steps == 6


@pytest.mark.parametrize("text", ["ode", "ode:method=bosh3", "adaptive-sde"])
def test_adaptive_samplers_are_refused(pipelines: Pipelines, text: str) -> None:
    """Their times depend on x, and a pipeline needs all times in advance."""
    with pytest.raises(InputError, match="use a sampler with fixed steps"):
        SdekitScheduler.from_config(pipelines("sd").config, sampler=text)


# starting in the middle


@pytest.mark.parametrize("text", NAMES)
@pytest.mark.parametrize(("kind", "begin"), [("sd", 2), ("sd3", 3)])
def test_a_run_may_begin_later(pipelines: Pipelines, kind: str, begin: int, text: str) -> None:
    """As in img2img: x is noisy up to a step, and the sampler starts anew there, with the calls that remain."""
    tiny = Numbers(pipelines(kind).config)
    scheduler = SdekitScheduler.from_config(tiny.config, sampler=text, seeds=[3])
    scheduler.set_timesteps(6)
    index = begin * scheduler.order
    timesteps = scheduler.timesteps[index:]  # a view, as in the pipelines
    scheduler.set_begin_index(index)
    x = scheduler.add_noise(torch.zeros(1, *tiny.shape), noise_for(tiny), timesteps[:1])
    sde, times = scheduler.trained.sde, scheduler._times
    start = TruncatedSDE(sde, float(times[0]))
    own = sample(
        start, denoiser(tiny, scheduler), built(text), shape=tiny.shape, seeds=[3], x=x.clone(), grid=times
    ).x  # fmt: skip
    for t in timesteps:
        x = scheduler.step(tiny.network(x, t), t, x).prev_sample
    close(x, own)
    assert threads() == 0


def test_the_middle_of_the_grid(pipelines: Pipelines) -> None:
    """A method with one evaluation per step starts at the time of the grid."""
    scheduler = SdekitScheduler.from_config(pipelines("sd").config, sampler="dpmpp-2m")
    scheduler.set_timesteps(10)
    timesteps, times = scheduler.timesteps.clone(), scheduler._times
    scheduler.set_begin_index(4)
    assert torch.equal(scheduler.timesteps, timesteps) and torch.equal(scheduler._times, times[4:])


@pytest.mark.parametrize("text", ["auto", "heun", "euler-ancestral"])
def test_image_to_image(pipelines: Pipelines, text: str) -> None:
    """The img2img pipeline of Stable Diffusion runs from the strength's step, and equals `sample` from there."""
    tiny = pipelines("sd")
    pipe = diffusers.StableDiffusionImg2ImgPipeline(**tiny.pipe.components, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    scheduler = pipe.scheduler = SdekitScheduler.from_config(tiny.config, sampler=text, seeds=[3])
    latents, generator = torch.randn(1, *tiny.shape), torch.Generator().manual_seed(5)
    call = {**tiny.arguments, "image": latents, "strength": 0.5, "num_inference_steps": 8, "generator": generator}
    result = pipe(**call, output_type="latent", return_dict=False)[0]
    z = torch.randn(latents.shape, generator=torch.Generator().manual_seed(5))
    sde, times = scheduler.trained.sde, scheduler._times
    assert len(times) == 4
    close(
        result,
        sample(
            TruncatedSDE(sde, float(times[0])), denoiser(tiny, scheduler), built(text), shape=tiny.shape, seeds=[3],
            x=sde.perturb(latents, times[0], z), grid=times,
        ).x,
    )  # fmt: skip


@pytest.mark.parametrize("text", ["auto", "heun"])
def test_image_to_image_of_a_flow(pipelines: Pipelines, text: str) -> None:
    """The img2img pipeline of Stable Diffusion 3 adds noise by `scale_noise`."""
    tiny = pipelines("sd3")
    pipe = diffusers.StableDiffusion3Img2ImgPipeline(**tiny.pipe.components)
    pipe.set_progress_bar_config(disable=True)
    scheduler = pipe.scheduler = SdekitScheduler.from_config(tiny.config, sampler=text)
    latents, generator = torch.randn(1, *tiny.shape), torch.Generator().manual_seed(5)
    call = {**tiny.arguments, "image": latents, "strength": 0.5, "num_inference_steps": 8, "generator": generator}
    result = pipe(**call, output_type="latent", return_dict=False)[0]
    z = torch.randn(latents.shape, generator=torch.Generator().manual_seed(5))
    sde, times = scheduler.trained.sde, scheduler._times
    close(
        result,
        sample(
            TruncatedSDE(sde, float(times[0])), denoiser(tiny, scheduler), text, shape=tiny.shape,
            x=sde.perturb(latents, times[0], z), grid=times,
        ).x,
    )  # fmt: skip


@pytest.mark.parametrize("text", ["ddim", "auto", "ddpm", "heun"])
def test_inpainting(pipelines: Pipelines, text: str) -> None:
    """The inpainting pipeline keeps the known region, and `ddim` on its times gives diffusers' own latents."""
    tiny = pipelines("sd")
    components = {**tiny.pipe.components, "image_encoder": None}
    pipe = diffusers.StableDiffusionInpaintPipeline(**components, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    latents, mask = torch.randn(1, *tiny.shape), torch.zeros(1, 1, 16, 16)
    mask[..., :8] = 1

    def run(scheduler: Any) -> Tensor:
        pipe.scheduler, generator = scheduler, torch.Generator().manual_seed(5)
        call = {**tiny.arguments, "image": latents, "mask_image": mask, "height": 16, "width": 16}
        call |= {"masked_image_latents": latents, "generator": generator, "num_inference_steps": 5}
        result: Tensor = pipe(**call, strength=1.0, output_type="latent", return_dict=False)[0]
        return result

    result = run(SdekitScheduler.from_config(tiny.config, sampler=text, seeds=[0]))
    close(result[..., 4:], latents[..., 4:])
    assert (result[..., :4] - latents[..., :4]).abs().max() > 0.1
    if text == "ddim":
        original = diffusers.DDIMScheduler.from_config(tiny.config, clip_sample=False, timestep_spacing="trailing")
        original.register_to_config(_class_name="DDIMScheduler", set_alpha_to_one=True)
        ours = SdekitScheduler.from_config(original.config, sampler="ddim", grid="scheduler")
        reference = diffusers.DDIMScheduler.from_config(original.config)
        close(run(ours), run(reference), 4e-3)  # their prior is N(0, 1), with sigma(t_max) = 0.998


@pytest.mark.parametrize("text", NAMES)
def test_changes_of_x_between_evaluations_take_effect(pipelines: Pipelines, text: str) -> None:
    """If the pipeline replaces x before the last evaluation, the result follows from the new x."""
    if text.startswith("ode"):
        pytest.skip("torchdiffeq keeps x in variables of its own")
    scheduler = SdekitScheduler.from_config(pipelines("sd").config, sampler=text, seeds=[0])

    def run(move: float) -> Tensor:
        scheduler.set_timesteps(4)
        x = torch.ones(1, 2)
        for i, t in enumerate(scheduler.timesteps):
            if i == scheduler.order:  # at the start of the second step
                x = x + move
            x = scheduler.step(0.5 * torch.ones_like(x), t, x).prev_sample
        return x

    assert (run(1.0) - run(0.0)).abs().max() > 0.5


# noise


def test_seeds(pipelines: Pipelines) -> None:
    """Seeds come from the scheduler, else from the generators of the pipeline, else from torch's generator."""
    tiny = pipelines("sd")
    noise = noise_for(tiny).expand(2, *tiny.shape)

    def run(seeds: Any = None, generator: Any = None, rows: slice = slice(None)) -> Tensor:
        scheduler = SdekitScheduler.from_config(tiny.config, sampler="euler-ancestral", seeds=seeds)
        x = noise[rows].clone()
        scheduler.set_timesteps(4)
        for t in scheduler.timesteps:
            x = scheduler.step(0.1 * x, t, x, generator=generator, return_dict=False)[0]
        return x

    def generator(seed: int) -> torch.Generator:
        return torch.Generator().manual_seed(seed)

    pair = run([1, 2])
    close(pair[1:], run([2], rows=slice(1)), 1e-6)
    assert not torch.allclose(pair[0], pair[1])
    assert torch.equal(run(generator=generator(4)), run(generator=generator(4)))
    assert not torch.equal(run(generator=generator(4)), run(generator=generator(5)))
    lists = run(generator=[generator(4), generator(5)])
    assert torch.equal(lists[1:], run(generator=[generator(5)], rows=slice(1)))
    torch.manual_seed(0)
    first, second = run(), run()
    assert not torch.equal(first, second)
    torch.manual_seed(0)
    assert torch.equal(first, run())
    with pytest.raises(InputError, match="3 seeds"):
        run([1, 2, 3])


def test_generators_of_the_pipeline_make_runs_reproducible(pipelines: Pipelines) -> None:
    """Two calls with the same generator seed give the same image."""
    tiny = pipelines("sd")
    scheduler = SdekitScheduler.from_config(tiny.config, sampler="dpmpp-2m-sde")
    one, two, other = (
        tiny.sample(scheduler, noise_for(tiny), 4, generator=torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
    )
    assert torch.equal(one, two) and not torch.equal(one, other)


# grids


def test_grids(pipelines: Pipelines) -> None:
    """A registered grid with options, explicit timesteps, and explicit sigmas replace the grid of the sampler."""
    config = pipelines("sd").config
    scheduler = SdekitScheduler.from_config(config, sampler="ddim", grid="karras:p=3")
    sde = scheduler.trained.sde
    scheduler.set_timesteps(6)
    torch.testing.assert_close(scheduler._times, build("grid", "karras", p=3.0)(sde, 5))
    scheduler.set_timesteps(timesteps=[999, 500, 20])
    assert scheduler.timesteps.tolist() == pytest.approx([999, 500, 20])
    scheduler.set_timesteps(sigmas=[14.0, 1.0, 0.1, 0.0])
    assert scheduler.sigmas.tolist() == pytest.approx([14.0, 1.0, 0.1, 0.0], rel=1e-4)


def test_the_grid_of_the_scheduler(pipelines: Pipelines) -> None:
    """With grid="scheduler", `ddim` equals diffusers' own scheduler."""
    tiny, noise = pipelines("sd"), noise_for(pipelines("sd"))
    options = {"timestep_spacing": "trailing", "clip_sample": False, "set_alpha_to_one": True}
    original = diffusers.DDIMScheduler.from_config(tiny.config, **options)
    config = {**original.config, "_class_name": "DDIMScheduler"}
    scheduler = SdekitScheduler.from_config(config, sampler="ddim", grid="scheduler")
    expected = tiny.sample(original, noise, 5)
    sigma = float(scheduler.trained.sde.sigma(torch.tensor(1.0)))  # their prior is N(0, 1)
    close(tiny.sample(scheduler, noise / sigma, 5), expected, 1e-5)


@pytest.mark.parametrize("kind", ["sd3", "flux"])
def test_the_grid_of_a_flow_scheduler(pipelines: Pipelines, kind: str) -> None:
    """Shifts, also those for the resolution, are the ones of the scheduler; `ddim` is Euler's method there."""
    tiny, noise = pipelines(kind), noise_for(pipelines(kind))
    original = diffusers.FlowMatchEulerDiscreteScheduler.from_config(tiny.config)
    config = {**tiny.config, "_class_name": "FlowMatchEulerDiscreteScheduler"}
    scheduler = SdekitScheduler.from_config(config, sampler="ddim", grid="scheduler")
    close(tiny.sample(scheduler, noise, 5), tiny.sample(original, noise, 5), 1e-5)


def test_tuned_times(pipelines: Pipelines, tmp_path: Path) -> None:
    """A result of `sdekit tune`, or its file, gives the times and the coefficients of its run."""
    tiny, noise = pipelines("sd"), noise_for(pipelines("sd"))
    gains = ((0.0,), (0.1,), (0.05,), (0.0,))
    tuned = Tuned(calls=4, levels=(5.0, 1.0, 0.1), gains=gains, starts=1, untuned=1.0, tuned=0.5)
    scheduler = SdekitScheduler.from_config(tiny.config, sampler="dpmpp-2m", tuned=tuned)
    grid = tuned.times(scheduler.trained.sde)
    own = own_loop(tiny, scheduler, noise, "dpmpp-2m", seeds=[0], grid=grid, guidance=tuned.guidance)
    close(tiny.sample(scheduler, noise, 4), own)
    file = tmp_path / "auto-4.json"
    file.write_text(json.dumps({**scheduler.config.tuned, "solver": "dpmpp-2m"}), "utf-8")
    close(tiny.sample(SdekitScheduler.from_config(tiny.config, sampler="dpmpp-2m", tuned=str(file)), noise, 4), own)
    with pytest.raises(InputError, match="num_inference_steps=4"):
        scheduler.set_timesteps(5)
    file.write_text("{}", "utf-8")
    with pytest.raises(InputError, match="auto-4.json"):
        SdekitScheduler.from_config(tiny.config, tuned=str(file))


# saving


def test_saving(pipelines: Pipelines, tmp_path: Path) -> None:
    """A saved scheduler opens with its sampler and with the model's settings, alone and in a pipeline."""
    tiny, noise = pipelines("sd"), noise_for(pipelines("sd"))
    config = {**tiny.config, "_class_name": "PNDMScheduler"}
    scheduler = SdekitScheduler.from_config(config, sampler="dpmpp-sde:eta=0.5", seeds=[7], grid="karras")
    expected = tiny.sample(scheduler, noise, 4)
    scheduler.save_pretrained(tmp_path / "alone")
    opened = SdekitScheduler.from_pretrained(tmp_path / "alone")
    assert opened.config.beta_end == 0.012 and opened.config.trained_with == "PNDMScheduler"
    assert torch.equal(tiny.sample(opened, noise, 4), expected)
    again = SdekitScheduler.from_config(opened.config, sampler="auto")
    assert again.config.sampler == "auto" and again.config.trained_with == "PNDMScheduler"
    tiny.pipe.scheduler = scheduler
    tiny.pipe.save_pretrained(tmp_path / "pipeline")
    absent = dict.fromkeys(("text_encoder", "tokenizer", "safety_checker"))
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(tmp_path / "pipeline", **absent)
    assert isinstance(pipe.scheduler, SdekitScheduler)
    close(tiny.sample(pipe.scheduler, noise, 4, pipe=pipe), expected, 1e-5)


def test_a_folder_of_another_scheduler(tmp_path: Path) -> None:
    """from_pretrained reads the folder of any scheduler; settings that are not in the file have its defaults."""
    diffusers.DDIMScheduler(num_train_timesteps=100).save_pretrained(tmp_path)
    path = tmp_path / "scheduler_config.json"
    fields = json.loads(path.read_text("utf-8"))
    del fields["clip_sample"]
    path.write_text(json.dumps(fields), "utf-8")
    scheduler = SdekitScheduler.from_pretrained(tmp_path, sampler="heun")
    assert scheduler.order == 2 and len(scheduler) == 100
    assert scheduler.trained.guidance == ("clip:low=-1.0,high=1.0",)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampler": "ddmi"}, "did you mean 'ddim'"),
        ({"sampler": "ddim:etta=1"}, "etta"),
        ({"grid": "karas"}, "did you mean 'karras'"),
        ({"smapler": "ddim"}, "did you mean 'sampler'"),
        ({"prediction_type": "noise"}, "'noise'"),
    ],
)
def test_mistakes_are_reported_at_once(pipelines: Pipelines, options: dict[str, Any], message: str) -> None:
    """A wrong name is an error of from_config."""
    with pytest.raises(InputError, match=message):
        SdekitScheduler.from_config(pipelines("sd").config, **options)


def test_a_scheduler_without_configuration() -> None:
    """Its use says how to create it."""
    with pytest.raises(InputError, match=r"from_config\(pipe.scheduler.config"):
        SdekitScheduler(sampler="ddim").set_timesteps(4)


# runs


@pytest.fixture
def steps(pipelines: Pipelines) -> Iterator[Callable[..., Any]]:
    """Function that makes the first steps of a run on numbers."""

    def run(scheduler: Any, count: int | None = None, n: int = 5) -> Tensor:
        scheduler.set_timesteps(n)
        x = torch.ones(1, 2)
        for t in scheduler.timesteps[:count]:
            x = scheduler.step(0.5 * x, t, x).prev_sample
        return x

    yield run
    assert threads() == 0


def test_repeated_runs(pipelines: Pipelines, steps: Callable[..., Any]) -> None:
    """A scheduler runs again with the same and with another number of steps, also after a run was abandoned."""
    scheduler = SdekitScheduler.from_config(pipelines("sd").config, sampler="unipc")
    first = steps(scheduler)
    assert torch.equal(steps(scheduler), first)
    other = steps(scheduler, n=7)
    steps(scheduler, 3)
    assert torch.equal(steps(scheduler), first) and torch.equal(steps(scheduler, n=7), other)
    with pytest.raises(InputError, match="set_timesteps"):
        scheduler.step(torch.ones(1, 2), 0, torch.ones(1, 2))


def test_abandoned_runs_end_their_thread(pipelines: Pipelines, steps: Callable[..., Any]) -> None:
    """When the scheduler is forgotten, or starts another run."""
    for _ in range(3):
        scheduler = SdekitScheduler.from_config(pipelines("sd").config, sampler="heun")
        steps(scheduler, 4)
        scheduler.set_timesteps(3)
        assert threads() == 0
        steps(scheduler, 4)
        del scheduler


def test_two_pipelines_at_once(pipelines: Pipelines, steps: Callable[..., Any]) -> None:
    """Interleaved runs of two schedulers do not influence each other."""
    names = ("ddpm", "auto")
    single = [steps(SdekitScheduler.from_config(pipelines("sd").config, sampler=name, seeds=[0])) for name in names]
    both = [SdekitScheduler.from_config(pipelines("sd").config, sampler=name, seeds=[0]) for name in names]
    states = [torch.ones(1, 2), torch.ones(1, 2)]
    for scheduler in both:
        scheduler.set_timesteps(5)
    for k in range(5):
        states = [s.step(0.5 * x, s.timesteps[k], x).prev_sample for s, x in zip(both, states, strict=True)]
    assert all(map(torch.equal, states, single))


def test_errors_of_both_sides_propagate(pipelines: Pipelines, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the network or of a callback ends the run; an error of the sampler is raised by `step`."""
    tiny, noise = pipelines("sd"), noise_for(pipelines("sd"))
    scheduler = SdekitScheduler.from_config(tiny.config, sampler="auto")

    def fail(pipe: Any, i: int, t: Tensor, values: dict[str, Any]) -> dict[str, Any]:
        raise RuntimeError("from the callback")

    with pytest.raises(RuntimeError, match="from the callback"):
        tiny.sample(scheduler, noise, 4, callback_on_step_end=fail)
    expected = tiny.sample(scheduler, noise, 4)
    scheduler = SdekitScheduler.from_config(tiny.config, sampler="ddpm", seeds=[0])
    with pytest.raises(RuntimeError):
        scheduler.set_timesteps(4)
        scheduler.step(torch.ones(1, 3), scheduler.timesteps[0], torch.ones(1, 2))

    def trajectory(*arguments: Any) -> Iterator[Tensor]:
        denoise, x, times = arguments[2:5]
        denoise(x, times[0])
        if len(x.shape) == 4:
            raise ZeroDivisionError("from the sampler")
        yield x

    monkeypatch.setattr(type(scheduler.method), "trajectory", trajectory)
    scheduler.set_timesteps(4)
    with pytest.raises(ZeroDivisionError, match="from the sampler"):
        scheduler.step(noise, scheduler.timesteps[0], noise)
    assert threads() == 0 and expected.isfinite().all()


def test_callbacks_see_and_change_the_latents(pipelines: Pipelines) -> None:
    """A callback at each evaluation receives x; x that it returns is used."""
    tiny, noise = pipelines("sd"), noise_for(pipelines("sd"))
    scheduler, seen = SdekitScheduler.from_config(tiny.config, sampler="ddim"), list[Tensor]()

    def record(pipe: Any, i: int, t: Tensor, values: dict[str, Any]) -> dict[str, Any]:
        seen.append(values["latents"])
        return values

    expected = tiny.sample(scheduler, noise, 4, callback_on_step_end=record)
    kept = [x.clone() for x in seen]
    assert len(seen) == 4 and torch.equal(seen[-1], expected)

    def reset(pipe: Any, i: int, t: Tensor, values: dict[str, Any]) -> dict[str, Any]:
        return {"latents": kept[2] if i == 2 else values["latents"]}

    moved = tiny.sample(scheduler, 2 * noise, 4, callback_on_step_end=reset)
    close(moved, expected, 1e-5)
    assert all(map(torch.equal, seen, kept))  # nothing that the callback received is changed later


def test_interrupted_pipelines(pipelines: Pipelines) -> None:
    """Interrupting a pipeline by its own flag leaves a run that the next one replaces."""
    tiny, noise = pipelines("sd"), noise_for(pipelines("sd"))
    scheduler = SdekitScheduler.from_config(tiny.config, sampler="auto")

    def interrupt(pipe: Any, i: int, t: Tensor, values: dict[str, Any]) -> dict[str, Any]:
        pipe._interrupt = i >= 1
        return values

    expected = tiny.sample(scheduler, noise, 5)
    tiny.sample(scheduler, noise, 5, callback_on_step_end=interrupt)
    assert torch.equal(tiny.sample(scheduler, noise, 5), expected)


def test_copies(pipelines: Pipelines, steps: Callable[..., Any]) -> None:
    """A copy, also one in the middle of a run, is a scheduler without a run."""
    scheduler = SdekitScheduler.from_config(pipelines("sd").config, sampler="heun")
    expected = steps(scheduler)
    steps(scheduler, 3)
    assert torch.equal(steps(copy.deepcopy(scheduler)), expected)
    scheduler.set_timesteps(2)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtypes(pipelines: Pipelines, dtype: torch.dtype) -> None:
    """The result has the dtype of x; in half precision, the sampler itself works in float32."""
    scheduler = SdekitScheduler.from_config(pipelines("sd").config, sampler="auto")
    results = []
    for kind in (torch.float64, dtype):
        scheduler.set_timesteps(8)
        x = torch.ones(1, 4, dtype=kind)
        for t in scheduler.timesteps:
            x = scheduler.step(0.25 * torch.ones_like(x), t, x).prev_sample
        results.append(x)
    assert results[1].dtype == dtype
    close(results[1].double(), results[0], {torch.float16: 2e-3, torch.bfloat16: 2e-2}.get(dtype, 1e-12))


def test_inference_mode(pipelines: Pipelines) -> None:
    """Pipelines may run in torch's inference mode."""
    tiny, noise = pipelines("sd"), noise_for(pipelines("sd"))
    scheduler = SdekitScheduler.from_config(tiny.config, sampler="dpmpp-2m")
    expected = tiny.sample(scheduler, noise, 4)
    with torch.inference_mode():
        assert torch.equal(tiny.sample(scheduler, noise, 4), expected)


# other kinds of models


def test_unconditional_pipelines_with_clipping() -> None:
    """A DDPM pipeline with clip_sample limits x_0; its noise is N(0, 1) at t_max."""
    torch.manual_seed(0)
    unet = diffusers.UNet2DModel(
        sample_size=8, in_channels=1, out_channels=2, layers_per_block=1, block_out_channels=(8, 8), norm_num_groups=4,
        down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2,
    ).eval()  # fmt: skip
    original = diffusers.DDPMScheduler(clip_sample=True, variance_type="learned")
    pipe = diffusers.DDPMPipeline(unet=unet, scheduler=original)
    pipe.set_progress_bar_config(disable=True)
    unet.register_to_config(in_channels=1)
    scheduler = pipe.scheduler = SdekitScheduler.from_config(original.config, sampler="ddim")
    result = pipe(
        batch_size=2, num_inference_steps=4, generator=torch.Generator().manual_seed(0), output_type="np"
    ).images  # fmt: skip
    model, x = scheduler.trained, torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))

    @torch.no_grad()
    def denoise(x: Tensor, t: Tensor) -> Tensor:
        c_skip, c_out = model.coefficients(t)
        return c_skip * x + c_out * unet(x, model.timestep(t).float())[0][:, :1]

    clip = build("guidance", "clip", low=-1.0, high=1.0)
    own = sample(model.sde, denoise, "ddim", shape=(1, 8, 8), x=x, steps=4, guidance=resolve_guidance(clip)).x
    close(torch.from_numpy(result).permute(0, 3, 1, 2), (own / 2 + 0.5).clamp(0, 1), 1e-5)


def test_edm_models() -> None:
    """A model of EDM receives c_in x and log(sigma) / 4."""
    original = diffusers.EDMEulerScheduler()
    scheduler = SdekitScheduler.from_config(original.config, sampler="heun")
    scheduler.set_timesteps(6)
    x = scheduler.init_noise_sigma * torch.randn(2, 3)
    assert scheduler.init_noise_sigma == pytest.approx(80)

    def network(x: Tensor, c_noise: Tensor) -> Tensor:
        return torch.tanh(x) * (1 + c_noise)

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        s = original.precondition_inputs(x, sigma).float()
        return original.precondition_outputs(x, network(s, sigma.log() / 4), sigma).float()

    own = sample(scheduler.trained.sde, denoise, "heun", shape=(3,), x=x, steps=6).x
    for t in scheduler.timesteps:
        x = scheduler.step(network(scheduler.scale_model_input(x, t), t), t, x).prev_sample
    close(x, own)
