"""Run the original code of EDM, score_sde and guided-diffusion on small networks with reproducible weights.

    python benchmarks/original_checkpoints.py FOLDER

FOLDER contains clones of NVlabs/edm, yang-song/score_sde_pytorch and openai/guided-diffusion from GitHub. The script
writes tests/plugins/loaders/checkpoints/original_code.json: the configuration of each network, the shapes of
its tensors, and values of its denoiser at three noise levels. The tests build the same weights from their names and
compare. Nothing of the original code is copied.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

OUT = Path(__file__).parents[1] / "tests" / "plugins" / "loaders" / "checkpoints" / "original_code.json"
SHAPE = (3, 16, 16)
EVERY = 37
"""Every 37th value of the denoised images is stored."""


def weights(name: str, shape: torch.Size) -> Tensor:
    """Return the weights of a tensor: random numbers that depend on its name alone. The tests use the same rule."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
    z = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    if name.endswith(("freqs", "all_modules.0.W")):
        return 4 * z
    if len(shape) > 1:
        return z / math.sqrt(math.prod(shape[1:]))
    return 1 + 0.1 * z if name.endswith("weight") else 0.1 * z


def fill(network: nn.Module, tables: tuple[str, ...] = ()) -> dict[str, Any]:
    """Fill a network, except for its tables; return the tree of the shapes of the filled tensors."""
    state, tree = network.state_dict(), {}
    for name in state:
        if not name.endswith("resample_filter") and name not in tables:
            state[name] = weights(name, state[name].shape)
            *path, leaf = name.split(".")
            node: dict[str, Any] = tree
            for part in path:
                node = node.setdefault(part, {})
            node[leaf] = list(state[name].shape)
    network.load_state_dict(state)
    network.eval().requires_grad_(False)
    return tree


def noisy(alpha: float, sigma: float) -> Tensor:
    """Return three x_t of the standard deviation of noisy data."""
    x = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(1))
    return x * math.sqrt(0.25 * alpha**2 + sigma**2)


def case(config: dict[str, Any], tree: dict[str, Any], levels: list[float], denoised: list[Tensor]) -> dict[str, Any]:
    """Return the entry of one network."""
    values = [[float(f"{v:.6g}") for v in x0.flatten()[::EVERY].tolist()] for x0 in denoised]
    return dict(config=config, tensors=tree, levels=[float(f"{v:.9g}") for v in levels], denoised=values)


