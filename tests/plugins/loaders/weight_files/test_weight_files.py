"""Files of torch.save and of safetensors are read as the libraries read them, tensor by tensor and in little memory."""

from __future__ import annotations

import json
import os
import resource
import struct
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from sdekit.errors import InputError
from sdekit_plugins.loaders.weight_files.safetensors_file import safetensors_metadata
from sdekit_plugins.loaders.weight_files.state_dict import load_strictly, open_weights, tensors_of
from sdekit_plugins.loaders.weight_files.tensor_in_file import TensorInFile

TENSORS = {
    str(dtype): torch.arange(24).view(2, 3, 4).to(dtype)
    for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16)
} | {"bool": torch.tensor([True, False]), "u8": torch.tensor([3], dtype=torch.uint8), "empty": torch.zeros(0, 4)}
TENSORS |= {"number": torch.tensor(3.0), "complex": torch.tensor([1 + 2j])}

Save = Callable[[Any, Path], object]
FORMATS: dict[str, Save] = {
    "zip": lambda value, path: torch.save(value, path),
    "legacy": lambda value, path: torch.save(value, path, _use_new_zipfile_serialization=False),
    "safetensors": lambda value, path: save_file(value, path, {"format": "pt"}),
}
each_format = pytest.mark.parametrize("save", FORMATS.values(), ids=FORMATS)
torch_formats = pytest.mark.parametrize("save", list(FORMATS.values())[:2], ids=list(FORMATS)[:2])


@each_format
def test_tensors_of_every_type_are_read(save: Save, tmp_path: Path) -> None:
    """Each tensor has the values, the shape and the type that were saved."""
    save(TENSORS, tmp_path / "file")
    with open_weights(tmp_path / "file") as content:
        tensors = {name: tensor.load() for name, tensor in tensors_of(content, "file").items()}
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        torch.testing.assert_close(tensors[name], tensor, rtol=0, atol=0)


@torch_formats
def test_views_are_read(save: Save, tmp_path: Path) -> None:
    """Tensors that share numbers are read as saved, and do not keep the numbers of other tensors in memory."""
    table = torch.arange(10_000.0).view(100, 100)
    views = {"transposed": table.T, "column": table[:, 3], "corner": table[::99, ::99], "last": table[99, 90:]}
    views |= {"table": table, "tied": table, "expanded": table[:1, :1].expand(5, 5)}
    save(views, tmp_path / "file")
    with open_weights(tmp_path / "file") as content:
        for name, tensor in tensors_of(content, "file").items():
            value = tensor.load()
            assert torch.equal(value, views[name])
            if name in ("column", "corner"):
                assert value.untyped_storage().nbytes() == 4 * value.numel()


@torch_formats
def test_other_contents_of_checkpoints_are_plain_data(save: Save, tmp_path: Path) -> None:
    """Numbers, texts and containers beside the tensors are read; types and devices are no obstacle."""
    optimizer = torch.optim.Adam([nn.Parameter(torch.ones(3))])
    optimizer.param_groups[0]["params"][0].grad = torch.ones(3)
    optimizer.step()
    content = {
        "step": 7,
        "opt": optimizer.state_dict(),
        "rng": torch.get_rng_state(),
        "names": {"a"},
        "pair": (1, None),
    }
    content |= {"dtype": torch.float32, "device": torch.device("cpu"), "counts": defaultdict(None, {"x": 2})}
    content |= {"model": OrderedDict(nn.Linear(2, 3).state_dict()), "size": torch.Size([1, 2]), "flag": True}
    save(content, tmp_path / "file")
    with open_weights(tmp_path / "file") as read:
        assert (read["step"], read["pair"], read["flag"], read["counts"]) == (7, (1, None), True, {"x": 2})
        assert read["opt"]["param_groups"][0]["lr"] == 1e-3
        weights = tensors_of(read["model"], "file", "model")
        assert torch.equal(weights["weight"].load(), content["model"]["weight"])


