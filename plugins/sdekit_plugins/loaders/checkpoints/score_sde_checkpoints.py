"""Open checkpoints of score_sde (Song et al. 2021), `checkpoint_N.pth`.

Such a file contains the weights of the network, the list of their averages and the optimizer, but no configuration. The
network follows from the tensors. The process and the size of the images do not: they are options.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from sdekit.data import Units
from sdekit.errors import InputError
from sdekit.models import NetworkInput, OpenedModel, ScoreModel, recognises
from sdekit.networks import DDPMpp, NCSNpp
from sdekit.processes import SDE, VE, VP, SubVP, TabulatedVP
from sdekit_plugins.loaders.pixel_data import pixel_units
from sdekit_plugins.loaders.weight_files.state_dict import open_weights, tensors_of
from sdekit_plugins.loaders.weight_files.tensor_in_file import TensorInFile
from sdekit_plugins.loaders.weight_files.torch_file import file_contains

from .conversion import Filling, build_on_meta, geometric_frequencies, sine_first

SIGMA_RANGE = (0.01, 50.0)
BETA_RANGE = (0.1, 20.0)
ATTENTION_SIDE = 16
"""All published configurations have attention at 16 pixels."""

BLOCK = {
    "norm0": "GroupNorm_0",
    "conv0": "Conv_0",
    "modulate": "Dense_0",
    "norm1": "GroupNorm_1",
    "conv1": "Conv_1",
    "skip": "Conv_2",
}
"""Layers of a residual block: their names in sdekit and in score_sde."""


@dataclass
class Architecture:
    """Network that the shapes of the tensors describe.

    Arguments:
        fourier: Whether the noise level has random Fourier features.
        width: Channels of the first level.
        multipliers: Channels of the levels in units of width.
        blocks: Blocks of each level.
        attention: Levels with attention.
        encoder: "none", "skip" or "residual".
        decoder: "none" or "skip".
        channels: Channels of an image.
    """

    fourier: bool
    width: int
    multipliers: tuple[float, ...]
    blocks: int
    attention: tuple[int, ...]
    encoder: Literal["none", "skip", "residual"]
    decoder: Literal["none", "skip"]
    channels: int


class UnitInterval(nn.Module):
    """Network of score_sde for data in [0, 1]: it maps x to 2 x - 1, and receives sigma as log sigma.

    Arguments:
        network: Network for data in [-1, 1].
        log: Whether the time input is sigma, and the network receives its logarithm.
    """

    def __init__(self, network: nn.Module, *, log: bool) -> None:
        super().__init__()
        self.network, self.log = network, log

    def forward(self, x: Tensor, c_noise: Tensor, y: Any = None) -> Tensor:
        """Map x (B, C, H, W) and c_noise (B,) to (B, C, H, W)."""
        out: Tensor = self.network(2 * x - 1, c_noise.log() if self.log else c_noise, y)
        return out


def _recognises(path: Path) -> bool:
    return path.suffix == ".pth" and file_contains(path, b"shadow_params", b"all_modules.0.")


@recognises(_recognises)
def load_score_sde(
    path: str,
    *,
    sde: Literal["vp", "sub-vp", "ve"] | None = None,
    continuous: bool | None = None,
    size: int | None = None,
    centered: bool | None = None,
    fir: bool | None = None,
    sigma_min: float | None = None,
    sigma_max: float | None = None,
    beta_min: float | None = None,
    beta_max: float | None = None,
    weights: Literal["ema", "model"] = "ema",
) -> OpenedModel:
    """Open a checkpoint of score_sde with DDPM++ or NCSN++ (checkpoint_N.pth).

    The options state what the file does not contain; `sdekit info` lists the values that were assumed.

    Arguments:
        path: The file.
        sde: Process; None for "ve" if the network has Fourier features of the noise level, else "vp".
        continuous: Whether the network was trained with continuous times (training.continuous); None for yes.
        size: Side of the images in pixels; None for the side at which the attention is at 16 pixels.
        centered: Whether the data are in [-1, 1], or in [0, 1] (data.centered); None for [-1, 1] unless the process
            is "ve".
        fir: Whether resolutions change with the filter (1, 3, 3, 1) (model.fir); None for yes if the encoder receives
            the input at each resolution (NCSN++), else no (DDPM++).
        sigma_min: Smallest sigma of "ve"; None for the file's own table.
        sigma_max: Largest sigma of "ve"; None for the file's own table.
        beta_min: First beta of "vp" and "sub-vp"; None for 0.1.
        beta_max: Last beta of "vp" and "sub-vp"; None for 20.
        weights: "ema" for the averaged weights, "model" for those of the last step.
    Returns:
        The model, for x in [0, 1] if the process is "ve" and in [-1, 1] otherwise.
    Raises:
        InputError: If the file is damaged, contains another network, or an option does not fit it.
    Source:
        Song et al. 2021, appendices C and H.
    """
    with open_weights(path) as content:
        tensors = _weights(content, path, weights)
        table = tensors.pop("sigmas", None)
        design = _architecture(tensors, path)
        guesses: dict[str, Any] = {}

        def choose(name: str, value: Any, assumed: Any) -> Any:
            if value is None:
                guesses[name] = assumed
            return assumed if value is None else value

        kind = choose("sde", sde, "ve" if design.fourier else "vp")
        if not design.fourier and kind != "sub-vp":
            continuous = choose("continuous", continuous, True)
        continuous = continuous is not False
        if design.fourier and (not continuous or kind != "ve"):
            raise InputError(f"{path}: a network with Fourier features of log sigma needs sde=ve and continuous=true")
        if not continuous and kind == "sub-vp":
            raise InputError(f"{path}: sub-vp has continuous times only: leave out continuous=false")
        if kind == "ve" and not (beta_min is beta_max is None):
            raise InputError(f"{path}: beta_min and beta_max belong to vp and sub-vp, and this is ve")
        if kind != "ve" and not (sigma_min is sigma_max is None):
            raise InputError(f"{path}: sigma_min and sigma_max belong to ve, and this is {kind}")
        fir = choose("fir", fir, design.encoder != "none")
        if design.encoder == "residual" and not fir:
            raise InputError(f"{path}: its encoder has filtered convolutions: leave out fir=false")
        centered = choose("centered", centered, kind != "ve")
        side = choose("size", size, _side(design, path))
        network = _fill(design, side, bool(fir), tensors, path, negative=kind == "ve")
        if kind == "ve":
            low, high, steps = _sigma_range(table)
            if table is None:
                low, high = choose("sigma_min", sigma_min, low), choose("sigma_max", sigma_max, high)
            else:
                low = low if sigma_min is None else sigma_min
                high = high if sigma_max is None else sigma_max
            process: SDE = VE(sigma_min=low, sigma_max=high)
            if design.fourier:
                inputs = NetworkInput(clock="rho", scale=1, normalize=False)
            else:  # index in a table from the largest sigma to the smallest
                inputs = NetworkInput(clock="t", scale=1 - steps, offset=steps - 1, normalize=False)
        else:
            low = choose("beta_min", beta_min, BETA_RANGE[0])
            high = choose("beta_max", beta_max, BETA_RANGE[1])
            steps = 1000
            if not continuous:
                process = TabulatedVP.linear(n=steps, beta_min=low / steps, beta_max=high / steps)
                inputs = NetworkInput(clock="t", scale=steps, offset=-1, normalize=False)
            else:
                process = (VP if kind == "vp" else SubVP)(beta_min=low, beta_max=high)
                inputs = NetworkInput(clock="t", scale=999, normalize=False)
    log = design.fourier
    if not centered:
        network = UnitInterval(network, log=log)
    elif log:
        inputs = NetworkInput(clock="log-rho", scale=1, normalize=False)
    model = ScoreModel(network, process, "eps", data_std=0.5 if centered else 0.25, inputs=inputs)
    pixels = pixel_units(design.channels, low=-1 if centered else 0)
    return OpenedModel(
        model=model,
        shape=(design.channels, side, side),
        path=Path(path),
        units=pixels if design.channels in (1, 3) else Units(),
        kind="image",
        step=_step(content),
        facts={"network": "NCSN++" if design.encoder != "none" else "DDPM++", "weights": weights},
        guesses=guesses,
    )


def _sigma_range(table: TensorInFile | None) -> tuple[float, float, int]:
    """Return the smallest sigma, the largest sigma and the number of sigmas in the table of a file."""
    if table is None or len(table.shape) != 1 or not 2 <= table.numel <= 10**6:
        return *SIGMA_RANGE, 1000
    sigmas = table.load().double()
    low, high = float(f"{sigmas[-1]:.6g}"), float(f"{sigmas[0]:.6g}")  # decimal numbers in the configuration
    return (low, high, table.numel) if 0 < low < high < math.inf else (*SIGMA_RANGE, 1000)


def _step(content: Any) -> int | None:
    step = content.get("step") if isinstance(content, dict) else None
    return step if type(step) is int else None


def _weights(content: Any, source: str, weights: str) -> dict[str, TensorInFile]:
    """Return the tensors of the network by name, averaged if so chosen."""
    if not isinstance(content, dict):
        raise InputError(f"{source} is no checkpoint of score_sde: it contains no dictionary")
    full = "model" in content and isinstance(content["model"], dict)
    tensors = tensors_of(content["model"] if full else content, source, prefix="module.")
    if not any(name.startswith("all_modules.") for name in tensors):
        raise InputError(
            f"{source} contains no network of score_sde: its tensors are {', '.join(list(tensors)[:3])}, and those of "
            "DDPM++ and NCSN++ are all_modules.N..."
        )
    if weights == "model":
        return tensors
    ema = content.get("ema") if full else None
    averages = ema.get("shadow_params") if isinstance(ema, dict) else None
    if not isinstance(averages, list):
        raise InputError(f"{source} contains no averaged weights (ema.shadow_params): add the option weights=model")
    trained = [name for name in tensors if name not in ("sigmas", "all_modules.0.W")]  # these are not averaged
    if len(trained) != len(averages):
        raise InputError(
            f"{source} has {len(averages)} averaged tensors for {len(trained)} tensors of the network: it is damaged, "
            "or of another version of score_sde; the option weights=model opens the weights of the last step"
        )
    for name, average in zip(trained, averages, strict=True):
        if not isinstance(average, TensorInFile) or average.shape != tensors[name].shape:
            found = average.shape if isinstance(average, TensorInFile) else type(average).__name__
            raise InputError(f"{source}: the average of {name} has the shape {found}, not {tensors[name].shape}")
    return tensors | dict(zip(trained, averages, strict=True))


def _architecture(tensors: Mapping[str, TensorInFile], source: str) -> Architecture:
    """Infer the network from the names and shapes of its tensors, module by module."""
    modules: dict[int, dict[str, tuple[int, ...]]] = {}
    for name, tensor in tensors.items():
        if (match := re.fullmatch(r"all_modules\.(\d{1,4})\.(\S+)", name)) is None:
            raise InputError(f"{source}: the tensor {name[:80]} belongs to no network of score_sde")
        modules.setdefault(int(match[1]), {})[match[2]] = tensor.shape
    index = 0

    def shape(part: str, dims: int) -> tuple[int, ...]:
        found = modules.get(index, {}).get(part)
        if found is None or len(found) != dims:
            raise InputError(f"{source} lacks the tensor all_modules.{index}.{part} with {dims} axes")
        return found

    def has(part: str) -> bool:
        return part in modules.get(index, {})

    if any("Conv_2.weight" not in m and "NIN_0.W" in m and "Conv_0.weight" in m for m in modules.values()):
        raise InputError(f"{source} contains residual blocks of type 'ddpm': this loader opens those of type 'biggan'")
    fourier = has("W")
    index += 3 if fourier else 2
    width, channels = shape("weight", 4)[:2]
    index += 1
    multipliers: list[float] = []
    attention: list[int] = []
    encoder: Literal["none", "skip", "residual"] = "none"
    blocks = 0
    while True:
        count, level = 0, len(multipliers)
        while (not blocks or count < blocks) and has("Conv_0.weight") and not _resamples(modules[index]):
            out = shape("Conv_0.weight", 4)[0]
            count, index = count + 1, index + 1
            if has("NIN_3.W"):
                attention, index = [*attention, level], index + 1
        if not count or (blocks and count < blocks) or out % max(1, width):
            raise InputError(f"{source}: level {level} has {count} blocks: it is damaged, or no DDPM++ or NCSN++")
        multipliers.append(out // width)
        blocks = blocks or count
        if index not in modules or not _resamples(modules[index]):
            break
        index += 1
        if has("Conv2d_0.weight"):
            encoder, index = "residual", index + 1
        elif has("Conv_0.weight") and not has("GroupNorm_0.weight"):
            encoder, index = "skip", index + 1
    if len(multipliers) < 2 or len(multipliers) > 12:
        raise InputError(f"{source}: a network of {len(multipliers)} levels is no DDPM++ or NCSN++")
    last = modules[max(modules)].keys()
    decoder: Literal["none", "skip"] = "none"
    per_level = [m for m in modules.values() if m.keys() == {"weight", "bias"} and len(m["weight"]) == 1]
    if len(per_level) > 1 and last == {"weight", "bias"}:
        decoder = "skip"
    return Architecture(
        fourier, width, tuple(multipliers), blocks, tuple(sorted(set(attention))), encoder, decoder, channels
    )


def _resamples(module: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether a residual block changes the resolution: a skip convolution between equal numbers of channels."""
    skip = module.get("Conv_2.weight", ())
    return len(skip) == 4 and skip[0] == skip[1]


