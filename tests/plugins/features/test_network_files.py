"""Extractors of files: checksums, architectures and trust."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from sdekit.data import Units
from sdekit.errors import InputError
from sdekit.evaluation import extract_features
from sdekit.registry import build
from sdekit_plugins.features.residual_network import ResidualNetwork

UNITS = Units(low=-1.0, high=1.0)
X = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_weights(tmp_path: Path) -> None:
    """Weights of a known architecture give its features; other checksums, architectures and files are refused."""
    torch.manual_seed(0)
    network = ResidualNetwork("resnet18").eval()
    names = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    assert {"conv1.weight", "bn1.running_mean", "layer2.0.downsample.0.weight", "layer4.1.conv2.weight"} <= names.keys()
    file = tmp_path / "net.safetensors"
    save_file({**names, "fc.weight": torch.zeros(2, 512)}, file)
    extractor = build("features", "weights", path=str(file), size=32)
    digest = extractor.record["sha256"]
    features = extract_features(extractor, X, units=UNITS)
    pixels = nn.functional.interpolate((X + 1) / 2, size=(32, 32), mode="bilinear", antialias=True).expand(
        -1, 3, -1, -1
    )
    with torch.no_grad():
        expected = network(pixels.expand(-1, 3, -1, -1)).double()
    assert features.shape == (3, 512) and torch.allclose(features, expected, atol=1e-5)
    assert build("features", "weights", path=str(file), sha256=digest[:12]).name == "resnet18 net.safetensors"
    for options, words in (
        ({"sha256": "00"}, f"has the checksum {digest}, expected 00"),
        ({"architecture": "resnet50"}, "does not fit resnet50"),
        ({"architecture": "resnet19"}, "did you mean 'resnet18'"),
        ({"path": str(tmp_path / "no")}, "does not exist"),
        ({"path": ""}, "weights:path=FILE"),
    ):
        with pytest.raises(InputError, match=words):
            build("features", "weights", **{"path": str(file), **options})
    file.write_bytes(b"text")
    with pytest.raises(InputError, match="is not a safetensors file"):
        build("features", "weights", path=str(file))


def test_programs(tmp_path: Path) -> None:
    """A program runs only with trust, and only Inception features have 2048 numbers."""

    class Flatten(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.flatten(1)

    batch = torch.export.Dim("batch", min=1, max=512)
    exported = torch.export.export(Flatten(), (torch.zeros(2, 3, 4, 4),), dynamic_shapes={"x": {0: batch}})
    file = tmp_path / "net.pt2"
    torch.export.save(exported, file)
    with pytest.raises(InputError, match="add --trust"):
        build("features", "program", path=str(file))
    features = extract_features(build("features", "program", path=str(file), size=4, trust=True), X, units=UNITS)
    assert features.shape == (3, 48) and 0 <= float(features.min()) and float(features.max()) <= 1
    with pytest.raises(InputError, match="does not return 2048 features"):
        extract_features(
            build("features", "program", path=str(file), size=4, trust=True, inception=True), X, units=UNITS
        )
    file.write_bytes(b"text")
    with pytest.raises(InputError, match="is no program of torch.export"):
        build("features", "program", path=str(file), trust=True)
