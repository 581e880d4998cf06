"""Closed, full and disconnected standard streams, impossible paths, and pipes: one message and no traceback."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from sdekit_cli.app import main
from sdekit_cli.terminal.signals import signals_to_handle, stopping

CLI = Callable[..., Any]
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
LISTED = ("plugins", "list", "--kind", "grid")


def run_with(streams: dict[int, str | None], arguments: Iterable[object], folder: Path) -> tuple[int, str]:
    """Run a command in a child whose streams are files, or closed (None); return its exit code and its stderr.

    The streams of Python are opened as Python does when it starts.
    """
    texts = folder / "stderr"
    child = os.fork()
    if child == 0:
        code = 99
        try:
            for number, name in ({1: os.devnull, 2: str(texts)} | streams).items():
                if name is None:
                    os.close(number)
                    continue
                file = os.open(name, os.O_RDWR | os.O_CREAT)
                if file != number:
                    os.dup2(file, number)
                    os.close(file)
            if 0 in streams:
                sys.stdin = None
            names = {1: "stdout", 2: "stderr"}
            for number, attribute in names.items():
                is_open = streams.get(number, "") is not None
                setattr(sys, attribute, os.fdopen(number, "w", buffering=1) if is_open else None)
            try:
                main([str(argument) for argument in arguments])
            except SystemExit as end:
                code = int(end.code or 0)
            if sys.stdout is not None:
                sys.stdout.flush()
        except BaseException:
            import traceback

            with open(texts, "a") as file:
                traceback.print_exc(file=file)
        finally:
            os._exit(code)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return status, texts.read_text() if texts.exists() else ""


@forks
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("stdout", ["/dev/full", None], ids=["full", "closed"])
@pytest.mark.parametrize("command", [LISTED, (*LISTED, "--json"), ("--version",), ("--help",)], ids=" ".join)
def test_stdout(tmp_path: Path, stdout: str | None, command: tuple[str, ...]) -> None:
    """Output that cannot be written is exit code 1 and one message."""
    code, texts = run_with({1: stdout}, command, tmp_path)
    assert code == 1 and texts.count("error:") == 1 and "could not write the output" in texts, texts
    assert "Traceback" not in texts and len(texts.splitlines()) == 1


@forks
@pytest.mark.parametrize("stream", ["/dev/full", None], ids=["full", "closed"])
@pytest.mark.parametrize("numbers", [(2,), (0, 2), (0, 1, 2)], ids=str)
def test_results_do_not_need_streams(
    digits_run: Path, tmp_path: Path, stream: str | None, numbers: tuple[int, ...]
) -> None:
    """A command that prints on stderr only finishes its work without any stream."""
    command = ("sample", digits_run, "-n", 1, "--solver", "ddim", "--steps", 2, "--out", tmp_path / "samples")
    code, _ = run_with(dict.fromkeys(numbers, stream), command, tmp_path)
    assert code == 0 and (tmp_path / "samples" / "samples.npy").exists()
    code, _ = run_with(dict.fromkeys(numbers, stream), command, tmp_path)  # an error that nobody can read
    assert code == 2


@forks
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_training_without_terminal(tmp_path: Path) -> None:
    """A training goes on although its messages cannot be printed."""
    tiny = ("--option", "network.width=8", "--option", "network.depth=1", "--network", "mlp")
    command = ("train", "--data", "moons", "--steps", 2, *tiny, "--out", tmp_path / "run")
    assert run_with({2: "/dev/full"}, command, tmp_path)[0] == 0 and (tmp_path / "run" / "model.safetensors").exists()


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="needs SIGHUP")
def test_hang_up(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGHUP stops a training after its step, as SIGTERM does; under nohup it stays ignored."""
    calls: list[int] = []
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup
    try:
        with stopping(lambda: calls.append(1)):
            os.kill(os.getpid(), signal.SIGHUP)
        assert calls == [1] and "stopping after this step" in capsys.readouterr().err
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        assert signal.SIGHUP not in signals_to_handle()
    finally:
        signal.signal(signal.SIGHUP, before)
    monkeypatch.delattr(signal, "SIGHUP")
    assert signals_to_handle() == [signal.SIGINT, signal.SIGTERM]


