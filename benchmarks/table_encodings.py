"""Compare encodings of the columns of tables: how integers, numbers and categories become the model's vector.

    python benchmarks/table_encodings.py                             # all tables and encodings
    python benchmarks/table_encodings.py --tables people wine --encodings standard quantile --steps 1000

An encoding has three parts:

- numbers: `standard` maps a column to mean 0 and standard deviation 1, `quantile` to a standard normal through its
  distribution function.
- integers: `round` rounds samples only; `dequantize` also adds uniform noise in (-1/2, 1/2) before the map, so that the
  density that the model learns is continuous.
- categories: `one-hot` (-1 and 1 for each value), `bits` (the index in base 2, -1 and 1 for each bit), or `scalar` (the
  index in a random order, dequantized, mapped like an integer).

Each model is trained for equally many steps on the same rows. The measures are those of `benchmarks/tables.py`,
but the forest has 100 trees in three folds, and one set of rows is drawn.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tables import Table, as_numbers, distances, load_table

from sdekit import sample
from sdekit.training import Trainer, plan

OUT = Path(__file__).parent / "results" / "table_encodings"
ENCODINGS = {
    "standard": ("standard", "round", "one-hot"),
    "dequantized": ("standard", "dequantize", "one-hot"),
    "quantile": ("quantile", "dequantize", "one-hot"),
    "quantile-round": ("quantile", "round", "one-hot"),
    "quantile-bits": ("quantile", "dequantize", "bits"),
    "quantile-scalar": ("quantile", "dequantize", "scalar"),
    "standard-bits": ("standard", "dequantize", "bits"),
}


def hard(n: int, seed: int) -> pd.DataFrame:
    """Draw a table of difficult columns: many zeros, heavy tails, a narrow mixture, a rare category, a constant."""
    g = np.random.default_rng(seed)
    region = g.choice(["north", "south", "east", "west", "islands"], n, p=[0.4, 0.3, 0.2, 0.08, 0.02])
    wet = g.random(n) < np.where(region == "north", 0.6, 0.25)
    rain = np.where(wet, g.gamma(0.8, 6.0, n), 0.0).round(1)
    gain = g.standard_t(2, n) * 10 + (region == "south") * 8
    level = np.where(g.random(n) < 0.5, g.normal(-3, 0.05, n), g.normal(2 + 0.02 * np.clip(gain, -50, 50), 0.3, n))
    visits = g.poisson(np.exp(0.6 + 0.8 * wet))
    columns = {"rain": rain, "gain": gain, "level": level, "visits": visits, "year": np.full(n, 2020)}
    return pd.DataFrame(columns | {"region": region, "storm": np.where(wet & (rain > 8), "yes", "no")})


def load(name: str) -> Table:
    """Return a table of `benchmarks/tables.py`, or `hard`."""
    if name == "hard":
        return Table(hard(5000, 0), hard(2000, 1), ("visits", "year"), ("region", "storm"))
    return load_table(name)


@dataclass
class Scalar:
    """Map of one column of numbers to one coordinate, `standard` or `quantile`."""

    kind: str
    values: np.ndarray

    def __post_init__(self) -> None:
        self.mean, self.std = self.values.mean(), self.values.std() or 1.0
        self.sorted, self.places = np.unique(self.values), None
        counts = (
            np.searchsorted(np.sort(self.values), self.sorted, "left"),
            np.searchsorted(np.sort(self.values), self.sorted, "right"),
        )
        self.places = (counts[0] + counts[1]) / 2 / len(self.values)
        if len(self.sorted) == 1:
            self.kind = "standard"

    def encode(self, values: np.ndarray) -> np.ndarray:
        from scipy.special import ndtri

        if self.kind == "standard":
            return (values - self.mean) / self.std
        return ndtri(np.interp(values, self.sorted, self.places))

    def decode(self, codes: np.ndarray) -> np.ndarray:
        from scipy.special import ndtr

        if self.kind == "standard":
            return codes * self.std + self.mean
        return np.interp(ndtr(codes), self.places, self.sorted)


class Encoding:
    """Map between the rows of a table and vectors, fitted to the rows.

    Arguments:
        table: Table to fit.
        parts: How numbers, integers and categories are encoded.
    """

    def __init__(self, table: Table, parts: tuple[str, str, str]) -> None:
        self.table, (self.numbers, self.integers, self.categories) = table, parts
        self.random = np.random.default_rng(0)
        self.codes = self._fit(table.train)

    def _fit(self, frame: pd.DataFrame) -> np.ndarray:
        self.maps: dict[str, Scalar] = {}
        self.levels: dict[str, np.ndarray] = {}
        codes = []
        for name in frame:
            values = frame[name].to_numpy()
            if name in self.table.categories:
                levels = np.unique(values.astype(str))
                self.levels[name] = levels = self.random.permutation(levels) if self.categories == "scalar" else levels
                index = np.array([list(levels).index(value) for value in values.astype(str)])
                if self.categories == "one-hot":
                    codes.append(2.0 * np.eye(len(levels))[index] - 1)
                    continue
                if self.categories == "bits":
                    width = max(1, (len(levels) - 1).bit_length())
                    codes.append(2.0 * (index[:, None] >> np.arange(width) & 1) - 1)
                    continue
                values = index.astype(float)
            values = values.astype(float)
            if name in self.table.categories or (name in self.table.integers and self.integers == "dequantize"):
                values = values + self.random.uniform(-0.5, 0.5, len(values))
            self.maps[name] = Scalar(self.numbers, values)
            codes.append(self.maps[name].encode(values)[:, None])
        return np.concatenate(codes, 1)

    def decode(self, codes: np.ndarray) -> pd.DataFrame:
        """Return rows (N, columns) from vectors (N, d)."""
        start, columns = 0, {}
        for name in self.table.train:
            levels = self.levels.get(name)
            if levels is not None and self.categories != "scalar":
                width = len(levels) if self.categories == "one-hot" else max(1, (len(levels) - 1).bit_length())
                part = codes[:, start : start + width]
                start += width
                bits = ((part > 0) << np.arange(width)).sum(1).clip(0, len(levels) - 1)
                columns[name] = levels[part.argmax(1) if self.categories == "one-hot" else bits]
                continue
            values = self.maps[name].decode(codes[:, start])
            start += 1
            if levels is not None:
                columns[name] = levels[np.rint(values).astype(int).clip(0, len(levels) - 1)]
            else:
                columns[name] = np.rint(values) if name in self.table.integers else values
        return pd.DataFrame(columns)


def forest_accuracy(drawn: pd.DataFrame, table: Table) -> float:
    """Return the cross-validated accuracy of a random forest that separates drawn rows from held-out rows."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    x = np.concatenate(as_numbers([drawn, table.held_out], table.categories))
    y = np.repeat([0, 1], [len(drawn), len(table.held_out)])
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    return float(cross_val_score(RandomForestClassifier(100, random_state=0), x, y, cv=folds).mean())


