"""Compare generators of tables in the same CPU time: sdekit, copulas, CTGAN and ForestDiffusion.

    pip install copulas ctgan ForestDiffusion           # in addition to sdekit and pandas; absent ones are skipped
    python benchmarks/tables.py                         # all tables and methods
    python benchmarks/tables.py --tables people --methods sdekit ctgan --budget 60 --out trial

Every method fits the same rows for the same CPU time on one thread, and draws as many rows as were held out, several
times. A short pilot determines the number of sdekit's steps, of CTGAN's epochs, and of ForestDiffusion's noise samples
per row, so that the fit takes the budget; the copula takes as long as it takes. All other options are defaults.

The file OUT.json keeps the result of each table and method. A second call computes only missing results, so that a full
run can be split; `--again` computes them anew. OUT.md contains the tables of all results.

The measures compare drawn rows with the held-out rows. `real` draws training rows instead, and is the floor of each
measure:

- KS is the largest distance of Kolmogorov and Smirnov of a column, or the total variation of a column of categories.
- mean KS is the mean of this distance over the columns.
- forest is the cross-validated accuracy of a random forest that separates drawn rows from held-out rows; 0.5 is best.
- near is the share of drawn rows that are closer to a training row than to any row of as many held-out ones; 0.5 is
  best, and 1 means copies of training rows.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import json
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import pandas as pd

OUT = Path(__file__).parent / "results" / "tables"
DRAWS = 5
"""Number of times that as many rows as were held out are drawn."""
MEASURES = ("KS", "mean KS", "forest", "near")


@dataclass(frozen=True)
class Table:
    """A table with rows to fit and held-out rows; `integers` and `categories` are names of columns."""

    train: pd.DataFrame
    held_out: pd.DataFrame
    integers: tuple[str, ...]
    categories: tuple[str, ...]


def people(n: int, seed: int) -> pd.DataFrame:
    """Draw a table of five numbers (skewed, bimodal, correlated), an integer, and a category that depends on them."""
    g = np.random.default_rng(seed)
    age = np.clip(np.round(18 + g.gamma(3.0, 9.0, n)), 18, 95).astype(int)
    height = g.normal(171, 9, n)
    weight = 0.9 * height - 85 + g.gamma(4.0, 4.0, n)
    log_income = 9.6 + 0.5 * np.log(age / 18) + g.normal(0, 0.5, n)
    spending = np.exp(0.8 * log_income + g.normal(0, 0.3, n)) / 10
    score = np.where(g.random(n) < 0.35 + 0.3 * (age > 45), g.normal(30, 6, n), g.normal(62, 9, n))
    logits = np.stack([0 * score, 1.5 * (log_income - 10), 0.08 * (score - 50), 0.1 * (age - 60)], 1)
    plans = np.array(["free", "basic", "plus", "senior"])
    plan = plans[(logits + g.gumbel(size=logits.shape)).argmax(1)]
    columns = {"age": age, "height": height, "weight": weight, "income": np.exp(log_income)}
    return pd.DataFrame(columns | {"spending": spending, "score": score, "plan": plan})


def load_table(name: str) -> Table:
    """Return a table by its name: `people`, or one of scikit-learn's with a third of the rows held out."""
    if name == "people":
        return Table(people(5000, 0), people(2000, 1), ("age",), ("plan",))
    from sklearn import datasets

    bunch = getattr(datasets, f"load_{name}")(as_frame=True, **({"scaled": False} if name == "diabetes" else {}))
    frame: pd.DataFrame = bunch.frame.copy()
    if name == "diabetes":
        frame["sex"] = frame["sex"].map({1.0: "female", 2.0: "male"})
        categories: tuple[str, ...] = ("sex",)
    else:
        frame["target"] = np.asarray(bunch.target_names, dtype=object)[bunch.target]
        categories = ("target",)
    numbers = [column for column in frame if column not in categories]
    integers = tuple(column for column in numbers if (frame[column] % 1 == 0).all())
    frame = frame.astype(dict.fromkeys(integers, int))
    order = np.random.default_rng(0).permutation(len(frame))
    count = len(frame) // 3
    held_out, train = (frame.iloc[part].reset_index(drop=True) for part in (order[:count], order[count:]))
    return Table(train, held_out, integers, categories)


TABLES = ("people", "diabetes", "wine", "breast_cancer")


def cpu() -> float:
    """Return the CPU seconds of this process and of its finished children."""
    return sum(os.times()[:4])


