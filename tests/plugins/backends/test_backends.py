"""The built-in backends on small networks: agreement, gradients, requirements."""

import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from sdekit import registry
from sdekit.backends import TOLERANCE, BackendNetwork, BackendWarning, PreparedNetwork
from sdekit.errors import InputError
from sdekit.export import FORMATS, CachedExport
from sdekit.networks import MLP, UNet
from sdekit_plugins.backends import compiled as backend_compile, cuda_graph as backend_cuda_graph

COMPILER = any(map(backend_compile.shutil.which, backend_compile.COMPILERS))
ONNX = all(map(find_spec, ("onnxruntime", "onnx", "onnxscript")))
CUDA = torch.cuda.is_available()
NEEDS = {
    "compile": pytest.mark.skipif(not COMPILER, reason="no C++ compiler"),
    "onnx": pytest.mark.skipif(not ONNX, reason="no onnxruntime"),
    "cuda-graph": pytest.mark.skipif(not CUDA, reason="no CUDA device"),
}
SLOW = ("compile", "export", "onnx")  # each variant takes seconds: with labels only, and fewer shapes
DIFFERENTIABLE = ("auto", "bf16", "channels-last", "compile", "eager", "fp16")
NAMES = [pytest.param(name, marks=NEEDS.get(name, ())) for name in registry.component_names("backend")]


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache for the tests, instead of that of the user."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("XDG_CACHE_HOME", str(folder))
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(folder / "inductor"))
        yield


def ready(network: nn.Module) -> nn.Module:
    """Set the weights so that none is 0, as some are initially."""
    torch.manual_seed(0)
    for parameter in network.parameters():
        parameter.data += 0.02 * torch.randn_like(parameter)
    return network.eval().requires_grad_(False).to("cuda" if CUDA else "cpu")


@pytest.fixture(scope="module")
def mlp() -> nn.Module:
    """A network that is wide enough for int8."""
    return ready(MLP((2,), 3, width=256, depth=1))


class Tiny(nn.Module):
    """A network of one layer, which compiles in seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.label = nn.Linear(2, 2), nn.Embedding(3, 2)

    def forward(self, x: Tensor, c_noise: Tensor, y: Tensor | None = None) -> Tensor:
        h = c_noise[:, None] if y is None else c_noise[:, None] + self.label(y)
        out: Tensor = torch.tanh(self.layer(x) * h)
        return out


def inputs(network: nn.Module, rows: int, shape: tuple[int, ...] = (2,)) -> tuple[Tensor, Tensor, Tensor]:
    """Return x, c_noise and labels on the device of the network."""
    device = next(network.parameters()).device
    x = torch.randn(rows, *shape, generator=torch.Generator().manual_seed(rows)).to(device)
    return x, torch.linspace(-1, 1, rows, device=device), torch.arange(rows, device=device) % 3


@pytest.mark.parametrize("name", NAMES)
def test_agreement(name: str, mlp: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend agrees with the network for several batch sizes, with labels and without, and does not fall back."""
    # AOTInductor itself takes half a minute: tests/cli/test_export.py.
    monkeypatch.setitem(FORMATS, "aoti", replace(FORMATS["torch"], suffix=".aoti"))
    network = ready(Tiny()) if name in SLOW else mlp
    run = BackendNetwork(network, registry.build("backend", name), name=name)
    with torch.no_grad():
        for rows in (4, 7) if name in SLOW else (4, 1, 7, 4):
            x, c, y = inputs(network, rows)
            for label in (y,) if name in SLOW else (y, None):
                expected, got = network(x, c, label), run(x, c, label)
                runner = run.prepared[x.device, x.dtype]
                allowed = TOLERANCE[getattr(runner, "dtype", None) or torch.float32]
                assert got.dtype == x.dtype and got.shape == x.shape
                assert (got - expected).abs().max() <= allowed * expected.abs().max()
    assert run.fallback == ""


