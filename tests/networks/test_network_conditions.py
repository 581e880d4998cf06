"""Laws of the built-in networks with every kind of condition: embeddings, sequences, several parts, augmentation."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sdekit.errors import InputError
from sdekit.models import Condition, concatenate_conditions, null_condition
from sdekit.networks import MLP, Mixer, UNet

B, L, D = 3, 5, 6
GENERATOR = torch.Generator().manual_seed(1)
EMBEDDING = torch.randn(B, D, generator=GENERATOR)
SEQUENCE = torch.randn(B, L, D, generator=GENERATOR)
MASK = torch.arange(L) < torch.tensor([[5], [2], [3]])
VECTOR = torch.randn(B, 4, generator=GENERATOR)

NETWORKS: dict[str, tuple[type[nn.Module], tuple[int, ...], dict[str, Any]]] = {
    "mlp": (MLP, (2,), {"width": 16, "depth": 2}),
    "mixer": (Mixer, (1, 8, 8), {"width": 8, "depth": 2, "blocks": 1}),
    "unet-dense": (UNet, (1, 8, 8), {"width": 8}),
    "unet": (UNet, (3, 17, 16), {"width": 8, "attention": 8}),
}
CONDITIONS: dict[str, tuple[Any, dict[str, int]]] = {
    "embedding": (EMBEDDING, {"embedding_size": D}),
    "sequence": (SEQUENCE, {"sequence": D}),
    "masked-sequence": (Condition({"sequence": SEQUENCE, "mask": MASK}), {"sequence": D}),
    "parts": (
        Condition({"label": torch.tensor([2, 0, 1]), "embedding": EMBEDDING, "sequence": SEQUENCE, "mask": MASK}),
        {"classes": 3, "embedding_size": D, "sequence": D, "augmentation": 4},
    ),
    "augmented-label": (
        Condition({"y": torch.tensor([2, 0, 1]), "augmentation": VECTOR}),
        {"classes": 3, "augmentation": 4},
    ),
    "augmented-numbers": (Condition({"y": EMBEDDING, "augmentation": VECTOR}), {"conditions": D, "augmentation": 4}),
}
each_network = pytest.mark.parametrize("name", NETWORKS)
each_condition = pytest.mark.parametrize("kind", CONDITIONS)


def build(name: str, **options: int) -> nn.Module:
    """A small float64 network of fixed weights, moved off its initial zeros so that every part acts."""
    kind, shape, small = NETWORKS[name]
    torch.manual_seed(0)
    network = kind(shape, **small | options)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network.double().eval()


def inputs(name: str) -> tuple[Tensor, Tensor]:
    """x and c_noise of a batch."""
    x = torch.randn(B, *NETWORKS[name][1], generator=torch.Generator().manual_seed(2)).double()
    return x, torch.linspace(-1, 1, B).double()


def changed(one: Tensor, other: Tensor) -> list[bool]:
    """Which samples of two outputs differ by more than rounding."""
    return ((one - other).abs().flatten(1).amax(1) > 1e-9).tolist()


@each_network
@each_condition
def test_output_depends_on_every_part_of_its_own_row(name: str, kind: str) -> None:
    """Another value of any part in row 1 changes the output of row 1 and of no other row."""
    y, options = CONDITIONS[kind]
    network, (x, c) = build(name, **options), inputs(name)
    parts = {"y": y} if isinstance(y, Tensor) else dict(y.parts)
    out = network(x, c, y)
    for part, tensor in parts.items():
        other = tensor.clone()
        other[1] = ~tensor[1] if tensor.dtype == torch.bool else tensor[1] + 1
        moved = network(x, c, other if isinstance(y, Tensor) else Condition(parts | {part: other}))
        assert changed(out, moved) == [False, True, False], part


@each_network
@each_condition
def test_null_rows_are_unconditional(name: str, kind: str) -> None:
    """A null row has the output of y = None, and leaves the other rows as they are."""
    y, options = CONDITIONS[kind]
    if "augmented" in kind:  # the null condition keeps the augmentation
        y = y.parts["y"]
    network, (x, c) = build(name, **options), inputs(name)
    mixed = concatenate_conditions([y[:1], null_condition(y[1:2]), y[2:]])
    out, free = network(x, c, mixed), network(x, c)
    assert changed(out, free) == [True, False, True]
    assert changed(out, network(x, c, y)) == [False, True, False]
    assert out.isfinite().all()


@each_network
@each_condition
def test_rows_are_independent(name: str, kind: str) -> None:
    """Row i is the same alone, in a batch or in another order, to rounding."""
    y, options = CONDITIONS[kind]
    network, (x, c) = build(name, **options), inputs(name)
    out, order = network(x, c, y), torch.tensor([2, 0, 1])
    for i in range(B):
        assert not any(changed(network(x[i : i + 1], c[i : i + 1], y[i : i + 1]), out[i : i + 1]))
    assert not any(changed(network(x[order], c[order], y[order]), out[order]))


@each_network
def test_masked_elements_do_not_count(name: str) -> None:
    """Values behind the mask change nothing, padding changes nothing, and a mask of True alone is no mask."""
    network, (x, c) = build(name, sequence=D), inputs(name)
    out = network(x, c, Condition({"sequence": SEQUENCE, "mask": MASK}))
    noisy = torch.where(MASK[..., None], SEQUENCE, 100.0)
    assert not any(changed(out, network(x, c, Condition({"sequence": noisy, "mask": MASK}))))
    assert changed(out, network(x, c, SEQUENCE)) == [False, True, True]
    padded = Condition({"sequence": torch.cat([SEQUENCE] * 2, 1), "mask": torch.cat([MASK, MASK & False], 1)})
    assert not any(changed(out, network(x, c, padded)))
    assert not any(
        changed(network(x, c, SEQUENCE), network(x, c, Condition({"sequence": SEQUENCE, "mask": MASK | True})))
    )
    nothing = Condition({"sequence": SEQUENCE, "mask": MASK & False})
    assert not any(changed(network(x, c), network(x, c, nothing)))


@each_network
@each_condition
def test_gradient_reaches_every_parameter_and_the_condition(name: str, kind: str) -> None:
    """With a null row in the batch each parameter has a gradient that is not zero, and so have the other rows of y."""
    y, options = CONDITIONS[kind]
    network, (x, c) = build(name, **options), inputs(name)
    parts = {"y": y} if isinstance(y, Tensor) else dict(y.parts)
    parts = {n: p.double().requires_grad_() if p.is_floating_point() else p for n, p in parts.items()}
    if "parts" in kind:
        parts["augmentation"] = VECTOR.double().requires_grad_()
    whole = parts["y"] if isinstance(y, Tensor) else Condition(parts)
    with_null = concatenate_conditions([whole[:2], null_condition(whole[2:])])
    (network(x, c, with_null) * torch.randn_like(x)).sum().backward()
    assert [n for n, p in network.named_parameters() if p.grad is None or not p.grad.abs().max() > 0] == []
    for part in parts.values():
        if part.is_floating_point():
            assert part.grad is not None and part.grad.isfinite().all() and (part.grad[0] != 0).any()


@each_network
def test_absent_augmentation_counts_as_zeros(name: str) -> None:
    """Without an augmentation vector, or with one of zeros, the output is the same; with another it is not."""
    network, (x, c) = build(name, augmentation=4), inputs(name)
    out = network(x, c)
    assert torch.equal(out, network(x, c, Condition({"augmentation": torch.zeros(B, 4)})))
    assert changed(out, network(x, c, Condition({"augmentation": VECTOR}))) == [True] * B


@each_network
@pytest.mark.parametrize(
    ("y", "message"),
    [
        (torch.tensor([0, 1, 2]), r"without labels \(classes = 0\)"),
        (EMBEDDING, "without an embedding or numbers.*embedding_size=WIDTH"),
        (SEQUENCE, "without a sequence.*sequence=WIDTH"),
        (Condition({"augmentation": VECTOR}), "without an augmentation vector.*augmentation=WIDTH"),
        (Condition({"pooled": EMBEDDING}), "without the part 'pooled'"),
    ],
    ids=["label", "embedding", "sequence", "augmentation", "unknown"],
)
def test_a_part_that_the_network_does_not_take_is_refused(name: str, y: Any, message: str) -> None:
    """The message names the part and the option to build the network with."""
    x, c = inputs(name)
    with pytest.raises(InputError, match=message):
        build(name)(x, c, y)


def test_unet_attends_to_the_sequence_where_it_attends_to_itself() -> None:
    """Cross-attention follows every self-attention, and there is none without a sequence."""
    for attention, blocks in ((0, 1), (4, 4), (8, 7)):
        names = list(UNet((1, 8, 8), width=8, attention=attention, sequence=D).state_dict())
        counts = {
            part: sum(n.endswith(part) for n in names) for part in ("attention.qkv.weight", "attention.kv.weight")
        }
        assert counts == {"attention.qkv.weight": blocks, "attention.kv.weight": blocks}
    assert not any("cross" in n for n in UNet((1, 8, 8), width=8, attention=8).state_dict())


def test_order_of_a_sequence_does_not_matter_to_attention() -> None:
    """Pixels attend to a set of elements: positions belong into the elements."""
    network, (x, c) = build("unet", sequence=D), inputs("unet")
    assert not any(changed(network(x, c, SEQUENCE), network(x, c, SEQUENCE.flip(1))))


def test_sequences_of_any_length() -> None:
    """The length is not part of the network."""
    network, (x, c) = build("unet", sequence=D), inputs("unet")
    assert any(changed(network(x, c, SEQUENCE[:, :1]), network(x, c, SEQUENCE)))
