"""Measure the quality and the cost of guidance on conditional digits.

    sdekit train --condition label --drop 0.1 --steps 1000 --option train.keep_every=250 --out run
    sdekit train-classifier run --steps 600 --out judge
    python benchmarks/guidance.py run --classifier judge --weak 250 --write

All methods use the same seeds and solver. A support vector machine, trained on two thirds of the real digits,
classifies the samples; its accuracy on the other third is printed too. Energy distances are to all real digits; they
are unbiased, so they may be negative. The cost is the time of one guided denoising relative to one network evaluation
on a batch twice as large: the median ratio of alternating measurements, on an otherwise idle machine. --write writes
the tables to benchmarks/results/guidance.md.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sdekit.guidance import Guidance, compose, resolve_guidance
from sdekit.processes import as_time
from sdekit.registry import build
from sdekit.runs import Run, load_run
from sdekit.sampling import sample

Method = tuple[str, Sequence[Guidance]]


def judge() -> tuple[object, float]:
    """Return a classifier of real digits (N, 64) in [-1, 1], and its accuracy on unseen digits."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split
    from sklearn.svm import SVC

    digits = load_digits()
    x, x_other, y, y_other = train_test_split(
        digits.data / 8 - 1, digits.target, test_size=1 / 3, random_state=0, stratify=digits.target
    )
    fitted = SVC(C=10, gamma=0.02).fit(x, y)
    return fitted, float(fitted.score(x_other, y_other))


def methods(run: str, classifier: str | None, weak: int | None) -> list[Method]:
    """Return the methods: their names on the command line, and their guidances."""
    cfg = [(f"cfg:scale={w:g}", [build("guidance", "cfg", scale=w)]) for w in (0.0, 1.0, 1.5, 2.0, 3.0, 5.0)]
    rest: list[Method] = [
        (
            "cfg:scale=3 interval:from=0.2,to=3",
            [build("guidance", "cfg", scale=3.0), build("guidance", "interval", from_=0.2, to=3.0)],
        ),
        ("rescale:scale=3", [build("guidance", "rescale", scale=3.0)]),
        ("apg:scale=3", [build("guidance", "apg", scale=3.0)]),
        ("cfg-zero-star:scale=2", [build("guidance", "cfg-zero-star", scale=2.0)]),
        ("cfg++:strength=0.6", [build("guidance", "cfg++", strength=0.6)]),
    ]
    if weak is not None:
        rest.append((f"autoguidance:step={weak}", [build("guidance", "autoguidance", run=run, step=weak, scale=2.0)]))
    if classifier is not None:
        rest += [
            (f"classifier:scale={w:g}", [build("guidance", "classifier", run=classifier, scale=w)]) for w in (1.0, 3.0)
        ]
    return cfg + rest


def quality(run: Run, method: Method, n: int, nfe: int) -> list[str]:
    """Return the share of correct labels, energy distance, standard deviation within a label, and evaluations."""
    from sklearn.datasets import load_digits

    y = torch.arange(n) % 10
    drawn = sample(
        run.model.sde,
        run.model,
        "auto",
        shape=run.recipe.shape,
        n=n,
        y=y,
        guidance=method[1],
        steps=nfe,
        batch_size=100,
    )
    flat = drawn.x.flatten(1).double().numpy()
    right = float((judge()[0].predict(flat) == y.numpy()).mean())  # type: ignore[attr-defined]
    spread = np.mean([flat[y == k].std(0).mean() for k in range(10)])
    distance = build("metric", "energy")(torch.as_tensor(flat), torch.as_tensor(load_digits().data / 8 - 1))
    return [f"`{method[0]}`", f"{right:.1%}", f"{distance:.4f}", f"{spread:.3f}", str(drawn.nfe)]


def cost(run: Run, method: Method, n: int, pairs: int) -> list[str]:
    """Return the time of a guided denoising, relative to one evaluation on 2 n samples and on n samples."""
    sde, t = run.model.sde, as_time(run.model.sde.time(as_time(1.0)))
    x, y = torch.randn(n, *run.recipe.shape), torch.arange(n) % 10
    guided = compose(sde, run.model, resolve_guidance(method[1]))
    doubled = (torch.cat([x, x]), t, torch.cat([y, y]))
    results = [_seconds((x, t, y), guided, doubled, run.model, (x, t, y), run.model) for _ in range(pairs)]
    guide = statistics.median(row[0] for row in results)
    double, single = (statistics.median(row[0] / row[i] for row in results) for i in (1, 2))
    return [f"`{method[0]}`", f"{1e3 * guide:.2f}", f"{double:.3f}", f"{single:.2f}"]


@torch.no_grad()
def _seconds(*calls: object) -> list[float]:
    taken = []
    for inputs, function in zip(calls[::2], calls[1::2], strict=True):
        began = time.perf_counter()
        out: Tensor = function(*inputs)  # type: ignore[operator,misc]
        assert out.isfinite().all()
        taken.append(time.perf_counter() - began)
    return taken


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def main() -> None:
    """Measure, print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="run folder of a conditional model of digits")
    parser.add_argument("--classifier", help="folder of `sdekit train-classifier`")
    parser.add_argument(
        "--weak", type=int, help="step of the run whose saved weights are the weak model of autoguidance"
    )
    parser.add_argument("-n", type=int, default=500, help="number of samples per method")
    parser.add_argument("--nfe", type=int, default=16, help="number of denoisings per sample")
    parser.add_argument("--pairs", type=int, default=40, help="number of measurements of each cost")
    parser.add_argument("--batch", type=int, default=64, help="batch size of the cost measurement")
    parser.add_argument("--methods", default="", help="run methods whose names contain this text")
    parser.add_argument("--only", default="quality,cost", help="parts to measure: quality, cost or both")
    parser.add_argument("--write", action="store_true", help="write results/guidance.md")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    run, parts = load_run(arguments.run), []
    chosen = [
        one for one in methods(arguments.run, arguments.classifier, arguments.weak) if arguments.methods in one[0]
    ]
    if "quality" in arguments.only:
        rows = []
        for method in chosen:
            rows.append(quality(run, method, arguments.n, arguments.nfe))
            print(*rows[-1], sep="  ", flush=True)
        net, train = run.recipe.network.name, run.recipe.train
        parts.append(
            f"{net}, {run.step} steps of {train.batch_size}, drop {train.drop:g}; {arguments.n} digits, `auto`, "
            f"{arguments.nfe} denoisings. The classifier recognises {judge()[1]:.1%} of unseen real digits.\n\n"
            + table(
                ["guidance", "label correct", "energy distance", "standard deviation within a label", "evaluations"],
                rows,
            )
        )
    if "cost" in arguments.only:
        rows = [cost(run, method, arguments.batch, arguments.pairs) for method in chosen if "scale=0" not in method[0]]
        for row in rows:
            print(*row, sep="  ", flush=True)
        parts.append(
            f"Time of one denoising at rho = 1, batch {arguments.batch}, one thread, relative to one evaluation on "
            "the doubled batch and on the batch itself.\n\n"
            + table(["guidance", "ms", "/ doubled batch", "/ batch"], rows)
        )
    if arguments.write:
        place = Path(__file__).parent / "results" / "guidance.md"
        head = "# Guidance of conditional digits\n\nSee `benchmarks/guidance.py`.\n\n"
        place.write_text(head + "\n".join(parts))


if __name__ == "__main__":
    main()