@pytest.mark.parametrize("name", [n for n in NAMES if n.values[0] != "eager"])
def test_gradients_are_right_or_refused(name: str, mlp: nn.Module) -> None:
    """Gradients are those of the network, or are refused."""
    network = ready(Tiny()) if name == "compile" else mlp
    run = BackendNetwork(network, registry.build("backend", name), name=name)
    x, c, y = inputs(network, 4)
    x.requires_grad_()
    if name not in DIFFERENTIABLE:
        with pytest.raises(InputError, match=f"backend '{name}' has no gradients"):
            run(x, c, y)
        return
    (expected,) = torch.autograd.grad(network(x, c, y).square().sum(), x)
    (got,) = torch.autograd.grad(run(x, c, y).square().sum(), x)
    allowed = {"bf16": 5e-2, "fp16": 1e-2}.get(name, 1e-4)
    assert (got - expected).abs().max() <= allowed * expected.abs().max()
    assert run.fallback == ""


@pytest.mark.parametrize("name", ["channels-last", "bf16", "auto"])
def test_images(name: str) -> None:
    """Backends agree with the network on images."""
    network = ready(UNet((1, 8, 8), width=8))
    x, c, _ = inputs(network, 3, (1, 8, 8))
    run = BackendNetwork(network, registry.build("backend", name), name=name)
    with torch.no_grad():
        got, expected = run(x, c), network(x, c)
    assert run.fallback == "" and got.is_contiguous()
    assert (got - expected).abs().max() <= 5e-2 * expected.abs().max()


def test_auto_says_what_it_picked_and_why(mlp: nn.Module) -> None:
    """The note of `auto` contains its choice and the reason."""
    for network, cpu in ((mlp, "eager"), (ready(UNet((1, 8, 8), width=8)), "channels-last")):
        runner: PreparedNetwork = registry.build("backend", "auto")(network)
        picked = "cuda-graph" if CUDA else cpu
        assert runner.note.startswith(f"picked '{picked}': ")


def test_int8_quantises_wide_layers_only(mlp: nn.Module) -> None:
    """int8 quantises wide linear layers only."""
    runner = registry.build("backend", "int8")(mlp.cpu())
    assert runner.note == "2 linear layers in int8" and not runner.differentiable
    with pytest.raises(InputError, match="at least 256 inputs and outputs, and this network has none"):
        registry.build("backend", "int8")(MLP((2,), width=64))
    x, c, y = inputs(mlp, 64)
    with torch.no_grad():
        exact, rounded = mlp(x, c, y), runner(x, c, y)
    assert 1e-5 < (exact - rounded).abs().max() / exact.abs().max() < 0.05


