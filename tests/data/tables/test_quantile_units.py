"""Laws of tables whose numbers are mapped by their quantiles."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch

from sdekit.data import Units
from sdekit.data.tables import columns_of, table_from_columns
from sdekit.errors import InputError
from sdekit.inverse.operators import Mask, in_model_units
from sdekit.inverse.operators.matrices import Matrix

RANDOM = np.random.default_rng(0)
N = 300
TABLE = {
    "mass (kg)": RANDOM.lognormal(0, 1, N),
    "rain": np.where(RANDOM.random(N) < 0.5, 0, RANDOM.gamma(1, 5, N)).round(1),
    "count": RANDOM.poisson(3, N),
    "year": np.full(N, 2020),
    "city": RANDOM.choice(["Rome", "Oslo", "Bern"], N).astype(object),
}
DATA = table_from_columns(TABLE)


def test_rows_return_exactly() -> None:
    """Encoded rows, which contain noise and are float32, are decoded to the rows of the table."""
    table = columns_of(DATA.units.to_data(DATA.batch(range(N)).x), DATA.columns)
    assert list(table) == list(TABLE)
    for name in ("rain", "count", "year", "city"):
        assert (table[name] == TABLE[name]).all()
    assert np.allclose(table["mass (kg)"], TABLE["mass (kg)"], rtol=1e-4)


def test_rows_do_not_depend_on_the_batch() -> None:
    """Item i is the same in every call and batch."""
    whole = DATA.batch(range(N)).x
    assert torch.equal(whole[[7, 3, 7]], DATA.batch([7, 3, 7]).x)


def test_units_survive_json() -> None:
    """Units with curves can be written and read."""
    assert Units.from_dict(json.loads(json.dumps(asdict(DATA.units)))) == DATA.units


def test_small_tables_are_standardized() -> None:
    """Fewer than 100 rows, and the choice "columns", have shift and scale only, as in earlier versions."""
    assert not table_from_columns({name: values[:99] for name, values in TABLE.items()}).units.quantiles
    data = table_from_columns({"count": TABLE["count"]}, scale="columns")
    assert not data.units.quantiles and data.batch([0]).x.item() == pytest.approx(
        (TABLE["count"][0] - TABLE["count"].mean()) / TABLE["count"].std()
    )


def test_measured_columns_are_converted() -> None:
    """A mask measures columns in the units of the model; a sum of columns with curves is refused with a remedy."""
    row = DATA.array[0].astype(np.float64)
    keep = torch.zeros(len(row))
    keep[:2] = 1
    operator, y, _ = in_model_units(Mask(keep), DATA.units, torch.from_numpy(row), 0.0)
    expected = DATA.units.model_values(row[None])[0, :2]
    assert np.allclose(y[:2], expected) and not y[2:].any() and isinstance(operator, Mask)
    with pytest.raises(InputError, match="scale=columns"):
        in_model_units(Matrix(torch.ones(1, len(row))), DATA.units, torch.ones(1), 0.0)
