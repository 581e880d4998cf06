"""The engine of a training in several processes, each with a copy of the weights and a part of the batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from sdekit.distributed import agree, world
from sdekit.errors import InputError, ProcessLost

from .single_process import SingleProcess


class DDP:
    """Engine of data-parallel training by torch's DistributedDataParallel, with gloo on CPUs and NCCL on GPUs.

    Every process has the same weights, and computes its rows of each batch. The gradients are summed over the
    processes during the backward pass. It works inside `sdekit.distributed.together`.

    Arguments:
        device: Device of this process.
        precision: "fp32", or "bf16" for forward passes in bfloat16 where this is safe.
    """

    def __init__(self, device: torch.device, precision: str = "fp32") -> None:
        self.device, self._local = device, SingleProcess(device, precision)
        self.rank, self.world_size = world().rank, world().size
        self._group: dist.ProcessGroup | None = None  # the default group, which uses gloo
        if device.type == "cuda":
            torch.cuda.set_device(device)
            self._group = dist.new_group(backend="nccl")

    def rows(self, batch_size: int) -> slice:
        """Return the rows of this process. The numbers of rows of two processes differ by at most one."""
        if batch_size < self.world_size:
            raise InputError(
                f"train: batch_size {batch_size} is smaller than the number of processes, {self.world_size}: start "
                "fewer processes, or increase --batch-size"
            )
        return world().part(batch_size)

    def prepare(self, module: nn.Module) -> nn.Module:
        """Return the module wrapped in DistributedDataParallel."""
        with self._communication():  # weights that a step does not use get no gradient, as in one process
            return DistributedDataParallel(module, process_group=self._group, find_unused_parameters=True)

    def autocast(self) -> AbstractContextManager[object]:
        """Return a context manager for forward passes in the precision of the run."""
        return self._local.autocast()

    def backward(self, losses: Tensor, batch_size: int) -> None:
        """Compute the gradient of the mean loss of the global batch, in all processes."""
        with (
            self._communication()
        ):  # DistributedDataParallel divides the sum of the gradients by the number of processes
            (losses.sum() * (self.world_size / batch_size)).backward()

    def clip_grad_norm(self, weights: Iterable[Tensor], largest: float) -> Tensor:
        """Scale the gradient, which is the same in all processes, and return its original norm, ()."""
        return self._local.clip_grad_norm(weights, largest)

    def gather(self, losses: Tensor, batch_size: int) -> Tensor:
        """Return the losses of the global batch (batch_size,) from the rows of all processes."""
        every = losses.new_zeros(batch_size)
        every[self.rows(batch_size)] = losses
        with self._communication():
            dist.all_reduce(every, group=self._group)
        return every

    def agree(self, *values: float) -> tuple[float, ...]:
        """Return the maximum over all processes of each value. gloo communicates it, so that no GPU waits."""
        largest = torch.tensor(values, dtype=torch.float64)
        with self._communication():
            dist.all_reduce(largest, dist.ReduceOp.MAX)
        return tuple(largest.tolist())

    def wait(self) -> None:
        """Wait until all processes call this method. Raises the error of another process if it failed before."""
        agree()

    @contextmanager
    def _communication(self) -> Iterator[None]:
        """Context manager that raises ProcessLost if communication fails because another process has ended."""
        try:
            yield
        except RuntimeError as error:
            if not isinstance(error, dist.DistError) and "gloo" not in str(error):
                raise
            raise ProcessLost(
                f"another of the {self.world_size} processes ended while this one waited for it"
            ) from error
