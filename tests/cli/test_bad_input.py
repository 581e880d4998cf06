"""Bad input: exit code 2, one message that says what to do, and no file written."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Refused = Callable[..., str]
TINY = ("--steps", 2)


@pytest.fixture
def files(tmp_path: Path, pictures: Path) -> Path:
    """A folder with faulty files, each with another fault."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("x")
    (tmp_path / "file").write_text("x")
    Image.new("RGB", (10, 8)).save(pictures / "dog" / "wide.png")
    rows = ["a,b", *(f"{i},{i * i}" for i in range(10))]
    (tmp_path / "text.csv").write_text("\n".join([*rows[:4], "3,many", *rows[4:]]))
    (tmp_path / "nan.csv").write_text("\n".join([*rows[:6], "nan,25", *rows[6:]]))
    (tmp_path / "short.csv").write_text("\n".join([*rows[:6], "1", *rows[6:]]))
    x = np.random.default_rng(0).random((6, 2))
    np.savez(tmp_path / "labels.npz", x=x, y=np.array([0, 1, -1, 0, 1, 1]))
    np.savez(tmp_path / "float.npz", x=x, y=np.linspace(0, 1, 6))
    np.savez(tmp_path / "count.npz", x=x, y=np.array([0, 1]))
    np.save(tmp_path / "nan.npy", np.where(x == x[3, 1], np.nan, x))
    np.save(tmp_path / "good.npy", x)
    (tmp_path / "cut.npy").write_bytes((tmp_path / "good.npy").read_bytes()[:100])
    return tmp_path


@pytest.mark.parametrize(
    ("spec", "parts"),
    [
        ("images:{}/none", ["no such file or folder"]),
        ("array:{}/none.npy", ["no such file"]),
        ("table:{}/none.csv", ["no such file"]),
        ("mnist:{}/none", ["no such file or folder"]),
        ("images:{}/empty", ["contains no images"]),
        ("mnist:{}/empty", ["{}/empty"]),
        ("images:{}/other", ["contains no images"]),
        ("images:{}/file", ["neither a folder nor a zip"]),
        ("array:{}/empty", ["is a folder"]),
        ("array:{}/file", ["neither a .npy nor a .npz"]),
        ("array:{}/cut.npy", ["cut.npy", "header is damaged", "it may be incomplete"]),
        ("array:{}/nan.npy", ["nan at index [3, 1]"]),
        ("{}/pictures", ["did you mean images:{}/pictures?"]),
        ("{}/good.npy", ["did you mean array:{}/good.npy?"]),
        ("images:{}/pictures", ["8x8", "10x8", "wide.png", "--size"]),
        ("table:{}/text.csv", ["line 5", "column 'b'", "'many'"]),
        ("table:{}/nan.csv", ["line 7", "column 'a'", "'nan'"]),
        ("table:{}/short.csv", ["line 7", "1 cells; expected 2"]),
        ("array:{}/count.npz", ["2 labels for 6 items"]),
        ("array:{}/float.npz", ["label 0.2 at index 1; expected integers", "--option data.labels=none"]),
        ("digts", ["no dataset 'digts'; did you mean 'digits'?"]),
        ("images", ["needs a path: write images:PATH"]),
        ("moons:{}/file", ["takes no path"]),
        ("", ["expected NAME or NAME:PATH"]),
    ],
)
def test_data(refused: Refused, files: Path, spec: str, parts: list[str]) -> None:
    """Missing or malformed data are refused with the place of the fault."""
    message = refused("train", "--data", spec.format(files), "--out", files / "run", *TINY)
    assert all(part.format(files) in message for part in parts), message


def test_mixed_sizes_with_size(sdekit: Callable[..., object], files: Path) -> None:
    """The advice in the message about mixed sizes works."""
    given = ("--size", 8, "--network", "mlp", "--option", "network.width=8")
    assert sdekit("train", "--data", f"images:{files / 'pictures'}", "--out", files / "run", *TINY, *given).code == 0  # type: ignore[attr-defined]


