"""Code that runs on every operating system: no functions of POSIX alone, and no text in the system's encoding."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(path for folder in ("sdekit", "plugins", "cli") for path in (ROOT / folder).rglob("*.py"))

POSIX = {
    "os": (
        *("pread", "pwrite", "preadv", "fork", "forkpty", "fchmod", "fchown", "chown", "getuid", "geteuid", "getgid"),
        *("mkfifo", "mknod", "killpg", "setsid", "getpgid", "uname", "nice", "statvfs", "sched_getaffinity", "wait"),
        *("openpty", "posix_spawn", "sysconf", "lockf", "O_NONBLOCK", "O_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW"),
    ),
    "signal": (
        "SIGHUP",
        "SIGKILL",
        "SIGUSR1",
        "SIGUSR2",
        "SIGALRM",
        "SIGPIPE",
        "SIGTSTP",
        "alarm",
        "setitimer",
        "pause",
    ),
    "fcntl": ("flock", "lockf", "fcntl", "ioctl"),
}
"""Names that Python has on POSIX systems only."""

SCRIPT = """
import os, signal, sys
import fcntl, torch, numpy, PIL.Image  # other libraries may use the names while they are imported
for module, names in POSIX.items():
    for name in names:
        if hasattr(sys.modules[module], name):
            delattr(sys.modules[module], name)
from sdekit_cli.app import main
from sdekit.data.formats import images, mnist, table, array
data = images(sys.argv[1])
x, y = data.batch([0, 1, 2])
print(len(data), data.class_names, tuple(x.shape), y.tolist())
sys.argv[1:] = ["train", "--data", "images:" + sys.argv[1], "--network", "mlp", "--option", "network.width=8",
                "--steps", "1", "--out", sys.argv[2]]
main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the names do not exist on Windows")
def test_without_posix(tmp_path: Path) -> None:
    """A training on a zip file of images runs in a process without the names of POSIX."""
    import zipfile

    from PIL import Image

    with zipfile.ZipFile(tmp_path / "pets.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for i, name in enumerate(["cat/a.png", "cat/b.png", "dog/a.png", "dog/b.png"]):
            Image.new("RGB", (8, 8), (60 * i, 0, 9)).save(tmp_path / "a.png")
            archive.write(tmp_path / "a.png", name)
    script = f"POSIX = {POSIX!r}\n{textwrap.dedent(SCRIPT)}"
    command = [sys.executable, "-c", script, str(tmp_path / "pets.zip"), str(tmp_path / "run")]
    environment = os.environ | {"LOGNAME": "user"}  # otherwise getpass, which torch calls, uses os.getuid
    result = subprocess.run(command, capture_output=True, text=True, timeout=250, env=environment)
    assert result.returncode == 0, result.stderr
    assert "4 ('cat', 'dog') (3, 3, 8, 8) [0, 0, 1]" in result.stdout
    assert (tmp_path / "run" / "model.safetensors").exists()


def attributes(tree: ast.AST) -> Iterator[tuple[int, str, str]]:
    """Every access `module.name` with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield node.lineno, node.value.id, node.attr


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_sources_are_portable(path: Path) -> None:
    """Sources use no name of POSIX directly, and open text files with an encoding."""
    tree = ast.parse(path.read_text("utf-8"))
    for line, module, name in attributes(tree):
        assert name not in POSIX.get(module, ()), f"{path}:{line}: {module}.{name} does not exist on Windows"
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module]
            assert not {"fcntl", "msvcrt", "pwd", "grp", "termios", "resource"} & set(names), f"{path}:{node.lineno}"
        if isinstance(node, ast.Call):
            assert has_encoding(node), f"{path}:{node.lineno}: a text file is opened without encoding"


def has_encoding(call: ast.Call) -> bool:
    """Whether a call opens no text file, or opens it with an encoding."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    keywords = {keyword.arg for keyword in call.keywords}
    if name in ("read_text", "write_text"):
        return "encoding" in keywords or len(call.args) > (name == "write_text")
    if not (isinstance(call.func, ast.Name) and name == "open"):
        return True
    mode = call.args[1] if len(call.args) > 1 else None
    binary = isinstance(mode, ast.Constant) and "b" in str(mode.value)
    device = isinstance(call.args[0], ast.Attribute) and call.args[0].attr == "devnull"
    return binary or device or "encoding" in keywords


def test_fork_is_not_assumed() -> None:
    """No source starts processes by a method that Windows or macOS lack."""
    for path in SOURCES:
        text = path.read_text("utf-8")
        assert 'get_context("fork")' not in text and "import multiprocessing" not in text, path
