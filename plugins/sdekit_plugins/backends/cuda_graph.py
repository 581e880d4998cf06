"""A network call recorded once and replayed: one launch in place of hundreds, for small batches on a GPU."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sdekit.backends import PreparedNetwork
from sdekit.errors import InputError

MOST = 16
"""Shapes that are recorded; each keeps its memory. Further ones run as they are."""

Key = tuple[object, ...]


def cuda_graph(network: nn.Module, *, warm_up: int = 3) -> PreparedNetwork:
    """A CUDA graph of the network for each shape and dtype, replayed on static buffers; no gradients.

    warm_up: calls on a side stream before the recording, in which libraries choose their kernels; at least 1. Raises
    InputError where the network is not on a CUDA device. The network must not ask the CPU for a value (`item`, shapes
    that depend on data): the recording fails then.
    """
    device = next((parameter.device for parameter in network.parameters()), torch.device("cuda"))
    if device.type != "cuda":
        raise InputError(
            f"backend 'cuda-graph' needs a CUDA device, and the model is on {device}: add --device cuda (with a torch "
            "that is built for it), or use backend 'compile'"
        )
    if warm_up < 1:
        raise InputError(f"backend 'cuda-graph': warm_up must be at least 1, got {warm_up}")
    graphs: dict[Key, _Graph] = {}

    def run(x: Tensor, c_noise: Tensor, y: Tensor | None = None) -> Tensor:
        key = (x.shape, x.dtype, x.device, None if y is None else (y.shape, y.dtype))
        if key not in graphs:
            if len(graphs) >= MOST:
                eager: Tensor = network(x, c_noise, y)
                return eager
            graphs[key] = _Graph.record(network, (x, c_noise, y), warm_up)
        return graphs[key](x, c_noise, y)

    return PreparedNetwork(call=run, differentiable=False)


@dataclass(frozen=True)
class _Graph:
    """A recording, and the buffers that it reads and writes."""

    graph: "torch.cuda.CUDAGraph"
    inputs: tuple[Tensor | None, ...]
    output: Tensor

    @classmethod
    def record(cls, network: nn.Module, given: tuple[Tensor | None, ...], warm_up: int) -> "_Graph":
        """Run on a side stream first, as what is allocated while recording belongs to the graph."""
        x = given[0]
        assert x is not None
        with torch.no_grad(), torch.cuda.device(x.device):
            inputs = tuple(None if value is None else value.detach().clone() for value in given)
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(warm_up):
                    network(*inputs)
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                output = network(*inputs)
        return cls(graph, inputs, output)

    def __call__(self, *given: Tensor | None) -> Tensor:
        for buffer, value in zip(self.inputs, given, strict=True):
            if buffer is not None and value is not None:
                buffer.copy_(value)
        self.graph.replay()
        return self.output.clone()  # the next replay writes here
