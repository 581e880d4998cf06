"""A network as a denoiser."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from sdekit.arguments import check_instance, check_number, describe_value
from sdekit.errors import InputError
from sdekit.processes import SDE, as_time, broadcast, check_process, check_time_shape

from .conditioning import Condition, Conditioning, replace_null
from .network_input import TRAINED_HERE, NetworkInput
from .predictions import PREDICTIONS

if TYPE_CHECKING:
    from sdekit.backends import Backend, BackendNetwork, NetworkCall


class ScoreModel(nn.Module):
    """Denoiser of a network F: D(x, t, y) = c_skip x + c_out F(c_in x, c_noise, y).

    By default c_in = 1 / std(x_t), so that F receives inputs of about unit variance, and c_noise = log(rho) / 4.
    c_skip and c_out follow from the prediction.

    Arguments:
        network: Module `network(x (B, *), c_noise (B,), y) -> (B, *)`; y is a condition of B samples or None.
        sde: Process of x_t.
        prediction: A key of `PREDICTIONS`: the quantity that F predicts.
        data_std: Standard deviation of the data, for c_in and the prediction "edm". With VP and 1.0, c_in is 1.
        backend: Backend that runs the network, see `run_with`.
        condition: Conditions that the network was trained with, to check y; None checks nothing.
        inputs: Scale of x and time input of the network.
    Raises:
        InputError: If the prediction is unknown, or is "eps" on a process whose alpha reaches 0 (it divides by alpha).
    Source:
        Karras et al. 2022, eq. 7, for any process.
    """

    def __init__(
        self,
        network: nn.Module,
        sde: SDE,
        prediction: str = "edm",
        *,
        data_std: float = 1.0,
        backend: Backend | str | None = None,
        condition: Conditioning | None = None,
        inputs: NetworkInput = TRAINED_HERE,
    ) -> None:
        super().__init__()
        check_instance("ScoreModel: network", network, nn.Module, "a torch.nn.Module")
        check_process("ScoreModel", sde)
        if str(prediction) not in PREDICTIONS:
            got = describe_value(prediction)
            raise InputError(f"no prediction {got}: choose one of {', '.join(PREDICTIONS)}")
        data_std = check_number("ScoreModel: data_std", data_std, above=0)
        if prediction == "eps" and sde.alpha(as_time(sde.t_max)) < 1e-6:
            raise InputError(
                f"prediction 'eps' divides by alpha, which is 0 at t_max of {type(sde).__name__}: choose 'v', 'flow', "
                "'x0' or 'edm'"
            )
        self.network, self.sde, self.prediction, self.data_std = network, sde, prediction, data_std
        self.condition, self.inputs = condition, inputs
        self.backend: BackendNetwork | None = None
        if backend is not None:
            self.run_with(backend)

    def __repr__(self) -> str:
        """Return one line. `print(model.network)` shows the layers."""
        parameters = sum(parameter.numel() for parameter in self.network.parameters())
        parts = [type(self.network).__name__, f"{parameters:,} parameters", repr(self.sde), repr(self.prediction)]
        return f"ScoreModel({', '.join(parts)})"

    def run_with(self, backend: Backend | str, *, name: str = "") -> ScoreModel:
        """Run the network with a backend in all later calls of the denoiser; `loss` always runs the network itself.

        Arguments:
            backend: A registered name, or a function `backend(network)`; see `BackendNetwork` for its checks.
            name: Name of the backend in messages.
        Returns:
            The model itself.
        """
        from sdekit.backends import apply_backend

        self.backend = apply_backend(self.network, backend, name=name)
        return self

    def set_null(self, value: Tensor | Condition) -> None:
        """Replace the null condition of the model, as a negative prompt does.

        Arguments:
            value: Condition of one row, which the network receives in place of null rows.
        Raises:
            InputError: If the model takes another kind of condition.
        """
        self.condition = replace(self.condition or Conditioning(), null=True, null_value=value)

    def forward(self, x: Tensor, t: Tensor | float, y: Tensor | Condition | None = None) -> Tensor:
        """Return the denoised x, E[x_0 | x_t = x, y].

        Arguments:
            x: Noisy samples x_t, of shape (B, *).
            t: Time: a number, or a tensor of shape () or (B,).
            y: Condition of B samples, or None.
        Returns:
            Tensor (B, *) of x's dtype.
        Raises:
            InputError: If the network was not trained with conditions such as y, or returns another shape than x.
        """
        t = as_time(t)
        check_instance("ScoreModel: x", x, Tensor, "a tensor (B, *)")
        if not x.ndim:
            raise InputError("ScoreModel: x must be a tensor (B, *), got one without axes")
        check_time_shape("ScoreModel", t, len(x))
        if self.condition is not None:
            self.condition.check(y, values=y is not None and y.device.type == "cpu")
        c_skip, c_out = PREDICTIONS[self.prediction](self.sde.alpha(t), self.sde.sigma(t), self.data_std)
        output = self._output(self.backend or self.network, x, t, y)
        return broadcast(c_skip, x) * x + broadcast(c_out, x) * output.to(x.dtype)

    def score(self, x: Tensor, t: Tensor | float, y: Tensor | Condition | None = None) -> Tensor:
        """Return the score grad_x log p_t(x | y).

        Arguments:
            x: Noisy samples x_t, of shape (B, *).
            t: Time: a number, or a tensor of shape () or (B,).
            y: Condition of B samples, or None.
        Returns:
            Tensor (B, *).
        """
        t = as_time(t)
        return self.sde.score(x, self(x, t, y), t)

    def loss(
        self, x0: Tensor, t: Tensor, eps: Tensor, y: Tensor | Condition | None = None, *, mean: Tensor | None = None
    ) -> Tensor:
        """Return the mean squared error of the network's output at x_t = alpha x_0 + sigma eps.

        The target is (x_0 - c_skip x_t) / c_out, written in x_0 and eps so that no digits are lost if c_out is small.

        Arguments:
            x0: Data of shape (B, *).
            t: Times of shape () or (B,).
            eps: Standard normal noise of shape (B, *).
            y: Condition of B samples, or None.
            mean: E[x_0 | x_t] of shape (B, *) if it is known; it replaces x_0 in the target.
        Returns:
            Loss of each sample, (B,).
        Source:
            For "eps" Ho et al. 2020, eq. 14; for "edm" Karras et al. 2022, eq. 8.
        """
        t = as_time(t)
        for name, value in (("x0", x0), ("eps", eps)):
            check_instance(f"ScoreModel.loss: {name}", value, Tensor, "a tensor (B, *)")
        if eps.shape != x0.shape or not x0.ndim:  # another shape would broadcast silently
            shapes = f"x0 has shape {tuple(x0.shape)}, and eps {tuple(eps.shape)}"
            raise InputError(f"ScoreModel.loss: {shapes}; expected the same shape (B, *)")
        check_time_shape("ScoreModel.loss", t, len(x0))
        alpha, sigma = self.sde.alpha(t), self.sde.sigma(t)
        c_skip, c_out = PREDICTIONS[self.prediction](alpha, sigma, self.data_std)
        target = broadcast((1 - c_skip * alpha) / c_out, x0) * x0 - broadcast(c_skip * sigma / c_out, x0) * eps
        if mean is not None:
            target = target + broadcast(1 / c_out, x0) * (mean - x0)
        output = self._output(self.network, self.sde.perturb(x0, t, eps), t, y)
        return (output - target).square().flatten(1).mean(1)

    def _output(self, network: NetworkCall, x: Tensor, t: Tensor, y: Tensor | Condition | None) -> Tensor:
        """Return F(c_in x, c_noise, y) of shape (B, *)."""
        c_in, c_noise = self.inputs.c_in(self.sde, t, self.data_std), self.inputs.c_noise(self.sde, t)
        if c_noise.ndim == 0 and x.device.type != "cpu" and c_noise.device.type == "cpu":
            c_noise = torch.full((), c_noise.item(), dtype=x.dtype, device=x.device)  # a copy would wait for the GPU
        c_noise = c_noise.to(x.device, x.dtype).expand(len(x)).contiguous()
        if self.condition is not None and self.condition.null_value is not None:
            y = replace_null(y, self.condition.null_value, len(x), x.device)
        try:
            output: Any = network(x if c_in is None else broadcast(c_in, x) * x, c_noise, y)
        except RuntimeError as error:
            raise self._explain(error, x) from error
        if not isinstance(output, Tensor) or output.shape != x.shape:  # a smaller shape would broadcast silently
            got = tuple(output.shape) if isinstance(output, Tensor) else describe_value(output)
            raise InputError(
                f"the network {type(self.network).__name__} returned {got} for x of shape {tuple(x.shape)}: it must "
                "return a tensor of the shape of x"
            )
        if output.device != x.device:
            raise InputError(
                f"the network {type(self.network).__name__} returned a tensor on {output.device} for x on {x.device}"
            )
        result: Tensor = output
        return result

    def _explain(self, error: RuntimeError, x: Tensor) -> Exception:
        """Return InputError if the network failed because of the dtype, device or shape of x; else the error itself."""
        name, weights = type(self.network).__name__, [p for p in self.network.parameters() if p.is_floating_point()]
        for fact, here, there in [(f, getattr(x, f), getattr(w, f)) for w in weights[:1] for f in ("dtype", "device")]:
            if here != there:
                return InputError(
                    f"the network {name} has the {fact} {there}, and x has {here}: use {fact}={there} for x, or "
                    f"convert the model by model.to({here})"
                )
        reason = str(error).split("\n")[0]
        if any(word in reason for word in ("shape", "size", "channels", "dimension")):
            return InputError(f"the network {name} cannot be evaluated for x of shape {tuple(x.shape)}: {reason}")
        return error