LONG = "x" * 300
PATHS: dict[str, tuple[object, ...]] = {
    "train": ("train", "--out", "{}", "--steps", 1),
    "train data": ("train", "--data", "images:{}", "--out", "run", "--steps", 1),
    "train config": ("train", "--config", "{}", "--out", "run"),
    "sample out": ("sample", "RUN", "--out", "{}"),
    "sample run": ("sample", "{}", "--out", "samples"),
    "edit": ("edit", "RUN", "--image", "{}", "--out", "samples"),
    "restore": ("restore", "RUN", "--operator", "mask:mask={}", "--degrade", "{}", "--out", "samples"),
    "export": ("export", "RUN", "--format", "torch", "--out", "{}"),
    "export run": ("export", "{}", "--format", "torch", "--out", "export"),
    "bench": ("bench", "mixture", "--solver", "ddim", "--nfe", 2, "-n", 2, "--plot", "{}.png"),
    "tune": ("tune", "{}", "--nfe", 2),
    "info": ("info", "{}"),
    "new": ("plugins", "new", "acme-heun", "--out", "{}"),
    "plugin": ("plugins", "list", "--plugin", "{}"),
    "classifier": ("train-classifier", "{}", "--out", "judge"),
    "classifier out": ("train-classifier", "RUN", "--out", "{}"),
    "guidance": ("sample", "RUN", "--label", 1, "--guidance", "classifier:run={}", "--out", "samples"),
}


@pytest.mark.parametrize("kind", ["long", "pipe", "device", "below a file"])
@pytest.mark.parametrize("command", PATHS)
def test_paths(
    sdekit: CLI, digits_run: Path, tmp_path: Path, command: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that is too long, a pipe or a device as input or output ends at once with one message."""
    monkeypatch.chdir(tmp_path)
    for name in ("pipe", "pipe.png"):
        os.mkfifo(name)
    Path("file").write_text("text")
    path = {"long": LONG, "pipe": "pipe", "device": "/dev/zero", "below a file": "file/x"}[kind]
    arguments = [digits_run if a == "RUN" else a.format(path) if isinstance(a, str) else a for a in PATHS[command]]
    if command == "bench" and kind == "device":
        Path("zero.png").symlink_to("/dev/zero")
        arguments[-1] = "zero.png"
    thread = threading.Timer(20, lambda: os.kill(os.getpid(), signal.SIGINT))  # a pipe that is opened waits for ever
    thread.start()
    try:
        code, _, err = sdekit(*arguments)
    finally:
        thread.cancel()
    assert code in (1, 2) and "Traceback" not in err and err.count("rror") >= 1, (code, err)
    assert set(os.listdir(tmp_path)) <= {"file", "pipe", "pipe.png", "zero.png"}


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("file write failed")])
def test_full_disk_in_an_exporter(
    sdekit: CLI, digits_run: Path, tmp_path: Path, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Errors of a native exporter are one message, and nothing remains."""

    def fail(program: object, path: Path) -> None:
        path.write_bytes(b"cut")
        raise error

    monkeypatch.setattr("torch.export.save", fail)
    result = sdekit("export", digits_run, "--format", "torch", "--out", tmp_path / "export")
    assert result.code == 1 and f"could not write unconditional.pt2 ({type(error).__name__}" in result.err
    assert result.err.count("error:") == 1 and str(error) in result.err and os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "error", [OSError("16 requested and 0 written"), OSError(errno.EROFS, "Read-only file system")]
)
def test_full_disk_in_numpy(
    sdekit: CLI, digits_run: Path, tmp_path: Path, error: OSError, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NumPy's own message about a full disk has no number of an error."""

    def fail(path: Path, array: object) -> None:
        raise error

    monkeypatch.setattr("numpy.save", fail)
    how = ("--solver", "ddim", "--steps", 2, "-n", 1)
    result = sdekit("sample", digits_run, *how, "--out", tmp_path / "samples")
    assert result.code == 1 and (error.strerror or str(error)) in result.err and os.listdir(tmp_path) == []


def test_any_error_of_a_file_is_one_message(sdekit: CLI, monkeypatch: pytest.MonkeyPatch) -> None:
    """No usable temporary folder, for example."""

    def fail(*_: object, **__: object) -> None:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr("sdekit_cli.app.app", fail)
    result = sdekit("info", "run")
    assert (result.code, result.err) == (1, "error: No usable temporary directory found in ['/tmp']\n")
