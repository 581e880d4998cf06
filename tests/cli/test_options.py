"""NAME:option=value, as in --guidance, and the conversion of values."""

from collections.abc import Callable
from typing import Literal

import pytest

from sdekit.errors import InputError
from sdekit.registry import OptionText, convert_options, describe_type, parse_component, type_name


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cfg", ("cfg", {})),
        ("cfg:scale=3", ("cfg", {"scale": 3})),
        ("cfg:scale=3.5,negative-label=2", ("cfg", {"scale": 3.5, "negative_label": 2})),
        ("inpaint:mask=m.png,image=a b.png", ("inpaint", {"mask": "m.png", "image": "a b.png"})),
        ("grid:shape=[1, 2],also=true", ("grid", {"shape": [1, 2], "also": True})),
        ("unet:multipliers=1,2,2,width=8", ("unet", {"multipliers": "1,2,2", "width": 8})),
        ("unet:width=8,multipliers=(1,2)", ("unet", {"width": 8, "multipliers": "(1,2)"})),
        ('file:path="a,b:c.npy",n=1', ("file", {"path": "a,b:c.npy", "n": 1})),
    ],
)
def test_a_name_and_its_options(text, expected):
    name, options = parse_component(text)
    assert (name, {option: value.value for option, value in options.items()}) == expected


@pytest.mark.parametrize("text", ["", ":scale=3", "cfg:", "cfg:scale", "cfg:scale=3,"])
def test_what_cannot_be_read_is_said(text):
    with pytest.raises(InputError, match="write"):
        parse_component(text)


def component(
    *,
    run: str | Callable[..., int] = "",
    word: str = "",
    kind: Literal["1", "2"] = "1",
    number: float = 0.0,
    count: int = 0,
    either: int | str = 0,
    several: tuple[int, ...] | None = None,
    flag: bool = False,
) -> None:
    """A component with options of every type."""


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("run", "123", "123"),
        ("run", "2024-01-01", "2024-01-01"),
        ("run", "inf", "inf"),
        ("run", "true", "true"),
        ("run", '"a b"', "a b"),
        ("word", "1.50", "1.50"),
        ("kind", "2", "2"),
        ("number", "3", 3.0),
        ("number", "inf", float("inf")),
        ("either", "3", 3),
        ("either", "x", "x"),
        ("several", "[1, 2]", (1, 2)),
        ("several", "(1, 2,)", (1, 2)),
        ("several", "1,2", (1, 2)),
        ("several", "[8]", (8,)),
        ("several", "()", ()),
        ("flag", "true", True),
    ],
)
def test_the_type_decides(name, text, expected):
    """A value that looks like a number or a date stays a text if the option is a string."""
    (found,) = convert_options("it", component, {name: OptionText(text)}).values()
    assert found == expected and type(found) is type(expected)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("number", "big", r"option number of it: .* got 'big' \(it takes a number, by default 0.0\)"),
        ("count", "9" * 5000, r"got '9+' \(it takes a whole number"),
        ("kind", "3", r"got 3 \(it takes 1 or 2, by default '1'\)"),
        ("several", "3", r"got 3 \(it takes a list such as 1,2,2, by default None\)"),
        ("flag", "maybe", r"it takes true or false"),
    ],
)
def test_what_it_takes_is_said_plainly(name, text, message):
    with pytest.raises(InputError, match=message):
        convert_options("it", component, {name: OptionText(text)})


def test_functions_are_left_out():
    """Type names leave out functions, which cannot be written on the command line."""
    assert (
        describe_type(str | Callable[..., int] | None) == "a string"
        and describe_type(int | str) == "a whole number or a string"
    )
    assert type_name(str | Callable[..., int] | None) == "str | None" and type_name(float) == "float"
