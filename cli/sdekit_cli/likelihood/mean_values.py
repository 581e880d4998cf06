"""Means over items in nats and bits per dimension, with 95% intervals, as records and as text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


def summarize_nats(name: str, nats: Tensor, d: int | None) -> dict[str, Any]:
    """Return the mean over items with its standard error and 95% interval.

    Arguments:
        name: Name of the mean in the record.
        nats: Values of the items, (n,).
        d: Number of dimensions for bits per dimension, or None for densities.
    Returns:
        Entries of a record.
    """
    from sdekit.likelihood import mean_interval

    mean, error, low, high = mean_interval(nats)
    summary = {name: mean, "standard_error": error, "interval_95": [low, high]}
    if d is not None:
        bits = 1 / (d * math.log(2))
        summary |= {
            "bits_per_dim": mean * bits,
            "bits_per_dim_error": error * bits,
            "bits_per_dim_interval_95": [low * bits, high * bits],
        }
    return summary


def describe_mean(name: str, record: Mapping[str, Any], part: str) -> str:
    """Return the lines that print the mean of a record.

    Arguments:
        name: Name of the mean in the record.
        record: A record with the entries of `summarize_nats`, n and units.
        part: Noun for the items.
    Returns:
        Text with rich markup.
    """
    n, d = record["n"], record["dimensions"]
    unit = "nats" if "bits_per_dim" in record else f"nats, a density in the units of {record['units']}"
    lines = [
        f"[bold]{record[name]:.4g} +- {record['standard_error']:.2g} {unit}[/] per item of {d} numbers, over {n} {part}"
    ]
    if "bits_per_dim" in record:
        lines.append(f"[bold]{record['bits_per_dim']:.4g} +- {record['bits_per_dim_error']:.2g} bits/dim[/]")
    low, high = record["interval_95"]
    if math.isfinite(low):
        lines.append(f"95% interval of the mean {low:.4g} to {high:.4g} nats (Student's t, items as units)")
    else:
        lines.append("one item has no standard error: evaluate more with -n")
    return "\n".join(lines)
