"""Guidance: a decorator of the denoiser, `guidance(sde, denoise) -> denoise`, and what guidances share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import Tensor

from .conditions import null
from .errors import InputError, SdekitError
from .sde import SDE, Denoise, as_time, like

Guidance = Callable[[SDE, Denoise], Denoise]

LARGEST_TILT_RHO = 1e6  # where alpha is 0, `tilt` is taken at this noise level

_current: ContextVar[Passage | None] = ContextVar("sdekit_passage", default=None)


@dataclass
class Passage:
    """One batch on its way from t_max to x_0: what a guidance may want to know of the sampler at work.

    times: the sampler's grid. free: between its times the sampler goes steps of its own, as an adaptive one does. dry:
    nothing is computed, network calls are only counted. calls: of networks, so far.
    """

    times: Tensor
    free: bool = False
    dry: bool = False
    calls: int = 0

    def around(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Start and end of the grid's step that t () or (B,) is in, shaped as t, on the CPU; at the last, it twice."""
        at = t.to("cpu", torch.float64)
        i = torch.searchsorted(-self.times, -at, right=True).clamp(min=1)
        return self.times[i - 1], self.times[i.clamp(max=len(self.times) - 1)]

    @contextmanager
    def entered(self) -> Iterator[Passage]:
        """Within it, this is the passage that calls are counted on."""
        token = _current.set(self)
        try:
            yield self
        finally:
            _current.reset(token)


def current() -> Passage | None:
    """The passage under way, None outside of `sample`."""
    return _current.get()


def counted(denoise: Denoise) -> Denoise:
    """A network whose calls are counted, whoever makes them, and whose answers are checked.

    `sample` does it to the model; a guidance does it to a network of its own. One call on a doubled batch is one call.
    Raises SdekitError where the answer has another shape or dtype than x.
    """

    def call(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        passage = current()
        if passage is not None:
            passage.calls += 1
            if passage.dry:
                return x / 2
        x0 = denoise(x, t) if y is None else denoise(x, t, y)
        if x0.shape != x.shape or x0.dtype != x.dtype:
            number = "a call" if passage is None else f"call {passage.calls}"
            raise SdekitError(
                f"{number} of the denoiser, at t = {t}: got {tuple(x0.shape)} {x0.dtype}, expected "
                f"{tuple(x.shape)} {x.dtype}, as its input"
            )
        return x0

    return call


@dataclass(frozen=True)
class Guided:
    """A guided denoiser that remembers the one before any guidance, `plain`."""

    denoise: Denoise
    plain: Denoise

    def __call__(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """As any denoiser."""
        return self.denoise(x, t) if y is None else self.denoise(x, t, y)


def compose(sde: SDE, denoise: Denoise, guidance: Sequence[Guidance]) -> Denoise:
    """The denoiser with each guidance around it, the first one innermost.

    A guidance that knows itself what the model is without any gives a `Guided`, whose `plain` holds from then on.
    """
    guided = denoise
    for one in guidance:
        made = one(sde, guided)
        guided = Guided(made, made.plain if isinstance(made, Guided) else unguided(guided))
    return guided


def unguided(denoise: Denoise) -> Denoise:
    """What a guided denoiser was before any guidance; itself where it has none."""
    return denoise.plain if isinstance(denoise, Guided) else denoise


def pair(denoise: Denoise, x: Tensor, t: Tensor, y: Tensor, other: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """D(x, t, y) and D(x, t, other), (B, *) each, by one call on the doubled batch.

    other: (B, ...), the null condition where it is None.
    """
    both = torch.cat([y, null(y) if other is None else other])
    whole = denoise(torch.cat([x, x]), t if t.ndim == 0 else torch.cat([t, t]), both)
    conditional, second = whole.chunk(2)
    return conditional, second


def tilt(
    sde: SDE, x: Tensor, t: Tensor, log_weight: Callable[[Tensor, Tensor], Tensor], *, most: float = LARGEST_TILT_RHO
) -> Tensor:
    """sigma^2 / alpha grad_x log_weight(x, t): what D gains where the density of x_t is multiplied by a weight, (B, *).

    log_weight: x (B, *) and t to (B,), differentiable in x. Above the noise level `most` it is taken at `most`, x
    along the same noise, since alpha may be 0 there. Tweedie's formula, D = (x + sigma^2 score) / alpha.
    """
    t = as_time(t)
    u = torch.where(sde.rho(t) <= most, t, sde.time(as_time(most)).to(t.device))
    alpha, sigma = sde.alpha(u), sde.sigma(u)
    with torch.enable_grad():
        z = (x.detach() * like(sigma / sde.sigma(t), x)).requires_grad_()
        (slope,) = torch.autograd.grad(log_weight(z, u).sum(), z)
    return slope * like(sigma**2 / alpha, x)


def resolve(guidance: Guidance | str | Sequence[Guidance | str]) -> list[Guidance]:
    """Objects or registered names, built with their defaults; one of them need not be in a list."""
    several = [guidance] if isinstance(guidance, str) or callable(guidance) else guidance
    if not several:
        return []
    from .plugins import make

    made = [make("guidance", one) if isinstance(one, str) else one for one in several]
    for one in made:
        if not callable(one):
            raise InputError(f"guidance: expected a name or a function of (sde, denoise), got {one!r}")
    return made


def cost(sde: SDE, guidance: Sequence[Guidance], x: Tensor, y: Tensor | None, levels: int = 17) -> int:
    """The most network calls that one guided denoising makes: counted at several noise levels, without a network.

    x: (1, *), y: (B, ...) or None, of the kind that will come; of y the first is used.
    """
    most = 1
    times = sde.time(torch.logspace(3, -3, levels, dtype=torch.float64)).clamp(sde.t_min, sde.t_max)
    for t in times.unbind():
        with Passage(times, dry=True).entered() as passage:
            guided = compose(sde, counted(_nothing), guidance)
            guided(x, t) if y is None else guided(x, t, y[:1])
        most = max(most, passage.calls)
    return most


def _nothing(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
    return x


def shaped(denoise: Denoise) -> Denoise:
    """A guided denoiser that raises SdekitError where a guidance has changed the shape or the dtype."""

    def call(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        x0 = denoise(x, t) if y is None else denoise(x, t, y)
        if x0.shape != x.shape or x0.dtype != x.dtype:
            raise SdekitError(
                f"a guidance returned {tuple(x0.shape)} {x0.dtype}, expected {tuple(x.shape)} {x.dtype}, as its input"
            )
        return x0

    return call


def written(name: str, options: Mapping[str, object]) -> str:
    """A component as people write it: "cfg:scale=1000"; what is off or not said is left out."""
    said = {k.removesuffix("_"): v for k, v in options.items() if not (v is None or v is False or v == "")}
    given = [f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in said.items()]
    return ":".join(filter(None, (name, ",".join(given))))


@dataclass(frozen=True)
class Named:
    """A guidance with a name for messages."""

    guidance: Guidance
    name: str

    def __call__(self, sde: SDE, denoise: Denoise) -> Denoise:
        """As the guidance does."""
        return self.guidance(sde, denoise)


def needed(guidance: str, y: Tensor | None) -> Tensor:
    """The condition; InputError, naming the guidance, where there is none."""
    if y is None:
        raise InputError(f"{guidance}: there is no condition to guide to: give y (--label)")
    return y


def check_finite(guidance: str, **options: float) -> None:
    """InputError, naming the guidance and the option, for a number that is not finite."""
    for name, value in options.items():
        if not math.isfinite(value):
            raise InputError(f"{guidance}: {name} must be a finite number, got {value}")