def option(*assignments: str) -> tuple[str, ...]:
    """Return an --option for each text."""
    return tuple(word for assignment in assignments for word in ("--option", assignment))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--sde", "vpp"), "no process 'vpp'; did you mean 'vp'?"),
        (("--network", "unett"), "no network 'unett'; did you mean 'unet'?"),
        (("--prediction", "edmm"), "no prediction 'edmm'; did you mean 'edm'?"),
        (("--condition", "lable"), "condition must be 'none' or 'label'"),
        (("--data", "rings", "--network", "unet"), "with sides of at least 8"),
        (("--data", "swiss-roll", "--condition", "label"), "no labels to condition on"),
        (("--sde", "rectified-flow", "--prediction", "eps"), "choose 'v', 'flow', 'x0' or 'edm'"),
        (option("train.lerning_rate=1"), "named 'lerning_rate'; did you mean 'learning_rate'?"),
        (option("trian.clip=1"), "no group of options 'trian'; did you mean 'train'?"),
        (option("clip=1"), "needs its group: write one of data.clip"),
        (option("clip"), "write name=value"),
        (option("sde.beta_mx=1"), "named 'beta_mx'; did you mean 'beta_max'?"),
        (option("data.n=5"), "no option of dataset 'digits' named 'n'"),
        (option("network.width=9"), "width a multiple of 4"),
        (("--network", "unet", *option("network.widht=16")), "did you mean 'width'?"),
        (("--network", "unet", *option("network.width=9")), "width a multiple of 4"),
        (("--network", "unet", *option("network.width=wide")), "option width of network 'unet'"),
        (("--network", "unet", *option("network.multipliers=3")), "option multipliers of network 'unet'"),
        (("--network", "mlp", *option("network.embedding=learned")), "it takes fourier or sinusoidal or positional"),
        (option("train.learning_rate=abc"), "option learning_rate of train: input should be a valid number"),
        (option("train.learning_rate=nan"), "train: learning_rate must be a finite number"),
        (option("train.noise_mean=inf"), "train: noise_mean must be a finite number"),
        (option("train.batch_size=1.5"), "option batch_size of train"),
        (option("train.decay=exponential"), "option decay of train"),
        (option("train.held_out=1"), "held_out must be at least 0 and below 1"),
        (option("sde.beta_max=-3"), "VP: needs 0 < beta_min <= beta_max"),
        (("--steps", "x"), "Invalid value for '--steps'"),
        (("--steps", 0), "steps must be at least 1"),
        (("--time-limit", 0), "time_limit"),
        (("--time-limit", "nan"), "time_limit must be a finite number"),
        (("--skip-bad",), "--skip-bad applies to images:PATH only, and the data are digits"),
        (("--batch-size", 3, *option("train.batch_size=")), "--batch-size 3 and --option train.batch_size= are both"),
        (option("train.clip=2", "train.clip=abc"), "'train.clip' is given twice"),
        (("--batch-size", 0), "batch_size must be at least 1"),
        (("--checkpoint-every", 0), "checkpoint_every must be at least 1"),
        (("--seed=-1",), "seed must be between 0 and 2^32 - 1"),
        (("--precision", "fp8"), "'fp32' or 'bf16'"),
        (("--size", 8), "--size applies to images:PATH only, and the data are digits"),
        (("--device", "tpu"), "--device tpu cannot be used here"),
        (("--device", "cuda:99"), "--device cuda:99 cannot be used here"),
        (("--device", "meta"), "--device meta cannot be used here"),
        (("--resume",), "no such run folder"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_train(refused: Refused, tmp_path: Path, arguments: tuple[object, ...], message: str) -> None:
    """A wrong name, option or value of `train` is named, with the nearest valid name or the range."""
    steps = () if {"--steps", "--time-limit", "--resume"} & set(arguments) else TINY
    assert message in refused("train", *arguments, *steps, "--out", tmp_path / "run")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sdee = 'vp'", "no key 'sdee'; did you mean 'sde'?"),
        ("sde = 3", "sde takes a name in quotes, got 3"),
        ("sde = 'vpp'", "did you mean 'vp'?"),
        ("sde = ", "c.toml: Invalid value"),
        ("steps = 3", "steps is an option of train: write [option.train] steps = 3"),
        ("[train]\nsteps = 3", "write the options of train in a table [option.train]"),
        ("[option]\ntrain = 3", "option.train = 3 must be a table"),
        ("option = 3", "write options in tables, such as [option.train]"),
        ("[option]\nsteps = 3", "'steps'"),
        ("[option.trian]\nsteps = 3", "'trian'; did you mean 'train'?"),
        ("[option.train]\nstepz = 3", "did you mean 'steps'?"),
        ("[option.train]\nsteps = 'many'", "option steps of train"),
        (None, "no such file"),
    ],
    ids=str,
)
def test_config(refused: Refused, tmp_path: Path, text: str | None, message: str) -> None:
    """A config file with a wrong key, table, type or syntax is named."""
    if text is not None:
        (tmp_path / "c.toml").write_text(text)
    assert message in refused("train", "--config", tmp_path / "c.toml", "--out", tmp_path / "run")


@pytest.mark.parametrize(
    ("out", "message"),
    [("file", "is a file"), ("file/run", "is a file"), ("other", "is not empty and contains no run")],
)
@pytest.mark.parametrize("more", [(), ("--overwrite",)], ids=["", "overwrite"])
def test_train_out(refused: Refused, files: Path, out: str, message: str, more: tuple[str, ...]) -> None:
    """A folder with other files is refused, with and without --overwrite."""
    assert message in refused("train", *TINY, "--out", files / out, *more)


@pytest.mark.parametrize(
    "more",
    [
        ("--batch-size", 3),
        ("--sde", "ve"),
        ("--overwrite",),
        ("--size", 9),
        *[option("train.clip=2")],
    ],
    ids=str,
)
def test_resume_with_other_flags(refused: Refused, digits_run: Path, tmp_path: Path, more: tuple[object, ...]) -> None:
    """A resumed run keeps its options; only its length, its device and the treatment of bad files may change."""
    run = shutil.copytree(digits_run, tmp_path / "run")
    message = refused("train", "--out", run, "--resume", *more)
    assert "only --steps, --time-limit, --skip-bad, --device, --logger, and --data if the data have moved" in message


