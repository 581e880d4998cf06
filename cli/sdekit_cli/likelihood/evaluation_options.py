"""Options of the commands that evaluate a model on data or latents."""

from __future__ import annotations

from typing import Annotated

import typer

DataSpec = Annotated[
    str | None,
    typer.Option("--data", metavar="SPEC", help="Data, such as images:PATH (default: the run's held-out items)."),
]

ItemCount = Annotated[int | None, typer.Option("-n", help="Number of items, evenly spaced (default: at most 256).")]

AllItems = Annotated[bool, typer.Option("--all", help="Evaluate all items.")]

DataOption = Annotated[list[str] | None, typer.Option("--option", metavar="NAME=VALUE", help="Option of the data set.")]

FlowMethod = Annotated[
    str, typer.Option("--solver", help="dopri5, bosh3, or a deterministic solver such as ddim, with --steps.")
]

Tolerance = Annotated[
    float | None,
    typer.Option(
        "--tolerance", help="Tolerance of dopri5 and bosh3 (default: 1e-5, in float64 3e-6; 1e-4 with random probes)."
    ),
]

FlowSteps = Annotated[int | None, typer.Option("--steps", help="Steps of another solver (default: of the solver).")]

ClassLabel = Annotated[
    str | None,
    typer.Option("--label", metavar="NAME,...", help="Class of all items (default: the class of each item)."),
]

Numbers = Annotated[
    str | None,
    typer.Option("--condition", metavar="X,Y", help="Numbers to condition on (default: the numbers of each item)."),
]

Prompts = Annotated[
    list[str] | None, typer.Option("--prompt", metavar="TEXT", help="Text of all items, if RUN takes texts.")
]

GuidanceNames = Annotated[
    list[str] | None,
    typer.Option(
        "--guidance",
        metavar="NAME:OPTION=VALUE,...",
        help="Evaluate the guided model: cfg, ...; may be repeated, the first one is innermost.",
    ),
]

BatchSize = Annotated[int, typer.Option("--batch-size", help="Items at a time; does not change the result.")]

NumberType = Annotated[str, typer.Option("--dtype", help="float32 or float64.")]

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an earlier result.")]
