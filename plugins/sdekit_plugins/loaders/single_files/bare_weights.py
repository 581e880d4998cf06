"""Loader of bare weights: tensors of a network without a description, which the options of the loader state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from sdekit.data import Units, kind_of
from sdekit.errors import InputError
from sdekit.models import PREDICTIONS, Conditioning, NetworkInput, OpenedModel, ScoreModel
from sdekit.processes import SDE, TabulatedVP, as_time
from sdekit.registry import build, component_options, parse_component
from sdekit_plugins.loaders.pixel_data import pixel_units
from sdekit_plugins.loaders.weight_files.state_dict import load_strictly, open_weights, tensors_of
from sdekit_plugins.loaders.weight_files.tensor_in_file import TensorInFile

from .foreign_network import CalledNetwork, build_network

MOST_BETAS = 10**6
MOST_VALUES = 2**28
"""Largest number of values of one sample."""


def bare(
    path: str,
    *,
    network: str = "",
    arguments: dict[str, Any] | None = None,
    shape: tuple[int, ...] = (),
    prefix: str = "",
    process: str = "ddpm-linear",
    table: str = "",
    prediction: str = "eps",
    clock: Literal["index", "t", "rho", "log-rho"] | None = None,
    clock_scale: float = 1.0,
    clock_offset: float = 0.0,
    normalize: bool = False,
    data_std: float = 1.0,
    low: float | None = None,
    high: float | None = None,
    classes: int = 0,
    null_label: int | None = None,
) -> OpenedModel:
    """Open the weights of any network, with its process, prediction and inputs stated by options.

    The network is called as `network(x, c_noise)`, or `network(x, c_noise, y)` with labels y. Its result is a tensor,
    the first element of a tuple, or the attribute `sample`; if it has twice the channels of x, as with learned
    variances, the second half is cut. All of its tensors must be in the file with the same shapes, and no others.

    Arguments:
        path: File of safetensors or torch with a state dict.
        network: Registered network (built-in or of a --plugin file), or "module:Class" of an installed package.
        arguments: Options of the network, or keyword arguments of the class: `arguments={dim = 64, channels = 1}`.
        shape: Shape of one sample, such as [1, 28, 28].
        prefix: Start of the names of the network's tensors; other tensors are not used.
        process: Registered process, with its options: "vp", or "edm:sigma_min=0.01,sigma_max=50" in quotes.
        table: Name of the tensor in the file that contains the betas of DDPM, or their cumulative products
            prod (1 - beta), which decrease. It replaces `process`.
        prediction: The quantity that the network predicts: x0, eps, v, flow or edm.
        clock: Quantity from which the time input of the network is computed: "index" for the index 0 to N - 1 in a
            table, "t", "rho" for sigma / alpha, or "log-rho". By default "index" with a table, else "t".
        clock_scale: Factor of the time input.
        clock_offset: Number that is added to the scaled time input.
        normalize: Whether the network receives x divided by its standard deviation, as with the prediction edm.
        data_std: Standard deviation of the data in the model's units.
        low: Smallest value of the data in the model's units, such as -1 for black pixels, or None if it is unknown.
        high: Largest value of the data in the model's units, or None if it is unknown.
        classes: Number of labels that the network takes, 0 for none.
        null_label: Label that stands for "no label" in the network, or None if it has no such label.
    Returns:
        The model.
    Raises:
        InputError: If the file is damaged, a tensor is missing or left over, an option is missing or wrong, or the
            network cannot be built or called.
    """
    with open_weights(path) as content:
        tensors = tensors_of(_state_dict(content), path)
        if not network or not shape:
            missing = " and ".join(name for name, value in (("network", network), ("shape", shape)) if not value)
            raise InputError(
                f"{path} contains tensors without a description: state {missing}, such as "
                f"bare:{path},network=package.module:Class,shape=[3,32,32]"
            )
        _check_options(path, shape, prediction, low, high, classes, null_label)
        sde = _build_process(path, process, tensors.pop(table) if table in tensors else None, table)
        clock = clock or ("index" if isinstance(sde, TabulatedVP) else "t")
        inputs = _network_input(path, sde, clock, clock_scale, clock_offset, normalize)
        own, unused = tensors, []
        if prefix:
            own = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
            unused = [name for name in tensors if not name.startswith(prefix)]
        called = CalledNetwork(build_network(network, arguments or {}, shape, classes), shape[0], classes, null_label)
        try:
            load_strictly(called.network, own, path)
        except InputError as error:
            raise InputError(f"{error}{_suggest_prefix(called.network, tensors, prefix)}") from None
    condition = Conditioning(classes=classes, null=null_label is not None, null_refusal=NO_NULL) if classes else None
    model = ScoreModel(called, sde, prediction, data_std=data_std, condition=condition, inputs=inputs)
    _try_once(model, shape, network)
    image = len(shape) == 3
    units = Units()
    if low is not None and high is not None:
        units = pixel_units(shape[0], low, high) if image else Units(low=low, high=high)
    facts = {"network_source": network} | ({"tensors_not_used": unused} if unused else {})
    return OpenedModel(model=model, shape=shape, units=units, kind=kind_of(tuple(shape)), classes=classes, facts=facts)


NO_NULL = (
    "this network has no label for 'no label', so it cannot run without a label, which classifier-free guidance needs: "
    "state it by null_label=NUMBER if it has one"
)


def _state_dict(content: Any) -> Any:
    """Return the state dict in a file: the content itself, or its entry "state_dict", if that is its largest part."""
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        return content["state_dict"]
    return content


def _check_options(
    path: str,
    shape: tuple[int, ...],
    prediction: str,
    low: float | None,
    high: float | None,
    classes: int,
    null_label: int | None,
) -> None:
    """Raise InputError if an option is out of range."""
    values = torch.Size(shape).numel() if min(shape) > 0 else 0
    if not 0 < values <= MOST_VALUES:
        raise InputError(f"{path}: shape={list(shape)} is not the shape of a sample: write [3,32,32], for example")
    if prediction not in PREDICTIONS:
        raise InputError(f"{path}: no prediction {prediction!r}: choose one of {', '.join(PREDICTIONS)}")
    if (low is None) != (high is None) or (low is not None and high is not None and not low < high):
        raise InputError(f"{path}: give both low and high of the data, low below high, got {low} and {high}")
    if classes < 0 or (null_label is not None and not classes):
        raise InputError(
            f"{path}: classes={classes} and null_label={null_label} do not fit: state the number of labels"
        )


def _build_process(path: str, process: str, table: TensorInFile | None, name: str) -> SDE:
    """Build the process from its name and options, or from a table of betas or of their cumulative products."""
    if not name:
        kind, assignments = parse_component(process)
        sde: SDE = build("sde", kind, **component_options("sde", kind, assignments))
        return sde
    if table is None:
        raise InputError(f"{path} has no tensor {name!r}, which table={name} names")
    if table.ndim != 1 or not 2 <= table.numel <= MOST_BETAS:
        raise InputError(f"{path}: tensor {name} has the shape {table.shape}, expected one row of betas")
    values = table.load().double()
    if bool((values.diff() < 0).all()):
        products = torch.cat([torch.ones(1, dtype=torch.float64), values])
        values = 1 - products[1:] / products[:-1]
    try:
        return TabulatedVP(tuple(values.tolist()))
    except InputError as error:
        raise InputError(f"{path}: tensor {name} is not a table of betas or of their products: {error}") from None


def _network_input(path: str, sde: SDE, clock: str, scale: float, offset: float, normalize: bool) -> NetworkInput:
    """Return the inputs of the network; the index in a table of N betas is N t - 1."""
    if clock != "index":
        return NetworkInput(clock=clock, scale=scale, offset=offset, normalize=normalize)
    if not isinstance(sde, TabulatedVP):
        raise InputError(f"{path}: clock=index needs a table of betas, and {type(sde).__name__} has none")
    return NetworkInput(clock="t", scale=len(sde.betas) * scale, offset=offset - scale, normalize=normalize)


def _suggest_prefix(network: nn.Module, tensors: Mapping[str, TensorInFile], prefix: str) -> str:
    """Suggest the prefix with which all tensors of the network are in the file, or return an empty text."""
    own = list(network.state_dict())
    candidates = {name[: -len(own[0])] for name in tensors if name.endswith(own[0])} if own else set()
    for candidate in sorted(candidates - {prefix}):
        if all(candidate + name in tensors for name in own):
            return f". Did you mean prefix={candidate}?" if candidate else ". Did you mean no prefix?"
    return ""


def _try_once(model: ScoreModel, shape: tuple[int, ...], name: str) -> None:
    """Call the network once, and raise InputError if it fails or its result has another shape than x."""
    x = torch.zeros(1, *shape)
    y = torch.zeros(1, dtype=torch.long) if model.condition is not None else None
    called = f"network={name}, called with x {tuple(x.shape)}, c_noise (1,){' and y (1,)' if y is not None else ''}"
    c_noise = model.inputs.c_noise(model.sde, as_time(model.sde.t_max)).float().expand(1)
    try:
        with torch.no_grad():
            output: Any = model.network(x, c_noise, y)
    except Exception as error:
        raise InputError(f"{called}, failed: {type(error).__name__}: {str(error).splitlines()[0]}") from error
    if not isinstance(output, Tensor) or output.shape != x.shape:
        got = tuple(output.shape) if isinstance(output, Tensor) else f"a {type(output).__name__}"
        raise InputError(f"{called}, returned {got}, expected {tuple(x.shape)}")
