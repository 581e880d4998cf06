"""Files in the formats of EDM, score_sde and guided-diffusion, with weights that follow from their names.

`original_code.json` contains, for small networks, the shapes of the tensors, and values of the denoiser that the
original code computed with the same weights, see `benchmarks/original_checkpoints.py`.
"""

from __future__ import annotations

import hashlib
import json
import math
import pickle
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

ORIGINAL: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("original_code.json").read_text("utf-8"))
SOURCE_CODE = "raise SystemExit('the source code inside the file was run')"


def weights(name: str, shape: list[int]) -> Tensor:
    """Return the weights of a tensor; `benchmarks/original_checkpoints.py` uses the same rule."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
    z = torch.randn(tuple(shape), generator=torch.Generator().manual_seed(seed))
    if name.endswith(("freqs", "all_modules.0.W")):
        return 4 * z
    if len(shape) > 1:
        return z / math.sqrt(math.prod(shape[1:]))
    return 1 + 0.1 * z if name.endswith("weight") else 0.1 * z


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Tensor]:
    """Return the tensors of a tree of shapes by name."""
    result: dict[str, Tensor] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        result |= flat(value, f"{name}.") if isinstance(value, dict) else {name: weights(name, value)}
    return result


class Persistent:
    """An object that is pickled as EDM pickles its modules: with the source code of its class."""

    def __init__(self, class_name: str, state: dict[str, Any]) -> None:
        self.class_name, self.state = class_name, state

    def __reduce__(self) -> tuple[Any, ...]:
        meta = dict(type="class", version=6, module_src=SOURCE_CODE, class_name=self.class_name, state=self.state)
        return sys.modules["torch_utils.persistence"]._reconstruct_persistent_obj, (meta,), None


@contextmanager
def modules_of_edm() -> Iterator[type[dict[str, Any]]]:
    """Provide the names that EDM's pickles contain, so that they can be written; yield EasyDict."""

    def _reconstruct_persistent_obj(meta: Any) -> None:
        raise AssertionError("the file was unpickled")

    persistence, util = ModuleType("torch_utils.persistence"), ModuleType("dnnlib.util")
    _reconstruct_persistent_obj.__module__ = persistence.__name__
    _reconstruct_persistent_obj.__qualname__ = "_reconstruct_persistent_obj"
    vars(persistence)["_reconstruct_persistent_obj"] = _reconstruct_persistent_obj
    easy = type("EasyDict", (dict,), {"__module__": util.__name__})
    vars(util)["EasyDict"] = easy
    names = {"torch_utils": ModuleType("torch_utils"), "torch_utils.persistence": persistence}
    names |= {"dnnlib": ModuleType("dnnlib"), "dnnlib.util": util}
    sys.modules.update(names)
    try:
        yield easy
    finally:
        for name in names:
            del sys.modules[name]


def module_state(tensors: dict[str, Tensor], **attributes: Any) -> dict[str, Any]:
    """Return the attributes of a module that contains tensors of these names."""
    children: dict[str, dict[str, Tensor]] = {}
    own: OrderedDict[str, Any] = OrderedDict()
    for name, value in tensors.items():
        child, dot, rest = name.partition(".")
        if dot:
            children.setdefault(child, {})[rest] = value
        else:
            own[child] = nn.Parameter(value, requires_grad=False)
    modules: OrderedDict[str, Any] = OrderedDict()
    for name, part in children.items():
        if name in ("enc", "dec"):
            modules[name] = nn.ModuleDict()
            vars(modules[name]).update(module_state(part))
        else:
            modules[name] = Persistent("Layer", module_state(part))
    buffers = OrderedDict(own.pop("buffers", {}))
    hooks = {name: OrderedDict() for name in ("_forward_hooks", "_backward_hooks", "_state_dict_hooks")}
    return (
        dict(
            training=False,
            _parameters=own,
            _buffers=buffers,
            _modules=modules,
            _non_persistent_buffers_set=set(),
            **hooks,
        )
        | attributes
    )


