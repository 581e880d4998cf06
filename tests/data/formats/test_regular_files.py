"""Reading of regular files with bounded memory, with and without the functions of POSIX."""

from __future__ import annotations

import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sdekit.data.formats.regular_files import SharedFile, check_regular, read_regular
from sdekit.errors import InputError


@pytest.mark.parametrize("posix", [True, False])
def test_shared_file(tmp_path: Path, posix: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads read any part of one file at once, also on systems without `os.pread`."""
    if not posix:
        monkeypatch.delattr(os, "pread", raising=False)
    content = os.urandom(50_000)
    (tmp_path / "a").write_bytes(content)
    file = pickle.loads(pickle.dumps(SharedFile(str(tmp_path / "a"))))
    with ThreadPoolExecutor(4) as pool:
        parts = pool.map(lambda i: file.read(100, 100 * i), range(500))
    assert b"".join(parts) == content and file.read(2**40, 49_990) == content[-10:]


def test_special_files(tmp_path: Path) -> None:
    """Devices, pipes and folders are refused before they are opened."""
    os.mkfifo(tmp_path / "pipe")
    for path, message in [(tmp_path / "pipe", "a device, a pipe"), ("/dev/zero", "a device"), (tmp_path, "a folder")]:
        with pytest.raises(InputError, match=f"data.*{message}.*expected a file"):
            check_regular(str(path), "data", "a file")
        with pytest.raises(OSError, match="not a regular file"):
            read_regular(str(path))
    for path in (tmp_path / "no", "a\0b"):
        with pytest.raises(InputError, match="expected a file"):
            check_regular(str(path), "data", "a file")
