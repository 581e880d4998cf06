"""NAME:option=value, as --guidance and others take it."""

import pytest

from sdekit.errors import InputError
from sdekit_cli.options import named


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cfg", ("cfg", {})),
        ("cfg:scale=3", ("cfg", {"scale": 3})),
        ("cfg:scale=3.5,negative-label=2", ("cfg", {"scale": 3.5, "negative_label": 2})),
        ("inpaint:mask=m.png,image=a b.png", ("inpaint", {"mask": "m.png", "image": "a b.png"})),
        ("grid:shape=[1, 2],also=true", ("grid", {"shape": [1, 2], "also": True})),
        ('file:path="a,b:c.npy",n=1', ("file", {"path": "a,b:c.npy", "n": 1})),
    ],
)
def test_a_name_and_its_options(text, expected):
    assert named(text) == expected


@pytest.mark.parametrize("text", ["", ":scale=3", "cfg:", "cfg:scale", "cfg:scale=3,"])
def test_what_cannot_be_read_is_said(text):
    with pytest.raises(InputError, match="write"):
        named(text)