def noise_levels(m: int, c_1: float = 0.001, c_2: float = 0.008) -> Tensor:
    """Return the noise levels u of the iDDPM preconditioning (Karras et al. 2022, Table 1)."""
    alpha_bar = lambda j: (0.5 * torch.pi * torch.as_tensor(j) / m / (c_2 + 1)).sin() ** 2  # noqa: E731
    u = torch.zeros(m + 1)
    for j in range(m, 0, -1):
        u[j - 1] = ((u[j] ** 2 + 1) / (alpha_bar(j - 1) / alpha_bar(j)).clip(min=c_1) - 1).sqrt()
    return u


def edm_content(config: dict[str, Any], tensors: dict[str, Tensor], easy: type[dict[str, Any]]) -> dict[str, Any]:
    """Return the content of a network snapshot of EDM."""
    arguments = {name: value for name, value in config.items() if name not in ("class_name", "_init_args")}
    positional = config.get("_init_args", ())
    state = module_state(tensors, _init_args=positional, _init_kwargs=arguments, skip_scale=np.sqrt(0.5))
    if config["class_name"] == "iDDPMPrecond":
        state["_buffers"]["u"] = noise_levels(1000)
    loss = Persistent("EDMLoss", {"P_mean": -1.2, "P_std": 1.2, "sigma_data": 0.5})
    return dict(ema=Persistent(config["class_name"], state), loss_fn=loss, dataset_kwargs=easy(path="data.zip"))


def write_edm(path: Path, config: dict[str, Any], tensors: dict[str, Tensor]) -> Path:
    """Write a network snapshot of EDM."""
    with modules_of_edm() as easy:
        path.write_bytes(pickle.dumps(edm_content(config, tensors, easy), protocol=4))
    return path


def write_score_sde(path: Path, config: dict[str, Any], tensors: dict[str, Tensor], *, zipped: bool = True) -> Path:
    """Write a checkpoint of score_sde, whose network differs from the averaged weights."""
    averages = [value for name, value in tensors.items() if name != "all_modules.0.W"]
    smallest, largest = config["sigma_min"], config["sigma_max"]
    table = torch.logspace(math.log10(largest), math.log10(smallest), config["num_scales"], dtype=torch.float64)
    model = OrderedDict({"module.sigmas": table})
    model |= {f"module.{n}": v if n == "all_modules.0.W" else v + 1 for n, v in tensors.items()}
    optimizer = {"state": {0: {"step": 7, "exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 2e-4, "params": [0]}]}
    ema = {"decay": 0.999, "num_updates": 7, "shadow_params": averages}
    content = {"optimizer": optimizer, "model": model, "ema": ema, "step": 7}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path


def write_guided_diffusion(path: Path, config: dict[str, Any], tensors: dict[str, Tensor]) -> Path:
    """Write a checkpoint of guided-diffusion."""
    torch.save(OrderedDict(tensors), path)
    return path


WRITERS: dict[str, tuple[str, Callable[..., Path]]] = {
    "edm": (".pkl", write_edm),
    "score_sde": (".pth", write_score_sde),
    "guided": (".pt", write_guided_diffusion),
}


@pytest.fixture(scope="session")
def original_file(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """Return the function that writes a file in an original format, given the format and the name of a network."""
    folder = tmp_path_factory.mktemp("originals")

    def write(family: str, name: str) -> Path:
        suffix, writer = WRITERS[family]
        path = folder / f"{name}{suffix}"
        if not path.exists():
            case = ORIGINAL[family][name]
            writer(path, case["config"], flat(case["tensors"]))
        return path

    return write


@pytest.fixture
def edm_writer() -> Callable[..., Path]:
    """Return a function that writes a snapshot of EDM after `change(config, tensors)`."""

    def write(name: str, path: Path, change: Callable[[dict[str, Any], dict[str, Tensor]], Any]) -> Path:
        case = ORIGINAL["edm"][name]
        config, tensors = dict(case["config"]), flat(case["tensors"])
        change(config, tensors)
        return write_edm(path, config, tensors)

    return write


@pytest.fixture
def persistent() -> Callable[[], Any]:
    """Return a context manager that yields `make(class_name, state)` for objects in pickles of EDM."""

    @contextmanager
    def maker() -> Iterator[Callable[[str, dict[str, Any]], Persistent]]:
        with modules_of_edm():
            yield Persistent

    return maker
