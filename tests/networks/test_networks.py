"""Laws of every registered network: shapes, gradients, independence of the batch, rebuilding."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sdekit import registry
from sdekit.errors import InputError
from sdekit.networks import MLP, ConditionEmbedding, Mixer, NoiseEmbedding, UNet
from sdekit.networks.mixer import CHANNELS, _Pixels
from sdekit.networks.patches import from_patches, to_patches

SMALL: dict[str, dict[str, Any]] = {
    "mlp": {"width": 16, "depth": 2},
    "mixer": {"width": 8, "depth": 2, "blocks": 1},
    "unet": {"width": 8},
    "ddpmpp": {"width": 8, "blocks": 1},
    "ncsnpp": {"width": 8, "blocks": 1},
    "adm": {"width": 8, "blocks": 1, "head_channels": 8, "multipliers": (1, 2)},
}
SHAPES: dict[str, list[tuple[int, ...]]] = {
    "mlp": [(2,), (1, 8, 8)],
    "mixer": [(1, 8, 8), (3, 5, 12)],
    # the first two images with fully connected blocks, then two sequences and a volume
    "unet": [(1, 8, 8), (3, 9, 11), (3, 32, 32), (4, 13, 64), (2, 9), (1, 130), (1, 8, 9, 11)],
    "ncsnpp": [(1, 8, 8), (3, 12, 32)],
}
CASES = [(name, shape) for name in registry.component_names("network") for shape in SHAPES.get(name, [(1, 8, 8)])]
each_case = pytest.mark.parametrize(("name", "shape"), CASES, ids=[f"{n}-{'x'.join(map(str, s))}" for n, s in CASES])


def build(name: str, shape: tuple[int, ...], classes: int = 0, seed: int = 0, **options: Any) -> nn.Module:
    """A small network of fixed weights, moved off its initial zeros so that every part acts."""
    torch.manual_seed(seed)
    network: nn.Module = registry.build("network", name, shape, classes, **SMALL.get(name, {}) | options)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network.eval()


def inputs(shape: tuple[int, ...], n: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """x, c_noise, y of a batch."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(n, *shape, generator=generator), torch.linspace(-1, 1, n), torch.arange(n) % 3


@each_case
def test_shape_dtype_and_determinism(name: str, shape: tuple[int, ...]) -> None:
    """The output has the input's shape and dtype, is finite and not constant, and is the same twice."""
    network, (x, c, _) = build(name, shape), inputs(shape)
    for dtype in (torch.float32, torch.float64):
        with torch.no_grad():
            out = network.to(dtype)(x.to(dtype), c.to(dtype))
            again = network(x.to(dtype), c.to(dtype))
        assert out.shape == x.shape and out.dtype == dtype and out.isfinite().all() and out.std() > 0
        assert torch.equal(out, again)


@each_case
def test_output_depends_on_x_and_noise(name: str, shape: tuple[int, ...]) -> None:
    """Another x or another noise level gives another output; float32 and float64 agree to rounding."""
    network, (x, c, _) = build(name, shape), inputs(shape)
    with torch.no_grad():
        out = network(x, c)
        assert (network(x + 0.1, c) - out).abs().max() > 1e-4
        assert (network(x, c + 0.1) - out).abs().max() > 1e-4
        assert torch.allclose(network.double()(x.double(), c.double()).float(), out, rtol=1e-3, atol=1e-3)


