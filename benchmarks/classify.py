"""Train on half of scikit-learn's digits by class, classify the other half, and separate it from shuffled pixels.

    python benchmarks/classify.py                # trains for at most 3 minutes, classifies all 900 held-out digits
    python benchmarks/classify.py -n 200         # fewer items
    python benchmarks/classify.py --run RUN      # a run that exists

Targets: at least 96% correct, and an AUROC of digits against shuffled pixels of at least 0.99. The training settings
are those of docs/classification.md. benchmarks/results/classify.md contains the measured numbers. Prints one JSON
object.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np

TRAINING = ("--data", "digits", "--condition", "label", "--option", "train.held_out=0.5", "--time-limit", "180")


def sdekit(*words: object) -> None:
    """Run a command of sdekit in this process."""
    from sdekit_cli.app import main

    try:
        main(list(map(str, words)))
    except SystemExit as end:
        if end.code:
            raise


def shuffled_digits() -> np.ndarray:
    """Return all digits, the pixels of each in an order of its own, (1797, 8, 8)."""
    from sklearn.datasets import load_digits

    images = load_digits().images
    return np.random.default_rng(0).permuted(images.reshape(len(images), -1), axis=1).reshape(images.shape)


def main() -> None:
    """Train, classify and measure the out-of-distribution score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", help="a run that exists, trained with the same settings")
    parser.add_argument("-n", type=int, default=None, help="number of items to classify (default: all)")
    parser.add_argument("--method", choices=("bound", "nll"), default="bound", help="method of `sdekit classify`")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        run = arguments.run or str(path / "run")
        if arguments.run is None:
            sdekit("train", *TRAINING, "--out", run)
        items = ("--all",) if arguments.n is None else ("-n", arguments.n)
        sdekit("classify", run, *items, "--method", arguments.method, "--out", path / "classes")
        np.save(path / "shuffled.npy", shuffled_digits())
        sdekit("ood", run, "--against", f"array:{path / 'shuffled.npy'}", "-n", 100, "--out", path / "ood")
        classes, ood = (json.loads((path / file).read_text()) for file in ("classes/classify.json", "ood/ood.json"))
    names = ("run_step", "n", "accuracy", "accuracy_interval", "temperature", "calibration_error", "log_loss",
             "uncalibrated", "evaluations_per_item", "seconds")  # fmt: skip
    print(json.dumps({name: classes[name] for name in names} | {k: ood[k] for k in ood if k.startswith("auroc")}))


if __name__ == "__main__":
    main()
