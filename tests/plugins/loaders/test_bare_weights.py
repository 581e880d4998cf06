"""The loader `bare`: any network whose process, prediction and inputs the options state."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from sdekit import registry
from sdekit.errors import InputError
from sdekit.models import open_model
from sdekit.processes import EDM, TabulatedVP

EXAMPLE = Path(__file__).parents[3] / "examples" / "single_files" / "acme_mnist.py"
MODULE = """
import torch
from torch import nn
from types import SimpleNamespace

class Linear(nn.Module):
    def __init__(self, width=4, returns="tensor"):
        super().__init__()
        self.layer, self.returns = nn.Linear(width + 1, width), returns

    def forward(self, x, time, *labels):
        assert len(labels) <= 1
        out = self.layer(torch.cat([x, time[:, None]], 1))
        for y in labels:
            out = out + y[:, None]
        twice = torch.cat([out, out], 1)
        results = {"tensor": out, "tuple": (out, 1), "sample": SimpleNamespace(sample=out), "twice": twice}
        return (results | {"short": out[:, 1:], "text": "text"})[self.returns]

class Fails(nn.Module):
    def __init__(self):
        raise RuntimeError("not today")

def text():
    return "text"
"""


class Saved:
    """A file with the tensors of a linear network, and the specification that opens it."""

    def __init__(self, folder: Path) -> None:
        generator = torch.Generator().manual_seed(0)
        self.weight, self.bias = torch.randn(4, 5, generator=generator), torch.randn(4, generator=generator)
        self.tensors = {"layer.weight": self.weight, "layer.bias": self.bias}
        self.path = folder / "weights.safetensors"
        save_file(self.tensors, self.path)

    def options(self, **changes: Any) -> dict[str, Any]:
        """Return the options that open the file, with changes."""
        return {"network": "acme_linear_network:Linear", "shape": (4,)} | changes

    def open(self, path: Path | None = None, **changes: Any) -> Any:
        """Open the file."""
        return open_model(f"bare:{path or self.path}", options=self.options(**changes))

    def output(self, x: Tensor, c_noise: float) -> Tensor:
        """Return the output of the network."""
        return torch.cat([x, torch.full((len(x), 1), c_noise)], 1) @ self.weight.T + self.bias


@pytest.fixture
def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Saved]:
    """A file of weights, and the package of its network."""
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "acme_linear_network.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path / "package")
    yield Saved(tmp_path)
    registry.forget_plugin_files()


X = torch.linspace(-1, 1, 8).view(2, 4)


@pytest.mark.parametrize("returns", ["tensor", "tuple", "sample", "twice"])
def test_the_denoiser(saved: Saved, returns: str) -> None:
    """D is computed from the network's output, its time input is the index of the table, and eps its prediction."""
    opened = saved.open(arguments={"returns": returns}, low=-0.5, high=0.5)
    assert opened.shape == (4,) and opened.kind == "vector" and opened.data_range == (-0.5, 0.5)
    sde = TabulatedVP.linear()
    for index in (0, 499, 999):
        t = torch.tensor((index + 1) / 1000, dtype=torch.float64)
        x0 = (X - sde.sigma(t) * saved.output(X, index)) / sde.alpha(t)
        torch.testing.assert_close(opened.model(X, t), x0.float(), rtol=1e-4, atol=1e-4)


def test_clocks_and_processes(saved: Saved) -> None:
    """The time input is scale times clock plus offset; x is divided by its standard deviation if it is normalized."""
    process = "edm:sigma_min=0.01,sigma_max=50"
    inputs = {"clock": "log-rho", "clock_scale": 0.25, "clock_offset": 1, "normalize": True, "data_std": 0.5}
    opened = saved.open(process=process, prediction="edm", **inputs)
    assert isinstance(opened.model.sde, EDM) and opened.model.sde.sigma_max == 50 and opened.data_std == 0.5
    t = torch.tensor(2.0, dtype=torch.float64)
    norm = (0.25 + t**2).sqrt()
    x0 = 0.25 / norm**2 * X + t * 0.5 / norm * saved.output((X / norm).float(), float(t.log() / 4 + 1))
    torch.testing.assert_close(opened.model(X, t), x0.float())
    rho = saved.open(clock="rho", prediction="x0").model(X, 0.5)
    sde = TabulatedVP.linear()
    torch.testing.assert_close(rho, saved.output(X, float(sde.rho(torch.tensor(0.5, dtype=torch.float64)))))


@pytest.mark.parametrize("products", [False, True])
def test_a_table_in_the_file(saved: Saved, products: bool) -> None:
    """The betas, or their cumulative products, are a tensor of the file; tensors without the prefix are not used."""
    betas = torch.linspace(1e-3, 0.3, 20, dtype=torch.float64)
    tensors = {f"net.{name}": tensor for name, tensor in saved.tensors.items()}
    tensors |= {"table": (1 - betas).cumprod(0) if products else betas, "other": torch.zeros(3)}
    path = saved.path.with_name("table.safetensors")
    save_file(tensors, path)
    opened = saved.open(path, prefix="net.", table="table", clock_scale=0.1)
    assert opened.facts["tensors_not_used"] == ["other"]
    assert torch.tensor(opened.model.sde.betas).allclose(betas.float(), rtol=1e-6)
    network_input = opened.model.inputs.c_noise(opened.model.sde, torch.tensor([0.05, 1.0], dtype=torch.float64))
    torch.testing.assert_close(network_input, torch.tensor([0.0, 1.9], dtype=torch.float64))


