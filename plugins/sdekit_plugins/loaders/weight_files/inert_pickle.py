"""Read pickles as plain data: nothing is imported, and nothing from the file is run.

A pickle is a program that builds objects. This interpreter runs its instructions on plain values only: numbers, texts,
lists, dictionaries. The name of a class or function is looked up in a list of allowed names, each with a function of
our own that builds a plain value from the arguments. A name that is not on the list ends the reading. A subclass of
`pickle.Unpickler` could restrict the names in the same way, but not the memory: one instruction of five bytes can make
it allocate gigabytes.
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from sdekit.errors import InputError

MOST_INSTRUCTIONS = 1_000_000
"""Files of networks have about 20,000 instructions; each one allocates a few hundred bytes at most."""
LONGEST_TEXT = 2**22
LONG_BYTES = 4096
"""Byte strings longer than this number are not read: the value is their place in the file."""

INSTRUCTIONS = {instruction.code.encode("latin-1"): instruction for instruction in pickletools.opcodes}
KEYS = (str, int, float, bytes, type(None))  # hashing nested tuples could exhaust the stack
LENGTH_BYTES = {
    pickletools.TAKEN_FROM_ARGUMENT1: 1,
    pickletools.TAKEN_FROM_ARGUMENT4: 4,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}


class Region:
    """Part of an open file.

    Arguments:
        file: Binary file that can seek.
        start: Position of the first byte.
        stop: Position after the last byte.
        source: Path of the file, for messages.
    """

    def __init__(self, file: BinaryIO, start: int, stop: int, source: str) -> None:
        self.file, self.start, self.stop, self.source = file, start, stop, source
        self.position = start

    def read(self, n: int) -> bytes:
        """Return the next n bytes. Raises InputError if the region ends before."""
        self.skip(n)
        self.file.seek(self.position - n)
        return self.file.read(n)

    def skip(self, n: int) -> Region:
        """Move n bytes forward, and return the region of these bytes. Raises InputError if the region ends before."""
        if n > self.stop - self.position:
            raise self.damaged(f"it ends in the middle of {n} bytes")
        self.position += n
        return Region(self.file, self.position - n, self.position, self.source)

    def line(self) -> bytes:
        """Return the bytes up to the next line feed. Raises InputError if there is none near."""
        self.file.seek(self.position)
        line = self.file.readline(min(LONG_BYTES, self.stop - self.position))
        self.position += len(line)
        if not line.endswith(b"\n"):
            raise self.damaged("a text in it does not end")
        return line

    def damaged(self, reason: str) -> InputError:
        """Return the error of a damaged file."""
        return InputError(f"{self.source} is damaged, or no file of this format: {reason} (byte {self.position})")


@dataclass(frozen=True)
class Name:
    """Name of a class or function in a pickle. It is not imported.

    Arguments:
        module: Name of its module.
        name: Its name in the module.
    """

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False)
class Instance:
    """An object in a pickle: the name of its class and its attributes, as plain values.

    Arguments:
        cls: Name of the class.
        state: Attributes by name.
    """

    cls: str
    state: Any = None


Constructors = Mapping[str, Callable[..., Any]]
"""Functions that build a plain value in place of the class or function "module.name"."""


def read_pickle(region: Region, constructors: Constructors, persistent: Callable[[Any], Any] | None = None) -> Any:
    """Read one pickle as plain data.

    Arguments:
        region: Part of a file; reading starts at its position and ends after the pickle.
        constructors: Allowed names, each with a function that builds a plain value.
        persistent: Function that returns the value of a reference to data outside of the pickle.
    Returns:
        The value. A byte string of more than `LONG_BYTES` bytes is a `Region`.
    Raises:
        InputError: If the pickle contains a name that is not allowed, is damaged, or is too large.
    """
    machine = _Machine(region, constructors, persistent)
    try:
        return machine.run()
    except InputError:
        raise
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, UnicodeError) as error:
        raise region.damaged(f"{type(error).__name__}: {error}"[:200]) from error


class _Machine:
    """State of the interpreter: the stack, the stacks below each mark, and the memo."""

    def __init__(self, region: Region, constructors: Constructors, persistent: Callable[[Any], Any] | None) -> None:
        self.region, self.constructors, self.persistent = region, constructors, persistent
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        """Run the instructions up to STOP, and return the value on top of the stack."""
        for _ in range(MOST_INSTRUCTIONS):
            code = self.region.read(1)
            instruction = INSTRUCTIONS.get(code)
            if instruction is None:
                raise self.region.damaged(f"{code!r} is no instruction of a pickle")
            argument = self._argument(instruction)
            if instruction.name == "STOP":
                return self.stack.pop()
            action = ACTIONS.get(instruction.name)
            if action is None:
                raise self.region.damaged(f"the instruction {instruction.name} is not used by files of this format")
            action(self, argument)
        raise InputError(
            f"{self.region.source}: its pickle has more than {MOST_INSTRUCTIONS:,} instructions, more than any file of "
            "this format needs"
        )

    def _argument(self, instruction: pickletools.OpcodeInfo) -> Any:
        """Read the argument of an instruction; a long byte string stays in the file."""
        kind = instruction.arg
        if kind is None:
            return None
        if kind.n >= 0:
            data = self.region.read(kind.n)
        elif kind.n == pickletools.UP_TO_NEWLINE:
            data = b"".join(self.region.line() for _ in range(2 if kind.name.endswith("pair") else 1))
        else:
            head = self.region.read(LENGTH_BYTES[kind.n])
            length = int.from_bytes(head, "little")
            if length > LONG_BYTES and instruction.name in ("BINBYTES", "BINBYTES8", "BYTEARRAY8"):
                return self.region.skip(length)
            if length > LONGEST_TEXT:
                raise self.region.damaged(f"a text or number in it has {length} bytes")
            data = head + self.region.read(length)
        return kind.reader(io.BytesIO(data))

    def since_mark(self) -> list[Any]:
        """Return the values above the last mark, and remove both."""
        values, self.stack = self.stack, self.below.pop()
        return values

    def push(self, value: Any) -> None:
        """Put a value on the stack."""
        self.stack.append(value)

    def pop(self, n: int) -> tuple[Any, ...]:
        """Remove the n topmost values and return them in the order in which they were pushed."""
        if len(self.stack) < n:
            raise IndexError("an instruction lacks its operands")
        values = tuple(self.stack[len(self.stack) - n :])
        del self.stack[len(self.stack) - n :]
        return values

    def push_name(self, module: Any, name: Any) -> None:
        """Put an allowed name on the stack. Raises InputError for any other name; it is not imported."""
        full = f"{module}.{name}"[:200]
        if full not in self.constructors:
            raise InputError(
                f"{self.region.source} contains the name {full!r}, which files of this format do not need. Such a name "
                "can run code when a program unpickles the file; sdekit imported and ran nothing. If you trust the "
                "file, save its tensors as safetensors with the program that wrote it"
            )
        self.push(Name(str(module), str(name)))

    def construct(self, name: Any, arguments: Any) -> None:
        """Put the value that stands for a call on the stack."""
        if not isinstance(name, Name) or not isinstance(arguments, tuple):
            raise TypeError("a call without a name or arguments")
        self.push(self.constructors[str(name)](*arguments))

    def set_state(self) -> None:
        """Set the attributes of an object; plain values have none that matter."""
        target, state = self.pop(2)
        if isinstance(target, Instance):
            target.state = state
        self.push(target)

    def set_items(self, pairs: list[Any] | tuple[Any, ...]) -> None:
        """Add keys and values to the dictionary on top of the stack."""
        target = self.stack[-1]
        if not isinstance(target, dict):
            raise TypeError("items for something that is no dictionary")
        target.update(_dictionary(pairs))

    def extend(self, values: list[Any] | tuple[Any, ...]) -> None:
        """Add values to the list or set on top of the stack."""
        target = self.stack[-1]
        if isinstance(target, set):
            target.update(map(_key, values))
        else:
            _list(target).extend(values)

    def resolve_reference(self, reference: Any) -> None:
        """Put the value of a reference on the stack."""
        if self.persistent is None:
            raise TypeError("a reference to data outside of the pickle")
        self.push(self.persistent(reference))


def _key(value: Any) -> Any:
    """Return a value that is allowed as a key."""
    if not isinstance(value, KEYS):
        raise TypeError("a key that is neither a text nor a number")
    return value


def _dictionary(pairs: list[Any] | tuple[Any, ...]) -> dict[Any, Any]:
    """Return the dictionary of keys and values in turn."""
    return dict(zip(map(_key, pairs[::2]), pairs[1::2], strict=True))


def _list(value: Any) -> list[Any]:
    """Return a value that must be a list."""
    if not isinstance(value, list):
        raise TypeError("elements for something that is no list")
    return value


def _mark(machine: _Machine, _: Any) -> None:
    machine.below.append(machine.stack)
    machine.stack = []


def _memoize(machine: _Machine, index: Any) -> None:
    machine.memo[len(machine.memo) if index is None else index] = machine.stack[-1]


Action = Callable[[_Machine, Any], Any]
ACTIONS: dict[str, Action] = {
    "PROTO": lambda m, a: None,
    "FRAME": lambda m, a: None,
    "MARK": _mark,
    "POP": lambda m, a: m.pop(1) if m.stack else m.since_mark(),
    "POP_MARK": lambda m, a: m.since_mark(),
    "DUP": lambda m, a: m.push(m.stack[-1]),
    "NONE": lambda m, a: m.push(None),
    "NEWTRUE": lambda m, a: m.push(True),
    "NEWFALSE": lambda m, a: m.push(False),
    "EMPTY_LIST": lambda m, a: m.push([]),
    "EMPTY_DICT": lambda m, a: m.push({}),
    "EMPTY_TUPLE": lambda m, a: m.push(()),
    "EMPTY_SET": lambda m, a: m.push(set()),
    "LIST": lambda m, a: m.push(m.since_mark()),
    "TUPLE": lambda m, a: m.push(tuple(m.since_mark())),
    "TUPLE1": lambda m, a: m.push(m.pop(1)),
    "TUPLE2": lambda m, a: m.push(m.pop(2)),
    "TUPLE3": lambda m, a: m.push(m.pop(3)),
    "FROZENSET": lambda m, a: m.push(set(map(_key, m.since_mark()))),
    "DICT": lambda m, a: m.push(_dictionary(m.since_mark())),
    "APPEND": lambda m, a: m.extend(m.pop(1)),
    "APPENDS": lambda m, a: m.extend(m.since_mark()),
    "ADDITEMS": lambda m, a: m.extend(m.since_mark()),
    "SETITEM": lambda m, a: m.set_items(m.pop(2)),
    "SETITEMS": lambda m, a: m.set_items(m.since_mark()),
    "MEMOIZE": _memoize,
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _memoize),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), lambda m, a: m.push(m.memo[a])),
    "GLOBAL": lambda m, a: m.push_name(*a.split(" ", 1)),
    "STACK_GLOBAL": lambda m, a: m.push_name(*m.pop(2)),
    "REDUCE": lambda m, a: m.construct(*m.pop(2)),
    "NEWOBJ": lambda m, a: m.construct(*m.pop(2)),
    "BUILD": lambda m, a: m.set_state(),
    "BINPERSID": lambda m, a: m.resolve_reference(m.pop(1)[0]),
    **dict.fromkeys(
        (
            *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
            *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
            *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
        ),
        _Machine.push,
    ),
}
"""What each instruction does. Instructions that files of networks do not need are missing."""
