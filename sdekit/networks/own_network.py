"""Networks of the user's own: an `nn.Module`, a class or a factory in place of a registered network."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from sdekit.arguments import describe_value
from sdekit.errors import InputError
from sdekit.models import Condition, drop_conditions

SIGNATURE = (
    "sdekit calls network(x, c_noise, y), or network(x, c_noise) if forward takes two arguments: x (B, *shape) is "
    "float32, c_noise (B,) is log(sigma / alpha) / 4, and y is the condition of the B samples, or None. The result "
    "must be a tensor of the shape of x"
)
"""Description of the calls, for messages."""


class UnconditionalNetwork(nn.Module):
    """Network that is called without a condition.

    Arguments:
        network: Module `network(x, c_noise)`.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, c_noise: Tensor, y: Tensor | Condition | None = None) -> Tensor:
        """Return network(x, c_noise), (B, *shape)."""
        if y is not None:
            raise InputError(f"the network {type(self.network).__name__} takes no condition, see its method forward")
        output: Tensor = self.network(x, c_noise)
        return output


@dataclass(frozen=True, eq=False)
class OwnNetwork:
    """A network of the user's own, from which the networks of a run are built.

    A module is copied, so that it stays as it is, and its present weights are where the training starts. A class or a
    factory is called with the options of the network, and with `shape` and `classes` if it has arguments of these
    names; its weights are drawn with the seed of the run.

    Arguments:
        source: Module, class, or function that returns a module.
    Raises:
        InputError: If the source is something else.
    """

    source: nn.Module | Callable[..., nn.Module]

    def __post_init__(self) -> None:
        if not callable(self.source):
            raise InputError(
                "network must be a registered name, an nn.Module, or a class or function that returns one, got "
                f"{describe_value(self.source)}"
            )

    @property
    def name(self) -> str:
        """Name of the class or function, for messages."""
        return str(self._definition().__qualname__)

    @property
    def spec(self) -> str:
        """Name by which a recipe records the network, such as "python:package.module:Denoiser"."""
        definition = self._definition()
        return f"python:{definition.__module__}:{definition.__qualname__}"

    def accepts(self, option: str) -> bool:
        """Return whether the source is a class or function with an argument of this name."""
        return not isinstance(self.source, nn.Module) and option in inspect.signature(self.source).parameters

    def check_options(self, options: Mapping[str, Any]) -> None:
        """Check the options of the network.

        Arguments:
            options: Arguments of the class or function.
        Raises:
            InputError: If the source is a module, has no such arguments, or has other arguments without a default, or
                if an option is something else than numbers, texts, and lists of them.
        """
        if isinstance(self.source, nn.Module):
            if options:
                raise InputError(
                    f"network options {', '.join(sorted(options))}: {self.name} is a module already; set its options "
                    "when you create it"
                )
            return
        for name, value in options.items():
            try:
                json.dumps(value, allow_nan=False)
            except (TypeError, ValueError):
                raise InputError(
                    f"network.{name} must be a number, a text or a list of them, which the run folder records, got "
                    f"{describe_value(value)}. Create the module, and pass it as network=module"
                ) from None
        shared = {name: None for name in ("shape", "classes") if self.accepts(name)}
        try:
            inspect.signature(self.source).bind(**shared, **options)
        except TypeError as error:
            raise InputError(
                f"network {self.name} cannot be created by {self.name}({', '.join([*shared, *options])}) ({error}): "
                "pass its arguments as options={'network': {...}}, or pass a module, network="
                f"{self.name}(...)"
            ) from error

    def build(self, shape: tuple[int, ...], classes: int, options: Mapping[str, Any], y: Tensor | None) -> nn.Module:
        """Build a network.

        Arguments:
            shape: Shape of one sample.
            classes: Number of labels, 0 for none.
            options: Arguments of the class or function.
            y: Conditions of two samples, or None; lazy modules are initialized with them.
        Returns:
            A new module `network(x, c_noise, y)`.
        Raises:
            InputError: If the source cannot be copied or called, or returns no module.
        """
        self.check_options(options)
        network = self._copied() if isinstance(self.source, nn.Module) else self._created(shape, classes, options)
        if not _takes(network, 3):
            if not _takes(network, 2):
                raise InputError(f"network {self.name}: its method forward takes other arguments. {SIGNATURE}")
            network = UnconditionalNetwork(network)
        if any(is_lazy(weight) for weight in [*network.parameters(), *network.buffers()]):
            self._call(network, shape, y)
        return network

    def check(self, network: nn.Module, shape: tuple[int, ...], y: Tensor | None, *, drop: bool = False) -> None:
        """Check a network by a trial call with two samples.

        Arguments:
            network: Result of `build`. The call is made in evaluation mode, without gradients.
            shape: Shape of one sample.
            y: Conditions of two samples, or None.
            drop: Whether the network is also trained with the null condition.
        Raises:
            InputError: If the call fails, the result is no tensor of the shape of x, or there are no weights to train.
                The message describes the expected calls.
        """
        weights = list(network.parameters())
        if not any(weight.requires_grad for weight in weights):
            raise InputError(f"network {self.name} has no weights to train: no parameter requires a gradient")
        others = sorted({str(weight.dtype) for weight in weights if weight.dtype != torch.float32})
        if others:
            raise InputError(f"network {self.name} has weights of {', '.join(others)}: convert it by .float()")
        if not all(isinstance(value, Tensor) for value in network.state_dict().values()):
            raise InputError(f"network {self.name}: its state_dict contains other values than tensors; leave them out")
        self._call(network, shape, y)
        if y is not None and drop:
            null = drop_conditions(y, torch.tensor([True, False]))
            kind = "nan" if y.is_floating_point() else "-1"
            self._call(network, shape, null, f" The null condition, of train.drop, is {kind}.")

    def _copied(self) -> nn.Module:
        """Return a copy of the module, on the CPU."""
        assert isinstance(self.source, nn.Module)
        try:
            return deepcopy(self.source).cpu()
        except Exception as error:  # modules may contain anything
            raise InputError(
                f"network {self.name} cannot be copied ({error}): pass its class or a function that creates it, "
                "network=lambda: ..."
            ) from error

    def _created(self, shape: tuple[int, ...], classes: int, options: Mapping[str, Any]) -> nn.Module:
        """Return a new module of the class or function."""
        assert not isinstance(self.source, nn.Module)
        values = {"shape": tuple(shape), "classes": classes}
        shared = {name: value for name, value in values.items() if self.accepts(name)}
        try:
            network = self.source(**shared, **options)
        except InputError:
            raise
        except Exception as error:  # the code of a user may raise any error
            raise InputError(f"network {self.name} cannot be created ({type(error).__name__}: {error})") from error
        if not isinstance(network, nn.Module):
            raise InputError(f"network {self.name} must return an nn.Module, got {describe_value(network)}")
        return network

    @torch.no_grad()
    def _call(self, network: nn.Module, shape: tuple[int, ...], y: Tensor | None, hint: str = "") -> None:
        """Call a network with two samples, and check the result. Its mode is restored, and its statistics stay."""
        x = torch.linspace(-1, 1, 2 * torch.Size(shape).numel()).view(2, *shape)
        training = network.training
        network.eval()
        try:
            output = network(x, torch.tensor([-1.0, 0.5]), y)
        except InputError:
            raise
        except Exception as error:  # the code of a user may raise any error
            raise InputError(
                f"network {self.name} fails for x of shape {tuple(x.shape)}, c_noise of shape (2,) and "
                f"{'y=None' if y is None else f'y of shape {tuple(y.shape)} and {y.dtype}'} "
                f"({type(error).__name__}: {error}).{hint} {SIGNATURE}"
            ) from error
        finally:
            network.train(training)
        if not isinstance(output, Tensor) or output.shape != x.shape or not output.is_floating_point():
            tensor = isinstance(output, Tensor)
            got = f"{output.dtype} of shape {tuple(output.shape)}" if tensor else describe_value(output)
            raise InputError(f"network {self.name} returns {got} for x of shape {tuple(x.shape)}. {SIGNATURE}")

    def _definition(self) -> Any:
        """Return the class or function."""
        if isinstance(self.source, nn.Module) or not hasattr(self.source, "__qualname__"):
            return type(self.source)
        return self.source


def import_own_network(spec: str) -> OwnNetwork:
    """Import the class or function of a network that a recipe records. This executes the code of its module.

    Arguments:
        spec: Name of the network in the recipe, "python:package.module:Name".
    Returns:
        The network.
    Raises:
        InputError: If there is no such class or function.
    """
    _, module, name = spec.split(":", 2)
    try:
        found: Any = import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except Exception as error:  # the module may raise any error
        raise InputError(
            f"the network {name} cannot be imported from {module} ({error}): pass it, load_run(path, network=...)"
        ) from error
    return OwnNetwork(found)


def _takes(network: nn.Module, arguments: int) -> bool:
    """Return whether the method forward of a module takes a number of positional arguments."""
    try:
        inspect.signature(network.forward).bind(*range(arguments))
    except TypeError:
        return False
    except ValueError:  # a compiled method without a signature
        return arguments == 3
    return True
