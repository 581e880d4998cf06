"""Open network snapshots of EDM (Karras et al. 2022), `network-snapshot-*.pkl`.

Such a file is a pickle of a module, with the source code of its classes as text. The source code is never run: the
arguments of the classes and the tensors are read, and fill a network of sdekit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sdekit.data import Units
from sdekit.errors import InputError
from sdekit.models import Conditioning, NetworkInput, OpenedModel, ScoreModel, recognises
from sdekit.networks import ADM, DDPMpp, NCSNpp
from sdekit.processes import EDM, SDE, VE, VP, TabulatedVP
from sdekit_plugins.loaders.pixel_data import pixel_units
from sdekit_plugins.loaders.weight_files.inert_pickle import Instance, Region, read_pickle
from sdekit_plugins.loaders.weight_files.tensor_in_file import TensorInFile
from sdekit_plugins.loaders.weight_files.torch_file import TENSORS, open_region, storage_of_bytes

from .conversion import (
    Convert,
    Filling,
    build_on_meta,
    check_whole,
    geometric_frequencies,
    sine_first,
)

DATA_STD = 0.5
SIGMA_RANGE = (0.002, 80.0)
"""Noise levels of EDM's own sampler."""
DEEPEST = 32
"""Modules in modules."""

FIRST = ("img_resolution", "img_channels", "label_dim", "use_fp16")
"""First arguments of every preconditioning, which a file may state without their names."""
COMMON = {"img_resolution": None, "img_channels": None, "label_dim": 0, "use_fp16": False, "model_type": "DhariwalUNet"}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "EDMPrecond": COMMON | {"sigma_min": 0.0, "sigma_max": math.inf, "sigma_data": 0.5},
    "VPPrecond": COMMON | {"model_type": "SongUNet", "beta_d": 19.9, "beta_min": 0.1, "M": 1000, "epsilon_t": 1e-5},
    "VEPrecond": COMMON | {"model_type": "SongUNet", "sigma_min": 0.02, "sigma_max": 100.0},
    "iDDPMPrecond": COMMON | {"C_1": 0.001, "C_2": 0.008, "M": 1000},
    "SongUNet": {
        "augment_dim": 0,
        "model_channels": 128,
        "channel_mult": [1, 2, 2, 2],
        "channel_mult_emb": 4,
        "num_blocks": 4,
        "attn_resolutions": [16],
        "dropout": 0.1,
        "label_dropout": 0,
        "embedding_type": "positional",
        "channel_mult_noise": 1,
        "encoder_type": "standard",
        "decoder_type": "standard",
        "resample_filter": [1, 1],
    },
    "DhariwalUNet": {
        "augment_dim": 0,
        "model_channels": 192,
        "channel_mult": [1, 2, 3, 4],
        "channel_mult_emb": 4,
        "num_blocks": 3,
        "attn_resolutions": [32, 16, 8],
        "dropout": 0.1,
        "label_dropout": 0,
    },
}
"""Arguments of EDM's classes with their defaults; a file states those that differ."""

BLOCK = {
    "norm0": "norm0",
    "conv0": "conv0",
    "modulate": "affine",
    "norm1": "norm1",
    "conv1": "conv1",
    "skip": "skip",
    "attention.norm": "norm2",
    "attention.out": "proj",
}
"""Layers of a residual block: their names in sdekit and in EDM."""


class Snapshot(NamedTuple):
    """Content of a snapshot.

    Attributes:
        precond: Class of the preconditioning, a key of `ARGUMENTS`.
        arguments: Arguments of the preconditioning and of the network.
        tensors: Tensors by name.
    """

    precond: str
    arguments: dict[str, Any]
    tensors: dict[str, TensorInFile]


def _recognises(path: Path) -> bool:
    with path.open("rb") as file:
        return path.suffix == ".pkl" and b"torch_utils.persistence" in file.read(4096)


