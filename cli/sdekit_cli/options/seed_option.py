"""Which samples: `-n 3` or `--seeds 0-63`."""

from sdekit.errors import InputError

FORM = "write numbers and ranges, such as 0-63 or 3,17,20-29"
MOST = 10_000_000
"""Samples of one command: what it draws is in memory until it is written."""
LONGEST = 100
"""Digits of a number, leading zeros and all: Python itself reads no more than some thousands."""


def bounded(option: str, n: int) -> int:
    """n; InputError where that is more than one command takes on."""
    if n > MOST:
        raise InputError(f"{option} asks for {n} samples, and one command draws {MOST} at most: draw them in parts")
    return n


def parse_seeds(n: int | None, text: str | None, default: int = 64) -> tuple[int, ...]:
    """`-n 3` or "0-2" or "0,1,2" to (0, 1, 2); `default` seeds where nothing is said."""
    if text is None:
        n = default if n is None else n
        if n < 1:
            raise InputError(f"-n must be at least 1, got {n}")
        return tuple(range(bounded("-n", n)))
    if n is not None:
        raise InputError("give -n or --seeds, not both")
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise InputError(f"--seeds {text!r}: {FORM}")
        if max(len(first), len(last)) > LONGEST or int(last or first) >= 2**32:
            raise InputError(f"--seeds {text!r}: a seed is below 2^32")
        if dash and int(last) < int(first):
            raise InputError(f"--seeds {text!r}: {FORM}")
        end = int(last or first) + 1
        bounded("--seeds", len(seeds) + end - int(first))
        seeds.extend(range(int(first), end))
    if len(set(seeds)) < len(seeds):
        raise InputError(f"--seeds {text!r} names a seed twice")
    return tuple(seeds)
