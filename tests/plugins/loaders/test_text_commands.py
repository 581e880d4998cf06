"""The commands on a saved pipeline with text, as a user runs them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

from sdekit.models import open_model
from sdekit.sampling import edit
from sdekit_cli.app import main

Folder = Callable[[str], Path]


class Result(NamedTuple):
    """Exit code, stdout and stderr of a command, without line breaks that the terminal adds."""

    code: int
    out: str
    err: str


@pytest.fixture
def sdekit(capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Run the command line within this process."""

    def run(*arguments: object) -> Result:
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return Result(int(end.value.code or 0), out, " ".join(err.split()))

    return run


@pytest.fixture
def sd15(text_pipeline: Folder) -> str:
    """RUN of Stable Diffusion 1.5."""
    return f"diffusers:{text_pipeline('sd15')}"


def record(out: Path) -> dict[str, Any]:
    """The record of samples."""
    fields: dict[str, Any] = json.loads((out / "sample.json").read_text())
    return fields


def test_sample(sdekit: Callable[..., Result], sd15: str, tmp_path: Path) -> None:
    """Four images of 64 x 64 pixels by `auto` with 25 evaluations, one at a time; memory is printed first."""
    arguments = ("--prompt", "a red dog", "--negative", "bad", "--size", "64", "--guidance", "cfg:scale=7.5")
    result = sdekit("sample", sd15, *arguments, "--nfe", "3", "--out", tmp_path / "a")
    assert result.code == 0, result.err
    assert result.err.index("the weights need") < result.err.index("drew 4 samples with auto: 3 network evaluations")
    samples = np.load(tmp_path / "a" / "samples.npy")
    assert samples.shape == (4, 64, 64, 3) and np.isfinite(samples).all()
    assert Image.open(tmp_path / "a" / "images" / "3.png").size == (64, 64)
    fields = record(tmp_path / "a")
    assert (fields["prompt"], fields["negative"], fields["size"]) == (["a red dog"], "bad", "64")
    assert (fields["solver"], fields["grid"], fields["labels"]) == ("auto", "auto", None)
    again = sdekit(
        "sample", sd15, *arguments, "--nfe", "3", "--batch-size", "4", "--seeds", "2", "--out", tmp_path / "b"
    )
    assert again.code == 0
    assert np.allclose(np.load(tmp_path / "b" / "samples.npy")[0], samples[2], rtol=1e-4, atol=1e-2)


def test_defaults_and_several_prompts(sdekit: Callable[..., Result], sd15: str, tmp_path: Path) -> None:
    """Without --nfe there are 25 evaluations; of several prompts the seed chooses one; a cut prompt is reported."""
    arguments = ("--prompt", "a dog", "--prompt", "the cat " * 50, "--seeds", "0,1", "--size", "32", "--out")
    result = sdekit("sample", sd15, *arguments, tmp_path / "out")
    assert result.code == 0 and record(tmp_path / "out")["nfe"] == 25, result.err
    assert "the text encoder 1 (CLIP) reads 77 tokens, and the prompt has" in result.err
    one, two = np.load(tmp_path / "out" / "samples.npy")
    alone = sdekit("sample", sd15, "--prompt", "a dog", "--seeds", "0", "--size", "32", "--out", tmp_path / "one")
    assert alone.code == 0 and np.allclose(np.load(tmp_path / "one" / "samples.npy")[0], one, rtol=1e-4, atol=1e-2)
    assert not np.allclose(one, two, atol=1.0)


@pytest.mark.parametrize("name", ["sd15", "flux"])
def test_the_makers_grid(name: str, sdekit: Callable[..., Result], text_pipeline: Folder, tmp_path: Path) -> None:
    """`--grid maker` is the grid of the scheduler in the folder; a flow uses its own shift without it."""
    run = f"diffusers:{text_pipeline(name)}"
    arguments = ("--prompt", "a", "--size", "32", "-n", "1", "--solver", "ddim", "--nfe", "10")
    assert sdekit("sample", run, *arguments, "--grid", "maker", "--out", tmp_path / "a").code == 0
    times = np.array(record(tmp_path / "a")["times"])
    if name == "sd15":
        assert np.allclose(times, (np.arange(900, -1, -100) + 2) / 1000)
    else:
        assert sdekit("sample", run, *arguments, "--out", tmp_path / "b").code == 0
        assert record(tmp_path / "b")["grid"] == "shift" and np.array_equal(record(tmp_path / "b")["times"], times)


