"""Checks of arguments of the Python interface. Each one raises one `InputError` that names the argument."""

from __future__ import annotations

import math
import numbers
import operator
import os
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import cache
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from sdekit.errors import InputError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

PLAIN = (NoneType, bool, str, bytes, int, float, complex, list, tuple, dict, range)
"""Types whose values a message contains as Python writes them."""
LONGEST = 80
"""Largest number of characters of a value in a message."""


def describe_value(value: object) -> str:
    """Describe a wrong argument for a message.

    Arguments:
        value: Any value.
    Returns:
        A number, a text or a short list as Python writes it; otherwise its class, and the shape of an array.
    """
    if isinstance(value, type):
        return f"the class {value.__name__} (create an object of it: {value.__name__}(...))"
    if shape := getattr(value, "shape", None):
        return f"{type(value).__name__} of shape {tuple(shape)}"
    if isinstance(value, (list, tuple)) and not all(isinstance(item, PLAIN) for item in value):
        return f"a {type(value).__name__} of {len(value)} objects"
    if isinstance(value, PLAIN):
        try:
            text = repr(value)
        except (ValueError, RecursionError):  # an integer of more digits than Python prints, or a list in itself
            return type(value).__name__
        return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."
    return f"an object of the class {type(value).__name__}"


def check_number(
    name: str, value: Any, *, above: float = -math.inf, least: float = -math.inf, most: float = math.inf
) -> float:
    """Check that an argument is a finite number in a range.

    Arguments:
        name: Function and argument, for the message.
        value: The argument; a tensor or an array of one number counts as a number.
        above: The number must be larger than this one.
        least: Smallest number allowed.
        most: Largest number allowed.
    Returns:
        The number as a float.
    Raises:
        InputError: If the argument is not a number, not finite, or out of range.
    """
    try:
        number = math.nan if isinstance(value, (str, bytes, bool)) else float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        number = math.nan
    if math.isfinite(number) and above < number and least <= number <= most:
        return number
    bounds = [f"above {above:g}"] * (above > -math.inf) + [f"at least {least:g}"] * (least > -math.inf)
    expected = " and ".join([*bounds, *[f"at most {most:g}"] * (most < math.inf)])
    expected = "positive and finite" if expected == "above 0" else expected
    raise InputError(f"{name} must be {expected or 'a finite number'}, got {describe_value(value)}")


def check_count(name: str, value: Any, *, least: int = 0, most: int | None = None) -> int:
    """Check that an argument is a whole number in a range.

    Arguments:
        name: Function and argument, for the message.
        value: The argument, an int or a NumPy integer.
        least: Smallest number allowed.
        most: Largest number allowed.
    Returns:
        The number as an int.
    Raises:
        InputError: If the argument is not a whole number, or out of range.
    """
    number = _index(value)
    if number is None:
        raise InputError(f"{name} must be a whole number, got {describe_value(value)}")
    if number < least or (most is not None and number > most):
        bound = f"at least {least}" if number < least else f"at most {most}"
        raise InputError(f"{name} must be {bound}, got {describe_value(number)}")
    return number


def check_path(name: str, value: Any) -> str:
    """Check that an argument is a path.

    Arguments:
        name: Function and argument, for the message.
        value: The argument.
    Returns:
        The path as text.
    Raises:
        InputError: If it is neither a text nor a `pathlib.Path`, or empty, or contains a null character.
    """
    if not isinstance(value, (str, os.PathLike)) or not isinstance(path := os.fspath(value), str):
        raise InputError(f"{name} must be a path, got {describe_value(value)}")
    if not path or "\0" in path:
        raise InputError(f"{name} must be a path of at least one character and no null character, got {path!r}")
    return path


def check_shape(name: str, shape: Any, *, least_axes: int = 1) -> tuple[int, ...]:
    """Check that an argument is the shape of one sample.

    Arguments:
        name: Function and argument, for the message.
        shape: The argument.
        least_axes: Smallest number of axes.
    Returns:
        The sizes, each at least 1, as a tuple.
    Raises:
        InputError: If it is not a sequence of whole numbers of at least 1.
    """
    try:
        sizes = tuple(shape)
        if len(sizes) >= least_axes and not isinstance(shape, (str, bytes, Mapping)):
            return tuple(check_count(name, size, least=1) for size in sizes)
    except (TypeError, InputError):
        pass
    raise InputError(f"{name} must be a tuple of sizes of at least 1, such as (3, 32, 32), got {describe_value(shape)}")