@recognises(_recognises)
def load_edm(path: str, *, sigma_min: float | None = None, sigma_max: float | None = None) -> OpenedModel:
    """Open a network snapshot of EDM (network-snapshot-*.pkl).

    All four preconditionings (EDM, VP, VE, iDDPM) and both networks (SongUNet, which is DDPM++ and NCSN++, and
    DhariwalUNet, which is ADM) are supported. Nothing in the file is run.

    Arguments:
        path: The file.
        sigma_min: Smallest noise level for sampling; None for 0.002. Only the EDM preconditioning leaves it open.
        sigma_max: Largest noise level for sampling; None for 80. Only the EDM preconditioning leaves it open.
    Returns:
        The model, for x in [-1, 1].
    Raises:
        InputError: If the file is damaged, contains other names than such files need, or another network.
    Source:
        Karras et al. 2022, Table 1.
    """
    with open_region(path) as region:
        snapshot = _read_snapshot(region)
        a = snapshot.arguments
        source = region.source
        shape = _shape(a, source)
        network = _fill(snapshot, _network(snapshot, shape, source), source)
        guesses: dict[str, Any] = {}
        if snapshot.precond != "EDMPrecond" and not (sigma_min is sigma_max is None):
            raise InputError(f"{path}: {snapshot.precond} fixes its noise levels: leave out sigma_min and sigma_max")
        if snapshot.precond == "EDMPrecond":
            low = max(SIGMA_RANGE[0] if sigma_min is None else sigma_min, float(a["sigma_min"]))
            high = min(SIGMA_RANGE[1] if sigma_max is None else sigma_max, float(a["sigma_max"]))
            sde: SDE = EDM(sigma_min=low, sigma_max=high)
            prediction, inputs, std = "edm", NetworkInput(), float(a["sigma_data"])
            guesses |= {"sigma_min": low} if sigma_min is None else {}
            guesses |= {"sigma_max": high} if sigma_max is None else {}
        elif snapshot.precond == "VPPrecond":
            beta_min, beta_d = float(a["beta_min"]), float(a["beta_d"])
            sde = VP(beta_min=beta_min, beta_max=beta_min + beta_d, t_min=float(a["epsilon_t"]))
            clock = NetworkInput(clock="t", scale=float(a["M"]) - 1, normalize=False)
            prediction, inputs, std = "eps", clock, DATA_STD
        elif snapshot.precond == "VEPrecond":
            sde = VE(sigma_min=float(a["sigma_min"]), sigma_max=float(a["sigma_max"]))
            clock = NetworkInput(clock="log-rho", scale=1, offset=-math.log(2), normalize=False)  # log(sigma / 2)
            prediction, inputs, std = "eps", clock, DATA_STD
        else:
            sde = TabulatedVP(_betas(snapshot, source))
            clock = NetworkInput(clock="t", scale=float(a["M"]), offset=-1, normalize=False)  # index of the table
            prediction, inputs, std = "eps", clock, DATA_STD
    classes = a["label_dim"]
    model = ScoreModel(network, sde, prediction, data_std=std, inputs=inputs, condition=Conditioning(classes=classes))
    facts = {"preconditioning": snapshot.precond, "network": a["model_type"]}
    if classes:
        facts["null label"] = f"zero vector (trained with label_dropout {a['label_dropout']:g})"
    return OpenedModel(
        model=model,
        shape=shape,
        path=Path(path),
        units=pixel_units(shape[0]) if shape[0] in (1, 3) else Units(),
        kind="image",
        grid="karras" if snapshot.precond == "EDMPrecond" else None,
        facts=facts,
        guesses=guesses,
    )