def test_edit(sdekit: Callable[..., Result], sd15: str, tmp_path: Path) -> None:
    """An image is encoded, noised, denoised and decoded."""
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(tmp_path / "in.png")
    arguments = ("--image", tmp_path / "in.png", "--prompt", "a dog", "--size", "32", "-n", "2", "--nfe", "2")
    result = sdekit("edit", sd15, *arguments, "--t", "0.5", "--out", tmp_path / "out")
    assert result.code == 0, result.err
    opened = open_model(f"{sd15},size=32")
    latent = opened.to_model(np.asarray(Image.open(tmp_path / "in.png"), np.float64)[None])[0]
    assert opened.encoder is not None
    y, t = opened.encoder(["a dog"] * 2), torch.tensor(0.5)
    expected = edit(opened.model.sde, opened.model, latent, t, sampler="auto", seeds=[0, 1], nfe=2, y=y).x
    samples = np.load(tmp_path / "out" / "samples.npy")
    assert np.allclose(samples, opened.to_data(expected), rtol=1e-4, atol=1e-2)
    assert (tmp_path / "out" / "before-after.png").exists()


def test_restore_through_the_decoder(sdekit: Callable[..., Result], sd15: str, tmp_path: Path) -> None:
    """A pixel operator acts on decoded latents: dps takes it, and methods of linear problems say why they do not."""
    Image.fromarray(np.full((32, 32, 3), 128, np.uint8)).save(tmp_path / "in.png")
    arguments = ("--operator", "super-resolution:factor=4", "--degrade", tmp_path / "in.png", "--noise-std", "5")
    arguments += ("--size", "32", "-n", "1", "--nfe", "3", "--prompt", "a", "--out", tmp_path / "out")
    refused = sdekit("restore", sd15, *arguments)
    assert refused.code == 2 and "mmps needs a linear operator, and Decoded is not: use dps" in refused.err
    result = sdekit("restore", sd15, *arguments, "--method", "dps:strength=0.01")
    assert result.code == 0, result.err
    assert np.load(tmp_path / "out" / "mean.npy").shape == (3, 32, 32)
    assert np.load(tmp_path / "out" / "measurement.npy").shape == (3, 8, 8)


def test_info(sdekit: Callable[..., Result], sd15: str) -> None:
    """Format, parts, process, prediction, inputs, condition, sizes, memory and guesses are reported."""
    fields = json.loads(sdekit("info", f"{sd15},size=32", "--json").out)
    assert fields["format"] == "diffusers" and fields["pipeline"] == "StableDiffusionPipeline"
    assert (fields["shape"], fields["data_shape"], fields["data_range"]) == ([4, 4, 4], [3, 32, 32], [0, 255])
    assert (fields["process"]["name"], fields["prediction"]) == ("TabulatedVP", "eps")
    assert fields["network_input"] == "1000 t - 1, x unscaled" and fields["condition"] == "sequence"
    assert set(fields["memory"]) == {"text_encoder", "unet", "vae"} and fields["guessed"] == {}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--label", "3"), "was trained without labels"),
        (("--prompt", "a", "--label", "3"), "--prompt and --negative exclude --label and --condition"),
        (("--prompt", "a", "--size", "63"), "multiples of 8 pixels, such as 64x64"),
        (("--guidance", "cfg"), "cfg: this guidance needs a condition: give y (--label or --prompt)"),
    ],
)
def test_bad_options(
    arguments: tuple[str, ...], message: str, sdekit: Callable[..., Result], sd15: str, tmp_path: Path
) -> None:
    """Options that do not fit a model of texts are refused with the option that does."""
    result = sdekit("sample", sd15, *arguments, "--nfe", "2", "--out", tmp_path / "out")
    assert result.code == 2 and message in result.err and not (tmp_path / "out").exists()


def test_flux_needs_a_prompt_and_no_cfg(sdekit: Callable[..., Result], text_pipeline: Folder, tmp_path: Path) -> None:
    """A distilled model has no null condition: a prompt is required, and cfg needs a negative prompt."""
    run, out = (
        f"diffusers:{text_pipeline('flux')}",
        ("--size", "32", "-n", "1", "--nfe", "1", "--out", tmp_path / "out"),
    )
    result = sdekit("sample", run, *out)
    assert result.code == 2 and "needs a text: add --prompt TEXT" in result.err
    result = sdekit("sample", run, "--prompt", "a", "--guidance", "cfg", *out)
    assert result.code == 2 and "Flux is distilled and has no null condition" in result.err
    assert sdekit("sample", run, "--prompt", "a", "--negative", "b", "--guidance", "cfg", *out).code == 0
