"""Models of EDM, score_sde and guided-diffusion equal the original code, and run with the commands of sdekit."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from sdekit.errors import InputError
from sdekit.export.exported_model import _registered
from sdekit.models import OpenedModel, open_model
from sdekit.processes import VE
from sdekit.registry import build
from sdekit.sampling import sample
from sdekit_cli.app import app

ORIGINAL: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("original_code.json").read_text("utf-8"))
Write = Callable[[str, str], Path]
TOLERANCE = 2e-5


def assert_equal_denoised(x0: Tensor, expected: list[float]) -> None:
    """Compare every 37th entry of the result with the original code, relative to the largest one."""
    reference = torch.tensor(expected)
    error = (x0.flatten()[::37] - reference).abs().max() / reference.abs().max()
    assert error < TOLERANCE, f"relative error {error:.1e}"


def noisy(opened: OpenedModel, t: Tensor) -> Tensor:
    """Return the x_t of the original run: standard normal numbers with the standard deviation of noisy data."""
    x = torch.randn(3, *opened.shape, generator=torch.Generator().manual_seed(1))
    alpha, sigma = float(opened.model.sde.alpha(t)), float(opened.model.sde.sigma(t))
    return x * math.sqrt(0.25 * alpha**2 + sigma**2)


@pytest.mark.parametrize("name", ORIGINAL["edm"])
def test_edm_equals_the_original_code(name: str, original_file: Write) -> None:
    """D(x, sigma, label) equals EDM's for every preconditioning and network, with and without a label."""
    case = ORIGINAL["edm"][name]
    opened = open_model(f"edm:{original_file('edm', name)}")
    y = torch.tensor([0, 1, -1]) if case["config"]["label_dim"] else None
    assert opened.classes == case["config"]["label_dim"] and opened.data_range == (-1, 1)
    for sigma, expected in zip(case["levels"], case["denoised"], strict=True):
        t = opened.model.sde.time(torch.tensor(sigma, dtype=torch.float64))
        x = torch.randn(3, *opened.shape, generator=torch.Generator().manual_seed(1)) * math.sqrt(0.25 + sigma**2)
        with torch.no_grad():
            assert_equal_denoised(opened.model(x * float(opened.model.sde.alpha(t)), t, y), expected)


def options_of(config: dict[str, Any]) -> dict[str, Any]:
    """Return the options of the loader for a configuration of score_sde, without those that are guessed right."""
    kind = {"subvp": "sub-vp"}.get(config["sde"], config["sde"])
    options: dict[str, Any] = {"sde": kind} if config["embedding_type"] == "positional" else {}
    return options if config["continuous"] else options | {"continuous": False}


@pytest.mark.parametrize("name", ORIGINAL["score_sde"])
def test_score_sde_equals_the_original_code(name: str, original_file: Write) -> None:
    """D of the averaged weights equals the one that follows from score_sde's score, in the original units."""
    case = ORIGINAL["score_sde"][name]
    config = case["config"]
    opened = open_model(f"score-sde:{original_file('score_sde', name)}", options=options_of(config) | {"size": 16})
    assert opened.data_range == ((-1, 1) if config["centered"] else (0, 1)) and opened.step == 7
    for time, expected in zip(case["levels"], case["denoised"], strict=True):
        t = torch.tensor(time, dtype=torch.float64)
        if config["sde"] == "vp" and not config["continuous"]:
            t = (999 * t + 1) / 1000  # from the time of index i to that of sdekit's table
        with torch.no_grad():
            assert_equal_denoised(opened.model(noisy(opened, t), t), expected)


