"""A command whose message about a wrong argument names the remedy, and the answers to unknown names of commands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

import typer

from sdekit.errors import InputError
from sdekit_cli.terminal.command import Command

UsageError = cast(type[Exception], typer.BadParameter.__mro__[1])
"""The base class of Typer's errors of usage, which has no public name in Typer."""

COMMANDS_ELSEWHERE = {
    **dict.fromkeys(("generate", "gen", "txt2img", "predict", "inference", "infer", "draw"), "sample RUN --out FOLDER"),
    **dict.fromkeys(("fit", "learn", "finetune", "train-model"), "train --data SPEC --out RUN"),
    **dict.fromkeys(("resume", "continue"), "train --out RUN --resume"),
    **dict.fromkeys(("eval", "test", "validate", "validation", "metrics", "fid", "evaluation"), "evaluate RUN"),
    **dict.fromkeys(("score",), "evaluate RUN, or sdekit nll RUN for likelihoods"),
    **dict.fromkeys(("list", "ls", "components", "samplers", "solvers", "plugin"), "plugins list"),
    **dict.fromkeys(("describe", "summary", "inspect", "status"), "info RUN"),
    **dict.fromkeys(("show",), "info RUN, or sdekit plugins show NAME for a component"),
    **dict.fromkeys(("inpaint", "inpainting"), "restore RUN --operator mask:mask=FILE --measurement FILE --out FOLDER"),
    **dict.fromkeys(
        ("upscale", "superres", "sr"), "restore RUN --operator super-resolution --measurement FILE --out OUT"
    ),
    **dict.fromkeys(("deblur",), "restore RUN --operator blur --measurement FILE --out FOLDER"),
    **dict.fromkeys(("impute", "imputation", "fill"), "restore RUN --impute FILE --out FOLDER"),
    **dict.fromkeys(("reconstruct",), "restore RUN --operator mask:mask=FILE --measurement FILE --out FOLDER"),
    **dict.fromkeys(("img2img", "sdedit", "variations", "vary"), "edit RUN --image FILE --out FOLDER"),
    **dict.fromkeys(("likelihood", "loglik", "log-likelihood", "bpd"), "nll RUN"),
    **dict.fromkeys(("elbo", "vlb"), "bound RUN"),
    **dict.fromkeys(("benchmark", "compare"), "bench RUN"),
    **dict.fromkeys(("convert", "save", "push", "onnx"), "export RUN"),
    **dict.fromkeys(("invert", "inversion", "latents"), "encode RUN"),
    **dict.fromkeys(("check", "doctor"), "verify NAME for a component, or sdekit info RUN for the files of a run"),
    **dict.fromkeys(("optimize", "calibrate"), "tune RUN"),
    **dict.fromkeys(("anomaly", "novelty"), "ood RUN"),
    **dict.fromkeys(("new", "init", "create"), "plugins new NAME"),
    **dict.fromkeys(("help",), "--help"),
    **dict.fromkeys(("version",), "--version"),
}
"""Maps the names of commands in other programs to the command here."""


def unknown_command(name: str, known: Sequence[str]) -> str:
    """Write the message for an unknown command.

    Arguments:
        name: The unknown name.
        known: Names of all commands.
    Returns:
        The message, with the equivalent or a similar command.
    """
    start = f"sdekit has no command {name!r}"
    plain = name.lower().replace("_", "-")
    if plain in known:
        return f"{start}: write sdekit {plain}"
    if same := COMMANDS_ELSEWHERE.get(plain):
        return f"{start}: write sdekit {same}"
    if similar := get_close_matches(plain, known, n=1):
        return f"{start}: did you mean sdekit {similar[0]}?"
    return f"{start}: its commands are {', '.join(known)}"


class SuggestingCommand(Command):
    """A command that answers wrong arguments with their remedy."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments. Raises InputError with the remedy for an unknown option or a missing argument."""
        if ctx.resilient_parsing:  # for completion
            return super().parse_args(ctx, args)
        arguments = list(args)
        try:
            return super().parse_args(ctx, args)
        except UsageError as error:
            message = _remedy(ctx, arguments, error)
            if message is None:
                raise
            raise InputError(message) from None


