"""Features without a network: the numbers themselves."""

from torch import Tensor

from sdekit.evaluation import Extractor


def raw() -> Extractor:
    """The numbers themselves: the pixels of an image, or the columns of a table, in the model's units."""

    def extract(x: Tensor) -> Tensor:
        return x.flatten(1)

    return Extractor(name="raw", extract=extract)