def seconds_of(function: Callable[[], object]) -> float:
    """Return the CPU seconds of a call."""
    start = cpu()
    function()
    return cpu() - start


Fit = Callable[[Table, float, Path], tuple[Callable[[int], pd.DataFrame], str]]
"""`fit(table, budget, folder) -> (draw, setting)` with `draw(n)`, a frame of n rows; the folder is empty.

A fit is timed by `timed`, and not its pilot.
"""

fit_seconds = 0.0


def timed(function: Callable[[], object]) -> None:
    """Call the fit of a method, and store its CPU seconds in `fit_seconds`."""
    global fit_seconds
    fit_seconds = seconds_of(function)


def fit_real(table: Table, budget: float, folder: Path) -> tuple[Callable[[int], pd.DataFrame], str]:
    """Draw rows of the training part without replacement, as a floor of the measures."""
    timed(lambda: None)
    g = np.random.default_rng(3)
    return lambda n: table.train.iloc[np.concatenate([g.permutation(len(table.train)) for _ in range(DRAWS)])[:n]], ""


def fit_sdekit(
    table: Table, budget: float, folder: Path, options: tuple[str, ...] = ()
) -> tuple[Callable[[int], pd.DataFrame], str]:
    """Train with `sdekit train` with its defaults, and draw with `sdekit sample`."""
    path = folder / "rows.csv"
    table.train.to_csv(path, index=False)

    def command(*words: str) -> None:
        subprocess.run([sys.executable, "-m", "sdekit_cli", *words], check=True, capture_output=True, cwd=folder)

    def train(steps: int, out: str) -> None:
        command("train", "--data", f"table:{path}", "--steps", str(steps), "--out", out, *options)

    few, many = 200, 800
    begin, end = seconds_of(lambda: train(few, "few")), seconds_of(lambda: train(many, "many"))
    each = (end - begin) / (many - few)
    steps = max(few, round((budget - begin) / each) + few)
    timed(lambda: train(steps, "run"))

    def draw(n: int) -> pd.DataFrame:
        command("sample", "run", "-n", str(n), "--out", "samples", "--overwrite")
        return pd.read_csv(folder / "samples" / "samples.csv")

    return draw, f"{steps} steps"


def fit_copula(table: Table, budget: float, folder: Path) -> tuple[Callable[[int], pd.DataFrame], str]:
    """Fit a Gaussian copula of copulas; a category is a uniform number in an interval of the length of its share."""
    from copulas.multivariate import GaussianMultivariate

    g = np.random.default_rng(0)
    edges: dict[str, tuple[list[str], np.ndarray]] = {}
    numbers = table.train.copy()
    for column in table.categories:
        shares = numbers[column].value_counts(normalize=True)
        names, ends = list(shares.index), np.cumsum(shares.to_numpy())
        edges[column] = names, ends
        position = numbers[column].map({name: i for i, name in enumerate(names)}).to_numpy()
        numbers[column] = ends[position] - g.random(len(numbers)) * shares.to_numpy()[position]
    model = GaussianMultivariate(random_state=0)
    timed(lambda: model.fit(numbers))

    def draw(n: int) -> pd.DataFrame:
        frame = model.sample(n)
        for column, (names, ends) in edges.items():
            place = np.searchsorted(ends[:-1], frame[column])
            frame[column] = np.asarray(names, dtype=object)[place]
        return frame

    return draw, "defaults"


def fit_ctgan(table: Table, budget: float, folder: Path) -> tuple[Callable[[int], pd.DataFrame], str]:
    """Fit CTGAN with as many epochs as the budget allows."""
    import torch
    from ctgan import CTGAN

    torch.set_num_threads(1)

    def model(epochs: int) -> CTGAN:
        torch.manual_seed(0)
        np.random.seed(0)
        return CTGAN(epochs=epochs, enable_gpu=False)

    def fit(synthesizer: CTGAN) -> None:
        synthesizer.fit(table.train, list(table.categories))

    def pilot(epochs: int) -> float:
        return seconds_of(lambda: fit(model(epochs)))

    pilot(1)  # imports
    few, many = 1, 20
    begin = end = pilot(few)
    while end - begin < budget / 20:  # an epoch of a small table takes milliseconds
        many *= 3
        end = pilot(many)
    each = (end - begin) / (many - few)
    epochs = max(1, round((budget - begin) / each) + few)
    chosen = model(epochs)
    timed(lambda: fit(chosen))
    return chosen.sample, f"{epochs} epochs"


