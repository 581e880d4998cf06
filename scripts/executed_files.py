"""Count the source files of sdekit that one command executes, measured with `sys.setprofile`.

    python scripts/executed_files.py sample run --solver dpmpp-2m --out samples

A file counts if any of its code ran, `__init__.py` excepted. Files that were only imported are listed apart: the bodies
of the module and its classes ran, but none of their functions was called. Exits with the exit code of the command.
"""

import sys
import threading
from collections import defaultdict
from importlib.util import find_spec
from inspect import CO_OPTIMIZED
from pathlib import Path
from types import FrameType
from typing import Any

PACKAGES = ("sdekit", "sdekit_plugins", "sdekit_cli")


def package_folders() -> dict[str, str]:
    """Return the folder of each package, found without importing it, and the name of the package."""
    specs = {name: find_spec(name) for name in PACKAGES}
    return {str(Path(spec.origin).parent) + "/": name for name, spec in specs.items() if spec and spec.origin}


def executed_files(arguments: list[str]) -> tuple[dict[str, int], int]:
    """Run a command under a profiler.

    Arguments:
        arguments: Arguments of the `sdekit` command.
    Returns:
        Maps the path of each executed file, below its package, to the number of calls of its functions; and the
        exit code of the command.
    """
    folders = package_folders()
    calls: dict[str, int] = defaultdict(int)

    def record(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            is_function = frame.f_code.co_flags & CO_OPTIMIZED  # unlike the body of a module or class
            calls[frame.f_code.co_filename] += bool(is_function)

    code = 0
    threading.setprofile(record)
    sys.setprofile(record)
    try:
        from sdekit_cli.app import main

        main(arguments)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    own = {}
    for path, count in calls.items():
        folder = next((folder for folder in folders if path.startswith(folder)), None)
        if folder is not None and Path(path).name != "__init__.py":
            own[f"{folders[folder]}/{path.removeprefix(folder)}"] = count
    return own, code


def main() -> None:
    """Print the executed files and their number."""
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    files, code = executed_files(sys.argv[1:])
    imported = sorted(path for path, count in files.items() if not count)
    called = sorted(files.keys() - imported)
    for title, paths in (("functions called", called), ("only imported", imported)):
        print(f"\n{title}: {len(paths)}", file=sys.stderr)
        for path in paths:
            print(f"  {path}", file=sys.stderr)
    print(f"\n{len(files)} files executed, {len(called)} without those that were only imported", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
