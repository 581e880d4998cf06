"""What a docstring says of each option."""

import re
from collections.abc import Iterable

ENDS = re.compile(r"(?<=[.;…])(?<!\bal\.)(?<!\beq\.)\s")
"""Between sentences, and between the parts of one that a semicolon divides."""


def meanings(doc: str, options: Iterable[str]) -> dict[str, str]:
    """Option to what is said of it: in "name: what, range" or "one, two: what", else in a sentence that names it.

    Of such sentences one that writes `name` comes first. Empty where no sentence does.
    """
    sentences, told = _sentences(doc), defined(doc)
    return {name: told.get(name) or _mention(sentences, name) for name in options}


def defined(doc: str) -> dict[str, str]:
    """Name to meaning, of the sentences of the form "name: what" or "one, two and three: what" alone."""
    found: dict[str, str] = {}
    for sentence in _sentences(doc):
        told = re.match(r"([a-z_]\w*(?:(?:,| and) [a-z_]\w*)*): (.+?)[.;]?$", sentence)
        for name in re.split(r",| and ", told[1]) if told else ():
            found.setdefault(name.strip().removesuffix("_"), told[2] if told else "")
    return found


def _sentences(doc: str) -> list[str]:
    return ENDS.split(re.sub(r"\s+", " ", re.sub(r"^Arguments:$", "", doc, flags=re.M)))


def _mention(sentences: list[str], name: str) -> str:
    for pattern in (rf"`{name}`", rf"\b{name}\b"):
        for sentence in sentences:
            if re.search(pattern, sentence):
                return sentence.rstrip(".;")
    return ""
