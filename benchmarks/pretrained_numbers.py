"""Write tests/plugins/loaders/original_denoisers.json: denoised images of the original code of two formats.

The tests compare the loaders `lucidrains` and `k-diffusion` with this file and need neither package. Run this script
in an environment of its own:

    python -m venv peers && peers/bin/pip install torch scipy accelerate ema-pytorch einops tqdm pillow
    peers/bin/pip install --no-deps denoising-diffusion-pytorch k-diffusion dctorch
    peers/bin/python benchmarks/pretrained_numbers.py
"""

import json
import sys
import zlib
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

FILE = Path(__file__).parents[1] / "tests" / "plugins" / "loaders" / "original_denoisers.json"
SIZE = 8
LUCIDRAINS: dict[str, dict[str, Any]] = {
    "eps": {"unet": {"dim": 8, "dim_mults": [1, 2], "channels": 1}, "objective": "pred_noise", "schedule": "linear"},
    "v": {
        "unet": {"dim": 8, "dim_mults": [1, 1, 2], "channels": 3, "init_dim": 12, "self_condition": True},
        "objective": "pred_v",
        "schedule": "sigmoid",
    },
    "x0": {
        "unet": {"dim": 8, "dim_mults": [1, 2], "full_attn": [True, False], "attn_heads": [2, 3], "attn_dim_head": 8},
        "objective": "pred_x0",
        "schedule": "cosine",
        "min_snr": True,
    },
}
INDICES = (0, 40, 99)
K_DIFFUSION: dict[str, dict[str, Any]] = {
    "plain": {
        "input_channels": 1, "mapping_out": 16, "depths": [1, 2], "channels": [32, 64], "self_attn_depths": [0, 1],
    },
    "patches": {
        "input_channels": 3, "mapping_out": 8, "depths": [1, 1], "channels": [64, 128], "self_attn_depths": [1, 0],
        "patch_size": 2, "has_variance": True, "augment_wrapper": False, "sigma_data": 0.5,
    },
}  # fmt: skip
SIGMAS = (0.02, 1.0, 60.0)


def weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return normal numbers that follow from the names and shapes of tensors. The test uses the same rule."""
    tensors = {}
    for name, old in state.items():
        generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
        fan_in = max(old[0].numel(), 1) if old.ndim else 1
        tensors[name] = old if name.endswith("kernel") else torch.randn(old.shape, generator=generator) / fan_in**0.5
    return tensors


def images(channels: int) -> Tensor:
    """Return two images (2, channels, SIZE, SIZE) of waves. The test uses the same rule."""
    place = torch.arange(2 * channels * SIZE**2, dtype=torch.float64)
    return (1.5 * torch.sin(0.37 * place**1.1)).float().view(2, channels, SIZE, SIZE)


def shapes(state: Mapping[str, Tensor]) -> dict[str, list[int]]:
    """Return the shapes of tensors by name."""
    return {name: list(tensor.shape) for name, tensor in state.items()}


def lucidrains(case: Mapping[str, Any]) -> dict[str, Any]:
    """Return the shapes of the network's tensors, buffers of the diffusion, and the unclipped x_0 at each index."""
    package = import_module("denoising_diffusion_pytorch.denoising_diffusion_pytorch")
    unet = {name: tuple(value) if isinstance(value, list) else value for name, value in case["unet"].items()}
    diffusion = package.GaussianDiffusion(
        package.Unet(**unet),
        image_size=SIZE,
        timesteps=100,
        objective=case["objective"],
        beta_schedule=case["schedule"],
        min_snr_loss_weight=case.get("min_snr", False),
    ).eval()
    diffusion.model.load_state_dict(weights(diffusion.model.state_dict()))
    x = images(unet.get("channels", 3))
    predictions = (diffusion.model_predictions(x, torch.full((2,), index)) for index in INDICES)
    return {
        "shapes": shapes(diffusion.model.state_dict()),
        **{name: getattr(diffusion, name).tolist() for name in ("betas", "loss_weight")},
        "x0": [prediction.pred_x_start.flatten().tolist() for prediction in predictions],
    }


def k_diffusion(case: Mapping[str, Any]) -> dict[str, Any]:
    """Return the shapes of the network's tensors, and the denoised images at each noise level."""
    layers, models = import_module("k_diffusion.layers"), import_module("k_diffusion.models.image_v1")
    augmented = case.get("augment_wrapper", True)
    sizes = [case[name] for name in ("input_channels", "mapping_out", "depths", "channels", "self_attn_depths")]
    options = {"patch_size": case.get("patch_size", 1), "has_variance": case.get("has_variance", False)}
    network = models.ImageDenoiserModelV1(*sizes, mapping_cond_dim=9 * augmented, **options).eval()
    network.load_state_dict(weights(network.state_dict()))
    result: dict[str, Any] = {"shapes": shapes(network.state_dict())}
    if augmented:
        network = import_module("k_diffusion.augmentation").KarrasAugmentWrapper(network)
    denoise = layers.Denoiser(network, sigma_data=case.get("sigma_data", 1.0))
    x = images(case["input_channels"])
    return result | {"x0": [denoise(x, torch.full((2,), sigma)).flatten().tolist() for sigma in SIGMAS]}


def without_images() -> None:
    """Let both packages be imported without torchvision and scikit-image, which they use to read images only."""
    names = ("torchvision", "torchvision.transforms", "torchvision.utils", "skimage", "skimage.transform")
    modules = {name: ModuleType(name) for name in names}
    utils, sampling = ModuleType("k_diffusion.utils"), ModuleType("k_diffusion.sampling")
    utils.append_dims = lambda x, ndim: x[(...,) + (None,) * (ndim - x.ndim)]  # type: ignore[attr-defined]
    for name in ("k_diffusion", "k_diffusion.models"):  # without their __init__.py, which imports everything
        spec = find_spec("k_diffusion")
        assert spec is not None and spec.submodule_search_locations, "install k-diffusion, see the docstring"
        folder = Path(spec.submodule_search_locations[0])
        modules[name] = ModuleType(name)
        modules[name].__path__ = [str(folder if name == "k_diffusion" else folder / "models")]
    modules |= {"k_diffusion.utils": utils, "k_diffusion.sampling": sampling}
    for parent, child in (("torchvision", "transforms"), ("torchvision", "utils"), ("skimage", "transform")):
        setattr(modules[parent], child, modules[f"{parent}.{child}"])
    for child in ("utils", "sampling", "models"):
        setattr(modules["k_diffusion"], child, modules[f"k_diffusion.{child}"])
    sys.modules.update(modules)


def main() -> None:
    """Compute all cases and write the file."""
    without_images()
    with torch.no_grad():
        content: dict[str, Any] = {
            "versions": {name: version(name) for name in ("denoising-diffusion-pytorch", "k-diffusion", "torch")},
            "size": SIZE,
            "indices": INDICES,
            "sigmas": SIGMAS,
            "lucidrains": {name: {**case, **lucidrains(case)} for name, case in LUCIDRAINS.items()},
            "k-diffusion": {name: {**case, **k_diffusion(case)} for name, case in K_DIFFUSION.items()},
        }
    text = json.dumps(content, separators=(",", ":"))
    rounded = json.loads(text, parse_float=lambda number: float(f"{float(number):.7g}"))
    FILE.write_text(json.dumps(rounded, separators=(",", ":")) + "\n", "utf-8")
    print(f"wrote {FILE}")


if __name__ == "__main__":
    main()