def check_instance(name: str, value: Any, kind: type | tuple[type, ...], expected: str) -> None:
    """Raise InputError unless an argument is an object of a class.

    Arguments:
        name: Function and argument, for the message.
        value: The argument.
        kind: The class, or several of them.
        expected: Description of the objects expected, for the message.
    """
    if not isinstance(value, kind):
        raise InputError(f"{name} must be {expected}, got {describe_value(value)}")


def check_function(name: str, value: Any, expected: str) -> None:
    """Raise InputError unless an argument is a function or another callable object.

    Arguments:
        name: Function and argument, for the message.
        value: The argument.
        expected: Description of the functions expected, for the message.
    """
    if not callable(value) or isinstance(value, type):
        raise InputError(f"{name} must be {expected}, got {describe_value(value)}")


def check_dtype(name: str, dtype: Any) -> None:
    """Raise InputError unless an argument is a dtype of torch for real numbers.

    Arguments:
        name: Function and argument, for the message.
        dtype: The argument.
    """
    import torch

    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        got = dtype if isinstance(dtype, torch.dtype) else describe_value(dtype)
        raise InputError(f"{name} must be torch.float32 or another floating-point dtype of torch, got {got}")


def check_device(name: str, device: Any) -> torch.device:
    """Check that a device exists on this machine.

    Arguments:
        name: Function and argument, for the message.
        device: A device, or its name such as "cuda:1".
    Returns:
        The device.
    Raises:
        InputError: If torch does not support the device, or this machine has no such device.
    """
    import torch

    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except Exception as error:  # AssertionError, RuntimeError, NotImplementedError ..., depending on the device
        reason = str(error).split("\n")[0][:160].rstrip(".")
        raise InputError(f"{name}: no device {describe_value(device)} on this machine ({reason}): use 'cpu'") from error
    return found


def check_tensor(name: str, value: Any, *, shape: Sequence[int] | None = None, finite: bool = True) -> None:
    """Raise InputError unless an argument is a tensor of finite real numbers.

    Arguments:
        name: Function and argument, for the message.
        value: The argument.
        shape: Shape that it must have, or None for any shape.
        finite: Whether NaN and infinity are refused.
    """
    import torch

    if not isinstance(value, torch.Tensor):
        raise InputError(f"{name} must be a tensor, got {describe_value(value)}: convert it by torch.as_tensor")
    if value.is_complex() or value.dtype == torch.bool:
        raise InputError(f"{name} must be a tensor of real numbers, got {value.dtype}")
    if shape is not None and tuple(value.shape) != tuple(shape):
        raise InputError(f"{name} has shape {tuple(value.shape)}, expected {tuple(shape)}")
    if finite and not bool(value.isfinite().all()):
        raise InputError(f"{name} must be finite, and contains NaN or infinity")


def check_rows(name: str, value: Any, shape: Sequence[int]) -> None:
    """Raise InputError unless an argument is a tensor of samples of a shape, (B, *shape).

    Arguments:
        name: Function and argument, for the message.
        value: The argument.
        shape: Shape of one sample.
    """
    import torch

    if not isinstance(value, torch.Tensor) or tuple(value.shape[1:]) != tuple(shape) or not value.ndim:
        has = f"has shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else f"is {describe_value(value)}"
        raise InputError(f"{name} {has}, expected (B, {', '.join(map(str, shape))})")


def check_labels(name: str, value: Any, n: int, classes: int) -> None:
    """Raise InputError unless an argument is a tensor of labels, (n,), each from -1 to classes - 1.

    Arguments:
        name: Function and argument, for the message.
        value: The argument.
        n: Number of samples.
        classes: Number of labels; -1 is the null condition.
    """
    import torch

    if not isinstance(value, torch.Tensor):
        got = describe_value(value)
    elif value.is_floating_point() or value.is_complex() or value.dtype == torch.bool or tuple(value.shape) != (n,):
        got = f"{value.dtype} of shape {tuple(value.shape)}"
    elif n and not (-1 <= int(value.min()) and int(value.max()) < classes):
        got = f"numbers from {int(value.min())} to {int(value.max())}"
    else:
        return
    raise InputError(
        f"{name} must be whole numbers of shape ({n},), the components 0 to {classes - 1} or -1 for none, got {got}"
    )