def resident_bytes() -> int:
    """Return the memory of this process that is in use now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
@each_format
def test_the_file_is_in_memory_once(save: Save, tmp_path: Path) -> None:
    """Filling a network needs at most a tenth of its file more than the network, and no open files."""
    size = 64 * 2**20
    network = nn.ParameterDict({str(i): torch.zeros(2**18) for i in range(64)})
    save({name: torch.ones_like(value) for name, value in network.state_dict().items()}, tmp_path / "file")
    with open_weights(tmp_path / "file") as content:
        tensors = tensors_of(content, "file")
        before, files, most = resident_bytes(), len(os.listdir("/proc/self/fd")), 0
        load = TensorInFile.load

        def watched(tensor: TensorInFile) -> torch.Tensor:
            nonlocal most
            value = load(tensor)
            float(value.sum())
            most = max(most, resident_bytes())
            return value

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(TensorInFile, "load", watched)
            load_strictly(network, tensors, "file")
        assert most - before < size / 10 + 2**21, (most - before) / size
        kept = [tensor.load() for tensor in tensors.values()]
        assert len(os.listdir("/proc/self/fd")) <= files and len(kept) == 64
    assert all(bool((value == 1).all()) for value in network.state_dict().values())


def test_errors_of_other_files_keep_their_message(tmp_path: Path) -> None:
    """An error while the file is open, such as a full disk, is not reported as an error of this file."""
    save_file({"a": torch.ones(1)}, tmp_path / "file")
    with pytest.raises(OSError, match="No space left"), open_weights(tmp_path / "file"):
        raise OSError(28, "No space left on device")


def test_changes_of_a_tensor_do_not_reach_the_file(tmp_path: Path) -> None:
    """A mapped tensor can be changed, and the file keeps its numbers."""
    for name in ("zip", "safetensors"):
        FORMATS[name]({"a": torch.ones(2000)}, tmp_path / name)
        content = (tmp_path / name).read_bytes()
        with open_weights(tmp_path / name) as tensors:
            tensors["a"].load().zero_()
        assert (tmp_path / name).read_bytes() == content


def test_unaligned_tensors_are_read(tmp_path: Path) -> None:
    """A header of odd length, and a tensor of one byte before the others, do not change the numbers."""
    header = {
        "a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]},
        "b": {"dtype": "F32", "shape": [2], "data_offsets": [1, 9]},
        "__metadata__": {"config": "{}"},
    }
    text = json.dumps(header).encode()
    path = tmp_path / "odd.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"\x07" + struct.pack("<2f", 0.5, -2))
    with open_weights(path) as content:
        assert content["a"].load().tolist() == [7] and content["b"].load().tolist() == [0.5, -2]
    assert safetensors_metadata(path) == {"config": "{}"}


def test_long_headers_are_refused(tmp_path: Path) -> None:
    """A header of many megabytes is refused before it is read."""
    path = tmp_path / "long.safetensors"
    path.write_bytes(struct.pack("<Q", 2**25) + b"{" + b" " * 2**25)
    with (
        pytest.raises(InputError, match=r"long.safetensors is damaged.*its header has 33554432 bytes"),
        open_weights(path),
    ):
        pass


FAULTS: list[tuple[dict[str, torch.Tensor], str]] = [
    ({}, "1 missing .bias."),
    ({"bias": torch.ones(3), "more": torch.ones(1)}, "1 extra .more."),
    ({"bias": torch.ones(4)}, "of another shape .bias 4, not 3"),
    ({"bias": torch.tensor([1.0, torch.inf, 0])}, "the tensor bias contains numbers that are not finite"),
    ({"bias": torch.tensor([1.0, torch.nan, 0])}, "the tensor bias contains numbers that are not finite"),
    ({"bias": torch.ones(3, dtype=torch.complex64)}, "the tensor bias has the type torch.complex64"),
    ({"bias": torch.full((3,), 1e300, dtype=torch.float64)}, "the tensor bias contains numbers that are not finite"),
]


@each_format
@pytest.mark.parametrize(("changes", "message"), FAULTS, ids=range(len(FAULTS)))
def test_tensors_that_do_not_fit_are_named(
    save: Save, changes: dict[str, torch.Tensor], message: str, tmp_path: Path
) -> None:
    """Missing, extra and misshaped tensors, and those that the network cannot represent, are refused by name."""
    save({"weight": torch.ones(3, 2), **changes}, tmp_path / "file")
    with pytest.raises(InputError, match=message) as error, open_weights(tmp_path / "file") as content:
        load_strictly(nn.Linear(2, 3), tensors_of(content, "the file"), "the file")
    assert str(error.value).startswith("the file")
