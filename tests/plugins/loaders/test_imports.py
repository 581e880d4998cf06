"""Optional packages are imported by the loaders that need them, when they open a model."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import sys
import numpy as np
import sdekit, sdekit_cli.app
from sdekit.errors import InputError
from sdekit.models import open_model
from sdekit.registry import component_names, find_component

for name in component_names("loader"):
    find_component("loader", name).load()
try:
    open_model(sys.argv[1])
except InputError:
    pass
print(sorted({"diffusers", "transformers", "huggingface_hub"} & {name.split(".")[0] for name in sys.modules}))
"""


def test_loaders_import_nothing_heavy(tmp_path: object) -> None:
    """Importing sdekit and all loaders, and asking them about a path, imports no optional package."""
    run = subprocess.run([sys.executable, "-c", CODE, str(tmp_path)], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-1] == "[]"
