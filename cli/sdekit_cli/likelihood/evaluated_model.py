"""The model of a command that evaluates it on data or latents, with the guidances and conditions of its options."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sdekit.errors import InputError
from sdekit_cli.options.label_option import Classes, find_classes, name_labels, resolve_labels
from sdekit_cli.options.model_option import open_run
from sdekit_cli.options.shared_options import build_guidance, parse_guidance, pick_device

from .data_items import DataItems, with_dtype
from .evaluation_options import ModelOptions

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from sdekit.guidance import Guidance
    from sdekit.models import Condition, OpenedModel


@dataclass(frozen=True, kw_only=True)
class EvaluatedModel:
    """An opened model with its device, number type, guidances and the condition that the options state.

    Arguments:
        opened: The model.
        device: Device of the computation.
        dtype: Name of the number type, "float32" or "float64".
        guidance: Guidances, the first one innermost.
        guidance_records: Name and options of each guidance, for the record.
        classes: Classes among which --label chooses.
        label: Value of --label.
        numbers: Value of --condition.
        prompts: Values of --prompt.
    """

    opened: OpenedModel
    device: str
    dtype: str
    guidance: Sequence[Guidance]
    guidance_records: Sequence[dict[str, Any]]
    classes: Classes
    label: str | None = None
    numbers: str | None = None
    prompts: Sequence[str] = ()

    @classmethod
    def open(cls, options: ModelOptions, *, quiet: bool = False) -> EvaluatedModel:
        """Open the model of a command.

        Arguments:
            options: Values of the options.
            quiet: Whether to print only warnings.
        Returns:
            The model.
        Raises:
            InputError: If an option is not valid for the model.
        """
        if options.prompt and (options.label is not None or options.condition is not None):
            raise InputError("--prompt excludes --label and --condition")
        chosen, place = parse_guidance(options.guidance or ()), pick_device(options.device)
        opened = with_dtype(open_run(options.run, device=place, trust=options.trust, quiet=quiet), options.dtype)
        classes = find_classes(opened, chosen)
        built, records = build_guidance(resolve_labels(chosen, classes), opened.data_range)
        name_labels(records, classes)
        return cls(
            opened=opened,
            device=place,
            dtype=options.dtype,
            guidance=built,
            guidance_records=records,
            classes=classes,
            label=options.label,
            numbers=options.condition,
            prompts=tuple(options.prompt or ()),
        )

    @property
    def units(self) -> str:
        """Units of x in which densities are reported, for messages and records."""
        return "the data" if self.opened.codec is None else "the latents"

    @property
    def dimensions(self) -> int:
        """Number of dimensions of x."""
        return math.prod(self.opened.shape)

    def refuse_bins_of_latents(self, option: str) -> None:
        """Raise InputError, which names the option that asks for bins, if the model denoises latents."""
        if self.opened.codec is not None:
            raise InputError(
                f"{option}: {self.opened.path} denoises latents of an autoencoder. Latents are continuous, so they "
                f"have no bins, and bits per dimension of the data are not known: leave out {option}"
            )

    def refuse_categories(self, command: str) -> None:
        """Raise InputError, which names the command, if rows of the data contain categories, which have no density."""
        for column in self.opened.columns:
            if column.type == "category":
                raise InputError(
                    f"{command}: column '{column.name}' of {self.opened.path} is a category, so that its rows have no "
                    f"density. Train a model with --option data.label={column.name} --condition label for the density "
                    "of the numbers given the category, or train on the other columns (data.columns=NAME,NAME)"
                )

    def refuse_bins_of_curves(self, option: str) -> None:
        """Raise InputError, which names the option that asks for bins, if columns have nonlinear units."""
        if self.opened.units.quantiles:
            raise InputError(
                f"{option}: the columns of {self.opened.path} are mapped by their quantiles, so that bins have "
                f"different widths in the model: leave out {option}, or train with --option data.scale=columns"
            )

    @property
    def record(self) -> dict[str, Any]:
        """The model and the options of its condition, for the record."""
        return {
            "run_step": self.opened.step,
            "label": self.label,
            "condition": self.numbers,
            "prompt": list(self.prompts) or None,
            "guidance": list(self.guidance_records),
            "dtype": self.dtype,
        }

    @property
    def number_type(self) -> torch.dtype:
        """Number type of the computation."""
        import torch

        return torch.float64 if self.dtype == "float64" else torch.float32

    @property
    def states_condition(self) -> bool:
        """Whether the options state the condition, so that the data need none."""
        return self.label is not None or self.numbers is not None or bool(self.prompts)

    def check_items(self, items: DataItems, batch_size: int) -> None:
        """Read all items and their labels once, so that a bad one is reported before a long computation.

        Arguments:
            items: The items.
            batch_size: Number of items to read at once.
        Raises:
            InputError: If an item is not finite or out of range, or its class is not one of the model's.
        """
        items.check(batch_size)
        if self.opened.condition == "label" and not self.states_condition:
            items.labels()

    def place(self, x: Tensor) -> Tensor:
        """Return numbers on the device and of the number type of the computation."""
        return x.to(self.device, self.number_type)

    def condition(self, of_data: Tensor | None, seeds: Sequence[int], source: str) -> Tensor | Condition | None:
        """Return the condition of each item: that of the options, or else that of the data.

        Arguments:
            of_data: Labels (n,) as positions among the classes of the model, or numbers or embeddings (n, ...) in its
                units; None if the data have none.
            seeds: Seeds of the items. If an option names several classes or texts, the seed chooses one.
            source: Name of the data, for messages.
        Returns:
            Conditions with n rows on the device, or None for a model without a condition.
        Raises:
            InputError: If the model needs a condition that neither the options nor the data have.
        """
        y = self._condition(of_data, tuple(seeds), source)
        if y is None:
            return None
        from sdekit.models import Condition

        if isinstance(y, Condition):
            return Condition({name: self._as_number_type(part) for name, part in y.parts.items()})
        return self._as_number_type(y)

    def _as_number_type(self, y: Tensor) -> Tensor:
        """Return a part of a condition on the device, and numbers of the number type of the computation."""
        return self.place(y) if y.is_floating_point() else y.to(self.device)

    def _condition(self, of_data: Tensor | None, seeds: tuple[int, ...], source: str) -> Tensor | Condition | None:
        opened = self.opened
        if self.prompts:
            from sdekit_cli.options.prompt_option import encode_prompts

            return encode_prompts(opened, self.prompts, None, seeds)
        if self.label is not None or self.numbers is not None:
            from sdekit_cli.options.condition_option import conditions

            return conditions(
                opened, self.label, seeds, numbers=self.numbers, guided=bool(self.guidance), classes=self.classes
            )
        if opened.condition == "none":
            return None
        if opened.encoder is not None:
            raise InputError(f"{opened.path} takes texts as its condition: add --prompt TEXT")
        if of_data is not None:
            return of_data
        option = "--label NAME" if opened.condition == "label" else "--condition"
        needed = {"label": "labels", "numbers": f"the numbers {', '.join(opened.condition_names)}"}
        raise InputError(
            f"{opened.path} was trained with {needed.get(opened.condition, 'embeddings')}, which {source} does not "
            f"have: add {option}"
        )