def edm(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the networks of EDM, with the denoiser of their preconditioning."""
    sys.path.insert(0, str(folder / "edm"))
    sys.modules["distutils.util"] = ModuleType("distutils.util")  # removed from Python, and not needed here
    vars(sys.modules["distutils.util"])["strtobool"] = bool
    import dnnlib  # type: ignore[import-not-found]

    song = dict(model_type="SongUNet", model_channels=8, channel_mult=[1, 2], num_blocks=1, attn_resolutions=[8])
    adm = dict(
        model_type="DhariwalUNet", model_channels=32, channel_mult=[2, 4], num_blocks=1, attn_resolutions=[16, 8]
    )
    ddpmpp = song | dict(embedding_type="positional", encoder_type="standard", channel_mult_noise=1)
    ddpmpp |= dict(decoder_type="standard", resample_filter=[1, 1])
    ncsnpp = song | dict(embedding_type="fourier", encoder_type="residual", channel_mult_noise=2)
    ncsnpp |= dict(decoder_type="standard", resample_filter=[1, 3, 3, 1])
    skip = ncsnpp | dict(encoder_type="skip", decoder_type="skip", channel_mult=[1, 2, 2])
    networks: dict[str, tuple[str, int, dict[str, Any], list[float]]] = {
        "edm-vp-ddpmpp": ("VPPrecond", 0, ddpmpp | dict(augment_dim=9), [0.01, 0.7, 30.0]),
        "edm-ve-ncsnpp": ("VEPrecond", 3, ncsnpp, [0.03, 1.0, 60.0]),
        "edm-ve-skip": ("VEPrecond", 0, skip, [0.03, 1.0, 60.0]),
        "edm-edm-ddpmpp": ("EDMPrecond", 3, ddpmpp | dict(augment_dim=9), [0.002, 0.5, 80.0]),
        "edm-edm-adm": ("EDMPrecond", 5, adm | dict(augment_dim=9), [0.002, 0.5, 80.0]),
        "edm-iddpm-adm": ("iDDPMPrecond", 3, adm | dict(channel_mult=[2, 3]), [0, 400, 999]),
    }
    for name, (precond, labels, arguments, levels) in networks.items():
        config: dict[str, Any] = dict(img_resolution=SHAPE[1], img_channels=SHAPE[0], label_dim=labels) | arguments
        config |= dict(dropout=0.1, use_fp16=False)
        network = dnnlib.util.construct_class_by_name(class_name=f"training.networks.{precond}", **config)
        tree = fill(network, tables=("u",))
        if precond == "iDDPMPrecond":
            levels = [float(network.u[network.M - 1 - int(index)]) for index in levels]
        y = torch.eye(labels)[:3] if labels else None
        if y is not None:
            y[2] = 0  # no label
        denoised = [network(noisy(1, sigma), torch.full((3,), sigma), y) for sigma in levels]
        yield name, case(dict(class_name=precond) | config, tree, levels, denoised)


def score_sde(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the networks of score_sde, with the denoiser that follows from their score."""
    sys.path.insert(0, str(folder / "score_sde_pytorch"))
    source = (folder / "score_sde_pytorch" / "op" / "upfirdn2d.py").read_text("utf-8")
    op = ModuleType("op")  # the package compiles CUDA code when it is imported: take the functions for the CPU
    vars(op).update(torch=torch, F=nn.functional)
    exec(source[source.index("def upfirdn2d(input") :], vars(op))
    sys.modules["op"] = op
    import sde_lib  # type: ignore[import-not-found]
    from models import ncsnpp, utils  # type: ignore[import-not-found]

    common = dict(nonlinearity="swish", sigma_min=0.01, sigma_max=50, num_scales=1000, beta_min=0.1, beta_max=20.0)
    common |= dict(dropout=0.1, nf=16, ch_mult=(1, 2), num_res_blocks=1, attn_resolutions=(8,), resamp_with_conv=True)
    common |= dict(conditional=True, fir_kernel=[1, 3, 3, 1], skip_rescale=True, resblock_type="biggan")
    common |= dict(progressive_combine="sum", init_scale=0.0, fourier_scale=16, progressive="none")
    plain = dict(fir=False, progressive_input="none", embedding_type="positional", scale_by_sigma=False)
    residual = dict(fir=True, progressive_input="residual", embedding_type="fourier", scale_by_sigma=True)
    positional = residual | dict(embedding_type="positional")
    skip = residual | dict(progressive="output_skip", progressive_input="input_skip", ch_mult=(1, 2, 2))
    networks: dict[str, tuple[str, bool, dict[str, Any], list[float]]] = {
        "score-sde-vp-ddpmpp": ("vp", True, plain, [1e-3, 0.4, 1.0]),
        "score-sde-sub-vp-ncsnpp": ("subvp", True, positional | dict(scale_by_sigma=False), [1e-2, 0.4, 1.0]),
        "score-sde-ve-ncsnpp": ("ve", True, residual, [0.0, 0.4, 1.0]),
        "score-sde-ve-skip": ("ve", True, skip, [0.0, 0.4, 1.0]),
        "score-sde-vp-discrete": ("vp", False, plain, [0.0, 400 / 999, 1.0]),
        "score-sde-ve-discrete": ("ve", False, positional, [0.0, 400 / 999, 1.0]),
    }
    for name, (kind, continuous, arguments, times) in networks.items():
        config = common | arguments | dict(sde=kind, continuous=continuous, centered=kind != "ve")
        data = SimpleNamespace(image_size=SHAPE[1], num_channels=SHAPE[0], centered=kind != "ve")
        training = SimpleNamespace(continuous=continuous)
        network = ncsnpp.NCSNpp(SimpleNamespace(model=SimpleNamespace(**config), data=data, training=training))
        tree = fill(network, tables=("sigmas",))
        sde = {"vp": sde_lib.VPSDE, "subvp": sde_lib.subVPSDE, "ve": sde_lib.VESDE}[kind]()
        score = utils.get_score_fn(sde, network, continuous=continuous)
        denoised = []
        for time in times:
            t = torch.full((3,), time)
            mean, sigma = sde.marginal_prob(torch.ones(3, 1, 1, 1), t)
            alpha = mean.flatten()
            if kind == "vp" and not continuous:
                index = torch.round(t * 999).long()
                alpha, sigma = sde.sqrt_alphas_cumprod[index], sde.sqrt_1m_alphas_cumprod[index]
                t = torch.where((t * 999).long() < index, t + 1e-7, t)  # the original rounds down
            x = noisy(float(alpha[0]), float(sigma[0]))
            denoised.append((x + float(sigma[0]) ** 2 * score(x, t)) / float(alpha[0]))
        yield name, case(config, tree, times, denoised)


def guided(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the networks of guided-diffusion, with its prediction of x_0."""
    sys.path.insert(0, str(folder / "guided-diffusion"))
    sys.modules["mpi4py"] = ModuleType("mpi4py")
    vars(sys.modules["mpi4py"])["MPI"] = None
    from guided_diffusion import gaussian_diffusion as diffusion  # type: ignore[import-not-found]
    from guided_diffusion.unet import UNetModel  # type: ignore[import-not-found]

    common: dict[str, Any] = dict(image_size=SHAPE[1], in_channels=SHAPE[0], model_channels=32, num_res_blocks=1)
    common |= dict(attention_resolutions=(2,), channel_mult=(1, 2), dropout=0.1)
    adm = common | dict(out_channels=6, num_head_channels=32, resblock_updown=True, use_scale_shift_norm=True)
    conv = common | dict(out_channels=3, num_heads=4, resblock_updown=False, use_scale_shift_norm=False)
    networks: dict[str, tuple[dict[str, Any], str]] = {
        "guided-uncond": (adm, "linear"),
        "guided-class-cosine": (adm | dict(num_classes=4, use_new_attention_order=True), "cosine"),
        "guided-conv": (conv | dict(channel_mult=(2, 1), num_res_blocks=2), "linear"),
    }
    indices = [0, 400, 990]
    for name, (config, schedule) in networks.items():
        network = UNetModel(**config)
        tree = fill(network)
        variances = diffusion.ModelVarType
        process = diffusion.GaussianDiffusion(
            betas=diffusion.get_named_beta_schedule(schedule, 1000),
            model_mean_type=diffusion.ModelMeanType.EPSILON,
            model_var_type=variances.LEARNED_RANGE if config["out_channels"] == 6 else variances.FIXED_SMALL,
            loss_type=diffusion.LossType.MSE,
            rescale_timesteps=True,
        )
        labels = {"y": torch.tensor([0, 1, 3])} if "num_classes" in config else {}
        denoised = []
        for index in indices:
            alpha2 = float(process.alphas_cumprod[index])
            x, t = noisy(alpha2**0.5, (1 - alpha2) ** 0.5), torch.full((3,), index)
            result = process.p_mean_variance(network, x, t, clip_denoised=False, model_kwargs=labels)
            denoised.append(result["pred_xstart"].float())
        yield name, case(config | dict(schedule=schedule), tree, [float(i) for i in indices], denoised)


if __name__ == "__main__":
    families: dict[str, Callable[[Path], Iterator[tuple[str, dict[str, Any]]]]]
    families = {"edm": edm, "score_sde": score_sde, "guided": guided}
    with torch.no_grad():
        results = {family: dict(run(Path(sys.argv[1]))) for family, run in families.items()}
    OUT.write_text(json.dumps(results, separators=(",", ":")), "utf-8")
    print(f"wrote {sum(map(len, results.values()))} networks to {OUT}")
