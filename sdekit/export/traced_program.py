"""A network as a graph of torch operations."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

import torch
from torch import Tensor, nn

from sdekit.errors import SdekitError

Inputs = tuple[Tensor, Tensor, Tensor | None]
"""Inputs of a network: x (B, *), c_noise (B,), and y (B, ...) or None."""

BATCH = 5
"""Rows of the example input: few, but neither 0 nor 1, because a tracer treats these sizes as constants."""


def program(network: nn.Module, inputs: Inputs, *, fixed: bool = False) -> torch.export.ExportedProgram:
    """Trace a network with torch.export.

    Arguments:
        network: Network to trace; it is in evaluation mode during tracing.
        inputs: Example of x, c_noise and y. Only the first row is used. The program takes a y of the same kind.
        fixed: Trace for the batch size of the inputs only. By default the program takes any batch size from 1.
    Returns:
        The program.
    Raises:
        SdekitError: If the network cannot be traced.
    """
    rows = tuple(None if v is None else v.detach()[:1].repeat_interleave(len(v) if fixed else BATCH, 0) for v in inputs)
    batch = torch.export.Dim("batch", min=1, max=2**20)
    dynamic = None if fixed else tuple(None if v is None else {0: batch} for v in rows)
    training = network.training
    with torch.no_grad(), quiet():
        try:
            network.eval()
            return torch.export.export(network, rows, dynamic_shapes=dynamic)
        except Exception as error:  # torch raises many types
            reason = " ".join(str(error).split("\n\n")[0].split())[:400] or type(error).__name__
            raise SdekitError(
                f"{type(network).__name__} cannot be exported: {reason} (its shapes must follow x.shape[0], which "
                "len(x) makes a constant; its branches must not depend on values or on the batch size)"
            ) from error
        finally:
            network.train(training)


@contextmanager
def quiet() -> Iterator[None]:
    """Context manager that suppresses the output, log messages and warnings of exporters."""
    level = logging.root.manager.disable
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            logging.disable(logging.WARNING)
            yield
    finally:
        logging.disable(level)
