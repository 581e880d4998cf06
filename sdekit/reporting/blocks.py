"""Parts of a report, without any HTML: sections, and the blocks in them."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import ClassVar


@dataclass(frozen=True, kw_only=True)
class Block:
    """Base class of the blocks. The template has one macro for each `kind`."""

    kind: ClassVar[str]


@dataclass(frozen=True, kw_only=True)
class Text(Block):
    """A paragraph.

    Arguments:
        text: Sentences.
        warning: Whether the paragraph is a warning, which is marked.
    """

    text: str
    warning: bool = False
    kind = "text"


@dataclass(frozen=True, kw_only=True)
class Facts(Block):
    """Pairs of a name and a value.

    Arguments:
        rows: The pairs, in the order of the page.
    """

    rows: tuple[tuple[str, str], ...]
    kind = "facts"


@dataclass(frozen=True, kw_only=True)
class Chart(Block):
    """A chart as inline SVG, with the colours of the page.

    Arguments:
        svg: The `<svg>` element, see `sdekit.reporting.charts.svg`.
        alt: Description for people who do not see the chart.
        caption: Text below the chart.
        wide: Whether the chart takes the whole width of the page.
    """

    svg: str
    alt: str
    caption: str = ""
    wide: bool = False
    kind = "chart"


@dataclass(frozen=True, kw_only=True)
class Image(Block):
    """A picture of pixels.

    Arguments:
        png: Contents of a PNG file.
        alt: Description for people who do not see the picture.
        caption: Text below the picture.
        width: Width in pixels at which the picture is shown on a wide screen.
    """

    png: bytes
    alt: str
    caption: str = ""
    width: int
    kind = "image"

    @property
    def uri(self) -> str:
        """The picture as a data URI."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode()


@dataclass(frozen=True, kw_only=True)
class Figures(Block):
    """Charts and pictures side by side, as many as fit into the width of the page.

    Arguments:
        items: The charts and pictures.
        small: Whether each of them needs little width.
    """

    items: tuple[Chart | Image, ...]
    small: bool = False
    kind = "figures"


@dataclass(frozen=True, kw_only=True)
class Table(Block):
    """A table, which scrolls within its own box on a narrow screen.

    Arguments:
        header: Title of each column.
        rows: Cells of each row; the first cell is the title of the row. A cell is a text or a picture.
        caption: Text above the table.
        numeric: Whether the cells after the first one are numbers, which are aligned at the right.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str | Image, ...], ...]
    caption: str = ""
    numeric: bool = True
    kind = "table"


@dataclass(frozen=True, kw_only=True)
class Commands(Block):
    """Commands to copy.

    Arguments:
        rows: Pairs of a description and a command.
    """

    rows: tuple[tuple[str, str], ...]
    kind = "commands"


@dataclass(frozen=True, kw_only=True)
class Details(Block):
    """Blocks that are shown after a click on the title.

    Arguments:
        title: Text that is always shown.
        blocks: The blocks.
    """

    title: str
    blocks: tuple[Block, ...]
    kind = "details"


@dataclass(frozen=True, kw_only=True)
class Section:
    """A section of a report.

    Arguments:
        name: Name of the section in the address of the page.
        title: Title.
        blocks: Blocks, in the order of the page.
    """

    name: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, kw_only=True)
class Statement:
    """One statement of the verdict.

    Arguments:
        title: Two or three words.
        text: Sentences with the numbers behind it.
        level: "good", "fair", "bad" or "unknown", which determines the mark.
    """

    title: str
    text: str
    level: str


@dataclass(frozen=True, kw_only=True)
class Page:
    """A whole report.

    Arguments:
        title: Title of the page.
        subtitle: One line about the model.
        verdict: Statements at the top of the page.
        sections: Sections.
        made: One line about the program and the time that made the report.
    """

    title: str
    subtitle: str
    verdict: tuple[Statement, ...]
    sections: tuple[Section, ...]
    made: str = field(default="")