def _read_snapshot(region: Region) -> Snapshot:
    """Read the averaged network of a file as plain data."""
    source = region.source
    content = read_pickle(region, _constructors(source))
    network = content.get("ema", content.get("net")) if isinstance(content, dict) else content
    if not isinstance(network, Instance) or network.cls not in ARGUMENTS or not isinstance(network.state, dict):
        held = ", ".join(map(str, list(content)[:8])) if isinstance(content, dict) else type(content).__name__
        if isinstance(network, Instance):
            raise InputError(
                f"{source} contains a {network.cls}: this loader opens {', '.join(list(ARGUMENTS)[:4])}, the "
                "preconditionings of EDM"
            )
        raise InputError(f"{source} is no snapshot of EDM: expected a network under 'ema', found {held}")
    known = ARGUMENTS[network.cls]
    given, positional = network.state.get("_init_kwargs"), network.state.get("_init_args") or ()
    if not isinstance(given, dict) or not isinstance(positional, tuple) or len(positional) > len(FIRST):
        raise InputError(f"{source} does not contain the arguments of its network")
    given = dict(zip(FIRST, positional, strict=False)) | given
    model_type = given.get("model_type", known["model_type"])
    if model_type not in ("SongUNet", "DhariwalUNet"):
        raise InputError(
            f"{source} contains the network {str(model_type)[:80]!r}: this loader opens SongUNet and DhariwalUNet"
        )
    known = known | ARGUMENTS[model_type]
    if unknown := given.keys() - known.keys():
        raise InputError(
            f"{source}: the network has an argument {min(map(str, unknown))[:80]!r} that EDM does not have"
        )
    return Snapshot(network.cls, known | given, dict(_tensors(network, "", source)))


def _constructors(source: str) -> dict[str, Callable[..., Any]]:
    """Return the names that snapshots need, with plain values in their place."""

    def persistent_object(meta: Any) -> Instance:
        """Stand in for an object with its source code in meta["module_src"], which is ignored."""
        return Instance(str(meta["class_name"]), meta["state"])

    def number(dtype: Any, content: Any) -> float | int | bool:
        """Stand in for a NumPy scalar."""
        if dtype not in ("f8", "f4", "i8", "i4", "b1") or not isinstance(content, bytes) or len(content) > 8:
            raise ValueError("a number of an unknown type")
        if dtype == "b1":
            return content != b"\0"
        if dtype[0] == "i":
            return int.from_bytes(content, "little", signed=True)
        return float(torch.frombuffer(bytearray(content), dtype=torch.float64 if dtype == "f8" else torch.float32)[0])

    def module(kind: str) -> Any:
        return lambda *_: Instance(kind)

    containers = ("ModuleDict", "ModuleList", "Sequential", "ParameterList", "ParameterDict")
    return {
        **TENSORS,
        "torch_utils.persistence._reconstruct_persistent_obj": persistent_object,
        "torch.storage._load_from_bytes": lambda content: storage_of_bytes(content, source),
        "dnnlib.util.EasyDict": lambda *_: {},
        "dnnlib.EasyDict": lambda *_: {},
        "numpy.dtype": lambda name, *_: name,
        "numpy.core.multiarray.scalar": number,
        "numpy._core.multiarray.scalar": number,
        **{f"torch.nn.modules.container.{name}": module(name) for name in containers},
    }


def _tensors(module: Any, prefix: str, source: str, depth: int = 0) -> list[tuple[str, TensorInFile]]:
    """Return the parameters and buffers of a module and of the modules in it, by name."""
    state = module.state if isinstance(module, Instance) else None
    if not isinstance(state, dict) or depth > DEEPEST:
        raise InputError(f"{source} is damaged: {prefix or 'its network'} is no module, or a module within itself")
    found: list[tuple[str, TensorInFile]] = []
    for group in ("_parameters", "_buffers", "_modules"):
        members = state.get(group, {})
        if not isinstance(members, Mapping):
            raise InputError(f"{source} is damaged: {group} of {prefix or 'its network'} is no dictionary")
        for name, member in members.items():
            if isinstance(member, TensorInFile) and group != "_modules":
                found.append((f"{prefix}{name}", member))
            elif group == "_modules" and member is not None:
                found += _tensors(member, f"{prefix}{name}.", source, depth + 1)
                if len(found) > 100_000:
                    raise InputError(f"{source} is damaged: it has more than 100,000 tensors")
    return found


