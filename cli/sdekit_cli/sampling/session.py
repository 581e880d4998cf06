"""Sampling session of `sample`, `restore` and `edit`: check options, open the model and draw samples."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from sdekit.errors import InputError
from sdekit.registry import component_options, parse_assignments, parse_component, with_data_std
from sdekit_cli.options.label_option import find_classes, name_labels, resolve_labels
from sdekit_cli.options.model_option import open_run
from sdekit_cli.options.shared_options import (
    build_guidance,
    load_plugin_files,
    parse_backend,
    parse_guidance,
    parse_seeds,
    pick_device,
    use_backend,
    without_backend_warnings,
)
from sdekit_cli.terminal.progress import progress_bar

from .sampling_options import DEFAULT_SOLVER, SamplingOptions

if TYPE_CHECKING:
    from torch import Tensor

    from sdekit.guidance import Guidance
    from sdekit.processes import SDE
    from sdekit.sampling import Progress, Sampler, Samples

MOST_AT_ONCE = 256
"""Batch size if --batch-size is not given."""

TEXT_SAMPLES, TEXT_EVALUATIONS = 4, 25
"""Number of samples and network evaluations for a model of texts if the user chooses none."""

MAKER = "maker"
"""Name of the grid that the makers of an opened model used."""


class SamplingSession:
    """One run of a command that draws samples. Call `open`, `draw` and `finish` in this order.

    The constructor checks all options that can be checked without the model.

    Arguments:
        options: Options of the command.
        n: Number of samples if the user gives neither -n nor --seeds.
        solver: Name of the solver if the user gives none.
    Raises:
        InputError: If a name, option or value is not valid, or --out contains files.
    """

    def __init__(self, options: SamplingOptions, *, n: int = 8, solver: str = "ddim") -> None:
        from sdekit.runs import check_results_folder

        load_plugin_files(options.plugin, quiet=options.json)
        self.options, self.seeds = options, parse_seeds(options.n, options.seeds, n)
        check_results_folder(options.out, overwrite=options.overwrite)
        assignments = parse_assignments(options.option or ())
        grid_options = {k.removeprefix("grid."): v for k, v in assignments.items() if k.startswith("grid.")}
        solver_options = {k: v for k, v in assignments.items() if not k.startswith("grid.")}
        if grid_options and options.grid is None:
            raise InputError("options of the grid need its name: add --grid karras, for example")
        self.assignments, self.nfe = solver_options, options.nfe
        self.solver, self.solver_options = _choose_solver(options, solver, solver_options)
        self.grid_name, self.grid_options = options.grid, {}
        if options.grid not in (None, MAKER):
            self.grid_name, written = parse_component(options.grid, "grid")
            if twice := sorted(written.keys() & grid_options.keys()):
                raise InputError(f"option {twice[0]!r} of grid {self.grid_name} is given twice, in --grid and --option")
            self.grid_options = component_options("grid", self.grid_name, written | grid_options)
        self.chosen_guidance = parse_guidance(options.guidance or ())
        self.backend = parse_backend(options.backend)
        self.method_is_solver = False

    def open(self, *, with_condition: bool = True) -> None:
        """Open the model, and build the condition, the sampler, the grid and the guidances, which depend on it.

        Without --grid, a grid that the makers of the model recommend replaces the grid of the solver.

        Arguments:
            with_condition: Whether to build the condition; if not, the caller sets `y`.
        """
        from sdekit.registry import build

        options, self.device = self.options, pick_device(self.options.device)
        self.opened = open_run(
            options.run, device=self.device, trust=options.trust, size=options.size, quiet=options.json
        )
        self.of_texts = self.opened.encoder is not None
        if self.of_texts:
            self._choose_for_texts()
        data_std = self.opened.data_std
        solver_options = with_data_std("sampler", self.solver, self.solver_options, data_std)
        self.sampler: Sampler = build("sampler", self.solver, **solver_options)
        self.grid = None
        if options.grid is None and self.opened.grid is not None:
            self.grid_name, grid_options = parse_component(self.opened.grid)
            self.grid_options = component_options("grid", self.grid_name, grid_options)
        if self.grid_name == MAKER:
            if self.opened.makers_grid is None:
                raise InputError(f"--grid {MAKER}: {options.run} does not record a grid of its makers")
            self.grid = self.opened.makers_grid
        elif self.grid_name is not None:
            self.grid_options = with_data_std("grid", self.grid_name, self.grid_options, data_std)
            self.grid = build("grid", self.grid_name, **self.grid_options)
        self.classes = find_classes(self.opened, self.chosen_guidance)
        chosen = resolve_labels(self.chosen_guidance, self.classes)
        self.guidance, self.guidance_records = build_guidance(chosen, self.opened.data_range)
        name_labels(self.guidance_records, self.classes)
        use_backend(self.opened.model, self.backend)
        self.y = self.condition() if with_condition else None

    def condition(self) -> Any:
        """Return the condition of each sample, from --prompt, --label or --condition; None without a condition."""
        options = self.options
        other = options.label is not None or options.condition is not None
        if options.prompt or options.negative is not None or (self.of_texts and not other):
            from sdekit_cli.options.prompt_option import encode_prompts

            if other:
                raise InputError("--prompt and --negative exclude --label and --condition")
            y = encode_prompts(self.opened, options.prompt or (), options.negative, self.seeds)
            self.opened = replace(self.opened, encoder=None)  # its memory is free for the network
            return y
        if self.opened.condition == "none" and options.label is None and options.condition is None:
            return None
        from sdekit_cli.options.condition_option import conditions

        return conditions(
            self.opened,
            options.label,
            self.seeds,
            numbers=options.condition,
            guided=bool(self.guidance),
            classes=self.classes,
        )

    def _choose_for_texts(self) -> None:
        """Replace the defaults by those for a model of texts, whose samples are large."""
        options = self.options
        if options.n is None and options.seeds is None:
            self.seeds = tuple(range(TEXT_SAMPLES))
        if options.solver is None:
            self.solver, self.solver_options = _choose_solver(options, DEFAULT_SOLVER, self.assignments)
        if options.steps is None and options.nfe is None:
            from sdekit.registry import build

            calls = build("sampler", self.solver, **self.solver_options).calls_per_step
            self.nfe = None if calls is None else TEXT_EVALUATIONS

    @property
    def text_record(self) -> dict[str, Any]:
        """The options of a model of texts, for the record; empty for other models."""
        options = self.options
        return {"prompt": options.prompt, "negative": options.negative, "size": options.size} if self.of_texts else {}

    @property
    def solver_record(self) -> dict[str, Any]:
        """The solver and all of its options, for the record; None if a restorer is a solver itself."""
        if self.method_is_solver:
            return {"solver": None, "options": None}
        return {"solver": self.solver, "options": asdict(self.sampler)}

    def draw(
        self,
        sampler: Sampler,
        *,
        name: str,
        guidance: Sequence[Guidance] = (),
        sde: SDE | None = None,
        x: Tensor | None = None,
        **arguments: Any,
    ) -> Samples | None:
        """Draw the samples under a progress bar. Each of several processes draws a part of the seeds.

        Arguments:
            sampler: The sampler.
            name: Name of the method, for the progress bar.
            guidance: Guidances to apply around the guidances of the options.
            sde: Process to use instead of the model's own.
            x: States at the start of the grid, one row per seed.
            arguments: Arguments of `sdekit.sample` that replace those of the options.
        Returns:
            The samples; None in all but the first of several processes.
        """
        from sdekit.sampling import sample

        options, sde = self.options, sde or self.opened.model.sde
        part = self._part()
        seeds, x, y = self.seeds[part], None if x is None else x[part], None if self.y is None else self.y[part]
        budget: dict[str, Any] = {"steps": options.steps, "nfe": self.nfe, "grid": self.grid} | arguments
        at_once = 1 if self.of_texts else MOST_AT_ONCE
        batch_size = min(len(seeds), at_once) if options.batch_size is None else options.batch_size
        samples = None
        with self._progress(f"sampling {len(seeds)} with {name}") as progress:
            if seeds:
                samples = sample(
                    sde,
                    self.opened.model,
                    sampler,
                    shape=self.opened.shape,
                    seeds=seeds,
                    x=x,
                    y=y,
                    guidance=[*self.guidance, *guidance],
                    batch_size=batch_size,
                    device=self.device,
                    noise=options.noise,  # type: ignore[arg-type]  # SamplingOptions has checked it
                    progress=progress,
                    **budget,
                )
        self._note_choices(sampler)
        return self._gather(samples)

    def impute(self, known: Tensor, method: str, method_options: Mapping[str, Any]) -> Samples | None:
        """Draw the unknown numbers of rows under a progress bar. Each of several processes draws a part of the rows.

        Arguments:
            known: Rows in the units of the model, one for each seed, (N, d), with NaN at unknown numbers.
            method: Registered name of the restorer.
            method_options: Its options.
        Returns:
            The complete rows; None in all but the first of several processes.
        """
        import torch

        from sdekit.inverse import ROWS_AT_ONCE, build_restorer, imputation_problem, impute
        from sdekit.sampling import Sampler

        options, sde, part = self.options, self.opened.model.sde, self._part()
        seeds, known, y = self.seeds[part], known[part], None if self.y is None else self.y[part]
        budget: dict[str, Any] = {"steps": options.steps, "nfe": self.nfe, "grid": self.grid}
        batch_size = options.batch_size or ROWS_AT_ONCE
        samples = None
        one = build_restorer(method, imputation_problem(torch.zeros(1, *self.opened.shape)), **method_options)
        if is_sampler := isinstance(one, Sampler):
            self.check_no_solver(method)
        sampler = one if isinstance(one, Sampler) else self.sampler
        with self._progress(f"imputing {len(seeds)} rows with {method}") as progress:
            if seeds:
                samples = impute(
                    sde,
                    self.opened.model,
                    known,
                    seeds=seeds,
                    method=method,
                    options=method_options,
                    y=y,
                    batch_size=batch_size,
                    sampler=None if is_sampler else self.sampler,
                    guidance=self.guidance,
                    device=self.device,
                    noise=options.noise,
                    progress=progress,
                    **budget,
                )
        self._note_choices(sampler)
        return self._gather(samples)

    def check_no_solver(self, method: str) -> None:
        """Check that the user chose no solver beside a restorer that is a solver itself, and leave it out of records.

        Arguments:
            method: Registered name of the restorer.
        Raises:
            InputError: If the user chose a solver or an option of it.
        """
        if self.options.solver or self.solver_options:
            raise InputError(
                f"{method} is a solver itself: leave --solver out, and give options as --method {method}:NAME=VALUE"
            )
        self.method_is_solver = True

    @contextmanager
    def _progress(self, description: str) -> Iterator[Progress | bool]:
        """Context manager that measures the time and shows the network evaluations in a progress bar.

        Arguments:
            description: Text beside the bar.
        Yields:
            The argument `progress` of `sdekit.sample`.
        """
        quiet = without_backend_warnings() if self.backend else nullcontext()
        with quiet, progress_bar("calls", quiet=self.options.json) as bar:
            task = bar.add_task(description, total=None, calls="")

            def show(done: int, total: int | None) -> None:
                bar.update(task, completed=done, total=total, calls=f"{done} network evaluations")

            start = time.monotonic()
            yield show if not self.options.json else False
            self.seconds = time.monotonic() - start

    def _note_choices(self, sampler: Sampler) -> None:
        """Store the noise and the grid of a sampler for the record."""
        self.noise_name = (self.options.noise or sampler.default_noise) if sampler.stochastic else None
        self.grid_name = self.grid_name or sampler.default_grid

    def _part(self) -> slice:
        """Return the part of the seeds that this process draws."""
        if "WORLD_SIZE" not in os.environ:
            return slice(None)
        from sdekit.distributed import world

        return world().part(len(self.seeds))

    def _gather(self, samples: Samples | None) -> Samples | None:
        """Return the samples of all processes in the first one, None in the others."""
        self.processes = 1
        if "WORLD_SIZE" not in os.environ:
            return samples
        from sdekit.distributed import gather, world

        self.processes = world().size
        return gather(samples, self.seeds, self.opened.shape)


def _choose_solver(
    options: SamplingOptions, default: str, assignments: Mapping[str, Any]
) -> tuple[str, dict[str, Any]]:
    """Return the solver and its options.

    If the user did not name a solver, an error about an option states which solver was chosen.
    """
    if options.solver is not None:
        name, written = parse_component(options.solver, "sampler")
        if twice := sorted(written.keys() & assignments.keys()):
            raise InputError(f"option {twice[0]!r} of solver {name} is given twice, in --solver and --option")
        return name, component_options("sampler", name, {**written, **assignments})
    try:
        return default, component_options("sampler", default, assignments)
    except InputError as error:
        advice = f"The solver is {default} without --solver: name another if it has the option"
        raise InputError(f"{error}. {advice}") from None
