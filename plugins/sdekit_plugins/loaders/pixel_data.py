"""Units of models of pixels."""

from sdekit.data import Units


def pixel_units(channels: int, low: float = -1.0, high: float = 1.0) -> Units:
    """Return the units of images with pixels 0 to 255, which are numbers from low to high in the model.

    Arguments:
        channels: Number of channels; images of one channel have no channel axis in the data, others have it last.
        low: Black in the model's units.
        high: White in the model's units, above low.
    Returns:
        The units.
    """
    scale = 255 / (high - low)
    return Units(shift=-low * scale, scale=scale, layout="hw" if channels == 1 else "hwc", low=0.0, high=255.0)