def _shape(a: Mapping[str, Any], source: str) -> tuple[int, ...]:
    """Return the shape (C, H, W) of an image. Raises InputError for numbers out of range."""
    side = check_whole("img_resolution", a["img_resolution"], 1, 2**14, source)
    channels = check_whole("img_channels", a["img_channels"], 1, 2**10, source)
    for name, low, high in (
        ("label_dim", 0, 2**20),
        ("augment_dim", 0, 2**10),
        ("model_channels", 1, 2**14),
        ("num_blocks", 1, 64),
    ):
        check_whole(name, a[name], low, high, source)
    for name, longest in (("channel_mult", 12), ("attn_resolutions", 64), ("resample_filter", 12)):
        values = a.get(name, [1])
        if not isinstance(values, (list, tuple)) or len(values) > longest:
            raise InputError(f"{source}: {name} must be a list of at most {longest} numbers")
        for value in values:
            check_whole(name, value, 0, 2**14, source)
    if "M" in a:
        check_whole("M", a["M"], 2, 10**6, source)
    for name in ("sigma_min", "sigma_max", "sigma_data", "beta_d", "beta_min", "epsilon_t", "label_dropout"):
        if not isinstance(a.get(name, 0.0), (int, float)):
            raise InputError(f"{source}: {name} must be a number")
    return channels, side, side


def _network(snapshot: Snapshot, shape: tuple[int, ...], source: str) -> nn.Module:
    """Build the network of a snapshot, without weights."""
    a = snapshot.arguments
    options: dict[str, Any] = dict(
        width=a["model_channels"],
        multipliers=tuple(a["channel_mult"]),
        blocks=a["num_blocks"],
        attention=tuple(a["attn_resolutions"]),
        augmentation=a["augment_dim"],
    )
    if a["channel_mult_emb"] != 4:
        raise InputError(f"{source}: channel_mult_emb must be 4, got {str(a['channel_mult_emb'])[:40]}")
    if a["model_type"] == "DhariwalUNet":
        return build_on_meta(ADM, source, shape, a["label_dim"], **options)
    names = {"standard": "none", "skip": "skip", "residual": "residual"}
    fourier = a["embedding_type"] == "fourier"
    if a["channel_mult_noise"] != (2 if fourier else 1) or a["embedding_type"] not in ("fourier", "positional"):
        raise InputError(
            f"{source}: embedding_type and channel_mult_noise must be 'positional' and 1, or 'fourier' and 2"
        )
    options |= dict(
        embedding=a["embedding_type"],
        encoder=names.get(a["encoder_type"], a["encoder_type"]),
        decoder=names.get(a["decoder_type"], a["decoder_type"]),
        taps=tuple(a["resample_filter"]),
    )
    return build_on_meta(NCSNpp if fourier else DDPMpp, source, shape, a["label_dim"], **options)


def _fill(snapshot: Snapshot, network: Any, source: str) -> nn.Module:
    """Fill the network with the tensors of a snapshot."""
    a, song = snapshot.arguments, snapshot.arguments["model_type"] == "SongUNet"
    tensors = {n.removeprefix("model."): t for n, t in snapshot.tensors.items() if n.startswith("model.")}
    fill = Filling(network, tensors, source)
    _fill_embedding(fill, a, song)
    sides = [f"{a['img_resolution'] >> level}x{a['img_resolution'] >> level}" for level in range(len(network.encoder))]
    aux = {"skip": "aux_skip", "residual": "aux_residual"}.get(network.encoder_type, "")
    for level, side in enumerate(sides):
        enter = f"encoder.{level}.enter"
        if level == 0:
            fill.layer(enter, f"enc.{side}_conv")
        else:
            _fill_block(fill, enter, f"enc.{side}_down", network)
            if aux:
                fill.layer(f"encoder.{level}.pyramid", f"enc.{side}_{aux}")
        for i in range(a["num_blocks"]):
            _fill_block(fill, f"encoder.{level}.blocks.{i}", f"enc.{side}_block{i}", network)
    for i in range(2):
        _fill_block(fill, f"middle.{i}", f"dec.{sides[-1]}_in{i}", network)
    negative = snapshot.precond == "VEPrecond"  # F = -eps there
    parts = 2 if snapshot.precond == "iDDPMPrecond" else 1  # eps and the variance
    for index, side in enumerate(reversed(sides)):
        if index:
            _fill_block(fill, f"decoder.{index}.enter", f"dec.{side}_up", network)
        for i in range(a["num_blocks"] + 1):
            _fill_block(fill, f"decoder.{index}.blocks.{i}", f"dec.{side}_block{i}", network)
        if f"decoder.{index}.out.weight" in fill.shapes:
            names = (f"dec.{side}_aux_norm", f"dec.{side}_aux_conv") if song else ("out_norm", "out_conv")
            fill.layer(f"decoder.{index}.norm", names[0])
            _fill_output(fill, f"decoder.{index}.out", names[1], negative, parts)
    return fill.load(lambda name: name.endswith("resample_filter"))


