"""AdamW's groups: every weight once, at the scale of the nearest module that names one."""

import pytest
from torch import nn

from sdekit.networks import UNet
from sdekit.runs import TrainOptions
from sdekit.training.optimizer import adamw, learning_rate


class Slow(nn.Module):
    """A module that asks for a tenth of the learning rate."""

    learning_rate_scale = 0.1

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(2, 2)


def test_scale_of_a_module_holds_within_it() -> None:
    network = nn.Sequential(nn.Linear(2, 2), Slow(), nn.Linear(2, 2))
    optimizer = adamw(network, TrainOptions(steps=1))
    scale = {id(p): group["scale"] for group in optimizer.param_groups for p in group["params"]}
    assert {name: scale[id(p)] for name, p in network.named_parameters()} == {
        name: 0.1 if name.startswith("1.") else 1.0 for name, _ in network.named_parameters()
    }


@pytest.mark.parametrize("dense", [0, 2])
def test_every_weight_of_a_unet_is_in_one_group(dense: int) -> None:
    network = UNet((1, 8, 8), width=8, dense=dense)
    grouped = [p for group in adamw(network, TrainOptions(steps=1)).param_groups for p in group["params"]]
    assert len(grouped) == len({id(p) for p in grouped}) and {id(p) for p in grouped} == {
        id(p) for p in network.parameters()
    }


def test_learning_rate_rises_and_falls() -> None:
    options = TrainOptions(steps=100, warm_up=10, learning_rate=0.5)
    assert learning_rate(options, 4, 0.0) == pytest.approx(0.25)
    assert learning_rate(options, 50, 0.5) == pytest.approx(0.25)
    assert learning_rate(options, 100, 1.0) == pytest.approx(0.0)
