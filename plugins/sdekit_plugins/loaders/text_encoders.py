"""Text encoders of diffusers pipelines: CLIP and T5 with their tokenizers."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sdekit.errors import InputError
from sdekit.models import Condition, PromptWarning

from .diffusers_folder import PipelineFolder
from .strict_weights import check_names, sizes

CLIP_TOKENIZERS = ("CLIPTokenizer", "CLIPTokenizerFast")
T5_TOKENIZERS = ("T5Tokenizer", "T5TokenizerFast")

TOKENIZER_FILES = (("tokenizer.json",), ("vocab.json", "merges.txt"), ("spiece.model",))
"""Files of which a tokenizer needs one group. Without any of them, transformers makes a tokenizer without words."""


class Encoded(NamedTuple):
    """Result of one text encoder.

    Attributes:
        states: States of all tokens, (B, L, d): of the last layer, or of the layer before it.
        pooled: Embedding of the whole text, (B, p), or None.
    """

    states: Tensor
    pooled: Tensor | None


class TextModel(nn.Module):
    """A text encoder and its tokenizer.

    Arguments:
        model: CLIPTextModel, CLIPTextModelWithProjection or T5EncoderModel.
        tokenizer: Tokenizer.
        length: Number of tokens of each text, after padding or cutting.
        name: Name of the encoder in warnings.
        penultimate: Whether the states are those of the layer before the last one.
    """

    def __init__(self, model: Any, tokenizer: Any, length: int, name: str, *, penultimate: bool = False) -> None:
        super().__init__()
        self.model: Any = model
        self.tokenizer, self.length = tokenizer, length
        self.name, self.penultimate = name, penultimate

    def forward(self, texts: Sequence[str]) -> Encoded:
        """Encode texts."""
        for text in texts:
            self._warn_if_cut(text)
        padded = self.tokenizer(
            list(texts), padding="max_length", max_length=self.length, truncation=True, return_tensors="pt"
        )
        device, config = next(self.model.parameters()).device, self.model.config
        mask = padded.attention_mask.to(device) if getattr(config, "use_attention_mask", False) else None
        with torch.no_grad():
            result = self.model(padded.input_ids.to(device), attention_mask=mask, output_hidden_states=self.penultimate)
        pooled = getattr(result, "text_embeds", None)
        pooled = getattr(result, "pooler_output", None) if pooled is None else pooled
        states = result.hidden_states[-2] if self.penultimate else result.last_hidden_state
        return Encoded(states, pooled)

    def _warn_if_cut(self, text: str) -> None:
        """Issue a `PromptWarning` if a text has more tokens than the encoder reads."""
        tokens = self.tokenizer(text, truncation=False, verbose=False).input_ids
        if (excess := len(tokens) - self.length) > 0:
            cut = self.tokenizer.decode(tokens[self.length - 1 : -1], skip_special_tokens=True).strip()
            warnings.warn(
                f"{self.name} reads {self.length} tokens, and the prompt has {len(tokens)}: the last {excess} words or "
                f"parts of words are cut: {cut!r}",
                PromptWarning,
                stacklevel=4,
            )


class PromptEncoder(nn.Module):
    """The text encoders of a pipeline together: texts to a condition.

    Arguments:
        encoders: Text models by the name of their part.
    """

    def __init__(self, **encoders: TextModel) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict(encoders)

    def forward(self, texts: Sequence[str]) -> Tensor | Condition:
        """Return the condition of each text."""
        return self.combine({name: encoder(texts) for name, encoder in self.encoders.items()})

    def combine(self, encoded: dict[str, Encoded]) -> Tensor | Condition:
        """Return the condition that the results of all encoders make."""
        raise NotImplementedError


def read_clip(
    folder: PipelineFolder, number: int, dtype: torch.dtype | None, *, projection: bool = False, penultimate: bool
) -> TextModel:
    """Read a CLIP text encoder of a pipeline.

    Arguments:
        folder: The pipeline.
        number: 1 for the parts text_encoder and tokenizer, 2 for text_encoder_2 and tokenizer_2.
        dtype: Dtype of the weights.
        projection: Whether the encoder must have a projection of the pooled embedding.
        penultimate: Whether the states are those of the layer before the last one.
    Returns:
        The encoder with its tokenizer.
    Raises:
        InputError: If a part is missing or damaged.
    """
    suffix = "" if number == 1 else f"_{number}"
    allowed = ("CLIPTextModelWithProjection",) if projection else ("CLIPTextModel", "CLIPTextModelWithProjection")
    tokenizer = _tokenizer(folder, f"tokenizer{suffix}", CLIP_TOKENIZERS)
    model = _text_model(folder, f"text_encoder{suffix}", allowed, dtype)
    length = min(int(tokenizer.model_max_length), int(model.config.max_position_embeddings))
    return TextModel(model, tokenizer, length, f"the text encoder {number} (CLIP)", penultimate=penultimate)


def read_t5(folder: PipelineFolder, number: int, dtype: torch.dtype | None, *, length: int) -> TextModel:
    """Read a T5 text encoder of a pipeline.

    Arguments:
        folder: The pipeline.
        number: Number of the parts text_encoder_N and tokenizer_N.
        dtype: Dtype of the weights.
        length: Number of tokens of each text.
    Returns:
        The encoder with its tokenizer.
    Raises:
        InputError: If a part is missing or damaged.
    """
    tokenizer = _tokenizer(folder, f"tokenizer_{number}", (*T5_TOKENIZERS, *CLIP_TOKENIZERS))
    model = _text_model(folder, f"text_encoder_{number}", ("T5EncoderModel",), dtype)
    return TextModel(model, tokenizer, length, f"the text encoder {number} (T5)")


def _tokenizer(folder: PipelineFolder, name: str, allowed: tuple[str, ...]) -> Any:
    """Read a tokenizer, without code from its folder and without the network."""
    make: Any = folder.part(name, *allowed)
    if not any(all((folder.path / name / file).is_file() for file in files) for files in TOKENIZER_FILES):
        wanted = " or ".join(" and ".join(files) for files in TOKENIZER_FILES)
        raise InputError(f"{folder.path / name} is no complete tokenizer, it lacks {wanted}: download the folder again")
    try:
        return make.from_pretrained(folder.path / name, local_files_only=True)
    except Exception as error:  # the tokenizers raise many types
        raise InputError(
            f"{folder.path / name} is no complete tokenizer ({type(error).__name__}: {str(error).splitlines()[0]}): "
            "download the folder again"
        ) from error


def _text_model(folder: PipelineFolder, name: str, allowed: tuple[str, ...], dtype: torch.dtype | None) -> Any:
    """Read a text encoder of transformers. It must find every tensor, and every tensor must find a place."""
    make: Any = folder.part(name, *allowed)
    config, files = folder.config(name), folder.weights(name)
    sizes(files)  # a damaged file is refused with its path
    dotted = files[0].name.split(".safetensors")[0].split("-00")[0].removeprefix("model").lstrip(".")
    try:
        loaded, report = make.from_pretrained(
            folder.path / name,
            config=make.config_class.from_dict(config),
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are in the report, and refused below
            variant=dotted or None,
            dtype=dtype if dtype is not None else "auto",
        )
    except Exception as error:  # the library raises many types
        raise InputError(
            f"{folder.path / name} cannot be opened ({type(error).__name__}: {str(error).splitlines()[0]})"
        ) from error
    found: dict[str, tuple[int, ...]] = dict.fromkeys(report["unexpected_keys"], ())
    expected: dict[str, tuple[int, ...]] = dict.fromkeys(report["missing_keys"], ())
    for key, got, want in report["mismatched_keys"]:
        found[key], expected[key] = tuple(got), tuple(want)
    check_names(expected, found, files[0])
    return loaded.eval().requires_grad_(False)
