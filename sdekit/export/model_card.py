"""The model card of an export: README.md with the data, the settings and the metrics of the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sdekit import __version__
from sdekit.models import OpenedModel
from sdekit.runs import Run, read_metrics

CARD = "README.md"

NOT_SHOWN = ("seconds", "eta", "step")
"""Entries of the metrics that say nothing about the quality of the model."""


def model_card(opened: OpenedModel, form: str) -> str:
    """Write the model card of an export in Markdown, with the header that the Hugging Face hub reads.

    Arguments:
        opened: The model.
        form: Format of the export.
    Returns:
        The text.
    """
    model, name = opened.model, opened.path.name or "model"
    library = "diffusers" if form == "diffusers" else "sdekit"
    tags = ["diffusion", *(["unconditional-image-generation"] if opened.kind == "image" else [])]
    header = ["---", f"library_name: {library}", "tags:", *(f"- {tag}" for tag in tags), "---"]
    network = opened.recipe.network.name if isinstance(opened, Run) else type(model.network).__name__
    settings: dict[str, Any] = {
        "process": type(model.sde).__name__,
        "prediction": model.prediction,
        "inputs of the network": str(model.inputs),
        "network": network,
        "parameters": f"{sum(p.numel() for p in model.network.parameters()):,}",
        "condition": opened.condition,
    }
    data: dict[str, Any] = {
        "kind": opened.kind,
        "shape of a sample": " x ".join(map(str, opened.shape)),
        "standard deviation in the model's units": f"{opened.data_std:g}",
        **({"classes": ", ".join(opened.class_names) or opened.classes} if opened.classes else {}),
    }
    metrics: dict[str, Any] = {}
    if isinstance(opened, Run):
        recipe = opened.recipe
        data = {"data set": recipe.data.name, "items": recipe.items, **data}
        train = {k: v for k, v in vars(recipe.train).items() if isinstance(v, (bool, int, float, str))}
        settings |= {"network options": recipe.network.options, "process options": recipe.sde.options, **train}
        metrics = {"training step": opened.step, **_last_metrics(opened)}
    sections = [*header, "", f"# {name}", "", f"A diffusion model, exported by sdekit {__version__} as {form!r}.", ""]
    for title, rows in (("Data", data), ("Settings", settings), ("Metrics", metrics)):
        sections += [f"## {title}", "", *_table(rows), ""]
    return "\n".join([*sections, "## Use", "", *_use(form, name), ""])


def _last_metrics(run: Run) -> dict[str, Any]:
    """Return the last value of every metric of a run, up to its step."""
    last: dict[str, Any] = {}
    for row in read_metrics(run.path):
        if row.get("step", 0) <= run.step:
            last |= {name: value for name, value in row.items() if isinstance(value, (int, float, str))}
    return {name: value for name, value in last.items() if name not in NOT_SHOWN}


def _table(rows: Mapping[str, Any]) -> list[str]:
    """Return a Markdown table of names and values."""
    if not rows:
        return ["Not recorded."]
    cells = [(name, f"{value:.6g}" if isinstance(value, float) else str(value)) for name, value in rows.items()]
    return ["| | |", "|---|---|", *(f"| {name} | {_escape(value)} |" for name, value in cells)]


def _escape(value: str) -> str:
    return " ".join(value.split()).replace("|", "\\|")


def _use(form: str, name: str) -> list[str]:
    """Return how to sample from the export."""
    trust = " --trust" if form in ("torch", "aoti") else ""
    lines = ["```", f"sdekit sample {name}{trust} --out samples", "```"]
    if form == "diffusers":
        lines += [
            "",
            "```python",
            "from diffusers import DDPMPipeline",
            "",
            f'pipe = DDPMPipeline.from_pretrained("{name}")',
        ]
        lines += ["image = pipe().images[0]", "```"]
    return lines