def test_labels(saved: Saved) -> None:
    """The network receives labels, and its own label in place of missing ones, if it has one."""
    opened = saved.open(classes=3, null_label=7, prediction="x0")
    y = torch.tensor([2, -1])
    torch.testing.assert_close(opened.model(X, 0.5, y), saved.output(X, 499) + torch.tensor([[2.0], [7.0]]))
    torch.testing.assert_close(opened.model(X, 0.5), saved.output(X, 499) + 7)
    with pytest.raises(InputError, match="it cannot run without a label.*null_label=NUMBER"):
        saved.open(classes=3).model(X, 0.5)


FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"network": ""}, "contains tensors without a description: state network, such as bare:"),
    ({"shape": ()}, "state shape, such as"),
    ({"shape": (0, 4)}, r"shape=\[0, 4\] is not the shape of a sample"),
    ({"shape": (10**6,) * 3}, "is not the shape of a sample"),
    ({"shape": (5,)}, r"called with x \(1, 5\), c_noise \(1,\), failed: RuntimeError"),
    ({"network": "unte"}, "no network 'unte'; did you mean 'unet'"),
    ({"network": "acme_linear_network:Liner"}, "cannot be built .*has no attribute 'Liner'"),
    ({"network": "acme_no_package:Net"}, "cannot be built .*No module named 'acme_no_package'.*--plugin FILE"),
    ({"network": "acme_linear_network:Fails"}, "RuntimeError: not today"),
    ({"network": "acme_linear_network:text"}, "is not a network of torch, but a str"),
    ({"arguments": {"width": 3}}, "of another shape .layer.bias 4, not 3"),
    ({"arguments": {"wide": 3}}, "unexpected keyword argument 'wide'"),
    ({"arguments": {"returns": "short"}}, r"returned \(1, 3\), expected \(1, 4\)"),
    ({"arguments": {"returns": "text"}}, "returned a str|failed"),
    ({"prefix": "net."}, "2 missing .layer.bias, layer.weight.. Did you mean no prefix"),
    ({"prediction": "noise"}, "no prediction 'noise': choose one of x0, eps"),
    ({"process": "vpp"}, "no process 'vpp'; did you mean 'vp'"),
    ({"process": "rectified-flow"}, "divides by alpha, which is 0"),
    ({"process": "vp", "clock": "index"}, "clock=index needs a table of betas, and VP has none"),
    ({"table": "betas"}, "has no tensor 'betas', which table=betas names"),
    ({"table": "layer.weight"}, "tensor layer.weight has the shape .4, 5., expected one row of betas"),
    ({"table": "layer.bias"}, "tensor layer.bias is not a table of betas"),
    ({"low": 1.0}, "give both low and high"),
    ({"low": 1.0, "high": 0.0}, "low below high"),
    ({"null_label": 3}, "state the number of labels"),
    ({"clock": "index,"}, "option clock of loader 'bare'"),
]


@pytest.mark.parametrize(("changes", "message"), FAULTS, ids=[message for _, message in FAULTS])
def test_options_that_do_not_fit(saved: Saved, changes: dict[str, Any], message: str) -> None:
    """Each fault is refused with its reason."""
    with pytest.raises(InputError, match=message):
        saved.open(**changes)


def test_the_example_network(tmp_path: Path) -> None:
    """The network of the example opens from a file with its tensors, and a forgotten prefix is suggested."""
    registry.load_plugin_file(EXAMPLE)
    network = registry.build("network", "acme-mnist", (1, 8, 8), 0, widths=(2, 3), frequencies=2, hidden=4)
    tensors = {f"gt.{name}": torch.randn_like(tensor) for name, tensor in network.state_dict().items()}
    save_file(tensors | {"beta_t": torch.linspace(1e-4, 0.02, 101)}, tmp_path / "mnist.safetensors")
    arguments = "arguments={widths = [2, 3], frequencies = 2, hidden = 4}"
    spec = f"bare:{tmp_path}/mnist.safetensors,network=acme-mnist,shape=[1,8,8],table=beta_t,{arguments}"
    opened = open_model(f"{spec},prefix=gt.,low=-0.5,high=0.5")
    assert opened.kind == "image" and opened.units.layout == "hw" and opened.data_range == (-0.5, 0.5)
    assert opened.to_data(torch.tensor([-0.5, 0.5]).expand(1, 1, 8, 2))[0, 0].tolist() == [0.0, 255.0]
    with pytest.raises(InputError, match="Did you mean prefix=gt.?"):
        open_model(spec)
    registry.forget_plugin_files()