def _fill_output(fill: Filling, target: str, name: str, negative: bool, parts: int) -> None:
    """Fill the last convolution with the first of `parts` groups of channels; the second one is the variance."""
    for part in ("weight", "bias"):
        rows, *rest = fill.shapes[f"{target}.{part}"]
        sign = -1 if negative else 1
        fill.tensor(f"{target}.{part}", f"{name}.{part}", _scaled_rows(rows, sign), (parts * rows, *rest))


def _scaled_rows(rows: int, sign: int) -> Convert:
    return lambda value: sign * value[:rows]


def _fill_embedding(fill: Filling, a: Mapping[str, Any], song: bool) -> None:
    """Fill the embedding of the noise level, the label and the augmentation.

    In SongUNet, the label and the augmentation are added before the first layer; sdekit adds them after it. The layer
    is linear, so its weight multiplies them here.
    """
    width, features = fill.shapes["condition.first.weight"]
    if a.get("embedding_type") == "fourier":
        fill.tensor("condition.noise.frequencies", "map_noise.freqs", lambda freqs: 2 * math.pi * freqs)
    else:
        fill.values["condition.noise.frequencies"] = geometric_frequencies(features // 2, endpoint=song)
    first = fill.take("map_layer0.weight", (width, features))
    bias = fill.take("map_layer0.bias", (width,))
    fill.layer("condition.second", "map_layer1")

    def through_first(value: Tensor) -> Tensor:
        return (first.double() @ value.double()).float()

    if a["augment_dim"]:
        shape = (features, a["augment_dim"])
        fill.tensor("condition.augmentation.weight", "map_augment.weight", through_first, shape)
    if a["label_dim"] and song:
        scale = a["label_dim"] ** 0.5
        shape = (features, a["label_dim"])
        fill.tensor("condition.label.weight", "map_label.weight", lambda w: scale * through_first(w).T, shape)
        bias = bias + through_first(fill.take("map_label.bias", (features,)))
    elif a["label_dim"]:
        fill.tensor("condition.label.weight", "map_label.weight", torch.t, (width, a["label_dim"]))
    fill.values["condition.first.weight"] = sine_first(first) if song else first
    fill.values["condition.first.bias"] = bias


def _fill_block(fill: Filling, target: str, name: str, network: Any) -> None:
    """Fill a residual block."""
    for ours, theirs in BLOCK.items():
        fill.layer(f"{target}.{ours}", f"{name}.{theirs}")
    if f"{target}.attention.qkv.weight" in fill.shapes:
        heads = network.get_submodule(f"{target}.attention").heads
        fill.layer(f"{target}.attention.qkv", f"{name}.qkv", _channels_first(heads))


def _channels_first(heads: int) -> Convert:
    """Return a function from rows (head, channel, part) of queries, keys and values to (part, head, channel)."""

    def convert(rows: Tensor) -> Tensor:
        return rows.view(heads, -1, 3, *rows.shape[1:]).movedim(2, 0).reshape(rows.shape)

    return convert


def _betas(snapshot: Snapshot, source: str) -> tuple[float, ...]:
    """Return the betas of the noise levels u_0 > u_1 > ... > u_M = 0: 1 - beta = (1 + u_{j+1}^2) / (1 + u_j^2)."""
    table = snapshot.tensors.get("u")
    if table is None or table.shape != (snapshot.arguments["M"] + 1,):
        raise InputError(f"{source} lacks the table of noise levels u, of {snapshot.arguments['M'] + 1} numbers")
    u2 = table.load().double().square().flip(0)
    betas = (u2[1:] - u2[:-1]) / (1 + u2[1:])
    if not bool(((betas > 0) & (betas < 1)).all()):
        raise InputError(f"{source}: the noise levels u do not decrease to 0")
    return tuple(betas.tolist())
