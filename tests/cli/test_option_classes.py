"""Options of commands that are the fields of a dataclass."""

import inspect
from dataclasses import dataclass

from sdekit_cli.options.option_classes import with_options


@dataclass(frozen=True, kw_only=True)
class Place:
    """Options of a place."""

    row: int
    column: int = 2
    depth: int = 3


def test_fields_become_options() -> None:
    """A field is an option with its type and default, in the place of the parameter, and the command gets an object."""
    received: list[object] = []

    @with_options
    def command(*, first: str, place: Place, last: bool = False) -> None:
        """Do something."""
        received.extend((first, place, last))

    options = inspect.signature(command).parameters
    assert list(options) == ["first", "row", "column", "depth", "last"] and command.__doc__ == "Do something."
    assert options["row"].default is inspect.Parameter.empty and options["column"].default == 2
    assert {option.annotation for option in list(options.values())[1:4]} == {int}
    command(first="a", row=1, column=5, depth=6, last=True)
    assert received == ["a", Place(row=1, column=5, depth=6), True]


def test_changed_options() -> None:
    """A command may change the type and the default of an option, or leave it out: its field then has its default."""
    received: list[Place] = []

    @with_options(changes={"row": {"annotation": str, "default": 7}, "depth": None})
    def command(*, place: Place) -> None:
        received.append(place)

    options = inspect.signature(command).parameters
    assert list(options) == ["row", "column"] and (options["row"].annotation, options["row"].default) == (str, 7)
    command(row=7, column=2)
    assert received == [Place(row=7, column=2, depth=3)]
