"""A network run by a backend is checked once, and runs eagerly if the backend fails, deviates or has no gradients."""

import warnings

import pytest
import torch
from torch import Tensor, nn

from sdekit.backends import BackendNetwork, BackendWarning, PreparedNetwork, cache_folder
from sdekit.errors import InputError
from sdekit.models import ScoreModel
from sdekit.processes import VP


class Affine(nn.Module):
    """The network W x + c_noise + y, which counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.calls = nn.Linear(3, 3), 0

    def forward(self, x: Tensor, c_noise: Tensor, y: Tensor | None = None) -> Tensor:
        self.calls += 1
        out: Tensor = self.layer(x) + c_noise[:, None] + (0 if y is None else y[:, None])
        return out


@pytest.fixture
def network() -> Affine:
    """A network with weights of a fixed seed and without gradients for them."""
    torch.manual_seed(0)
    return Affine().requires_grad_(False)


def inputs(rows: int = 4) -> tuple[Tensor, Tensor]:
    """x (rows, 3) and c_noise (rows,)."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(rows, 3, generator=generator), torch.linspace(-1, 1, rows)


def doubled(factor: float, dtype: torch.dtype | None = None):
    """A backend that is wrong by a factor of 2 and declares a dtype."""
    return lambda network: PreparedNetwork(call=lambda x, c, y=None: network(x, c, y) * factor, dtype=dtype)


def test_it_is_made_ready_at_the_first_call_only(network: Affine) -> None:
    """A network is prepared at the first call only."""
    made = []
    run = BackendNetwork(network, lambda n: made.append(n) or (lambda x, c, y=None: n(x, c, y)), name="plain")
    assert made == []
    for _ in range(3):
        assert torch.equal(run(*inputs()), Affine.forward(network, *inputs()))
    assert made == [network]


def test_each_shape_is_compared_once(network: Affine) -> None:
    """The result for each shape is compared with the network once."""
    run = BackendNetwork(network, lambda n: lambda x, c, y=None: n(x, c, y), name="plain")
    counts = []
    for rows, y in ((4, None), (4, None), (2, None), (4, torch.ones(4)), (2, None)):
        before = network.calls
        run(*inputs(rows), y)
        counts.append(network.calls - before)
    assert counts == [2, 1, 2, 2, 1]


def test_the_network_itself_is_not_compared_with_itself(network: Affine) -> None:
    """A backend that returns the network itself is not compared with it."""
    BackendNetwork(network, lambda n: n, name="eager")(*inputs())
    assert network.calls == 1


@pytest.mark.parametrize(
    ("factor", "dtype", "kept"),
    [
        (1 + 1e-4, None, True),
        (1 + 1e-2, None, False),
        (1 + 1e-2, torch.bfloat16, True),
        (1 + 2e-2, torch.float16, False),
        (1.3, torch.qint8, False),
        (float("nan"), torch.qint8, False),
    ],
)
def test_deviation_by_dtype(network: Affine, factor: float, dtype: torch.dtype | None, kept: bool) -> None:
    """The dtype that a backend declares sets the deviation that is allowed."""
    run = BackendNetwork(network, doubled(factor, dtype), name="wrong")
    exact = network(*inputs())
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        first = run(*inputs())
    assert torch.equal(first, exact) is not kept
    assert [w.category for w in told] == ([] if kept else [BackendWarning])
    if not kept:
        assert "deviates from the network by" in run.note and "runs eagerly" in str(told[0].message)
        assert torch.equal(run(*inputs(2)), network(*inputs(2)))


def test_failure_names_its_root_and_is_told_once(network: Affine) -> None:
    """A failing backend causes one warning that names the root of the error."""

    def broken(network: nn.Module):
        try:
            raise OSError("the disk is full\nand a long trace")
        except OSError as error:
            raise RuntimeError("compilation failed") from error

    run = BackendNetwork(network, broken, name="broken")
    with pytest.warns(BackendWarning, match=r"backend 'broken' failed \(OSError: the disk is full\)"):
        assert torch.equal(run(*inputs()), network(*inputs()))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(*inputs(2))


def test_another_shape_is_a_deviation(network: Affine) -> None:
    """A result of another shape makes the network run eagerly."""
    run = BackendNetwork(network, lambda n: lambda x, c, y=None: n(x, c, y)[:, :2], name="narrow")
    with pytest.warns(BackendWarning, match=r"returns \(4, 2\) torch.float32, but the network returns \(4, 3\)"):
        assert run(*inputs()).shape == (4, 3)


def test_what_the_backend_refuses_is_an_error(network: Affine) -> None:
    """An InputError of a backend is raised, not turned into a fallback."""

    def needs(network: nn.Module):
        raise InputError("needs a library: pip install it")

    with pytest.raises(InputError, match="pip install it"):
        BackendNetwork(network, needs, name="library")(*inputs())


@pytest.mark.parametrize("declared", [True, False])
def test_gradients_are_refused_where_there_are_none(network: Affine, declared: bool) -> None:
    """Gradients are refused if the backend declares none, or if its result does not depend on x."""

    def run(x: Tensor, c: Tensor, y: Tensor | None = None) -> Tensor:
        with torch.no_grad():
            result: Tensor = network(x, c, y)
        return result

    backed = BackendNetwork(
        network, lambda n: PreparedNetwork(call=run, differentiable=False) if declared else run, name="frozen"
    )
    x, c = inputs()
    assert backed(x, c).shape == x.shape
    with pytest.raises(InputError, match="'frozen' has no gradients .* use|backend 'eager', 'compile'"):
        backed(x.requires_grad_(), c)
    if declared:
        with pytest.raises(InputError, match="no gradients"):
            torch.func.jvp(lambda x: backed(x, c), (x.detach(),), (torch.ones_like(x),))


def test_gradients_pass_where_there_are_some(network: Affine) -> None:
    """Gradients through a differentiable backend are those of the network."""
    x, c = inputs()
    backed = BackendNetwork(network, lambda n: lambda x, c, y=None: n(x, c, y), name="plain")
    (slope,) = torch.autograd.grad(backed(x.requires_grad_(), c).sum(), x)
    assert torch.allclose(slope, network.layer.weight.sum(0).expand(4, 3))


def test_the_model_runs_its_network_so_and_trains_it_as_it_is(network: Affine) -> None:
    """The denoiser of a model uses its backend, and the loss uses the network itself."""
    x, _ = inputs()
    plain, model = ScoreModel(network, VP()), ScoreModel(network, VP(), backend=doubled(1 + 1e-4))
    assert list(model.state_dict()) == list(plain.state_dict())
    t = torch.full((4,), 0.5)
    assert not torch.equal(model(x, 0.5), plain(x, 0.5)) and torch.allclose(model(x, 0.5), plain(x, 0.5), rtol=1e-3)
    assert torch.equal(model.loss(x, t, x), plain.loss(x, t, x))
    assert torch.equal(model.run_with("eager")(x, 0.5), plain(x, 0.5))


def test_an_unknown_name(network: Affine) -> None:
    """An unknown name of a backend is refused with a suggestion."""
    with pytest.raises(InputError, match="no backend 'compiel'; did you mean 'compile'?"):
        ScoreModel(network, VP(), backend="compiel")


def test_the_cache_is_the_user_s_alone(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    """Only the user can write to the cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = cache_folder("export")
    assert folder == tmp_path / "sdekit" / "export" and folder.stat().st_mode & 0o077 == 0