def fit_forest(table: Table, budget: float, folder: Path) -> tuple[Callable[[int], pd.DataFrame], str]:
    """Fit ForestDiffusion with as many noise samples per row as the budget allows, at most its default of 100."""
    from ForestDiffusion import ForestDiffusionModel

    names = list(table.train)
    levels = {column: sorted(table.train[column].unique()) for column in table.categories}
    numbers = table.train.copy()
    for column, values in levels.items():
        numbers[column] = numbers[column].map({value: i for i, value in enumerate(values)})
    array = numbers.to_numpy(float)
    two = [names.index(column) for column, values in levels.items() if len(values) == 2]
    more = [names.index(column) for column, values in levels.items() if len(values) > 2]
    models = []

    def fit(times: int, copies: int) -> None:
        integers = [names.index(column) for column in table.integers]
        models[:] = [
            ForestDiffusionModel(
                *(array,), n_t=times, duplicate_K=copies, bin_indexes=two, cat_indexes=more, int_indexes=integers,
                n_jobs=1, seed=0,
            )
        ]  # fmt: skip

    fit(1, 1)  # imports
    few, many = 2, 12
    begin, end = (seconds_of(lambda k=k: fit(2, k)) / 2 for k in (few, many))
    each = max((end - begin) / (many - few), 1e-6)
    times = 50
    copies = int(np.clip((budget / times - begin) / each + few, 1, 100))
    if (predicted := times * (begin + each * (copies - few))) > 1.1 * budget:
        times = max(2, round(times * budget / predicted))
    timed(lambda: fit(times, copies))

    def draw(n: int) -> pd.DataFrame:
        frame = pd.DataFrame(models[0].generate(batch_size=n), columns=names)
        for column, values in levels.items():
            frame[column] = np.asarray(values, dtype=object)[frame[column].round().astype(int).clip(0, len(values) - 1)]
        return frame

    return draw, f"{times} noise levels, {copies} noise samples per row"


METHODS: dict[str, tuple[Fit, str | None]] = {
    "real": (fit_real, None),
    "sdekit": (fit_sdekit, "sdekit"),
    "copulas": (fit_copula, "copulas"),
    "ctgan": (fit_ctgan, "ctgan"),
    "ForestDiffusion": (fit_forest, "ForestDiffusion"),
}
"""Fit of each method, and the package that it needs."""


def distances(drawn: pd.DataFrame, held_out: pd.DataFrame, categories: tuple[str, ...]) -> dict[str, float]:
    """Return the KS distance of each column of numbers and the total variation of each column of categories."""
    from scipy.stats import ks_2samp

    result = {}
    for column in held_out:
        if column in categories:
            shares = [frame[column].astype(str).value_counts(normalize=True) for frame in (drawn, held_out)]
            result[column] = float(shares[0].sub(shares[1], fill_value=0).abs().sum() / 2)
        else:
            result[column] = float(ks_2samp(drawn[column], held_out[column]).statistic)
    return result


def as_numbers(frames: list[pd.DataFrame], categories: tuple[str, ...]) -> list[np.ndarray]:
    """Return frames as arrays with a 0/1 column for each category."""
    together = pd.concat(frames, keys=range(len(frames)))
    together[list(categories)] = together[list(categories)].astype(str)
    together = pd.get_dummies(together, columns=list(categories), dtype=float)
    return [together.loc[i].to_numpy(float) for i in range(len(frames))]


