"""Attempts of users of other programs: each is answered with its equivalent, exit code 2, and nothing written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sdekit_cli.options.option_suggestions import EQUIVALENTS
from sdekit_cli.options.suggesting_command import COMMANDS_ELSEWHERE

ATTEMPTS = [
    ("train --epochs 10", "10 epochs of 1708 items in batches of 64 are --steps 267"),
    ("train --data moons --num_epochs 3 --batch-size 100", "3 epochs of 9487 items in batches of 100 are --steps 285"),
    ("train --data images:nowhere --max_epochs 10", "an epoch has (items / batch size) steps"),
    ("train --lr 1e-3", "write --option train.learning_rate=1e-3"),
    ("train --weight-decay 0.01", "write --option train.weight_decay=0.01"),
    ("train --ema_decay 0.999", "write --option train.ema=VALUE"),
    ("train --batch 64", "write --batch-size 64"),
    ("train --train_batch_size=64", "write --batch-size 64"),
    ("train --num-samples 5", "it is an option of another command: sdekit sample -n"),
    ("train --max-steps 100", "write --steps 100"),
    ("train --output run", "write --out run"),
    ("train -o run", "write --out run"),
    ("train --model unet", "write --network unet"),
    ("train --dim-mults 1,2", "write --option network.multipliers=1,2"),
    ("train --beta-max 10", "write --option process.beta_max=10"),
    ("train --gpu 0", "write --device cuda"),
    ("train --resume-from-checkpoint run", "write --resume --out run"),
    ("train --image-size 64", "write --size 64"),
    ("train --noise-schedule scaled_linear", "write --process ddpm-linear"),
    ("train --mixed_precision bf16", "write --precision bf16"),
    ("train --sampler euler", "sdekit sample --solver"),
    ("train digits --out run", "Write the data as --data digits"),
    ("train --steps 5", "Missing option --out. Add --out FOLDER"),
    ("sample", "RUN is missing. Write the run folder first: sdekit sample RUN"),
    ("sample run", "Missing option --out"),
    ("sample run out --out o", "if it is the folder to write, add --out out"),
    ("sample run euler --out o", "add --out euler"),
    ("sample run --num_inference_steps 20", "write --steps 20"),
    ("sample run --num-images-per-prompt 4", "write -n 4"),
    ("sample run --guidance-scale 7.5", "write --guidance cfg:scale=7.5"),
    ("sample run --sampler DPM++_2M", "write --solver dpmpp-2m"),
    ("sample run --sampler dpmpp_2m_karras", "write --solver dpmpp-2m, with --grid karras"),
    ("sample run --scheduler karras", "write --grid karras"),
    ("sample run --scheduler EulerDiscreteScheduler", "write --solver ddim"),
    ("sample run --eta 1", "write --option eta=1"),
    ("sample run --seed 3", "write --seeds 3"),
    ("sample run --class cat", "write --label cat"),
    ("sample run --negative-prompt bad", "write --negative bad"),
    ("sample run --strength 0.5", "sdekit edit --strength"),
    ("sample run --epochs 3", "sdekit sample has no option --epochs"),
    ("sample --checkpoint run", "write the run first, without an option: sdekit sample run"),
    ("sample run --hepl", "did you mean --help?"),
    ("sample run --operator mask", "sdekit restore --operator"),
    ("edit run --init-image a.png", "write --image a.png"),
    ("evaluate run --n-samples 100", "write -n 100"),
    ("nll run --batch 10", "write --batch-size 10"),
    ("plugins list --foo", "sdekit plugins list has no option --foo"),
    ("plugins show", "Missing argument NAME"),
    ("sample run --out o --guidance cfg:2", "write cfg:scale=2"),
    ("sample run --out o --guidance cfg:weight=2", "the equivalent in sdekit is scale"),
    ("sample run --out o --guidance cfg:guidance_scale=2", "the equivalent in sdekit is scale"),
    ("sample run --out o --solver euler", "the equivalent in sdekit is ddim"),
    ("sample run --out o --solver ddim:churn=1", "the equivalent in sdekit is eta"),
    ("sample run --out o --solver ddim --option num_inference_steps=5", "an option of the command: --steps"),
    ("sample run --out o --grid karras:rho=7", "the equivalent in sdekit is p"),
    ("sample run --out o --solver ddim:0.5", "write ddim:eta=0.5"),
    ("sample run --out o --solver heun:2", "heun has no options"),
    ("restore run --out o --measurement y.png --operator inpaint", "the equivalent in sdekit is mask"),
    ("restore run --out o --measurement y.png --operator blur:sigma=2", "the equivalent in sdekit is std"),
    ("train --out o --sde VPP", "no process 'vpp'"),
    ("train --out o --option train.lr=1", "the equivalent in sdekit is learning_rate"),
    ("train --out o --process vp:beta_end=10", "the equivalent in sdekit is beta_max"),
    ("train --out o --option process.beta_max=1 --option sde.beta_max=2", "given twice"),
    ("train --out o --process vp:beta_max=1 --option process.beta_max=2", "given twice, in --process and --option"),
    ("sample run --out o --grid karras:p=3 --option grid.p=2", "given twice, in --grid and --option"),
    ("bench mixture --sde vp:beta=2", "no option of process 'vp' named 'beta'"),
    ("train --out o --data images", "needs a path: write images:PATH"),
    ("Sample run", "write sdekit sample"),
]


@pytest.mark.parametrize(("attempt", "answer"), ATTEMPTS, ids=[attempt for attempt, _ in ATTEMPTS])
def test_attempts(
    refused: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attempt: str, answer: str
) -> None:
    """The message contains the answer."""
    monkeypatch.chdir(tmp_path)
    message = refused(*attempt.split())
    assert answer.lower() in message.lower()


@pytest.mark.parametrize("name", ["generate", "fit", "eval", "test", "list", "inpaint", "img2img"])
def test_commands_elsewhere(refused: Callable[..., str], name: str) -> None:
    """The command of another program is answered with the command here."""
    assert f"write sdekit {COMMANDS_ELSEWHERE[name]}" in refused(name)


def test_equivalents_exist() -> None:
    """Every option that an answer suggests is an option of some command, and every command exists."""
    from sdekit_cli.app import COMMANDS, load_command

    options = {option for name in COMMANDS for param in load_command(name).params for option in param.opts}
    for texts in EQUIVALENTS.values():
        assert all(text == "RUN" or text.split()[0] in options for text in texts), texts
    assert all(text.split()[0] in {*COMMANDS, "--help", "--version"} for text in COMMANDS_ELSEWHERE.values())


def test_options_of_the_default_network(sdekit: Callable[..., Any], tmp_path: Path) -> None:
    """Options of the network need no --network, tuples no brackets, and `sde` is another word for `process`."""
    arguments = ("--option", "network.width=8", "--option", "network.multipliers=1,2", "--sde", "VP:beta_max=10")
    batch = ("--option", "train.batch_size=2", "--option", "sde.beta_min=0.2")
    result = sdekit("train", "--data", "digits", "--out", tmp_path / "run", "--steps", 1, *arguments, *batch)
    assert result.code == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["network"]["options"]["width"] == 8 and config["network"]["options"]["multipliers"] == [1, 2]
    assert config["sde"] == {"name": "vp", "options": config["sde"]["options"] | {"beta_min": 0.2, "beta_max": 10.0}}
