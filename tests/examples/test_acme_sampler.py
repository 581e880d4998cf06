"""The example package as a user meets it: two wheels, pip, and a clean environment that holds nothing else of ours."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import site
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "acme_sampler"
TINY = ("--data", "moons", "--network", "mlp", "--option", "network.width=8", "--option", "data.n=50", "--steps", "2")


def run(*command: object, cwd: Path) -> str:
    """What the command printed on stdout; the test fails with all it said where it failed."""
    done = subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def libraries() -> list[str]:
    """Where this interpreter has torch and the rest, which the clean environment borrows."""
    return [path for path in map(str, site.getsitepackages()) if Path(path).is_dir()]


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an environment `venv` where wheels of sdekit and of the example are installed, and a run `run`.

    Made once, whichever of pytest's workers comes first; the others wait for it.
    """
    base = tmp_path_factory.getbasetemp()
    place = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "clean"
    with open(place.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "whole").exists():
            make(place)
            (place / "whole").touch()
    return place


def make(place: Path) -> None:
    """Build, install, train.

    Third-party libraries are borrowed through a .pth file, without what this interpreter's own .pth files add: an
    editable sdekit stays unseen, and pip needs no network.
    """
    for source, name in ((ROOT, "sdekit"), (EXAMPLE, "acme_sampler")):
        ignored = shutil.ignore_patterns(".git", ".venv", "tests", "docs", "benchmarks", "*-out", "__pycache__")
        shutil.copytree(source, place / "sources" / name, ignore=ignored)
        build = ("-m", "pip", "wheel", "-q", "--no-index", "--no-build-isolation", "--no-deps", "-w", place / "wheels")
        run(sys.executable, *build, place / "sources" / name, cwd=place)
    venv.create(place / "venv", with_pip=False)
    (own,) = (place / "venv" / "lib").glob("python3*/site-packages")
    wheels = sorted((place / "wheels").glob("*.whl"))
    install = ("-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-compile", "--target", own)
    run(sys.executable, *install, *wheels, cwd=place)
    # sys.path.append keeps the environment's own packages first, and reads no .pth file of the borrowed folders
    (own / "borrowed.pth").write_text(f"import sys; sys.path.extend({libraries()!r})\n")
    run(place / "venv" / "bin" / "python", "-m", "sdekit_cli", "train", *TINY, "--out", place / "run", cwd=place)


def sdekit(place: Path, *arguments: object) -> str:
    """`sdekit ARGUMENTS` in the clean environment."""
    return run(place / "venv" / "bin" / "python", "-m", "sdekit_cli", *arguments, cwd=place)


@pytest.mark.slow
def test_both_come_from_their_wheels(clean: Path) -> None:
    """Nothing of the checkout is on the path."""
    code = "import sdekit, sdekit_cli, sdekit_plugins, acme_sampler; print(sdekit.__file__, acme_sampler.__file__)"
    out = run(clean / "venv" / "bin" / "python", "-c", code, cwd=clean)
    assert all(path.startswith(str(clean / "venv")) for path in out.split())


@pytest.mark.slow
def test_it_is_listed(clean: Path) -> None:
    """With its package and version; `plugins check` has nothing to say."""
    rows = json.loads(sdekit(clean, "plugins", "list", "--kind", "sampler", "--json"))["components"]
    (row,) = (row for row in rows if row["name"] == "acme-heun")
    assert (row["package"], row["version"]) == ("acme-sampler", "1.0.0") and row["summary"].startswith("Heun's method")
    fields = json.loads(sdekit(clean, "plugins", "check", "--json"))
    assert fields["passed"] and {c["verdict"] for c in fields["checks"] if c["plugin"] == "acme-sampler"} == {"ok"}


@pytest.mark.slow
def test_it_samples_a_trained_run(clean: Path) -> None:
    """`--solver acme-heun`, its option included; new plugins can be written there too, from the wheel's templates."""
    out = clean / "samples"
    arguments = ("--solver", "acme-heun", "--option", "corrections=2", "--steps", 4, "-n", 3, "--out", out)
    sdekit(clean, "sample", clean / "run", *arguments)
    record = json.loads((out / "sample.json").read_text())
    assert (record["solver"], record["options"], record["nfe"]) == ("acme-heun", {"corrections": 2}, 10)
    sdekit(clean, "plugins", "new", "acme-new", "--out", clean / "new")
    assert (clean / "new" / "src" / "acme_new" / "component.py").is_file()


@pytest.mark.slow
def test_its_own_tests_pass(clean: Path) -> None:
    """As its author runs them."""
    run(clean / "venv" / "bin" / "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", EXAMPLE / "tests", cwd=clean)
