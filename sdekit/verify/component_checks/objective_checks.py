"""Checks of training objectives: repeatable randomness, losses of single items, gradients, evaluation."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sdekit.data import Batch, Dataset
from sdekit.runs import Recipe
from sdekit.training import Objective, plan
from sdekit.verify.common.check_results import Check, Finding, at_most
from sdekit.verify.common.side_effects import changed_globals

BuildObjective = Callable[[Recipe], Objective]
ROWS = 70  # the noise of so many rows is drawn in more than one block


def checks(build: BuildObjective, *, quick: bool = False) -> list[Check]:
    """Return all checks of one objective, on a small data set of labelled points.

    Arguments:
        build: Function that returns the objective of a recipe, usually the class of the objective.
        quick: Has no effect, because all checks are fast.
    Returns:
        The checks.
    """
    return [
        Check("build", "build() draws its weights from the seed of the recipe", partial(builds, build)),
        Check("steps", "inputs depend on the seed and the step only", partial(steps, build)),
        Check("rows", "the inputs of some rows are these rows of all inputs", partial(rows, build)),
        Check("loss", "one finite loss per item, which depends on that item only", partial(losses, build)),
        Check("gradient", "the mean loss has a gradient for the saved weights", partial(gradient, build)),
        Check("evaluate", "evaluate() returns JSON and is repeatable, also without items", partial(evaluates, build)),
        Check("held out", "start() reads training items only, evaluate() each held-out item", partial(items, build)),
        Check("batch size", "evaluate() does not depend on the batch size", partial(batch_size, build)),
        Check("preview", "preview() returns a PNG file or None, and describe() a text", partial(previews, build)),
        Check(
            "side effects",
            "no call changes the module, its inputs or the global generators",
            partial(side_effects, build),
        ),
    ]


def started(
    build: BuildObjective, *, batch_size: int = ROWS, seed: int = 0
) -> tuple[Objective, nn.Module, Dataset, Batch]:
    """Return an objective after its method `start`, its module with nonzero weights, the data set and one batch."""
    options = {"data": {"n": 100}, "network": {"width": 8, "depth": 1}, "train": {"steps": 1, "batch_size": batch_size}}
    run, data = plan("moons", network="mlp", condition="label", options=options)
    trial = getattr(build, "trial", None)
    recipe = run if trial is None else trial(run, data)
    objective = build(replace(recipe, train=replace(recipe.train, seed=recipe.train.seed + seed)))
    module = objective.build().eval()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        for parameter in module.parameters():  # a last layer of zeros would hide faults
            parameter.data += 0.02 * torch.randn_like(parameter)
    objective.start(module, data, np.arange(len(data)))
    return objective, module, data, data.batch(range(batch_size))


def builds(build: BuildObjective) -> Finding:
    """Check that two modules built from one recipe have the same weights, and that another seed gives other weights."""
    objective = started(build)[0]
    recipe = objective.recipe
    other = build(replace(recipe, train=replace(recipe.train, seed=recipe.train.seed + 1)))
    one, two, three = (list(o.saved(o.build()).parameters()) for o in (objective, objective, other))
    cause = "build() must draw all weights from recipe.train.seed, whatever the global generator was"
    if not all(torch.equal(a, b) for a, b in zip(one, two, strict=True)):
        return Finding(False, "different weights", "the same weights", cause)
    differs = any(not torch.equal(a, b) for a, b in zip(one, three, strict=True))
    return Finding(differs, "other weights" if differs else "the same weights", "other weights for another seed", cause)


def steps(build: BuildObjective) -> Finding:
    """Check that the inputs of a step are the same twice, and others at another step, for another seed and row."""
    objective, _, _, batch = started(build)
    rows = slice(0, ROWS)
    one, two, other = (tensors(objective, batch, step, rows) for step in (3, 3, 4))
    later, seeded = tensors(objective, batch, 4099, rows), tensors(started(build, seed=1)[0], batch, 3, rows)
    cause = "draw everything random from a generator whose seed is seed_from(recipe.train.seed, NUMBER, step)"
    if not all(torch.equal(a, b) for a, b in zip(one, two, strict=True)):
        return Finding(False, "different inputs", "the same inputs", cause)
    random = [i for i, (a, b) in enumerate(zip(one, other, strict=True)) if not torch.equal(a, b)]
    differs = random and all(any(not torch.equal(one[i], z[i]) for i in random) for z in (later, seeded))
    if differs and all(torch.equal(one[i][k], one[i][0]) for i in random for k in (1, ROWS - 1)):
        return Finding(False, "the same", "other random inputs", "all rows have the same random inputs: " + cause)
    measured = "other inputs" if differs else "the same inputs"
    return Finding(bool(differs), measured, "other inputs at another step, and for another seed", cause)


def rows(build: BuildObjective) -> Finding:
    """Check that the inputs prepared for some rows of a batch equal the same rows of the inputs of the whole batch."""
    objective, _, _, batch = started(build)
    whole, worst = tensors(objective, batch, 3, slice(0, ROWS)), 0.0
    for part in (slice(0, 5), slice(5, 66), slice(66, ROWS)):
        some = tensors(objective, Batch(batch.x[part], None if batch.y is None else batch.y[part]), 3, part)
        for a, b in zip(whole, some, strict=True):
            worst = max(worst, float((a[part].double() - b.double()).abs().max()))
    cause = "inputs(batch, step, rows) must draw random numbers for the global batch and use those of `rows`"
    return at_most(worst, 1e-5, cause)


def losses(build: BuildObjective) -> Finding:
    """Check that there is one finite loss per item, and that it does not depend on the other items."""
    objective, module, _, batch = started(build)
    inputs = objective.inputs(batch, 3, slice(0, ROWS))
    with torch.no_grad():
        together = objective.loss(module, inputs)
        if together.shape != (ROWS,) or not together.isfinite().all():
            cause = "loss() must return one finite number per item: take the mean over all axes but the first"
            return Finding(False, f"{tuple(together.shape)}", f"({ROWS},), finite", cause)
        alone = objective.loss(module, [None if z is None else z[7:9] for z in inputs])
    cause = "the loss of an item depends on the other items: average over the axes of one item only"
    return at_most(float((alone - together[7:9]).abs().max()), 1e-4, cause)


def gradient(build: BuildObjective) -> Finding:
    """Check that every saved weight that can be trained has a nonzero gradient over a few steps."""
    objective, module, _, batch = started(build)
    weights = {name: p for name, p in objective.saved(module).named_parameters() if p.requires_grad}
    for step in range(3):
        objective.loss(module, objective.inputs(batch, step, slice(0, ROWS))).mean().backward()
    fixed = [name for name, p in weights.items() if p.grad is None or not p.grad.any()]
    cause = "a saved weight has no gradient: saved(module) must be the part that is trained, and loss() must use it"
    measured = ", ".join(fixed[:3]) or f"{len(weights)} weights"
    return Finding(bool(weights) and not fixed, measured, "every weight has a gradient", cause)


def evaluates(build: BuildObjective) -> Finding:
    """Check that the evaluation is repeatable and can be written as JSON, with and without held-out items."""
    objective, module, data, _ = started(build)
    try:
        results = [
            json.dumps(objective.evaluate(module, data, np.array(i, dtype=np.int64)), allow_nan=False)
            for i in ([1, 5, 7], [1, 5, 7], [])
        ]
    except (TypeError, ValueError) as error:
        return Finding(False, str(error), "JSON", "evaluate() must return finite numbers, None or tables of these")
    cause = "evaluate() must use a generator of its own with a fixed seed"
    same = results[0] == results[1]
    return Finding(same, "the same twice" if same else "different", "the same twice", cause)


class _Recorded(Dataset):
    """A data set that records which items are read."""

    def __init__(self, data: Dataset) -> None:
        vars(self).update(vars(data))
        self.data, self.read = data, set[int]()

    def __len__(self) -> int:
        return len(self.data)

    def batch(self, indices: Sequence[int] | np.ndarray) -> Batch:
        self.read |= {int(i) for i in indices}
        return self.data.batch(indices)


def items(build: BuildObjective) -> Finding:
    """Check that `start` reads only the training items, and `evaluate` exactly the held-out items."""
    objective, module, data, _ = started(build)
    training, held_out = np.arange(0, 60), np.arange(70, 99)
    one, two = _Recorded(data), _Recorded(data)
    objective.start(module, one, training)
    objective.evaluate(module, two, held_out)
    cause = "start() must read only the items of `indices`, or held-out items become part of the training"
    if not one.read <= {*training}:
        return Finding(False, f"item {max(one.read)}", "items 0 to 59", cause)
    cause = "evaluate() must read all items of `indices`, and no others"
    return Finding(two.read == {*held_out}, f"{len(two.read)} items", f"the {len(held_out)} held-out items", cause)


def batch_size(build: BuildObjective) -> Finding:
    """Check that the evaluation of 72 items is the same in batches of 64 and of 16 items."""
    values = []
    for size in (64, 16):  # with multiples of 16 numbers, torch draws the same noise in parts as at once
        objective, module, data, _ = started(build, batch_size=size)
        values.append(_numbers(objective.evaluate(module, data, np.arange(28, 100))))
    difference = max((abs(a - b) / (1e-3 + abs(a)) for a, b in zip(*values, strict=True)), default=0.0)
    cause = "the evaluation depends on the batch size: add the losses of all items, then divide by their number"
    return at_most(difference, 1e-4, cause, "relative difference ")


def _numbers(values: Any) -> list[float]:
    """Return all numbers in a table of an evaluation."""
    if isinstance(values, dict):
        return [number for value in values.values() for number in _numbers(value)]
    return [float(values)] if isinstance(values, int | float) else []


def previews(build: BuildObjective) -> Finding:
    """Check that the preview is a PNG file or None, and that an item of a step is described by a text."""
    objective, module, _, _ = started(build)
    picture, text = objective.preview(module), objective.describe(3, 5)
    passed = (picture is None or picture[:4] == b"\x89PNG") and isinstance(text, str)
    cause = "preview() must return the bytes of a PNG file or None, and describe() a text"
    return Finding(passed, f"{type(picture).__name__}, {type(text).__name__}", "bytes or None, str", cause)


def side_effects(build: BuildObjective) -> Finding:
    """Check that no method changes the weights, the mode, the batch or the inputs, or draws from global generators."""
    objective, module, data, batch = started(build)
    copy, state = batch.x.clone(), {k: v.clone() for k, v in module.state_dict().items()}
    inputs = objective.inputs(batch, 3, slice(0, ROWS))
    kept = [None if z is None else z.clone() for z in inputs]
    trained = [p.requires_grad for p in module.parameters()]
    calls: dict[str, Callable[[], object]] = {
        "build": objective.build,
        "inputs": lambda: objective.inputs(batch, 3, slice(0, ROWS)),
        "loss": lambda: objective.loss(module, inputs),
        "evaluate": lambda: objective.evaluate(module, data, np.arange(5)),
        "preview": lambda: objective.preview(module),
        "start": lambda: objective.start(module, data, np.arange(len(data))),
    }
    for name, call in calls.items():
        with changed_globals() as changed:
            call()
        weights = all(torch.equal(v, state[k]) for k, v in module.state_dict().items())
        changed += ["the weights"] * (not weights and name != "start")
        changed += ["the mode of the module"] * any(m.training for m in module.modules())
        changed += ["requires_grad"] * ([p.requires_grad for p in module.parameters()] != trained)
        changed += ["the batch"] * (not torch.equal(batch.x, copy))
        changed += ["the inputs"] * any(
            z is not None and k is not None and not torch.equal(z, k) for z, k in zip(inputs, kept, strict=True)
        )
        if changed:
            cause = f"{name}() changes {' and '.join(changed[:2])}: restore it, or use a copy or an own generator"
            return Finding(False, changed[0], "unchanged", cause)
    return Finding(True, "unchanged", "unchanged")


def tensors(objective: Objective, batch: Batch, step: int, rows: slice) -> list[Tensor]:
    """Return the inputs of a step that are not None."""
    return [z for z in objective.inputs(batch, step, rows) if z is not None]