@each_case
def test_gradient_reaches_every_parameter(name: str, shape: tuple[int, ...]) -> None:
    """No parameter is dead: each has a gradient that is not zero, that of the labels too."""
    network, (x, c, y) = build(name, shape, classes=3), inputs(shape)
    (network(x, c, y) * torch.randn(x.shape)).sum().backward()
    dead = [k for k, p in network.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert dead == []


@each_case
def test_sample_is_independent_of_its_batch(name: str, shape: tuple[int, ...]) -> None:
    """Row i is the same alone, in a batch or in another order, to rounding."""
    network, (x, c, y) = build(name, shape, classes=3).double(), inputs(shape)
    x, c = x.double(), c.double()
    with torch.no_grad():
        out = network(x, c, y)
        for i in range(len(x)):
            assert torch.allclose(network(x[i : i + 1], c[i : i + 1], y[i : i + 1])[0], out[i], rtol=1e-9, atol=1e-9)
        assert torch.allclose(network(x.flip(0), c.flip(0), y.flip(0)).flip(0), out, rtol=1e-9, atol=1e-9)


@each_case
def test_rebuilds_from_its_options(name: str, shape: tuple[int, ...]) -> None:
    """`.options` contains every option, resolved, and builds a network with the same output for the same weights."""
    network, (x, c, y) = build(name, shape, classes=3), inputs(shape)
    options = network.options
    assert options.keys() == registry.parameters(registry.find_component("network", name).load()).keys()
    assert None not in options.values()
    again = build(name, shape, 3, 9, **options)
    assert list(again.state_dict()) == list(network.state_dict())
    with torch.no_grad():
        assert not torch.equal(again(x, c, y), network(x, c, y))
        again.load_state_dict(network.state_dict())
        assert torch.equal(again(x, c, y), network(x, c, y))


@each_case
def test_labels(name: str, shape: tuple[int, ...]) -> None:
    """Each label changes the output of its own row only; y=None is the unconditional output."""
    network, (x, c, y) = build(name, shape, classes=3), inputs(shape)
    with torch.no_grad():
        out, other = network(x, c, y), network(x, c, torch.tensor([0, 2, 2]))
        assert torch.allclose(out[[0, 2]], other[[0, 2]], atol=1e-6)
        assert (out[1] - other[1]).abs().max() > 1e-4
        assert (network(x, c) - out).abs().flatten(1).max(1).values.min() > 1e-4


@each_case
def test_label_without_classes_is_refused(name: str, shape: tuple[int, ...]) -> None:
    """A network without labels refuses a label with a message that says so."""
    network, (x, c, y) = build(name, shape), inputs(shape)
    with pytest.raises(InputError, match="without labels"):
        network(x, c, y)


@each_case
def test_starts_at_zero(name: str, shape: tuple[int, ...]) -> None:
    """A fresh network's output is the same for every x: the last layer's weights start at zero."""
    fresh = registry.build("network", name, shape, 0, **SMALL.get(name, {}))
    x, c, _ = inputs(shape)
    with torch.no_grad():
        assert torch.equal(fresh(x, c), fresh(2 * x, c))


@each_case
def test_dropout_acts_in_training_only(name: str, shape: tuple[int, ...]) -> None:
    """With dropout the output is random in training mode and is not in evaluation mode."""
    network, (x, c, _) = build(name, shape, dropout=0.5), inputs(shape)
    with torch.no_grad():
        assert torch.equal(network(x, c), network(x, c))
        network.train()
        assert not torch.equal(network(x, c), network(x, c))


@pytest.mark.parametrize("name", registry.component_names("network"))
@pytest.mark.parametrize("dropout", [-0.1, 1.0])
def test_dropout_range(name: str, dropout: float) -> None:
    """Dropout is a probability below 1."""
    with pytest.raises(InputError, match="0 <= dropout < 1"):
        registry.build("network", name, (1, 8, 8), 0, dropout=dropout)


@pytest.mark.parametrize("shape", [(1, 7, 8), (3, 8, 4), (2,), (8, 7), (1, 8, 8, 7), (1, 8, 8, 8, 8)])
def test_unet_needs_sides_of_8(shape: tuple[int, ...]) -> None:
    """Smaller data and vectors are refused; the message names the network to use instead."""
    with pytest.raises(InputError, match="at least 8.*use mlp"):
        UNet(shape)


@pytest.mark.parametrize(
    "options",
    [{"width": 4}, {"width": 10}, {"multipliers": ()}, {"multipliers": (1, 0)}, {"blocks": 0}, {"dense": -1}],
    ids=str,
)
def test_unet_options_out_of_range(options: dict[str, Any]) -> None:
    """A width, multiplier or block count that cannot be built is refused before any layer is built."""
    with pytest.raises(InputError, match="unet: needs width a multiple of 4"):
        UNet((1, 8, 8), **options)


@pytest.mark.parametrize("options", [{"width": 1}, {"depth": 0}], ids=str)
def test_mlp_options_out_of_range(options: dict[str, Any]) -> None:
    """A width or depth that cannot be built is refused."""
    with pytest.raises(InputError, match="mlp: needs width >= 2"):
        MLP((2,), **options)


@pytest.mark.parametrize("shape", [(1, 17, 16), (3, 32, 32), (2,)])
def test_mixer_needs_tiny_images(shape: tuple[int, ...]) -> None:
    """Larger images and vectors are refused; the message names the network to use instead."""
    with pytest.raises(InputError, match="at most 256 pixels.*use unet"):
        Mixer(shape)


@pytest.mark.parametrize("options", [{"width": 4}, {"width": 10}, {"depth": 0}, {"blocks": 0}], ids=str)
def test_mixer_options_out_of_range(options: dict[str, Any]) -> None:
    """A width, depth or block count that cannot be built is refused."""
    with pytest.raises(InputError, match="mixer: needs width a multiple of 4"):
        Mixer((1, 8, 8), **options)


def test_mixer_kernel_is_a_convolution() -> None:
    """The shared part of a layer's matrices is a 5x5 convolution with zeros outside; the other part adds to it."""
    torch.manual_seed(0)
    layer = _Pixels(6, 7).double()
    h = torch.randn(CHANNELS, 3, 42, dtype=torch.float64)
    weight = torch.randn_like(layer.kernel)
    with torch.no_grad():
        assert (layer.kernel.view(-1, 5, 5).abs() > 0).sum() == CHANNELS * 9  # it starts as 3x3
        layer.kernel.copy_(weight)
        images = h.transpose(0, 1).view(3, CHANNELS, 6, 7)
        expected = F.conv2d(images, weight.view(CHANNELS, 1, 5, 5), padding=2, groups=CHANNELS)
        convolved = layer(h)
        assert torch.allclose(convolved.transpose(0, 1).view_as(expected), expected, rtol=1e-12, atol=1e-12)
        layer.matrix.normal_()
        assert torch.allclose(layer(h) - convolved, torch.einsum("cbp,cpq->cbq", h, layer.matrix), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("side", "levels"), [(8, 2), (16, 3), (64, 4), (128, 5)])
def test_unet_sizes_suit_the_image(side: int, levels: int) -> None:
    """The default of the U-Net is more levels for larger images, down to about 4 pixels."""
    assert len(UNet((1, side, side), width=8).options["multipliers"]) == levels
    assert 4 <= side / 2 ** (levels - 1) <= 8


def test_unet_attends_at_levels_up_to_the_option() -> None:
    """`attention` is the longest side with attention: 0 for the lowest level alone, 8 for all levels of 8 pixels."""
    counts = {a: sum("qkv.weight" in k for k in UNet((1, 8, 8), width=8, attention=a).state_dict()) for a in (0, 4, 8)}
    assert counts[0] == 1 and counts[0] < counts[4] < counts[8]


@pytest.mark.parametrize(("size", "width"), [((2,), 256), ((64,), 384), ((3, 16, 16), 512)])
def test_mlp_sizes_suit_the_data(size: tuple[int, ...], width: int) -> None:
    """The default width of the MLP is larger for larger items."""
    assert MLP(size, depth=1).options["width"] == width


@pytest.mark.parametrize("kind", ["fourier", "sinusoidal", "positional"])
def test_embedding(kind: Any) -> None:
    """Row i is [cos(c f), sin(c f)]; the frequencies f are saved, but they are not parameters."""
    embedding = NoiseEmbedding(16, kind).double()
    c = torch.linspace(-2, 2, 5, dtype=torch.float64)
    angle = torch.outer(c, embedding.frequencies)
    assert torch.equal(embedding(c), torch.cat([angle.cos(), angle.sin()], 1))
    assert torch.allclose(embedding(c).square().sum(1), torch.full((5,), 8.0, dtype=torch.float64))
    assert list(embedding.parameters()) == [] and list(embedding.state_dict()) == ["frequencies"]


def test_embedding_frequencies() -> None:
    """Sinusoidal frequencies are geometric from 100 to 1/100; Fourier ones are N(0, (2 pi)^2) from the global seed."""
    row = NoiseEmbedding(10, "sinusoidal").frequencies.double()
    assert torch.allclose(row.log10(), torch.linspace(2, -2, 5, dtype=torch.float64), atol=1e-5)
    torch.manual_seed(0)
    many = NoiseEmbedding(20_000, "fourier").frequencies
    assert abs(many.mean()) < 0.2 and abs(many.std() / (2 * torch.pi) - 1) < 0.03


@pytest.mark.parametrize(("width", "kind"), [(7, "fourier"), (8, "learned")])
def test_embedding_errors(width: int, kind: Any) -> None:
    """An odd width and an unknown kind are refused, also as options of a network."""
    with pytest.raises(InputError, match="even width and 'fourier', 'sinusoidal' or 'positional'"):
        NoiseEmbedding(width, kind)
    if kind == "learned":
        with pytest.raises(InputError, match="'learned'"):
            MLP((2,), embedding=kind)


@pytest.mark.parametrize("kind", ["fourier", "sinusoidal", "positional"])
@pytest.mark.parametrize("name", registry.component_names("network"))
def test_networks_take_every_embedding(name: str, kind: str) -> None:
    """The option `embedding` chooses the frequencies of the network."""
    network = build(name, (1, 8, 8), embedding=kind)
    row = network.condition.noise.frequencies
    assert (row.min() < 0) == (kind == "fourier")


def test_condition_adds_the_label() -> None:
    """Without a label nothing is added: a zero row of the label table gives the unconditional output."""
    condition = ConditionEmbedding(8, 2)
    assert condition.label is not None
    with torch.no_grad():
        condition.label.weight[0] = 0
    c = torch.tensor([0.3, 0.4])
    assert torch.equal(condition(c, torch.zeros(2, dtype=torch.long)), condition(c))
    assert not torch.equal(condition(c, torch.ones(2, dtype=torch.long)), condition(c))


@pytest.mark.parametrize(("length", "levels"), [(8, 2), (33, 3), (128, 4), (1000, 7)])
def test_unet_sizes_suit_the_sequence(length: int, levels: int) -> None:
    """The default of the U-Net is more levels for longer sequences, down to about 16 points."""
    assert len(UNet((1, length), width=8).options["multipliers"]) == levels


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_one_unet_for_all_dimensions(dimensions: int) -> None:
    """Data that are constant along all axes but one have the output of a U-Net of one dimension.

    The kernels of more dimensions are those of one dimension in their middle, and zero beside it.
    """
    options: dict[str, Any] = {"width": 8, "multipliers": (1, 2), "attention": 8, "dense": 0}
    line, net = build("unet", (2, 16), 3, **options), UNet((2, 16, *(16,) * (dimensions - 1)), 3, **options).eval()
    with torch.no_grad():
        for parameter, source in zip(net.parameters(), line.parameters(), strict=True):
            middle = parameter.zero_()
            for _ in range(parameter.ndim - source.ndim):
                middle = middle[..., middle.shape[-1] // 2]
            middle.copy_(source)
        for buffer, source in zip(net.buffers(), line.buffers(), strict=True):
            buffer.copy_(source)
        x, c, y = inputs((2, 16))
        extended = x.reshape(*x.shape, *(1,) * (dimensions - 1)).expand(*x.shape, *(16,) * (dimensions - 1))
        expected = line(x, c, y).reshape(*x.shape, *(1,) * (dimensions - 1)).expand_as(extended)
        torch.testing.assert_close(net(extended, c, y), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("sides", [(17,), (16, 17), (17, 16, 16)], ids=["sequence", "image", "volume"])
def test_unet_of_patches(sides: tuple[int, ...]) -> None:
    """A U-Net of patches is the U-Net whose channels are the patches; `from_patches` inverts `to_patches`."""
    shape = (2, *sides)
    net, (x, c, y) = build("unet", shape, 3, patch=2, width=8), inputs(shape)
    patches = to_patches(x, 2)
    assert patches.shape[1:] == (2 * 2 ** len(sides), *(-(-side // 2) for side in sides))
    assert torch.equal(from_patches(patches, 2, sides), x)
    plain = UNet(patches.shape[1:], 3, width=8).eval()
    plain.load_state_dict(net.state_dict())
    with torch.no_grad():
        assert torch.equal(net(x, c, y), from_patches(plain(patches, c, y), 2, sides))


def test_patches_of_images_are_those_of_torch() -> None:
    """In two dimensions, `to_patches` is `pixel_unshuffle`."""
    x = torch.randn(2, 3, 6, 9)
    assert torch.equal(to_patches(x, 3), F.pixel_unshuffle(x, 3))


@pytest.mark.parametrize("patch", [0, 3])
def test_unet_refuses_patches_that_do_not_fit(patch: int) -> None:
    """At least four patches must fit into each side."""
    with pytest.raises(InputError, match="patch from 1 to 2"):
        UNet((1, 8, 9), patch=patch)