@pytest.mark.parametrize("name", ORIGINAL["guided"])
def test_guided_diffusion_equals_the_original_code(name: str, original_file: Write) -> None:
    """D equals guided-diffusion's prediction of x_0 at each index of the table, without its variance channels."""
    case = ORIGINAL["guided"][name]
    config = case["config"]
    options: dict[str, Any] = {"size": 16, "schedule": config["schedule"]}
    options |= {"heads": config["num_heads"]} if "num_heads" in config else {"head_channels": 32}
    options |= {"attention": "new"} if config.get("use_new_attention_order") else {"attention": "legacy"}
    opened = open_model(f"guided-diffusion:{original_file('guided', name)}", options=options)
    y = torch.tensor([0, 1, 3]) if config.get("num_classes") else None
    for index, expected in zip(case["levels"], case["denoised"], strict=True):
        t = torch.tensor((index + 1) / 1000, dtype=torch.float64)
        with torch.no_grad():
            assert_equal_denoised(opened.model(noisy(opened, t), t, y), expected)


CASES = [
    ("edm", "edm:{},sigma_max=40", "edm-edm-ddpmpp"),
    ("edm", "edm:{}", "edm-iddpm-adm"),
    ("score_sde", "score-sde:{},size=16", "score-sde-ve-ncsnpp"),
    ("score_sde", "score-sde:{},size=16", "score-sde-vp-ddpmpp"),
    ("guided", "guided-diffusion:{},size=16,head_channels=32", "guided-class-cosine"),
]
each_model = pytest.mark.parametrize(("family", "spec", "name"), CASES, ids=[name for _, _, name in CASES])


@each_model
@pytest.mark.parametrize("sampler", ["auto", "ddim", "heun", "ode"])
def test_samplers_run_on_every_format(family: str, spec: str, name: str, sampler: str, original_file: Write) -> None:
    """The samplers draw finite samples of the shape of the model, and a sample depends on its seed alone."""
    opened = open_model(spec.format(original_file(family, name)))
    y = torch.tensor([1, 1]) if opened.classes else None
    method = build("sampler", "ode", method="euler") if sampler == "ode" else sampler

    def draw(seeds: list[int]) -> Tensor:
        labels = None if y is None else y[: len(seeds)]
        return sample(opened.model.sde, opened.model, method, shape=opened.shape, seeds=seeds, y=labels, steps=3).x

    both, one = draw([3, 4]), draw([4])
    assert both.isfinite().all() and both.std() > 0
    assert float((both[1:] - one).abs().max() / one.abs().max()) < 1e-3  # random weights amplify rounding errors


def test_labels_change_the_sample_and_null_needs_training(original_file: Write) -> None:
    """A label changes D. EDM runs without a label; a class-conditional guided-diffusion cannot, and says so."""
    edm = open_model(f"edm:{original_file('edm', 'edm-edm-adm')}")
    x, t = torch.ones(1, *edm.shape), torch.tensor(1.0)
    with torch.no_grad():
        one, two, none, null = (
            edm.model(x, t, y) for y in (torch.tensor([0]), torch.tensor([1]), None, torch.tensor([-1]))
        )
    assert not torch.equal(one, two) and not torch.equal(one, none) and torch.equal(none, null)
    guided = open_model(f"guided-diffusion:{original_file('guided', 'guided-class-cosine')},size=16,head_channels=32")
    assert guided.classes == 4
    with pytest.raises(InputError, match="cannot run without one"):
        guided.model(x, torch.tensor(0.5))
    with pytest.raises(InputError, match="label 4: this model has the labels 0 to 3"):
        guided.model(x, torch.tensor(0.5), torch.tensor([4]))


def test_a_bare_path_is_answered_with_its_loader(original_file: Write, tmp_path: Path) -> None:
    """Every command answers a path without a loader with the name of the loader, in both versions of torch.save."""
    from_family = {"edm": "edm", "score_sde": "score-sde", "guided": "guided-diffusion"}
    for family, _, name in CASES:
        path = original_file(family, name)
        with pytest.raises(InputError, match=f"did you mean {from_family[family]}:{path}"):
            open_model(path)
    legacy = tmp_path / "checkpoint_9.pth"
    with_names = torch.load(original_file("score_sde", "score-sde-vp-ddpmpp"), weights_only=True)
    torch.save(with_names, legacy, _use_new_zipfile_serialization=False)
    with pytest.raises(InputError, match="did you mean score-sde:"):
        open_model(legacy)
    opened = open_model(f"score-sde:{legacy},size=16")
    zipped = open_model(f"score-sde:{original_file('score_sde', 'score-sde-vp-ddpmpp')},size=16")
    for one, two in zip(opened.model.state_dict().values(), zipped.model.state_dict().values(), strict=True):
        assert torch.equal(one, two)


