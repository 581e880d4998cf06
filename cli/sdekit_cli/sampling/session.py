"""How every command draws: what it was asked is checked, the run opened, samples drawn, recorded and told of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from sdekit.distributed import world
from sdekit.errors import InputError
from sdekit_cli.options.assignments import component, parse, with_data_std
from sdekit_cli.options.backend_option import backend_record, parse_backend, run_with, without_backend_warnings
from sdekit_cli.options.condition_option import conditions
from sdekit_cli.options.device_option import pick_device
from sdekit_cli.options.guidance_option import parse_guidance
from sdekit_cli.options.plugin_option import load_plugin_files
from sdekit_cli.options.seed_option import parse_seeds
from sdekit_cli.terminal.console import note, print_json
from sdekit_cli.terminal.json_values import json_values

from .drawing_loop import draw

if TYPE_CHECKING:
    from sdekit.guidance import Guidance
    from sdekit.sampling import Sampler, Samples

    from .sampling_options import SamplingOptions


class SamplingSession:
    """A drawing command at work. Made, it has checked all that needs no run; then `open`, `draw`, `finish`.

    n, solver: where none is asked for; solver None: auto for a number of steps or calls, else ode. Raises InputError
    for names, options and values that there are not, and where --out holds something.
    """

    def __init__(self, asked: SamplingOptions, *, n: int = 8, solver: str | None = "ddim") -> None:
        load_plugin_files(asked.plugin, quiet=asked.json)
        from sdekit.runs import check_results_folder

        self.asked, self.seeds = asked, parse_seeds(asked.n, asked.seeds, n)
        check_results_folder(asked.out, overwrite=asked.overwrite)
        given = parse(asked.option or ())
        of_grid = {k.removeprefix("grid."): v for k, v in given.items() if k.startswith("grid.")}
        of_solver = {k: v for k, v in given.items() if not k.startswith("grid.")}
        if of_grid and asked.grid is None:
            raise InputError("options of the grid need its name: add --grid karras, for example")
        self.solver, self.of_solver = _solver(asked, solver, of_solver)
        self.of_grid = {} if asked.grid is None else component("grid", asked.grid, of_grid)
        self.guidance, self.of_guidance = parse_guidance(asked.guidance or ())
        self.backend = parse_backend(asked.backend)

    def open(self) -> None:
        """Load the run, and make what depends on it: the condition y, the solver and the grid."""
        from sdekit.registry import build
        from sdekit.runs import load_run

        asked, self.device = self.asked, pick_device(self.asked.device)
        self.run = load_run(asked.run, device=self.device, trust=asked.trust)
        data_std = self.run.data_std
        options = with_data_std("sampler", self.solver, self.of_solver, data_std)
        self.sampler: Sampler = build("sampler", self.solver, **options)
        self.grid = None
        if asked.grid is not None:
            self.of_grid = with_data_std("grid", asked.grid, self.of_grid, data_std)
            self.grid = build("grid", asked.grid, **self.of_grid)
        run_with(self.run, self.backend)
        guided = bool(self.guidance)
        self.y = conditions(self.run, asked.label, self.seeds, numbers=asked.condition, guided=guided)

    @property
    def solving(self) -> dict[str, Any]:
        """For the record: the solver and all of its options."""
        return {"solver": self.solver, "options": asdict(self.sampler)}

    def draw(self, sampler: Sampler, *, name: str, guidance: Sequence[Guidance] = (), **other: Any) -> Samples | None:
        """The samples; None on all but the first of several processes. name: of the sampler, or what stands for it.

        guidance: around those asked for. other: arguments of `draw.draw`, instead of what was asked.
        """
        asked = self.asked
        arguments: dict[str, Any] = {
            "steps": asked.steps,
            "nfe": asked.nfe,
            "grid": self.grid,
            "noise": asked.noise,
        } | other
        with without_backend_warnings():
            drawn, self.seconds = draw(
                self.run,
                sampler,
                name=name,
                seeds=self.seeds,
                y=self.y,
                guidance=[*self.guidance, *guidance],
                batch_size=asked.batch_size,
                device=self.device,
                quiet=asked.json,
                **arguments,
            )
        self.drawn_noise = (asked.noise or sampler.default_noise) if sampler.stochastic else None
        self.drawn_grid = asked.grid or sampler.default_grid
        return drawn

    def finish(
        self,
        drawn: Samples,
        record: Mapping[str, Any],
        say: str,
        *,
        keys: Sequence[str],
        name: str = "sample.json",
        also: Mapping[str, bytes] | None = None,
    ) -> None:
        """Write samples, pictures and the record, `record` and what is common to all commands; then tell of it.

        say: what was drawn, for people. keys: of the record, in the summary. name, also: as for `output.write`.
        """
        import torch

        from sdekit.registry import plugin_files
        from sdekit.runs import write_results

        asked, y = self.asked, self.y
        whole = {
            "run": str(asked.run),
            "run_step": self.run.step,
            "grid": self.drawn_grid,
            "grid_options": self.of_grid,
            "steps": len(drawn.times),
            "nfe": drawn.nfe,
            "n": len(self.seeds),
            "seeds": list(self.seeds),
            "labels": None if y is None or y.is_floating_point() else y.tolist(),
            "condition": asked.condition,
            "guidance": self.of_guidance,
            "noise": self.drawn_noise,
            "times": drawn.times.tolist(),
            "seconds": round(self.seconds, 3),
            "device": self.device,
            "processes": world().size,
            "backend": backend_record(self.run, self.backend, quiet=asked.json),
            "plugins": plugin_files(),
            "versions": {"sdekit": version("sdekit"), "torch": torch.__version__},
            **record,
        }
        look = write_results(
            *(asked.out, self.run, drawn, json_values(whole)),
            record_name=name,
            other_files=also,
            overwrite=asked.overwrite,
        )
        samples = asked.out / "samples.npy"
        if asked.json:
            files = {"samples": str(samples), "picture": None if look is None else str(look)}
            found = {key: whole[key] for key in keys}
            print_json({k: v["name"] if isinstance(v, dict) else v for k, v in found.items()} | files)
            return
        where = "look at [bold]{}[/]" if look else "they are in {}"
        if look and self.run.kind == "image" and self.run.shape[0] not in (1, 3):
            where += f" (it shows {3 if self.run.shape[0] > 3 else 1} of {self.run.shape[0]} channels)"
        drew = (len(self.seeds), say, drawn.nfe, self.seconds, look or samples)
        note("drew {} {}: {} network calls each, {:.1f} s; " + where, *drew)


def _solver(asked: SamplingOptions, default: str | None, given: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The solver to take and its typed options; where nobody named it, an error says which it is and why."""
    if asked.solver is not None:
        return asked.solver, component("sampler", asked.solver, given)
    budget = "--steps" if asked.steps else "--nfe" if asked.nfe else None
    name = default or ("auto" if budget else "ode")
    try:
        return name, component("sampler", name, given)
    except InputError as error:
        why = f"with {budget} and without --solver" if budget and not default else "without --solver"
        raise InputError(f"{error}. The solver is {name} {why}: name another if the option is of that") from None
