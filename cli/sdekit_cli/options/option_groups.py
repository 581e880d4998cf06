"""Groups of options in the help of commands, and the words for the values of options."""

from __future__ import annotations

GROUPS: dict[str, tuple[str, ...]] = {
    "Model and data": (
        *("data", "config", "process", "network", "prediction", "skip_bad", "every", "against", "against_option"),
        *("latents", "image", "trust", "plugin", "operator", "measurement", "degrade", "noise_std", "drop", "held_out"),
        *("kind", "resize", "columns", "known", "impute"),
    ),
    "Training": ("time_limit", "seed", "checkpoint_every", "evaluate_every", "logger", "resume"),
    "Sampling": (
        *("n", "solver", "steps", "nfe", "seeds", "grid", "option", "size", "noise", "start", "end", "frames"),
        *("strength", "t", "method", "times_only", "tolerance", "against_solver"),
    ),
    "Conditions and guidance": ("label", "condition", "prompt", "negative", "guidance"),
    "Evaluation": (
        *("trace", "probes", "dequantization", "samples", "bin_width", "times", "importance", "prior", "temperature"),
        *("rounds", "significance", "levels", "draws", "metric", "features", "training_items", "no_rounding"),
        *("subset_seed", "statistic", "quick"),
    ),
    "Output": ("out", "format", "plot", "public", "overwrite", "json"),
    "Execution": ("device", "precision", "dtype", "backend", "batch_size"),
    "General": ("quiet", "verbose", "help"),
}
"""Maps the title of a group to the names of its options. An option that is in no group is in "Options"."""

TITLES = {name: title for title, names in GROUPS.items() for name in names}

_DATA, _TRAINING = "Model and data", "Training"
_OF_DATA = {"n": _DATA, "option": _DATA}
_OF_TRAINING = {
    **{"steps": _TRAINING, "metric": _TRAINING, "batch_size": _TRAINING},
    **{"option": _DATA, "condition": _DATA, "size": _DATA},
}
TITLES_IN = {
    **dict.fromkeys(("train", "train-classifier"), _OF_TRAINING),
    **dict.fromkeys(("nll", "bound", "encode", "classify", "ood"), _OF_DATA | {"method": "Evaluation"}),
    "report": {"option": _DATA},
    "tune": {"time_limit": "Execution", "held_out": "Sampling"},
}
"""Groups of options whose names have another meaning in some commands."""

_COMPONENT = "NAME[:OPTION=VALUE,...]"
METAVARS = {
    "out": "FOLDER", "config": "FILE", "plot": "FILE", "device": "DEVICE", "kind": "KIND", "process": _COMPONENT,
    "network": _COMPONENT, "prediction": "NAME", "grid": _COMPONENT, "noise": "NAME", "seeds": "SEEDS",
    "precision": "TYPE", "dtype": "TYPE", "format": "FORMAT", "solver": _COMPONENT, "measurement": "FILE",
    "degrade": "FILE", "image": "FILE", "start": "FILE", "end": "FILE", "latents": "FILE", "trace": "NAME",
    "dequantization": "NAME", "importance": "NAME", "method": "NAME", "prior": "PRIOR", "temperature": "NUMBER|fit",
    "noise_std": "NUMBER|auto", "condition": "NAMES", "impute": "FILE",
}  # fmt: skip
"""Words for the values of options that do not name one themselves."""

TYPES = {"<int>": "INTEGER", "<float>": "NUMBER", "<str>": "TEXT", "<path>": "PATH", "<bool>": ""}
"""Words for the types of values."""


def group_title(command: str, option: str) -> str:
    """Return the title of the group of an option.

    Arguments:
        command: Name of the command.
        option: Name of the parameter.
    Returns:
        The title, a key of `GROUPS`, or "Options".
    """
    return TITLES_IN.get(command, {}).get(option) or TITLES.get(option, "Options")


def metavar(option: str, own: str | None) -> str | None:
    """Return the word for the value of an option: its own, that of the table, or None for that of its type."""
    if own is not None:
        return own.replace("NAME:OPTION=VALUE,...", "NAME[:OPTION=VALUE,...]")
    return METAVARS.get(option)