def test_assumptions_are_reported(original_file: Write) -> None:
    """`guesses` has what the file does not state, under the name of the option that states it."""
    path = original_file("score_sde", "score-sde-ve-ncsnpp")
    opened = open_model(f"score-sde:{path}")
    assert opened.guesses == {"sde": "ve", "fir": True, "centered": False, "size": 32}
    assert opened.shape == (3, 32, 32)  # the attention is at half of the side, and at 16 pixels
    assert opened.model.sde == VE(sigma_min=0.01, sigma_max=50)  # from the file's own table
    stated = open_model(f"score-sde:{path},sde=ve,fir=true,centered=false,size=16")
    assert not stated.guesses and stated.shape == (3, 16, 16)
    guided = open_model(f"guided-diffusion:{original_file('guided', 'guided-uncond')},head_channels=32")
    assert guided.guesses == {
        "size": 64, "schedule": "linear", "attention": "legacy", "steps": 1000, "prediction": "eps"
    }  # fmt: skip
    edm = open_model(f"edm:{original_file('edm', 'edm-edm-ddpmpp')}")
    assert edm.guesses == {"sigma_min": 0.002, "sigma_max": 80.0} and edm.grid == "karras"
    assert not open_model(f"edm:{original_file('edm', 'edm-vp-ddpmpp')}").guesses


def test_weights_of_the_last_step(original_file: Write) -> None:
    """`weights=model` opens the weights of the last step, which the file keeps beside the averages."""
    path = original_file("score_sde", "score-sde-vp-ddpmpp")
    averaged, last = (open_model(f"score-sde:{path},size=16,weights={w}").model.state_dict() for w in ("ema", "model"))
    name = "network.condition.second.bias"
    assert torch.allclose(last[name], averaged[name] + 1)


def test_commands_run(original_file: Write, tmp_path: Path) -> None:
    """`info` and `sample` run on a class-conditional snapshot, with guidance, and write pixels from 0 to 255."""
    spec = f"edm:{original_file('edm', 'edm-edm-ddpmpp')}"
    info = CliRunner().invoke(app, ["info", spec])
    assert info.exit_code == 0 and "EDMPrecond" in info.output and "sigma_max" in info.output
    out = tmp_path / "out"
    command = [
        "sample",
        spec,
        "-n",
        "2",
        "--steps",
        "3",
        "--label",
        "1",
        "--guidance",
        "cfg:scale=2",
        "--out",
        str(out),
    ]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    samples = np.load(out / "samples.npy")
    assert samples.shape == (2, 16, 16, 3) and np.abs(samples - 127.5).max() > 10


def test_processes_of_snapshots_can_be_exported(original_file: Write) -> None:
    """An export records the process of a snapshot, so that it can be built again."""
    for name in ("edm-edm-ddpmpp", "edm-vp-ddpmpp", "edm-ve-ncsnpp"):
        opened = open_model(f"edm:{original_file('edm', name)}")
        assert _registered(opened.model.sde, opened.path).build("sde") == opened.model.sde


def test_arguments_without_names_are_read(edm_writer: Any, original_file: Write, tmp_path: Path) -> None:
    """A snapshot whose network was built with positional arguments is the same network."""

    def without_names(config: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        config["_init_args"] = tuple(config.pop(name) for name in ("img_resolution", "img_channels", "label_dim"))

    one = open_model(f"edm:{edm_writer('edm-ve-ncsnpp', tmp_path / 'network.pkl', without_names)}")
    two = open_model(f"edm:{original_file('edm', 'edm-ve-ncsnpp')}")
    assert one.shape == two.shape and one.classes == two.classes
    for mine, theirs in zip(one.model.state_dict().values(), two.model.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs)
