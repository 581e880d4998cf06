"""The kinds of components, as people name them."""

from sdekit.errors import InputError
from sdekit.registry import KINDS, unknown_name

ALIASES = {"process": "sde"}


def kind_of(name: str | None, *others: str) -> str | None:
    """The registry's name of a kind; None stays None. others: names beside the registry's.

    InputError with a suggestion where there is no such kind.
    """
    kind = ALIASES.get(name or "", name)
    if kind is not None and kind not in (*KINDS, *others):
        raise InputError(unknown_name("kind", kind, [*KINDS, *others, *ALIASES], "Kinds"))
    return kind
