"""Networks of the user's own: they are built with the seed, checked by a trial call, and never changed."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sdekit.errors import InputError
from sdekit.networks import OwnNetwork, import_own_network


class Net(nn.Module):
    """A network without a condition, of two arguments."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, width), nn.Tanh(), nn.Linear(width, 2))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Map x (B, 2) and t (B,) to (B, 2)."""
        return self.layers(torch.cat([x, t[:, None]], 1))


class Labelled(nn.Module):
    """A network with labels, which takes the shape and the number of classes."""

    def __init__(self, shape: tuple[int, ...], classes: int, *, scale: float = 1.0) -> None:
        super().__init__()
        self.embedding = nn.Embedding(classes + 1, shape[0])
        self.scale = scale

    def forward(self, x: Tensor, c_noise: Tensor, y: Tensor) -> Tensor:
        """Map x (B, 2) and labels from -1 to (B, 2)."""
        return self.scale * x + self.embedding(y + 1)


class Lazy(nn.Module):
    """A network whose width follows from its first call."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.norm = nn.LazyLinear(2), nn.BatchNorm1d(2)

    def forward(self, x: Tensor, c_noise: Tensor, y: Tensor | None = None) -> Tensor:
        """Map x (B, 2) to (B, 2)."""
        return self.norm(self.layer(x))


def returns(output: Callable[[Tensor], Any], **weights: Any) -> nn.Module:
    """Return a module with one weight and a given output."""

    class Returning(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1, **weights))

        def forward(self, x: Tensor, c_noise: Tensor, y: Any = None) -> Any:
            return output(x)

    return Returning()


def built(source: Any, y: Tensor | None = None, *, drop: bool = False, **options: Any) -> nn.Module:
    """Build and check a network for vectors of two numbers."""
    own = OwnNetwork(source)
    torch.manual_seed(0)
    network = own.build((2,), 3 if y is not None else 0, options, y)
    own.check(network, (2,), y, drop=drop)
    return network


@pytest.mark.parametrize(
    "source",
    [Net, lambda: Net(5), Lazy, Net(), Lazy()],
    ids=["class", "function", "lazy class", "module", "lazy module"],
)
def test_networks_are_built_alike(source: Any) -> None:
    """Two networks of one seed have equal weights, and share none of them."""
    one, two = built(source), built(source)
    for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True):
        assert torch.equal(a, b) and a is not b
    x, c_noise = torch.randn(4, 2), torch.zeros(4)
    assert one.eval()(x, c_noise, None).shape == (4, 2)


def test_a_module_is_copied_with_its_weights() -> None:
    """The module of the user stays as it is; its weights are where the training starts."""
    net = Net()
    copy = built(net)
    assert torch.equal(copy.network.layers[0].weight, net.layers[0].weight)
    with torch.no_grad():
        copy.network.layers[0].weight.zero_()
    assert net.layers[0].weight.abs().sum() > 0


def test_the_trial_call_changes_no_statistics() -> None:
    """The running mean of a normalization stays 0, and the module stays in its mode."""
    network = built(Lazy)
    assert network.norm.running_mean.abs().sum() == 0 and network.training


def test_classes_receive_shape_classes_and_options() -> None:
    """Arguments are passed by their names."""
    y = torch.tensor([0, 2])
    network = built(Labelled, y, drop=True, scale=2.0)
    assert network.embedding.weight.shape == (4, 2) and network.scale == 2.0


def test_specs_name_module_and_class() -> None:
    """The name in the recipe is an import path, from which a trusted run imports the class."""
    own = OwnNetwork(Net())
    assert own.spec == f"python:{__name__}:Net" and own.name == "Net"
    assert import_own_network("python:torch.nn:Linear").source is nn.Linear
    with pytest.raises(InputError, match=r"Missing cannot be imported from torch.nn .*network=\.\.\."):
        import_own_network("python:torch.nn:Missing")


@pytest.mark.parametrize(
    ("source", "y", "options", "message"),
    [
        ("unet", None, {}, "must be a registered name, an nn.Module, or a class"),
        (3, None, {}, "must be a registered name.*got 3"),
        (nn.Identity(), None, {}, r"forward takes other arguments. sdekit calls network\(x, c_noise, y\)"),
        (Net(), None, {"width": 3}, "Net is a module already; set its options"),
        (Net, None, {"depth": 3}, r"cannot be created by Net\(depth\)"),
        (Net, None, {"width": torch.zeros(1)}, "network.width must be a number, a text or a list"),
        (lambda width: Net(width), None, {}, "missing a required argument: 'width'.*options="),
        (lambda: 3, None, {}, "must return an nn.Module, got 3"),
        (lambda: 1 / 0, None, {}, "cannot be created .ZeroDivisionError"),
        (Net(), torch.tensor([0, 1]), {}, "the network Net takes no condition"),
        (Labelled((2,), 1), torch.tensor([0, 2]), {}, r"y of shape \(2,\) and torch.int64 \(IndexError"),
        (returns(lambda x: x[:, :1]), None, {}, r"returns torch.float32 of shape \(2, 1\) for x of shape \(2, 2\)"),
        (returns(lambda x: SimpleNamespace(sample=x)), None, {}, "returns an object of the class SimpleNamespace"),
        (returns(lambda x: (x,)), None, {}, "returns a tuple of 1 objects.*must be a tensor of the shape of x"),
        (returns(lambda x: x > 0), None, {}, "returns torch.bool"),
        (returns(lambda x: x @ torch.zeros(3, 3)), None, {}, r"fails for x of shape \(2, 2\).*RuntimeError"),
        (returns(lambda x: x, dtype=torch.float64), None, {}, r"weights of torch.float64: convert it by .float\(\)"),
        (returns(lambda x: x).requires_grad_(False), None, {}, "no weights to train"),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else "",
)
def test_networks_that_cannot_be_trained_are_refused(
    source: Any, y: Tensor | None, options: dict[str, Any], message: str
) -> None:
    """The message describes the failure, and the call that is expected."""
    with pytest.raises(InputError, match=message):
        built(source, y, **options)


def test_the_null_condition_is_tried() -> None:
    """A network that is trained with dropped labels must take -1."""

    class Plain(Labelled):
        def forward(self, x: Tensor, c_noise: Tensor, y: Tensor) -> Tensor:
            return x + self.embedding(y)

    y = torch.tensor([0, 2])
    built(Plain, y)
    with pytest.raises(InputError, match="The null condition, of train.drop, is -1"):
        built(Plain, y, drop=True)
