"""The help of `sdekit` itself; drawn here since Typer's own loads a Markdown parser for it, 0.1 s."""

from typing import Any

from rich.padding import Padding
from rich.table import Table
from rich.text import Text
from typer.core import TyperGroup

from .console import shown

EXAMPLES = (
    ("sdekit train --data digits --out run --time-limit 120", "train on digits"),
    ("sdekit sample run --solver ode --out samples", "draw 64 of them"),
    ("sdekit plugins list", "what is installed"),
    ("sdekit COMMAND --help", "what it takes"),
)


class Root(TyperGroup):
    """The group of all commands."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print usage, examples, commands and options."""
        commands = [(name, self.commands[name]) for name in self.list_commands(ctx)]
        told = [(name, command.get_short_help_str(500)) for name, command in commands if not command.hidden]
        options = [param.get_help_record(ctx) for param in self.get_params(ctx)]
        shown.print(f"[bold]Usage:[/] {ctx.command_path} COMMAND ...\n\n{self.help}")
        for title, rows in (("Examples", EXAMPLES), ("Commands", told), ("Options", filter(None, options))):
            table = Table.grid(padding=(0, 3))
            table.add_column(no_wrap=True)
            for name, text in rows:
                table.add_row(Text(name, "cyan"), Text(text))
            shown.print(f"\n[bold]{title}[/]")
            shown.print(Padding(table, (0, 2)))
