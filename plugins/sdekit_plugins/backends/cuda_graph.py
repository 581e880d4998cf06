"""Backend that records the kernels of the network once and launches all of them at once."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sdekit.backends import PreparedNetwork
from sdekit.errors import InputError
from sdekit.models import Condition, condition_parts

MOST = 16
"""Largest number of shapes that are recorded, because each graph needs its own memory; other shapes run eagerly."""

Key = tuple[object, ...]


def cuda_graph(network: nn.Module, *, warm_up: int = 3) -> PreparedNetwork:
    """A CUDA graph for each shape: one launch instead of hundreds, for small batches; no gradients.

    The network must not need values on the CPU (`item`, or shapes that depend on data), because the recording would
    fail.

    Arguments:
        network: Network on a CUDA device.
        warm_up: Calls on a side stream before the recording, in which libraries choose their kernels; at least 1.
    Returns:
        The prepared network.
    Raises:
        InputError: If the network is not on a CUDA device.
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

    def run(x: Tensor, c_noise: Tensor, y: Tensor | Condition | None = None) -> Tensor:
        key = (x.device, x.dtype, x.shape, *((name, p.dtype, p.shape) for name, p in condition_parts(y).items()))
        if key not in graphs:
            if len(graphs) >= MOST:
                eager: Tensor = network(x, c_noise, y)
                return eager
            graphs[key] = _Graph.record(network, x, c_noise, y, warm_up)
        return graphs[key](x, c_noise, y)

    return PreparedNetwork(call=run, differentiable=False)


@dataclass(frozen=True)
class _Graph:
    """A recorded graph, and the tensors that it reads and writes."""

    graph: "torch.cuda.CUDAGraph"
    inputs: list[Tensor]
    output: Tensor

    @classmethod
    def record(
        cls, network: nn.Module, x: Tensor, c_noise: Tensor, y: Tensor | Condition | None, warm_up: int
    ) -> "_Graph":
        """Record the computation of the network on these inputs as a CUDA graph.

        The network first runs `warm_up` times on a side stream, as PyTorch requires: libraries initialise and choose
        their kernels in the first calls, which must not happen during the recording. The memory that they allocate
        then does not belong to the graph.
        """
        with torch.no_grad(), torch.cuda.device(x.device):
            x, c_noise = x.detach().clone(), c_noise.detach().clone()
            parts = {name: part.detach().clone() for name, part in condition_parts(y).items()}
            y = Condition(parts) if isinstance(y, Condition) else parts.get("y")
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(warm_up):
                    network(x, c_noise, y)
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                output = network(x, c_noise, y)
        return cls(graph, [x, c_noise, *parts.values()], output)

    def __call__(self, x: Tensor, c_noise: Tensor, y: Tensor | Condition | None = None) -> Tensor:
        for buffer, value in zip(self.inputs, (x, c_noise, *condition_parts(y).values()), strict=True):
            buffer.copy_(value)
        self.graph.replay()
        return self.output.clone()  # the next replay overwrites `output`
