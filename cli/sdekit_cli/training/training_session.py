"""Train with a progress bar, in one process or in several, until the end or a signal."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sdekit_cli.terminal.console import note, warnings_as_notes
from sdekit_cli.terminal.progress import progress_bar
from sdekit_cli.terminal.signals import stopping

if TYPE_CHECKING:
    from sdekit.training import Trainer


def run_training(trainer: Trainer, *, quiet: bool) -> float | None:
    """Train with a progress bar, until the end or until Ctrl-C or SIGTERM.

    Arguments:
        trainer: Trainer of the run.
        quiet: Print nothing.
    Returns:
        Mean loss of the last hundred steps or so, or None without a step.
    """
    from sdekit.training import LoggerWarning, PreviewWarning

    recipe = trainer.recipe
    parameters = sum(p.numel() for p in trainer.model.parameters())
    if not quiet:
        from sdekit.data import describe_data

        note("data: {}", "\n      ".join(describe_data(trainer.data)))
        size = trainer.engine.world_size
        processes = "" if size == 1 else f" in {size} processes"
        note(
            "training [bold]{}[/] ({:.2f} M parameters) on {} ({} items {}), process {}, on {}{}, into {}",
            *(recipe.network.name, parameters / 1e6, recipe.data.name, len(trainer.indices)),
            *("x".join(map(str, recipe.shape)), recipe.sde.name, trainer.device, processes, trainer.out),
        )
    first, seconds, average = trainer.step, trainer.seconds, 0.0
    with (
        _ending_together(),
        warnings_as_notes(PreviewWarning, LoggerWarning),
        stopping(trainer.stop),
        progress_bar("loss", "rate", quiet=quiet) as bar,
    ):
        task = bar.add_task("training", total=1.0, loss="", rate="")
        bar.update(task, completed=trainer.progress)
        for count, now in enumerate(trainer.run(), 1):
            if count == 1 and not quiet:
                for location in trainer.metrics.locations:
                    note("tracker: [bold]{}[/]", location)
            average += (now.loss - average) / min(count, 100)
            rate = (now.step - first) * recipe.train.batch_size / max(now.seconds - seconds, 1e-9)
            loss, speed = f"step {now.step}  loss {average:.4f}", f"{rate:.0f} items/s"
            bar.update(task, completed=now.progress, loss=loss, rate=speed)
    if skipped := trainer.data.skipped:
        note("skipped {} items that could not be read, the first {}", len(skipped), skipped[0])
    return average if trainer.step > first else None


@contextmanager
def _ending_together() -> Iterator[None]:
    """Context manager that ends all processes if one of them fails; with one process it does nothing."""
    if "WORLD_SIZE" not in os.environ:
        yield
        return
    from sdekit.distributed import in_lockstep
    from sdekit_cli.app import report_failures

    with in_lockstep(), report_failures():
        yield


def process_rank() -> int:
    """Return the number of this process among those of torchrun; process 0 writes the run folder."""
    if "WORLD_SIZE" not in os.environ:
        return 0
    from sdekit.distributed import world

    return world().rank
