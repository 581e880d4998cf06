"""`sdekit` itself: its commands, imported when they are used, and its help.

The help is drawn here since Typer's own loads a Markdown parser for it, and would import every command: 0.1 s each.
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
    "edit": "Noise an image to some level and denoise it again (SDEdit): variations of it, or a sketch made real.",
    "export": "Write a run's network as a file that needs no Python network, and all else that sampling it takes.",
    "info": "Say what a run folder holds, and check that its files are whole.",
    "verify": (
        "Check components against exact answers: order, marginals, noise, network calls, inverses, and much else."
    ),
    "bench": "Compare samplers on one model: error of x_0 against network calls, and which to take.",
    "tune": "Fit a solver's time steps and coefficients to one model, for a number of network calls.",
    "plugins": "What is installed: processes, samplers, grids, networks, data sets, ...",
}
"""Name to the first line of its help; each is a file of the same name that holds the function, or an `app`."""

EXAMPLES = (
    ("sdekit train --data digits --out run --time-limit 120", "train on digits"),
    ("sdekit sample run --solver ode --out samples", "draw 64 of them"),
    ("sdekit plugins list", "what is installed"),
    ("sdekit COMMAND --help", "what it takes"),
)


class Root(TyperGroup):
    """The group of all commands; sdekit's own keep their names whatever a plugin adds."""

    def __init__(self, *, commands: Any = None, **settings: Any) -> None:
        own = {name: TyperCommand(name, help=text) for name, text in COMMANDS.items()}
        super().__init__(commands={**(commands or {}), **own}, **settings)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command itself, imported now; None for a name that there is not."""
        return load(cmd_name) if cmd_name in COMMANDS else super().get_command(ctx, cmd_name)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print usage, examples, commands and options."""
        told = [(name, one.get_short_help_str(500)) for name, one in self.commands.items() if not one.hidden]
        options = [param.get_help_record(ctx) for param in self.get_params(ctx)]
        shown.print(f"[bold]Usage:[/] {ctx.command_path} COMMAND ...\n\n{self.help}")
        for title, rows in (("Examples", EXAMPLES), ("Commands", told), ("Options", filter(None, options))):
            table = Table.grid(padding=(0, 3))
            table.add_column(no_wrap=True)
            for name, text in rows:
                table.add_row(Text(name, "cyan"), Text(text))
            shown.print(f"\n[bold]{title}[/]")
            shown.print(Padding(table, (0, 2)))


def load(name: str) -> Any:
    """The command of a file of this package."""
    module = import_module(f"sdekit_cli.commands.{name.replace('-', '_')}")
    app = getattr(module, "app", None)
    if app is None:
        app = typer.Typer(add_completion=False)
        app.command(name)(getattr(module, name.replace("-", "_")))
    command = typer.main.get_command(app)
    command.name = name
    return command