def test_resume_shorter(refused: Refused, digits_run: Path, tmp_path: Path) -> None:
    """A number of steps below that of the checkpoint is refused."""
    run = shutil.copytree(digits_run, tmp_path / "run")
    assert "trained 4 steps already: ask for more than 3" in refused("train", "--out", run, "--resume", "--steps", 3)
    assert "steps must be at least 1" in refused("train", "--out", run, "--resume", "--steps", 0)


def test_resume_without_a_run(refused: Refused, files: Path) -> None:
    """--resume refuses a folder without a run."""
    assert "config.json is missing" in refused("train", "--out", files / "other", "--resume")


def test_resume_without_its_data(refused: Refused, sdekit: Callable[..., object], files: Path) -> None:
    """Missing or changed data are named, and the run stays unchanged."""
    given = ("--network", "mlp", "--option", "network.width=8", "--option", "train.batch_size=2")
    sdekit("train", "--data", f"array:{files / 'good.npy'}", "--out", files / "run", *TINY, *given)
    np.save(files / "good.npy", np.random.default_rng(0).random((7, 2)))
    assert "are not what the run was trained on: 7 items" in refused("train", "--out", files / "run", "--resume")
    (files / "good.npy").unlink()
    assert "good.npy" in refused("train", "--out", files / "run", "--resume")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-n", 99999999999), "-n asks for 99999999999 samples, and one command draws 10000000 at most"),
        (("--seeds", "0-4294967295"), "--seeds asks for 4294967296 samples"),
        (("--device", "mps"), "cannot be used here: this machine has cpu"),
        (("-n", 0), "-n must be at least 1"),
        (("-n", "x"), "Invalid value for '-n'"),
        (("--nfe", 0), "--nfe must be at least 1"),
        (("--steps", 0), "--steps must be at least 1"),
        (("--batch-size", 0), "--batch-size must be at least 1"),
        (("--nfe", 5, "--solver", "ode"), "cannot be limited to nfe=5: set steps, or its tolerance"),
        (("--nfe", 5, "--steps", 5, "--solver", "ddim"), "choose one"),
        (("--solver", "ddmi"), "no sampler 'ddmi'; did you mean 'ddim'?"),
        (("--grid", "karas"), "no grid 'karas'; did you mean 'karras'?"),
        (("--solver", "ddim", *option("etaa=1")), "named 'etaa'; did you mean 'eta'?"),
        (("--solver", "ddim", *option("eta=x")), "option eta of sampler 'ddim': input should be a valid number"),
        (("--solver", "ddim", *option("eta=-1")), "eta must be between 0"),
        (("--solver", "ddim", *option("eta")), "write name=value"),
        (("--solver", "ode", *option("method=rk5")), "no method 'rk5': choose one of"),
        (("--solver", "ode", *option("rtol=-1")), "tolerances must be positive"),
        (option("grid.p=3"), "options of the grid need its name"),
        (("--grid", "karras", *option("grid.q=3")), "no option of grid 'karras' named 'q'"),
        (("--grid", "karras", *option("grid.p=x")), "option p of grid 'karras'"),
        (("--solver", "pc", *option("predictor=ddmp")), "no sampler 'ddmp'; did you mean 'ddpm'?"),
        (("--seeds", "3-1"), "write numbers and ranges, such as 0-63"),
        (("--seeds", "1,1"), "names a seed twice"),
        (("--seeds", str(2**32)), "a seed is below 2^32"),
        (("--seeds", "0-3", "-n", 3), "give -n or --seeds, not both"),
        (("--label", 3), "was trained without labels"),
        (("--device", "tpu"), "--device tpu cannot be used here"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_sample(
    refused: Refused, digits_run: Path, tmp_path: Path, arguments: tuple[object, ...], message: str
) -> None:
    """A wrong name, option or value of `sample` is named, with the nearest valid name or the range."""
    assert message in refused("sample", digits_run, *arguments, "--out", tmp_path / "s")


@pytest.mark.parametrize(
    ("out", "message"), [("file", "is a file"), ("file/s", "is a file"), ("other", "contains other files")]
)
@pytest.mark.parametrize("more", [(), ("--overwrite",)], ids=["", "overwrite"])
def test_sample_out(
    refused: Refused, digits_run: Path, files: Path, out: str, message: str, more: tuple[str, ...]
) -> None:
    """A folder with other files is refused, with and without --overwrite; so is the run folder itself."""
    assert message in refused("sample", digits_run, "--out", files / out, *more)
    run = shutil.copytree(digits_run, files / "run")
    assert "contains other files" in refused("sample", run, "--out", run, *more)


@pytest.mark.parametrize("name", ["none", "other", "file"])
def test_no_run(refused: Refused, files: Path, name: str) -> None:
    """A RUN that does not exist or is not a run is refused."""
    for command in (("sample", files / name, "--out", files / "s"), ("info", files / name)):
        assert f"{files / name}" in (message := refused(*command))
        assert "no such run folder" in message or "is not a run folder: config.json is missing" in message
