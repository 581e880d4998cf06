"""Write the generated parts of docs/verify.md, and docs/verify-output.md: what `sdekit verify` says of every built-in.

python benchmarks/verify_page.py laws      what each check measures: seconds
python benchmarks/verify_page.py outputs   run all checks of all built-in components: minutes; or only of those
                                           named after it, and of those that the page lacks
"""

from __future__ import annotations

import html
import io
import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import redirect_stdout, suppress
from functools import partial
from pathlib import Path
from typing import Any

os.environ["COLUMNS"] = "150"  # of the tables: before the console is made

from sdekit import registry, verify
from sdekit.errors import InputError
from sdekit.models import PREDICTIONS
from sdekit.verify import loader_checks as loaders
from sdekit_cli.app import main

DOCS = Path(__file__).parents[1] / "docs"
PAGE, OUTPUT = DOCS / "verify.md", DOCS / "verify-output.md"
# between them they have every check of their kind
EXAMPLES: dict[str, tuple[str, ...]] = {
    "sampler": ("ddim", "ddpm", "ode"),
    "sde": ("vp",),
    "prediction": ("v",),
    "grid": ("karras",),
    "network": ("mlp",),
    "backend": ("eager",),
    "guidance": ("cfg",),
    "dataset": ("moons",),
}
PLURALS = {"sde": "Processes"}
HEAD = """\
# Output of verify

What `sdekit verify` says of every built-in component; [what its checks measure](verify.md). Written by
`python benchmarks/verify_page.py outputs`, one thread, while other work kept the machine busy: an idle one is
quicker.
"""


def samples(kind: str) -> list[verify.Check]:
    """Checks of a kind, each name once, without the process or shape in brackets."""
    if kind == "loader":
        return loaders.checks(lambda path: None, path="file")  # type: ignore[arg-type,return-value]
    if kind == "metric":
        return verify.checks(lambda x, y: 0.0, kind="metric")
    found: dict[str, verify.Check] = {}
    for name in EXAMPLES.get(kind, ()) or registry.component_names(kind)[:1]:
        for check in verify.checks_of(kind, name):
            found.setdefault(bare(check.name), check)
    return list(found.values())


def bare(name: str) -> str:
    """ "order[vp]" to "order"."""
    return name.partition("[")[0]


def how(measure: Any) -> str:
    """The first line of what a check's function says of itself."""
    while isinstance(measure, partial):
        inner = measure.args and callable(measure.args[-1]) and measure.func.__name__ in ("measure", "_on", "_built")
        measure = measure.args[-1] if inner else measure.func
    return re.sub(r"\s+", " ", (measure.__doc__ or "").strip().partition("\n\n")[0])


def laws() -> str:
    """A table of checks for each kind."""
    lines = []
    for kind in verify.BY_KIND:
        lines += [f"### {PLURALS.get(kind, kind.capitalize() + 's')}", "", "| check | law | how |", "|---|---|---|"]
        for check in samples(kind):
            lines.append(f"| {bare(check.name)} | `{check.equation}` | {how(check.measure)} |")
        lines.append("")
    return "\n".join(lines)


def write_laws() -> None:
    """Between the two comments of the page."""
    text = PAGE.read_text("utf-8")
    begin, end = "<!-- laws: benchmarks/verify_page.py -->", "<!-- end of laws -->"
    before, after = text.partition(begin)[0], text.partition(end)[2]
    PAGE.write_text(f"{before}{begin}\n\n{laws()}\n{end}{after}", "utf-8")


def components() -> Iterator[tuple[str, str]]:
    """Kind and name of all that can be verified without a file."""
    for kind in verify.BY_KIND:
        for name in PREDICTIONS if kind == "prediction" else registry.component_names(kind):
            try:
                if kind != "sampler":
                    verify.checks_of(kind, name, quick=True)
            except InputError:
                continue  # a data set of a file
            yield kind, name


def output(kind: str, name: str) -> str:
    """What the command prints."""
    printed = io.StringIO()
    with redirect_stdout(printed), suppress(SystemExit):
        main(["verify", name, "--kind", kind])
    lines = [line.rstrip() for line in printed.getvalue().strip().splitlines()]
    print(lines[-1] if lines else f"{kind} {name}: nothing was printed", flush=True)
    return "\n".join(lines)


def sections(text: str) -> dict[str, str]:
    """ "kind name" to its block, of a page that was written before."""
    found = re.findall(r"(?s)<details><summary>(\S+ \S+):.*?</details>", text)
    blocks = re.findall(r"(?s)<details>.*?</details>", text)
    return dict(zip(found, blocks, strict=True))


def block(kind: str, name: str) -> str:
    """One component's output, folded."""
    text = output(kind, name)
    verdict = text.rpartition("\n")[2]
    return (
        f"<details><summary>{kind} {name}: {html.escape(verdict)}</summary>\n<pre>{html.escape(text)}</pre>\n</details>"
    )


def write_outputs(only: Iterable[str]) -> None:
    """The page of outputs, written anew after each component; only: names, kinds or "missing", else all are run."""
    chosen, kept = set(only), sections(OUTPUT.read_text("utf-8")) if OUTPUT.exists() else {}
    keys = [f"{kind} {name}" for kind, name in components()]
    for key in keys:
        kind, _, name = key.partition(" ")
        if not chosen or chosen & {name, kind, "" if key in kept else "missing"}:
            kept[key] = block(kind, name)
            OUTPUT.write_text(page([key for key in keys if key in kept], kept), "utf-8")


def page(keys: list[str], kept: dict[str, str]) -> str:
    """Blocks below the heading of their kind."""
    lines, last = [HEAD], ""
    for key in keys:
        kind = key.partition(" ")[0]
        if kind != last:
            lines += [f"## {PLURALS.get(kind, kind.capitalize() + 's')}", ""]
            last = kind
        lines += [kept[key], ""]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    what, *names = sys.argv[1:] or ["laws"]
    write_laws() if what == "laws" else write_outputs(names)
