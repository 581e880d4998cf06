"""Values as JSON can hold them."""

import math
from collections.abc import Mapping
from typing import Any


def json_values(value: Any) -> Any:
    """The same, with numbers that JSON does not know, infinite ones and NaN, as text: "inf", "-inf", "nan"."""
    if isinstance(value, Mapping):
        return {name: json_values(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [json_values(one) for one in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
