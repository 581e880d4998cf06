"""Answers to options that a command does not have: the equivalent here of an option of another program or command."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches
from typing import Any

from sdekit.errors import InputError
from sdekit.registry import component_names, equivalent, find_component, option_name, parameters, same_option

EQUIVALENTS: dict[str, tuple[str, ...]] = {
    "num-samples n-samples num-images num-images-per-prompt samples-per-class count n-iter batch-count number "
    "total-samples num": ("-n {N}",),
    "num-steps num-inference-steps sampling-steps ddim-steps timesteps max-steps iterations max-iters iters n-steps "
    "num-train-steps train-num-steps max-train-steps num-timesteps": ("--steps {N}",),
    "max-nfe evaluations model-evaluations num-function-evaluations budget": ("--nfe {N}",),
    "batch bs bsz train-batch-size eval-batch-size per-device-train-batch-size minibatch": ("--batch-size {N}",),
    "output outdir output-dir output-path output-file save save-dir save-path dir logdir log-dir results "
    "o results-folder run-dir workdir experiment out-dir outpath default-root-dir": ("--out {FOLDER}",),
    "sampler solver-name solver-type sample-method ode-method": ("--solver {NAME}",),
    "scheduler schedule sigma-schedule noise-schedule beta-schedule timestep-spacing": (
        "--solver {NAME}",
        "--process {NAME}",
    ),
    "grid-type sigmas karras use-karras-sigmas": ("--grid karras",),
    "diffusion noise-process sde-type framework diffusion-type process-name": ("--process {NAME}",),
    "parameterization prediction-type objective target pred": ("--prediction {NAME}",),
    "cfg-scale guidance-scale cfg w guidance-weight classifier-free-guidance": ("--guidance cfg:scale={X}",),
    "class class-label classes class-id class-cond target-class y labels class-name": (
        "--label {NAME}",
        "--condition label",
    ),
    "class-conditional conditional": ("--condition label", "--label {NAME}"),
    "p-uncond cfg-dropout class-dropout-prob cond-drop-prob uncond-prob": ("--drop {X}",),
    "model arch architecture net backbone": ("--network {NAME}", "RUN"),
    "checkpoint ckpt ckpt-path model-path model-id weights pretrained pretrained-model-name-or-path load load-from run "
    "restore-from resume-from resume-from-checkpoint from-checkpoint model-dir network-pkl": (
        "--resume --out {RUN}",
        "RUN",
    ),
    "gpu gpus cuda device-id devices use-gpu accelerator num-gpus": ("--device cuda",),
    "cpu no-cuda": ("--device cpu",),
    "dataset data-dir data-path train-data train-data-dir dataset-name dataset-path input data-root root folder": (
        "--data {SPEC}",
    ),
    "image-size resolution img-size image-resolution width height": ("--size {N}",),
    "random-seed manual-seed seed": ("--seed {N}", "--seeds {N}"),
    "save-every checkpointing-steps save-interval save-steps checkpoint-interval": ("--checkpoint-every {N}",),
    "eval-every eval-steps eval-interval val-check-interval": ("--evaluate-every {N}",),
    "mixed-precision amp fp16 bf16 half dtype": ("--precision bf16", "--backend bf16"),
    "compile xformers torch-compile": ("--backend compile",),
    "wandb tensorboard use-wandb report-to tracker log-with": ("--logger {NAME}",),
    "force f yes y replace": ("--overwrite",),
    "time max-time timeout max-duration time-budget": ("--time-limit {SECONDS}",),
    "text caption prompts": ("--prompt {TEXT}",),
    "negative-prompt n-prompt uncond-prompt": ("--negative {TEXT}",),
    "strength denoising-strength img2img-strength": ("--strength {X}",),
    "init-image init-img source input-image img": ("--image {FILE}", "--measurement {FILE}"),
    "mask mask-image": ("--operator mask:mask={FILE}",),
    "task degradation problem": ("--operator {NAME}",),
    "metrics score": ("--metric {NAME}",),
    "config-file cfg-file yaml conf": ("--config {FILE}",),
    "sigma sigma-y noise noise-level": ("--noise-std {X}",),
    "continue continue-training": ("--resume",),
    "restorer algorithm solver-method": ("--method {NAME}",),
    "extension plugins plugin-file": ("--plugin {FILE}",),
    "trust-remote-code unsafe": ("--trust",),
}
"""Maps names in other programs to the options here; the first one that the command has is the answer."""

EPOCHS = ("epochs", "num-epochs", "max-epochs", "n-epochs", "epoch", "num-train-epochs")
KIND_OF_OPTION = {"--solver": "sampler", "--process": "sde", "--network": "network", "--operator": "operator"}
OTHER_UNITS = ("ema", "decay", "augment", "eta", "attention", "precision")
"""Options whose values differ from those of the options of the same purpose in other programs."""
RUN = "RUN"

BY_NAME = {name: options for names, options in EQUIVALENTS.items() for name in names.split()}


def suggest_option(
    command: str,
    option: str,
    value: str | None,
    own: Mapping[str, Any],
    others: Callable[[], Mapping[str, Sequence[str]]],
) -> str:
    """Write the message for an option that a command does not have.

    Arguments:
        command: Name of the command.
        option: The option as it was written, with its dashes.
        value: Value after the option, or None.
        own: Maps the options of the command, with their dashes, to their parameters; "RUN" if it takes a run.
        others: Returns the options of every other command by its name.
    Returns:
        The message, with the equivalent option, a similar one, or the command that lists all of them.
    """
    plain = option.lstrip("-").lower().replace("_", "-")
    start = f"sdekit {command} has no option {option}"
    for same in BY_NAME.get(plain, ()):
        if same == RUN and RUN in own:
            return f"{start}: write the run first, without an option: sdekit {command} {value or RUN} ..."
        if same.split()[0] in own:
            return f"{start}: write {_with_value(same, value)}"
    if similar := get_close_matches(f"--{plain}", [name for name in own if name.startswith("--")], n=1, cutoff=0.8):
        return f"{start}: did you mean {similar[0]}?"
    wanted = [f"--{plain}", *(text.split()[0] for text in BY_NAME.get(plain, ()))]
    elsewhere = [(other, name) for other, options in others().items() for name in wanted if name in options]
    if plain not in BY_NAME and not elsewhere and (text := _component_option(plain, value, own)):
        return f"{start}: write {text}"
    if elsewhere:
        places = ", ".join(dict.fromkeys(f"sdekit {other} {name}" for other, name in elsewhere[:4]))
        return f"{start}: it is an option of another command: {places}"
    if text := _component_option(plain, value, own):
        return f"{start}: write {text}"
    if similar := get_close_matches(f"--{plain}", [name for name in own if name.startswith("--")], n=1):
        return f"{start}: did you mean {similar[0]}?"
    return f"{start}: its options are {', '.join(name for name in own if name.startswith('-'))}"


def _with_value(text: str, value: str | None) -> str:
    """Return an option with the value that the user gave, translated if it is the name of a component elsewhere."""
    start, brace, rest = text.partition("{")
    if not brace:
        return text
    if value is None:
        return start + rest.replace("}", "")
    kind = KIND_OF_OPTION.get(start.strip())
    if kind is None:
        return start + value
    if same := equivalent(kind, value, component_names(kind)):
        return start + same
    if kind == "sampler" and (same := equivalent("grid", value, component_names("grid"))):
        return f"--grid {same}"
    return start + value


def _component_option(plain: str, value: str | None, own: Mapping[str, Any]) -> str | None:
    """Return how to write an option of the training, of a network, a process, a solver or a guidance."""
    for prefix, name, known in _targets(own):
        if same := same_option(plain, known):
            component = f" (of {name})" if name else ""
            renamed = option_name(same) != plain.replace("-", "_")
            shown = "VALUE" if value is None or (renamed and same in OTHER_UNITS) else value
            if prefix == "--guidance":
                return f"--guidance {name}:{option_name(same)}={shown}"
            return f"--option {prefix}{option_name(same)}={shown}{component}"
    return None


def _targets(own: Mapping[str, Any]) -> Iterator[tuple[str, str, list[str]]]:
    """Yield the prefix, the component and the options of everything that options of a command can configure."""
    if "--network" in own:
        from sdekit.runs import TrainOptions

        yield "train.", "", list(parameters(TrainOptions))
        components = [("network.", "network", "unet"), ("process.", "sde", "vp"), ("process.", "sde", "edm")]
        components += [("data.", "dataset", "images"), ("data.", "dataset", "table")]
    elif "--guidance" in own:
        components = [("", "sampler", name) for name in ("ddim", "edm-stochastic", "ode", "unipc")]
        components += [("grid.", "grid", "karras")]
        components += [("--guidance", "guidance", name) for name in ("cfg", "rescale", "threshold", "interval")]
    else:
        return
    for prefix, kind, name in components:
        yield prefix, name, list(parameters(find_component(kind, name).load()))


def epochs_as_steps(option: str, value: str | None, arguments: Sequence[str]) -> str:
    """Write the message for --epochs: the number of steps if the data can be read.

    Arguments:
        option: The option as it was written.
        value: Number of epochs, or None.
        arguments: All arguments of the command.
    Returns:
        The message.
    """
    start = (
        f"sdekit train has no option {option}: its length is a number of steps, --steps, or of seconds, --time-limit"
    )
    rule = "an epoch has (items / batch size) steps"
    with suppress(InputError, OSError, ValueError):
        from math import ceil

        from sdekit.data import split
        from sdekit.runs import TrainOptions
        from sdekit.training import default_training, load_data

        epochs = float(value or 1)
        spec = _value_of(arguments, "--data") or "digits"
        data, _ = load_data(spec)
        items = len(split(len(data), TrainOptions.held_out)[0])
        chosen = _value_of(arguments, "--batch-size")
        batch = int(chosen) if chosen else default_training(data).get("batch_size", TrainOptions.batch_size)
        if epochs > 0 and batch > 0:
            steps = ceil(epochs * items / batch)
            return f"{start}. {epochs:g} epochs of {items} items in batches of {batch} are --steps {steps}"
    return f"{start}; {rule}"


def _value_of(arguments: Sequence[str], option: str) -> str | None:
    """Return the value of an option among arguments, or None."""
    for i, argument in enumerate(arguments):
        if argument.startswith(f"{option}="):
            return argument.partition("=")[2]
        if argument == option and i + 1 < len(arguments):
            return arguments[i + 1]
    return None
