"""The help of `sdekit` and the table of its commands, each of which is imported when it is used.

The help is printed here, because Typer's own imports a Markdown parser and every command, which takes 0.1 s each.
"""

from importlib import import_module
from typing import Any

import typer
from rich.padding import Padding
from rich.table import Table
from rich.text import Text
from typer.core import TyperCommand, TyperGroup

from .console import shown

COMMANDS = {
    "train": "Train a score network on data.",
    "train-classifier": "Train a classifier of noisy data, for guidance of a run that was trained without labels.",
    "sample": "Draw samples from a trained run with any solver.",
    "restore": "Draw samples that agree with a measurement: inpainting, super-resolution, deblurring, colours, ...",
    "edit": "Add noise to an image and denoise it again (SDEdit): variations of it, or a sketch made realistic.",
    "export": "Export a model to a folder that can be sampled without the Python code of its network.",
    "info": "Describe a saved model, and check that its files are complete and unaltered.",
    "verify": "Check components against exact answers: order, marginals, noise, network calls, inverses, and more.",
    "bench": "Compare samplers on one model: error of x_0 against network calls, and which to take.",
    "tune": "Fit a solver's time steps and coefficients to one model, for a number of network evaluations.",
    "plugins": "List, describe, create and check components: processes, samplers, grids, networks, data sets, ...",
}
"""Maps each command to the first line of its help. The file of that name contains the function, or a Typer `app`."""

EXAMPLES = (
    ("sdekit train --data digits --out run --time-limit 120", "train on digits"),
    ("sdekit sample run --solver ode --out samples", "draw 64 samples"),
    ("sdekit plugins list", "list the installed components"),
    ("sdekit COMMAND --help", "show the options of a command"),
)


class Root(TyperGroup):
    """The group of all commands; the commands of sdekit keep their names if a plugin adds one of the same name."""

    def __init__(self, *, commands: Any = None, **settings: Any) -> None:
        own = {name: TyperCommand(name, help=text) for name, text in COMMANDS.items()}
        super().__init__(commands={**(commands or {}), **own}, **settings)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import and return a command; None if there is no command of this name."""
        return load(cmd_name) if cmd_name in COMMANDS else super().get_command(ctx, cmd_name)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print usage, examples, commands and options."""
        commands = [
            (name, command.get_short_help_str(500)) for name, command in self.commands.items() if not command.hidden
        ]
        options = [param.get_help_record(ctx) for param in self.get_params(ctx)]
        shown.print(f"[bold]Usage:[/] {ctx.command_path} COMMAND ...\n\n{self.help}")
        for title, rows in (("Examples", EXAMPLES), ("Commands", commands), ("Options", filter(None, options))):
            table = Table.grid(padding=(0, 3))
            table.add_column(no_wrap=True)
            for name, text in rows:
                table.add_row(Text(name, "cyan"), Text(text))
            shown.print(f"\n[bold]{title}[/]")
            shown.print(Padding(table, (0, 2)))


def load(name: str) -> Any:
    """Import a command of `COMMANDS`.

    Arguments:
        name: Name of the command.
    Returns:
        The click command.
    """
    module = import_module(f"sdekit_cli.commands.{name.replace('-', '_')}")
    app = getattr(module, "app", None)
    if app is None:
        app = typer.Typer(add_completion=False)
        app.command(name)(getattr(module, name.replace("-", "_")))
    command = typer.main.get_command(app)
    command.name = name
    return command
