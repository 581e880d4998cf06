"""The loader `compvis` gives the networks that diffusers reads from the same single file."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from sdekit.errors import InputError
from sdekit.models import open_model
from sdekit_plugins.loaders.single_files.compvis_names import autoencoder_names, unet_names

PARTS = {
    "unet": ("model.diffusion_model.", "diffusion_pytorch_model"),
    "vae": ("first_stage_model.", "diffusion_pytorch_model"),
    "text_encoder": ("cond_stage_model.transformer.", "model"),
}


def original_names(layers: int, levels: int) -> dict[str, list[str]]:
    """Return names of layers of a U-Net whose only upsampling is at a level without attention, and an autoencoder."""
    resnet = ("in_layers.0", "in_layers.2", "emb_layers.1", "out_layers.0", "out_layers.3", "skip_connection")
    block = "transformer_blocks.0"
    attention = ["norm", "proj_in", "proj_out", f"{block}.ff.net.0.proj", f"{block}.ff.net.2"]
    attention += [f"{block}.norm{i}" for i in (1, 2, 3)]
    attention += [f"{block}.attn{i}.{n}" for i in (1, 2) for n in ("to_q", "to_k", "to_v", "to_out.0")]
    unet = ["time_embed.0", "time_embed.2", "input_blocks.0.0", "out.0", "out.2"]
    places = [f"{side}_blocks.{i}" for side in ("input", "output") for i in range(12)]
    for place in places:
        unet += [f"{place}.0.{n}" for n in (*resnet, "op")] + [f"{place}.1.{n}" for n in (*attention, "conv")]
    unet += [f"middle_block.{i}.{n}" for i in (0, 2) for n in resnet] + [f"middle_block.1.{n}" for n in attention]
    inner, vae = ("norm1", "conv1", "norm2", "conv2", "nin_shortcut"), ["quant_conv", "post_quant_conv"]
    for side, way in (("encoder", "down"), ("decoder", "up")):
        vae += [f"{side}.{n}" for n in ("conv_in", "norm_out", "conv_out")]
        vae += [f"{side}.mid.block_{i}.{n}" for i in (1, 2) for n in inner]
        vae += [f"{side}.mid.attn_1.{n}" for n in ("norm", "q", "k", "v", "proj_out")]
        vae += [f"{side}.{way}.{i}.block.{j}.{n}" for i in range(levels) for j in range(3) for n in inner]
        vae += [f"{side}.{way}.{i}.{way}sample.conv" for i in range(levels)]
    return {"unet": unet, "vae": vae}


def single_file(folder: Path) -> dict[str, Tensor]:
    """Return the tensors of a folder of Stable Diffusion 1 under their names in single files."""
    tensors = {"model_ema.decay": torch.zeros(()), "betas": torch.zeros(1000)}
    names = original_names(1, 4)
    renamings = {"unet": unet_names(1), "vae": autoencoder_names(4)}
    for part, (prefix, stem) in PARTS.items():
        old = {
            renamings[part](f"{n}.{leaf}"): f"{n}.{leaf}" for n in names.get(part, ()) for leaf in ("weight", "bias")
        }
        for name, tensor in load_file(folder / part / f"{stem}.safetensors").items():
            new = old[name] if part in names else name
            linear = part == "vae" and ".attn_1." in new and tensor.ndim == 2
            tensors[prefix + new] = tensor[:, :, None, None].contiguous() if linear else tensor
    return tensors


@pytest.fixture(scope="session")
def saved(text_pipeline: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A single file of a tiny Stable Diffusion 1, and the folder with its configuration. Read only."""
    folder = text_pipeline("sd15")
    file = tmp_path_factory.mktemp("compvis") / "sd.safetensors"
    save_file(single_file(folder), file)
    return file, folder


def test_it_equals_the_folder(saved: tuple[Path, Path]) -> None:
    """Denoiser, autoencoder and text encoder are those of the folder with the same weights."""
    file, folder = saved
    one, other = open_model(f"compvis:{file},config={folder}"), open_model(f"diffusers:{folder}")
    x = torch.randn(1, *one.shape, generator=torch.Generator().manual_seed(0))
    assert one.encoder is not None and other.encoder is not None
    y, same_y = one.encoder(["a cat"]), other.encoder(["a cat"])
    with torch.no_grad():
        assert torch.equal(one.model(x, 0.5, y), other.model(x, 0.5, same_y))
        assert torch.equal(one.decode(x), other.decode(x))
    assert one.path == file and one.facts["tensors_not_used"] == 2


def test_diffusers_reads_the_same_file(saved: tuple[Path, Path]) -> None:
    """The names are those of latent diffusion: diffusers' own reader finds the same weights in the file."""
    diffusers = pytest.importorskip("diffusers")
    file, folder = saved
    for kind, part in (("UNet2DConditionModel", "unet"), ("AutoencoderKL", "vae")):
        network = getattr(diffusers, kind).from_single_file(
            str(file), config=str(folder), subfolder=part, local_files_only=True
        )
        expected = load_file(folder / part / "diffusion_pytorch_model.safetensors")
        assert network.state_dict().keys() == expected.keys()
        assert [name for name, tensor in network.state_dict().items() if not torch.equal(tensor, expected[name])] == []
    assert unet_names(1)("output_blocks.3.2.conv.bias") == "up_blocks.1.upsamplers.0.conv.bias"  # after attention


FAULTS = [
    ("model.diffusion_model.out.2.weight", None, "1 missing .conv_out.weight"),
    ("model.diffusion_model.input_blocks.1.0.new.weight", (2,), "1 extra .down_blocks.0.resnets.0.new.weight"),
    ("first_stage_model.decoder.conv_in.weight", (8, 4, 1, 1), "of another shape .decoder.conv_in.weight"),
]


@pytest.mark.parametrize(("name", "shape", "message"), FAULTS)
def test_tensors_that_do_not_fit(
    saved: tuple[Path, Path], tmp_path: Path, name: str, shape: tuple[int, ...] | None, message: str
) -> None:
    """A tensor that is missing, extra or of another shape is refused by its name, and the message names the file."""
    tensors = load_file(saved[0])
    tensors.pop(name, None)
    if shape is not None:
        tensors[name] = torch.zeros(shape)
    save_file(tensors, tmp_path / "sd.safetensors")
    with pytest.raises(InputError, match=message) as error:
        open_model(f"compvis:{tmp_path}/sd.safetensors,config={saved[1]}")
    assert f"{tmp_path}/sd.safetensors" in str(error.value)


def test_other_files(saved: tuple[Path, Path], tmp_path: Path) -> None:
    """The configuration is required, and files without the networks of latent diffusion are refused."""
    file, folder = saved
    with pytest.raises(InputError, match=re.escape("config=FOLDER")):
        open_model(f"compvis:{file}")
    save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="other.safetensors: a tensor is missing: model.diffusion_model"):
        open_model(f"compvis:{tmp_path}/other.safetensors,config={folder}")
    tensors = {n: t for n, t in load_file(file).items() if not n.startswith("cond_stage_model")}
    save_file(tensors, tmp_path / "mute.safetensors")
    with pytest.raises(InputError, match="a tensor is missing: cond_stage_model.transformer.*text_encoder"):
        open_model(f"compvis:{tmp_path}/mute.safetensors,config={folder}")
    with pytest.raises(InputError, match="model_index.json is missing"):
        open_model(f"compvis:{file},config={tmp_path}")