def test_a_missing_compiler_is_the_reason_of_the_fallback(mlp: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a compiler, `compile` falls back and says so."""
    monkeypatch.setenv("CXX", "no-such-compiler")
    run = BackendNetwork(mlp.cpu(), registry.build("backend", "compile"), name="compile")
    with pytest.warns(BackendWarning, match="no C.. compiler .no-such-compiler. was found: install one"):
        x, c, y = inputs(mlp, 2)
        assert torch.equal(run(x, c, y), mlp(x, c, y))


@pytest.mark.skipif(not COMPILER, reason="no C++ compiler")
@pytest.mark.parametrize("asked", [None, "torchinductor_root", "elsewhere"])
def test_kernels_are_kept(asked: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Compiled kernels are stored in the cache of the user, or in the folder that the environment names."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    if asked:
        monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(Path(tempfile.gettempdir()) / asked))
    registry.build("backend", "compile")(Tiny())
    kept = Path(os.environ["TORCHINDUCTOR_CACHE_DIR"])
    assert kept == (Path(tempfile.gettempdir()) / asked if asked == "elsewhere" else tmp_path / "sdekit" / "inductor")


def test_a_missing_library_says_how_to_get_it(mlp: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing library is an error that says how to install it."""
    monkeypatch.setattr(
        "sdekit.export.export_formats.find_spec", lambda name: None if name.startswith("onnx") else True
    )
    expected = "backend 'onnx' needs onnxruntime and onnx and onnxscript: pip install 'sdekit.onnx.'"
    with pytest.raises(InputError, match=expected):
        registry.build("backend", "onnx")(mlp)


@pytest.mark.skipif(CUDA, reason="there is a CUDA device")
def test_cuda_graph_needs_cuda(mlp: nn.Module) -> None:
    """cuda-graph is refused on the CPU."""
    with pytest.raises(InputError, match="needs a CUDA device, and the model is on cpu"):
        registry.build("backend", "cuda-graph")(mlp)


@pytest.mark.skipif(not CUDA, reason="no CUDA device")
def test_cuda_graph_keeps_results_and_waits_for_nothing(mlp: nn.Module) -> None:
    """cuda-graph keeps earlier results and does not synchronise."""
    mlp.to("cuda")
    run = backend_cuda_graph.cuda_graph(mlp)
    first, second = inputs(mlp, 4), inputs(mlp, 4)
    second[0].add_(1)
    with torch.no_grad():
        run(*first)
        torch.cuda.set_sync_debug_mode("error")
        try:
            one, two = run(*first), run(*second)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        assert torch.allclose(one, mlp(*first), rtol=1e-4) and torch.allclose(two, mlp(*second), rtol=1e-4)


def test_a_package_is_found_again_and_made_anew_for_other_weights(
    mlp: nn.Module, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An exported network is reused from the cache, and written again for other weights."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    x, c, y = inputs(mlp.cpu(), 3)
    files = []
    with torch.no_grad():
        for change in (0.0, 0.0, 0.1):
            mlp.first.weight.data += change
            assert torch.allclose(CachedExport(mlp, "torch", user="test")(x, c, y), mlp(x, c, y), atol=1e-5)
            files.append({path.name: path.stat().st_mtime_ns for path in (tmp_path / "sdekit" / "export").iterdir()})
    assert len(files[0]) == 1 and files[1] == files[0] and len(files[2]) == 2
    with pytest.raises(InputError, match="computes in float32, and x is torch.float64"):
        CachedExport(mlp, "torch", user="test")(x.double(), c, y)


def test_a_package_for_each_batch_size_where_the_code_depends_on_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A network whose code depends on the batch size is exported for each size."""

    class Choosy(Tiny):
        """As diffusers' U-Net from 64 rows on."""

        def forward(self, x: Tensor, c_noise: Tensor, y: Tensor | None = None) -> Tensor:
            return super().forward(x if x.shape[0] < 6 else x.contiguous() + 1, c_noise, y)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    network = ready(Choosy()).cpu()
    cached = CachedExport(network, "torch", user="test")
    with torch.no_grad():
        for rows in (2, 8, 2):
            x, c, _ = inputs(network, rows)
            assert torch.allclose(cached(x, c), network(x, c), atol=1e-6)
    assert len(list((tmp_path / "sdekit" / "export").iterdir())) == 2


@pytest.mark.skipif(not CUDA, reason="no CUDA device")
@pytest.mark.parametrize("solver", ["ddim", "heun", "dpmpp-2m", "ddpm"])
def test_no_synchronisation_in_the_loop(solver: str, mlp: nn.Module) -> None:
    """Sampling does not wait for the GPU between steps, with deterministic and with stochastic samplers."""
    from sdekit import VP, ScoreModel, sample

    model = ScoreModel(mlp.to("cuda"), VP(), backend="cuda-graph")
    ends: list[int] = []

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        ends.append(len(ends))
        if len(ends) == 2:  # the first call records and compares
            torch.cuda.set_sync_debug_mode("error")
        if len(ends) == 8:  # what follows is the check that all is finite
            torch.cuda.set_sync_debug_mode("default")
        return model(x, t)

    try:
        sample(VP(), denoise, solver, shape=(2,), n=4, steps=20, device="cuda")
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(ends) > 8 and model.backend is not None and model.backend.fallback == ""