def _remedy(ctx: Any, arguments: Sequence[str], error: Any) -> str | None:
    """Return the message for an error of usage, or None to print Typer's own message."""
    name = " ".join(_names(ctx))
    own = {option: param for param in ctx.command.params for option in (*param.opts, *param.secondary_opts)}
    own["--help"] = None
    if takes_run := any(param.metavar == "RUN" for param in ctx.command.params):
        own["RUN"] = None
    kind = type(error).__name__
    if kind == "NoSuchOption":
        option, value = _written(arguments, error.option_name)
        from .option_suggestions import EPOCHS, epochs_as_steps, suggest_option

        if name == "train" and option.lstrip("-").lower().replace("_", "-") in EPOCHS:
            return epochs_as_steps(option, value, arguments)
        return suggest_option(name, option, value, own, lambda: _options_of_commands(ctx))
    if kind == "MissingParameter" and error.param is not None:
        return _missing(name, error.param)
    if "unexpected extra argument" in str(error.message):
        extra = str(error.message).rpartition("(")[2].rstrip(")").split()[:1]
        return _extra(name, extra[0] if extra else "", own, takes_run=takes_run)
    return None


def _names(ctx: Any) -> list[str]:
    """Return the names of a command and its groups, without the program's."""
    names: list[str] = []
    while ctx is not None and ctx.parent is not None:
        names.insert(0, ctx.info_name or ctx.command.name)
        ctx = ctx.parent
    return names


def _written(arguments: Sequence[str], option: str) -> tuple[str, str | None]:
    """Return an unknown option as it was written, and its value or None."""
    for i, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name == option or (len(option) == 2 and name.startswith(option) and not name.startswith("--")):
            if equals:
                return name, value
            rest = arguments[i + 1 : i + 2]
            return name, rest[0] if rest and not rest[0].startswith("-") else None
    return option, None


def _missing(name: str, param: Any) -> str | None:
    """Return the message for a missing argument or option."""
    shown = (param.metavar or str(param.name).upper()).removesuffix("...")
    if param.param_type_name == "argument" and shown == "RUN":
        runs = sorted(path.parent.name for path in Path().glob("*/config.json"))[:5]
        here = f" (run folders here: {', '.join(runs)})" if runs else ""
        return f"sdekit {name}: RUN is missing. Write the run folder first: sdekit {name} RUN ...{here}"
    if param.param_type_name == "argument":
        return f"sdekit {name}: Missing argument {shown}. Write sdekit {name} {shown} ... ({param.help or shown})"
    value = "FOLDER" if param.name == "out" else param.metavar or "VALUE"
    return f"sdekit {name}: Missing option {param.opts[0]}. Add {param.opts[0]} {value} ({param.help or shown})"


def _extra(name: str, extra: str, own: Mapping[str, Any], *, takes_run: bool) -> str | None:
    """Return the message for an argument without an option."""
    from sdekit.registry import component_names

    start = f"sdekit {name}: unexpected argument {extra!r}"
    if not takes_run and "--data" in own:
        return f"{start}. Write the data as --data {extra}"
    for option, kind in (("--solver", "sampler"), ("--operator", "operator"), ("--data", "dataset")):
        if option in own and extra.partition(":")[0].lower() in component_names(kind):
            return f"{start}. Did you mean {option} {extra}?"
    if extra.isdecimal() and "-n" in own:
        return f"{start}. Did you mean -n {extra}?"
    if Path(extra).suffix and "--image" in own:
        return f"{start}. Did you mean --image {extra}?"
    if Path(extra).suffix and "--measurement" in own:
        return f"{start}. Did you mean --measurement {extra}?"
    if takes_run and "--out" in own:
        return f"{start}. One RUN is taken; if it is the folder to write, add --out {extra}"
    return f"{start}. The options of the command: sdekit {name} --help"


def _options_of_commands(ctx: Any) -> dict[str, list[str]]:
    """Return the options of every command."""
    root, result = ctx.find_root(), {}
    for name in root.command.list_commands(root):
        command = root.command.get_command(root, name)
        result[name] = [option for param in command.params for option in param.opts]
    return result