def run(name: str, encoding: str, steps: int, options: list[str]) -> dict[str, float]:
    """Train on the encoded rows of a table and return the measures of samples."""
    table = load(name)
    fitted = Encoding(table, ENCODINGS[encoding])
    groups: dict[str, dict[str, object]] = {"data": {"scale": "none"}, "train": {"steps": steps}}
    for option in options:
        key, _, value = option.partition("=")
        group, _, key = key.partition(".")
        groups.setdefault(group, {})[key] = json.loads(value)
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/rows.npy", fitted.codes.astype(np.float32))
        recipe, data = plan(f"array:{folder}/rows.npy", options=groups)
        start = time.process_time()
        trainer = Trainer(recipe, data, f"{folder}/run", loggers=())
        for _ in trainer.run():
            pass
        seconds = time.process_time() - start
        size = len(table.held_out)
        from sdekit import load_run

        model = load_run(f"{folder}/run").model
        with torch.no_grad():
            x = sample(model.sde, model, "auto", shape=recipe.shape, n=size, nfe=25).x
    drawn = fitted.decode(x.double().numpy())
    columns = distances(drawn, table.held_out, table.categories)
    return {
        "KS": max(columns.values()),
        "mean KS": float(np.mean(list(columns.values()))),
        "forest": forest_accuracy(drawn, table),
        "seconds": round(seconds, 1),
        **{f"KS of {column}": value for column, value in columns.items()},
    }


def main() -> None:
    """Run all combinations, print each result, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", nargs="+", default=["people", "hard", "diabetes", "wine"])
    parser.add_argument("--encodings", nargs="+", choices=list(ENCODINGS), default=list(ENCODINGS))
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--option", nargs="*", default=[], help="further options of the training, group.name=value")
    parser.add_argument("--out", type=Path, default=OUT, help="results without suffix")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    path = arguments.out.with_suffix(".json")
    for name in arguments.tables:
        for encoding in arguments.encodings:
            row = run(name, encoding, arguments.steps, arguments.option)
            results = json.loads(path.read_text()) if path.exists() else []
            results.append(
                {"table": name, "encoding": encoding, "steps": arguments.steps, "options": arguments.option, **row}
            )
            path.write_text(json.dumps(results, indent=1))
            print(name, encoding, arguments.option, {k: round(v, 3) for k, v in row.items()}, flush=True)


if __name__ == "__main__":
    main()
