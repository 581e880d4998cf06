"""Weights fit a module exactly or are refused, and are never in memory twice."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from sdekit.errors import InputError
from sdekit_plugins.loaders.strict_weights import build_module, without_memory


class Net(nn.Module):
    """A network with a parameter, a buffer that is saved, and a buffer that is not."""

    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.linear = nn.Linear(2, width)
        self.register_buffer("scale", torch.ones(2))
        self.register_buffer("index", torch.arange(4), persistent=False)


def weights(**changes: Tensor | None) -> dict[str, Tensor]:
    """Tensors of `Net` with some of them replaced or, for None, left out."""
    tensors = {"linear.weight": torch.rand(3, 2), "linear.bias": torch.rand(3), "scale": torch.tensor([2.0, 3.0])}
    merged = tensors | {name.replace("__", "."): tensor for name, tensor in changes.items()}
    return {name: tensor for name, tensor in merged.items() if tensor is not None}


@pytest.mark.parametrize("dtype", [None, torch.float16])
def test_every_tensor_is_read(dtype: torch.dtype | None, tmp_path: Path) -> None:
    """Parameters and saved buffers come from the files, other buffers from the class; the dtype is converted."""
    tensors = weights()
    save_file({n: t for n, t in tensors.items() if n != "scale"}, tmp_path / "a.safetensors")
    save_file({"scale": tensors["scale"]}, tmp_path / "b.safetensors")
    net = build_module(Net, [tmp_path / "a.safetensors", tmp_path / "b.safetensors"], dtype=dtype, source="config")
    for name, tensor in tensors.items():
        assert torch.equal(net.state_dict()[name], tensor.to(dtype or torch.float32))
    assert net.index.tolist() == [0, 1, 2, 3] and not net.training and not net.linear.weight.requires_grad


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"linear__bias": None}, r"of its tensors, 1 missing \(linear.bias\)"),
        ({"other": torch.ones(1)}, r"1 extra \(other\)"),
        ({"linear__weight": torch.rand(2, 2)}, r"1 of another shape \(linear.weight 2x2, not 3x2\)"),
        ({"linear__bias": None, "scale": None, "scael": torch.ones(2)}, r"2 missing \(linear.bias, scale\), 1 extra"),
    ],
)
def test_files_that_do_not_fit(changes: dict[str, Tensor | None], message: str, tmp_path: Path) -> None:
    """A tensor that is missing, extra or of another shape is refused by name."""
    save_file(weights(**changes), tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=f"model.safetensors does not fit its configuration: .*{message}"):
        build_module(Net, [tmp_path / "model.safetensors"], dtype=None, source="config")


def test_damaged_files(tmp_path: Path) -> None:
    """A file that is not safetensors, or two files with one tensor, are refused by name."""
    file = tmp_path / "model.safetensors"
    for content in (b"", b"noise" * 100, b"\xff" * 64):
        file.write_bytes(content)
        with pytest.raises(InputError, match="model.safetensors is damaged"):
            build_module(Net, [file], dtype=None, source="config")
    save_file(weights(), file)
    with pytest.raises(InputError, match=r"model.safetensors: another file contains the tensor 'linear.bias' too"):
        build_module(Net, [file, file], dtype=None, source="config")
    with pytest.raises(InputError, match="folder/config.json does not describe a network .TypeError"):
        build_module(lambda: Net(width="x"), [file], dtype=None, source="folder/config.json")  # type: ignore[arg-type]


def test_no_memory_before_the_weights() -> None:
    """Parameters are of the meta device while a module is built, and only then."""
    with without_memory():
        assert nn.Linear(10**4, 10**4).weight.is_meta
    assert not nn.Linear(2, 2).weight.is_meta


def test_older_names_of_attention(tmp_path: Path) -> None:
    """Files of early autoencoders name the attention's layers query, key, value and proj_attn."""

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.to_q, self.to_out = nn.Linear(2, 2), nn.ModuleList([nn.Linear(2, 2)])

    old = {
        f"{name}.{kind}": torch.rand(2, 2) if kind == "weight" else torch.rand(2)
        for name in ("query", "proj_attn")
        for kind in ("weight", "bias")
    }
    save_file({f"mid.{name}": tensor for name, tensor in old.items()}, tmp_path / "model.safetensors")
    net = build_module(
        lambda: nn.ModuleDict({"mid": Attention()}), [tmp_path / "model.safetensors"], dtype=None, source=""
    )
    assert torch.equal(net["mid"].to_q.weight, old["query.weight"])
    assert torch.equal(net["mid"].to_out[0].bias, old["proj_attn.bias"])
