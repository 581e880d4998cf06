"""What every test shares: one thread, fixed seeds, reproducible hypothesis examples."""

import os
import random

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported, and for every subprocess

import numpy as np
import pytest
import torch
from hypothesis import settings

torch.set_num_threads(1)
settings.register_profile("sdekit", deadline=None, derandomize=True)
settings.load_profile("sdekit")


@pytest.fixture(autouse=True)
def fixed_seeds() -> None:
    """Global generators start every test alike, whichever worker runs it and whatever ran before."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
