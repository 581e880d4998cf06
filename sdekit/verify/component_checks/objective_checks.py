"""Checks of training objectives: repeatable randomness, losses of single items, gradients, evaluation."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from sdekit.data import Batch, Dataset
from sdekit.runs import Recipe
from sdekit.training import Objective, plan
from sdekit.verify.common.check_results import Check, Finding, at_most

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
    ]


def started(build: BuildObjective) -> tuple[Objective, nn.Module, Dataset, Batch]:
    """Return an objective after its method `start`, its module with nonzero weights, the data set and one batch."""
    options = {"data": {"n": 100}, "network": {"width": 8, "depth": 1}, "train": {"steps": 1, "batch_size": ROWS}}
    run, data = plan("moons", network="mlp", condition="label", options=options)
    trial = getattr(build, "trial", None)
    objective = build(run if trial is None else trial(run, data))
    module = objective.build().eval()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        for parameter in module.parameters():  # a last layer of zeros would hide faults
            parameter.data += 0.02 * torch.randn_like(parameter)
    objective.start(module, data, np.arange(len(data)))
    return objective, module, data, data.batch(range(ROWS))


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
    """Check that computing the inputs of a step twice gives equal inputs, and that another step has other inputs."""
    objective, _, _, batch = started(build)
    rows = slice(0, ROWS)
    one, two, other = (tensors(objective, batch, step, rows) for step in (3, 3, 4))
    cause = "draw everything random from a generator whose seed is seed_from(recipe.train.seed, NUMBER, step)"
    if not all(torch.equal(a, b) for a, b in zip(one, two, strict=True)):
        return Finding(False, "different inputs", "the same inputs", cause)
    differs = any(not torch.equal(a, b) for a, b in zip(one, other, strict=True))
    return Finding(differs, "other inputs" if differs else "the same inputs", "other inputs at another step", cause)


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
    """Check that at least one saved weight has a nonzero gradient."""
    objective, module, _, batch = started(build)
    objective.loss(module, objective.inputs(batch, 3, slice(0, ROWS))).mean().backward()
    weights = [p for p in objective.saved(module).parameters() if p.grad is not None and p.grad.abs().max() > 0]
    cause = "no saved weight has a gradient: saved(module) must be the part that is trained, and loss() must use it"
    return Finding(bool(weights), f"{len(weights)} weights", "at least 1", cause)


def evaluates(build: BuildObjective) -> Finding:
    """Check that the evaluation is repeatable and can be written as JSON, with and without held-out items."""
    objective, module, data, _ = started(build)
    try:
        results = [
            json.dumps(objective.evaluate(module, data, np.array(i, dtype=np.int64)))
            for i in ([1, 5, 7], [1, 5, 7], [])
        ]
    except TypeError as error:
        return Finding(False, str(error), "JSON", "evaluate() must return numbers, None or tables of numbers")
    cause = "evaluate() must use a generator of its own with a fixed seed"
    same = results[0] == results[1]
    return Finding(same, "the same twice" if same else "different", "the same twice", cause)


def tensors(objective: Objective, batch: Batch, step: int, rows: slice) -> list[Tensor]:
    """Return the inputs of a step that are not None."""
    return [z for z in objective.inputs(batch, step, rows) if z is not None]