def to_float64(name: str, value: Any, *, finite: bool = True) -> Tensor:
    """Convert an argument to a float64 tensor of finite numbers.

    Arguments:
        name: Function and argument, for the message.
        value: Number, nested list, array or tensor.
        finite: Whether NaN and infinity are refused.
    Returns:
        The tensor.
    Raises:
        InputError: If the argument does not consist of finite real numbers.
    """
    import torch

    try:
        found = torch.as_tensor(value, dtype=None if hasattr(value, "dtype") else torch.float64)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise InputError(f"{name} must be numbers or a tensor, got {describe_value(value)}") from None
    check_tensor(name, found, finite=finite)
    return found.to(torch.float64)


def check_options(subject: str, options: Mapping[str, Any], annotations: Mapping[str, Any]) -> None:
    """Check the options of a component against their types.

    Arguments:
        subject: Component, for the message.
        options: Values by name.
        annotations: Type of each option by name; names without a type are not checked.
    Raises:
        InputError: If a value has another type. The message names the option, its value and the type.
    """
    for name, value in options.items():
        annotation = annotations.get(name, Any)
        if not _fits(value, annotation):
            got = describe_value(value)
            raise InputError(f"{subject}: {name.removesuffix('_')} must be {_describe_type(annotation)}, got {got}")


def check_fields(instance: Any) -> None:
    """Check the fields of a frozen dataclass against their types; `__post_init__` of a component calls it first.

    Arguments:
        instance: The object.
    Raises:
        InputError: If the value of a field has another type.
    """
    kind: Any = type(instance)
    values = {field.name: getattr(instance, field.name) for field in fields(kind) if field.init}
    check_options(kind.__name__, values, _annotations(kind))


@cache
def _annotations(kind: type) -> dict[str, Any]:
    """Return the types of the fields of a dataclass by name; none if a type cannot be imported at run time."""
    try:
        return get_type_hints(kind)
    except NameError:
        return {}


def _index(value: Any) -> int | None:
    """Return a whole number as an int, or None for any other value; True and False are not numbers."""
    if isinstance(value, bool) or "bool" in str(getattr(value, "dtype", "")):
        return None
    try:
        return operator.index(value)
    except TypeError:  # also for a tensor of several numbers
        return None


def _fits(value: object, annotation: Any) -> bool:
    """Whether a value has a type; types other than numbers, texts, choices and tuples of them are not checked."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _fits(value, arguments[0])
    if origin is Literal:
        return any(type(value) is type(choice) for choice in arguments)  # the component names the choices itself
    if origin in (Union, UnionType):
        return any(_fits(value, alternative) for alternative in arguments)
    if annotation in (None, NoneType):
        return value is None
    if annotation is float or annotation is int:
        kind = numbers.Real if annotation is float else numbers.Integral
        return isinstance(value, kind) and not isinstance(value, bool)
    if annotation is bool or annotation is str:
        return isinstance(value, annotation)
    if origin is tuple:
        if not isinstance(value, (tuple, list)):
            return False
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return all(_fits(item, arguments[0]) for item in value)
        return len(value) == len(arguments) and all(map(_fits, value, arguments))
    return True


def _describe_type(annotation: Any) -> str:
    """Describe a type in words."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _describe_type(arguments[0])
    if origin is Literal:
        return "one of " + ", ".join(map(repr, arguments))
    if origin in (Union, UnionType):
        return " or ".join(map(_describe_type, arguments))
    if origin is tuple:
        return "a tuple"
    words = {float: "a number", int: "a whole number", bool: "True or False", str: "a string", NoneType: "None"}
    return words.get(annotation, getattr(annotation, "__name__", str(annotation)))


def short_repr(thing: Any, most: int = 6) -> str:
    """Describe a dataclass in one line, without long rows of numbers.

    Arguments:
        thing: Instance of a dataclass.
        most: Largest length of a tuple that is shown.
    Returns:
        Name of the class and its fields, with "(1000 values)" in place of a long tuple.
    """
    parts = []
    for field in fields(thing):
        if field.repr:
            value = getattr(thing, field.name)
            long = isinstance(value, tuple) and len(value) > most
            parts.append(f"{field.name}=" + (f"({len(value)} values)" if long else repr(value)))
    return f"{type(thing).__name__}({', '.join(parts)})"
