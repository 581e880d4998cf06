"""hub:OWNER/NAME, with a stub of huggingface_hub: no test uses the network."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sdekit.errors import InputError
from sdekit.models import open_model


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., str]], None]:
    """Replace `huggingface_hub.snapshot_download`."""
    package = pytest.importorskip("huggingface_hub")

    def use(download: Callable[..., str]) -> None:
        monkeypatch.setattr(package, "snapshot_download", download)

    return use


def test_a_pipeline(hub: Any, text_pipeline: Callable[[str], Path]) -> None:
    """Configurations come first, then the weights of the parts without other variants; options reach the loader."""
    calls: list[dict[str, Any]] = []

    def download(name: str, **options: Any) -> str:
        calls.append({"name": name, **options})
        return str(text_pipeline("sd15"))

    hub(download)
    opened = open_model("hub:acme/tiny,size=32,revision=v2")
    assert opened.shape == (4, 4, 4) and opened.facts["format"] == "diffusers"
    assert [call["revision"] for call in calls] == ["v2", "v2"] and calls[0]["name"] == "acme/tiny"
    assert "unet/*.safetensors" in calls[1]["allow_patterns"] and "*.fp16*" in calls[1]["ignore_patterns"]
    assert not any(pattern.endswith((".bin", ".py", "*")) for call in calls for pattern in call["allow_patterns"])


def test_no_network(hub: Any) -> None:
    """Without a network the message names the model and the alternative."""

    def download(name: str, **options: Any) -> str:
        raise ConnectionError("no route to host\nmore")

    hub(download)
    with pytest.raises(InputError, match=r"hub:acme/tiny cannot be fetched \(ConnectionError: no route to host\).*dif"):
        open_model("hub:acme/tiny")


def test_bad_names_and_formats(hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name without owner, an unknown format and a missing package are refused."""
    (tmp_path / "notes.txt").touch()
    hub(lambda name, **options: str(tmp_path))
    with pytest.raises(InputError, match="hub:tiny: write hub:OWNER/NAME"):
        open_model("hub:tiny")
    with pytest.raises(InputError, match="a format that no loader recognises. It contains notes.txt"):
        open_model("hub:acme/tiny")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InputError, match=r"hub:acme/tiny needs the package huggingface_hub .*'sdekit\[hub\]'"):
        open_model("hub:acme/tiny")
