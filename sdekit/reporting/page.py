"""The page: the template of the report, filled with its sections."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from .blocks import Page

if TYPE_CHECKING:
    from jinja2 import Template

GENERATOR = "sdekit report"
"""Value of `<meta name="generator">`, by which an earlier report is recognised."""


def render(page: Page) -> str:
    """Fill the template. All texts are escaped.

    Arguments:
        page: The report.
    Returns:
        HTML in one file, without scripts and without requests.
    """
    return _template().render(page=page, generator=GENERATOR)


@lru_cache
def _template() -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("sdekit.reporting", "templates")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("report.html.j2")