def forest_accuracy(drawn: pd.DataFrame, held_out: pd.DataFrame, categories: tuple[str, ...]) -> float:
    """Return the cross-validated accuracy of a random forest that separates drawn rows from held-out rows."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    x = np.concatenate(as_numbers([drawn, held_out], categories))
    y = np.repeat([0, 1], [len(drawn), len(held_out)])
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    return float(cross_val_score(RandomForestClassifier(200, random_state=0), x, y, cv=folds).mean())


def near_share(drawn: pd.DataFrame, table: Table) -> float:
    """Return the share of drawn rows whose closest row, among as many training as held-out rows, was trained on."""
    from sklearn.neighbors import NearestNeighbors

    count = min(len(table.train), len(table.held_out))
    rows = as_numbers([drawn, table.train.iloc[:count], table.held_out.iloc[:count]], table.categories)
    scale = np.concatenate(rows[1:]).std(0)
    scaled = [part / np.where(scale > 0, scale, 1) for part in rows]
    closest = [NearestNeighbors(n_neighbors=1).fit(part).kneighbors(scaled[0])[0][:, 0] for part in scaled[1:]]
    return float((closest[0] < closest[1]).mean() + (closest[0] == closest[1]).mean() / 2)


def run(name: str, method: str, budget: float) -> dict[str, object]:
    """Fit a method to a table and return its measures, CPU seconds, setting and version."""
    table = load_table(name)
    fit, package = METHODS[method]
    with tempfile.TemporaryDirectory() as folder:
        draw, setting = fit(table, budget, Path(folder))
        size = len(table.held_out)
        start = cpu()
        drawn = draw(DRAWS * size)[list(table.train)].reset_index(drop=True)
        draw_seconds = cpu() - start
    drawn = drawn.dropna()
    drawn[list(table.integers)] = drawn[list(table.integers)].round()
    columns = distances(drawn, table.held_out, table.categories)
    sets = [drawn.iloc[i * size : (i + 1) * size] for i in range(DRAWS)]
    accuracies = [forest_accuracy(part, table.held_out, table.categories) for part in sets if len(part) > 20]
    return {
        "KS": max(columns.values()),
        "mean KS": float(np.mean(list(columns.values()))),
        "forest": float(np.mean(accuracies)),
        "near": near_share(drawn, table),
        "columns": columns,
        "forests": accuracies,
        "fit_seconds": round(fit_seconds, 1),
        "draw_seconds": round(draw_seconds, 1),
        "setting": setting,
        "budget": budget,
        "version": None if package is None else version(package),
        "rows": [len(table.train), len(table.held_out), len(table.train.columns)],
    }


def markdown(results: dict[str, dict[str, dict[str, object]]]) -> str:
    """Return a Markdown table for each table of the results. The best method of each measure is bold."""
    text = ["# Generators of tables in the same CPU time", "", "See `benchmarks/tables.py` for the measures.", ""]
    for name in (name for name in TABLES if results.get(name)):
        rows = {method: results[name][method] for method in METHODS if method in results[name]}
        train, held_out, columns = next(iter(rows.values()))["rows"]
        text += [f"## {name}: {train} rows to fit, {held_out} held out, {columns} columns", ""]
        text += ["| method | largest KS | mean KS | forest | near | CPU s to fit | CPU s to draw | setting |"]
        text += ["|---|---|---|---|---|---|---|---|"]
        for method, row in rows.items():
            cells = []
            for measure in MEASURES:
                distance = {m: abs(r[measure] - (0.5 if measure in ("forest", "near") else 0)) for m, r in rows.items()}
                best = method != "real" and distance[method] == min(v for m, v in distance.items() if m != "real")
                cells.append(f"**{row[measure]:.3f}**" if best else f"{row[measure]:.3f}")
            seconds = [f"{row[f'{part}_seconds']:.0f}" for part in ("fit", "draw")] if method != "real" else ["", ""]
            label = method if row["version"] is None else f"{method} {row['version']}"
            text.append("| " + " | ".join([label, *cells, *seconds, str(row["setting"])]) + " |")
        text.append("")
    return "\n".join(text)


def load_results(path: Path) -> dict[str, dict[str, dict[str, object]]]:
    """Return the results so far."""
    return json.loads(path.read_text()) if path.exists() else {}


def main() -> None:
    """Run the missing combinations of tables and methods."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=TABLES)
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--budget", type=float, default=240, help="CPU seconds of each fit (two minutes on two cores)")
    parser.add_argument("--again", action="store_true", help="compute results anew that are known")
    parser.add_argument("--out", type=Path, default=OUT, help="results without suffix: OUT.json and OUT.md")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    path = arguments.out.with_suffix(".json")
    for name in arguments.tables:
        for method in arguments.methods:
            package = METHODS[method][1]
            if method in load_results(path).get(name, {}) and not arguments.again:
                continue
            try:
                version(package or "sdekit")
            except PackageNotFoundError:
                print(f"{method} is skipped: pip install {package}", flush=True)
                continue
            row = run(name, method, arguments.budget)
            measures = ", ".join(f"{measure} {row[measure]:.3f}" for measure in MEASURES)
            print(f"{name} {method}: {measures}; {row['fit_seconds']} s, {row['setting']}", flush=True)
            results = load_results(path)  # another process may have added to it
            results.setdefault(name, {})[method] = row
            path.parent.mkdir(exist_ok=True, parents=True)
            path.write_text(json.dumps(results, indent=1))
    results = load_results(path)
    arguments.out.with_suffix(".md").write_text(markdown(results))
    print(markdown(results))


if __name__ == "__main__":
    main()
