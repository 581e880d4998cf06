"""The click commands of sdekit: help in groups, the options -q and -v, and the completion of values."""

from __future__ import annotations

import re
import time
from functools import partial
from typing import Any

from typer.core import TyperCommand, TyperGroup

from sdekit_cli.completion.values import COMPONENT_OPTIONS, complete_value
from sdekit_cli.options.option_groups import GROUPS, TYPES, group_title, metavar

from .verbosity import note_end, note_start, verbosity_parameters

DEFAULT = re.compile(r"\s*\(default: ([^()]*(?:\([^()]*\)[^()]*)*)\)")
"""The default value in the text of an option, which the help shows at the end."""


class QuickHelp:
    """Part of a command: its option --help. Typer would import pydantic to convert the default of this option."""

    def get_help_option(self, ctx: Any) -> Any:
        """Return the option --help."""
        option = super().get_help_option(ctx)  # type: ignore[misc]
        if option is not None:
            option.default = False
        return option


class Command(QuickHelp, TyperCommand):
    """A command whose help has its options in groups, and whose values a shell completes.

    Arguments:
        name: Name of the command.
        params: Parameters of its function.
        settings: Settings of `TyperCommand`.
    """

    def __init__(self, name: str | None, *, params: list[Any] | None = None, **settings: Any) -> None:
        own = [*(params or []), *verbosity_parameters()]
        for parameter in own:
            parameter.shell_complete = partial(complete_value, parameter)
            if not getattr(parameter, "is_flag", False) and parameter.param_type_name == "option":
                parameter.metavar = metavar(parameter.name, parameter.metavar)
        super().__init__(name, params=own, **settings)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments. For a completion the values stay texts, because converting them imports pydantic."""
        if not ctx.resilient_parsing:
            return super().parse_args(ctx, args)
        takers = {flag for p in self.params if not getattr(p, "is_flag", True) for flag in p.opts}
        if args and args[-1] in takers:
            args = args[:-1]  # its value is at the cursor
        values, ctx.args, _ = self.make_parser(ctx).parse_args(args=list(args))
        ctx.params.update(values)
        return list(ctx.args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; with --verbose, between lines about its options and its time."""
        began = time.perf_counter()
        note_start(ctx.command_path, ctx.params)
        try:
            return super().invoke(ctx)
        finally:
            note_end(began)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print usage, description, examples, and the options in groups."""
        from .help_page import print_help

        groups: dict[str, list[tuple[str, str]]] = {"Arguments": [], **{title: [] for title in GROUPS}, "Options": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                argument = parameter.param_type_name == "argument"
                title = "Arguments" if argument else group_title(self.name or "", parameter.name)
                name, text = readable(*record)
                kind = COMPONENT_OPTIONS.get(parameter.name)
                text += f" To list all: sdekit plugins list --kind {kind}" if kind else ""
                groups[title].append((parameter.metavar or name.split()[0] if argument else name, text))
        pieces = [re.sub(r"[{}]|(?<=\.{3})\.{3}", "", piece) for piece in self.collect_usage_pieces(ctx)]
        arguments = [piece for piece in pieces if piece != self.options_metavar]
        print_help(" ".join([ctx.command_path, *arguments, "[OPTIONS]"]), self.help or "", groups)


class Group(QuickHelp, TyperGroup):
    """A command with subcommands, whose help is a page like that of a command."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print usage, description, and the subcommands."""
        from .help_page import print_help

        commands = [(name, command.get_short_help_str(500)) for name, command in self.commands.items()]
        options = [readable(*record) for p in self.get_params(ctx) if (record := p.get_help_record(ctx))]
        print_help(f"{ctx.command_path} COMMAND ...", self.help or "", {"Commands": commands, "Options": options})


def readable(name: str, text: str) -> tuple[str, str]:
    """Rewrite click's record of an option for people.

    Arguments:
        name: Flags and type of the option.
        text: Its description, with "[default: ...]" or "(default: ...)".
    Returns:
        The flags with a word for the type, and the description with the default at the end.
    """
    for type_name, word in TYPES.items():
        name = name.replace(type_name, word).rstrip()
    name = re.sub(r"<([\w-]+(?:\|[\w-]+)+)>", r"\1", name)
    name = re.sub(r"<list\[(\w+)\]>", lambda match: TYPES.get(f"<{match[1]}>", "TEXT"), name)
    name, text = re.sub(r"^\{(\w+)\}", r"\1", name), text.replace("[default: (", "[default: ").replace(")]", "]")
    if match := DEFAULT.search(text):
        text = f"{text[: match.start()]}{text[match.end() :]}"
        text = f"{re.sub(r'  .default: .*?]$', '', text)}  [default: {match[1]}]"
    return name, text
