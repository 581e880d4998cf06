"""Packed names are returned unchanged, including invalid UTF-8."""

from __future__ import annotations

from sdekit.data.formats.file_names import PackedNames, printable


def test_names() -> None:
    names = ["a.png", "dir/ü.png", "bad\udcff.png", ""]
    packed = PackedNames(names)
    assert len(packed) == 4 and [packed[i] for i in range(4)] == names
    assert printable(names[2]) == "bad\\udcff.png" and len(PackedNames([])) == 0
