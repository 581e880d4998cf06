"""The kinds of components."""

KINDS = {
    "sde": "sdekit_sdes",
    "sampler": "sdekit_samplers",
    "grid": "sdekit_grids",
    "guidance": "sdekit_guidances",
    "operator": "sdekit_operators",
    "restorer": "sdekit_restorers",
    "network": "sdekit_networks",
    "backend": "sdekit_backends",
    "dataset": "sdekit_datasets",
    "metric": "sdekit_metrics",
    "features": "sdekit_features",
    "loader": "sdekit_loaders",
    "objective": "sdekit_objectives",
    "logger": "sdekit_loggers",
}
"""Maps each kind of component to the hook that provides it."""


def kind_name(kind: str) -> str:
    """Return the word for a kind of component in messages: "process" for the kind "sde" of the hooks.

    Arguments:
        kind: Kind of the component, a key of `KINDS`.
    Returns:
        The word.
    """
    return "process" if kind == "sde" else kind