def _side(design: Architecture, source: str) -> int:
    """Return the side of the images at which the attention is at 16 pixels."""
    if not design.attention:
        return 32
    return ATTENTION_SIDE << design.attention[0]


def _fill(
    design: Architecture, side: int, fir: bool, tensors: Mapping[str, TensorInFile], source: str, *, negative: bool
) -> nn.Module:
    """Build the network and fill it, module by module in the order of score_sde."""
    network: Any = build_on_meta(
        NCSNpp if design.fourier else DDPMpp,
        source,
        (design.channels, side, side),
        0,
        width=design.width,
        multipliers=design.multipliers,
        blocks=design.blocks,
        attention=tuple(side >> level for level in design.attention),
        embedding="fourier" if design.fourier else "positional",
        encoder=design.encoder,
        decoder=design.decoder,
        taps=(1, 3, 3, 1) if fir else (1, 1),
    )
    fill = Filling(network, tensors, source)
    index = iter(range(10**6))

    def module() -> str:
        return f"all_modules.{next(index)}"

    def block(target: str, *, attend: bool = False) -> None:
        name = module()
        for ours, theirs in BLOCK.items():
            fill.layer(f"{target}.{ours}", f"{name}.{theirs}")
        if attend:
            _fill_attention(fill, f"{target}.attention", module())

    def output(target: str) -> None:
        fill.layer(f"{target}.norm", module())
        fill.layer(f"{target}.out", module(), lambda value: -value if negative else value)  # F = -eps for VE

    width, features = fill.shapes["condition.first.weight"]
    if design.fourier:
        fill.tensor("condition.noise.frequencies", f"{module()}.W", lambda w: 2 * math.pi * w)
    else:
        fill.values["condition.noise.frequencies"] = geometric_frequencies(features // 2, endpoint=True)
    first = module()
    fill.tensor("condition.first.weight", f"{first}.weight", sine_first)
    fill.tensor("condition.first.bias", f"{first}.bias")
    fill.layer("condition.second", module())
    fill.layer("encoder.0.enter", module())
    levels = len(design.multipliers)
    for level in range(levels):
        for i in range(design.blocks):
            block(f"encoder.{level}.blocks.{i}", attend=level in design.attention)
        if level < levels - 1:
            block(f"encoder.{level + 1}.enter")
            if design.encoder != "none":
                part = "Conv2d_0" if design.encoder == "residual" else "Conv_0"
                fill.layer(f"encoder.{level + 1}.pyramid", f"{module()}.{part}")
    block("middle.0", attend=True)
    block("middle.1")
    for stage in range(levels):
        level = levels - 1 - stage
        for i in range(design.blocks + 1):
            block(f"decoder.{stage}.blocks.{i}", attend=level in design.attention and i == design.blocks)
        if design.decoder == "skip":
            output(f"decoder.{stage}")
        if level:
            block(f"decoder.{stage + 1}.enter")
        elif design.decoder == "none":
            output(f"decoder.{stage}")
    return fill.load()


def _fill_attention(fill: Filling, target: str, name: str) -> None:
    """Fill an attention: NIN_0 to NIN_2 are queries, keys and values, with weights (in, out)."""
    channels = fill.shapes[f"{target}.out.bias"][0]
    fill.layer(f"{target}.norm", f"{name}.GroupNorm_0")
    parts = [fill.take(f"{name}.NIN_{i}.W", (channels, channels)).T for i in range(3)]
    fill.values[f"{target}.qkv.weight"] = torch.cat(parts)[..., None, None].contiguous()
    fill.values[f"{target}.qkv.bias"] = torch.cat([fill.take(f"{name}.NIN_{i}.b", (channels,)) for i in range(3)])
    shape = (channels, channels)
    fill.tensor(f"{target}.out.weight", f"{name}.NIN_3.W", lambda w: w.T[..., None, None], shape)
    fill.tensor(f"{target}.out.bias", f"{name}.NIN_3.b")
