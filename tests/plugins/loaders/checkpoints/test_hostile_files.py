"""Damaged and hostile files of EDM, score_sde and guided-diffusion: an error names the file, and nothing is run."""

from __future__ import annotations

import io
import os
import pickle
import struct
import tracemalloc
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sdekit.errors import InputError
from sdekit.models import open_model
from sdekit_plugins.loaders.weight_files import inert_pickle
from sdekit_plugins.loaders.weight_files.inert_pickle import Region, read_pickle

Write = Callable[[str, str], Path]
PREFIX = {".pkl": "edm", ".pth": "score-sde", ".pt": "guided-diffusion"}


class Attack:
    """An object whose pickle runs a command when it is unpickled."""

    def __init__(self, flag: Path) -> None:
        self.flag = flag

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.flag}",)


def refused(path: Path, message: str, **options: Any) -> None:
    """Check that a file is refused with a message that names it."""
    with pytest.raises(InputError, match=message) as caught:
        open_model(f"{PREFIX[path.suffix]}:{path}", options=options)
    assert str(path) in str(caught.value)


RAW = {
    "an empty file": (b"", "ends in the middle"),
    "a text": (b"hello world\n", "is no instruction|ends in the middle|not used by files|damaged"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(64), "damaged"),
    "a call of posix.system": (
        b"cposix\nsystem\n(S'touch FLAG'\ntR.",
        "the name 'posix.system'.*imported and ran nothing",
    ),
    "builtins.eval": (b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x011\x85R.", "the name 'builtins.eval'"),
    "an attribute of a module": (b"\x80\x04\x8c\x02os\x8c\x0bpath.exists\x93.", "the name 'os.path.exists'"),
    "INST": (b"(S'touch FLAG'\niposix\nsystem\n.", "INST is not used"),
    "an extension": (b"\x80\x02\x82\x01.", "EXT1 is not used"),
    "a call without a name": (b"\x80\x02K\x01)R.", "call without a name"),
    "a name that is no text": (b"\x80\x04K\x01K\x02\x93.", "the name '1.2'"),
    "an index of the memo that does not exist": (b"\x80\x02h\x05.", "KeyError"),
    "a mark that does not exist": (b"\x80\x02t.", "IndexError"),
    "a huge index of the memo": (b"\x80\x02}r\xff\xff\xff\x7f.", "no snapshot of EDM"),
    "a byte string of 2^62 bytes": (b"\x80\x04\x8e" + struct.pack("<Q", 2**62), "ends in the middle"),
    "a text of 2^31 bytes": (b"\x80\x04X" + struct.pack("<I", 2**31), "a text or number in it has 2147483648 bytes"),
    "a number of 2^31 digits": (b"\x80\x04\x8b" + struct.pack("<i", -1), "damaged"),
    "a line without an end": (b"I" + b"1" * 10**6, "a text in it does not end"),
    "a number of 4500 digits": (b"L" + b"1" * 4000 + b"L\n.", "damaged|no snapshot"),
    "tuples in tuples": (b"\x80\x04)" + b"\x85" * 30_000 + b".", "no snapshot of EDM"),
    "lists in lists": (b"\x80\x04]" + b"]a" * 10 + b"." * 1, "no snapshot of EDM|damaged"),
    "marks only": (b"\x80\x04" + b"(" * 30_000 + b".", "damaged"),
    "doubling tuples": (b"\x80\x04)" + b"2\x86" * 100 + b".", "no snapshot of EDM"),
    "a key of nested tuples": (b"\x80\x04})" + b"\x85" * 30_000 + b"Ns.", "a key that is neither"),
    "too many instructions": (
        b"\x80\x04" + b"N0" * 30_000 + b"N.",
        "more than 50,000 instructions",
    ),
    "a reference": (b"\x80\x04NQ.", "a reference to data"),
    "a list of networks": (pickle.dumps([1, 2]), "no snapshot of EDM.*found list"),
    "another dictionary": (pickle.dumps({"weights": 1, "step": 2}), "no snapshot of EDM.*found weights, step"),
}


@pytest.mark.parametrize("content", RAW.values(), ids=RAW)
def test_hostile_pickles_are_refused(
    content: tuple[bytes, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hostile or damaged pickle is refused in little memory."""
    monkeypatch.setattr(inert_pickle, "MOST_INSTRUCTIONS", 50_000)
    path, flag = tmp_path / "network-snapshot.pkl", tmp_path / "flag"
    path.write_bytes(content[0].replace(b"FLAG", str(flag).encode()))
    tracemalloc.start()
    refused(path, content[1])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert not flag.exists() and peak < 30e6


def test_plain_values_are_read() -> None:
    """Numbers, texts and containers of every protocol are read as `pickle` writes them."""
    value = {"a": [1, -2, 2**70, 0.5, True, None], "b": ("text", "ü" * 300, b"bytes"), 3: {"x": set(), "y": {1, 2}}}
    for protocol in (2, 3, 4, 5):
        content = pickle.dumps(value, protocol=protocol)
        names = {"builtins.set": lambda items=(): set(items), "__builtin__.set": lambda items=(): set(items)}
        names |= {"_codecs.encode": lambda text, _: text.encode("latin-1")}
        assert read_pickle(Region(io.BytesIO(content), 0, len(content), "file"), names) == value


def changed(path: Path, old: bytes, new: bytes, out: Path) -> Path:
    """Copy a file with one byte string replaced by another of the same length."""
    content = path.read_bytes()
    assert old in content and len(old) == len(new)
    out.write_bytes(content.replace(old, new))
    return out


def test_damaged_snapshots_are_refused(original_file: Write, tmp_path: Path) -> None:
    """A truncated snapshot, another class, and a class of other code are refused."""
    good = original_file("edm", "edm-ve-ncsnpp")
    content = good.read_bytes()
    for part in (0.1, 0.5, 0.99):
        cut = tmp_path / "cut.pkl"
        cut.write_bytes(content[: int(len(content) * part)])
        refused(cut, "damaged")
    refused(
        changed(good, b"VEPrecond", b"XXPrecond", tmp_path / "class.pkl"), "contains a XXPrecond: this loader opens EDM"
    )
    refused(changed(good, b"SongUNet", b"EvilUNet", tmp_path / "net.pkl"), "the network 'EvilUNet'")
    refused(changed(good, b"num_blocks", b"num_blockz", tmp_path / "arg.pkl"), "argument 'num_blockz'")
    refused(
        changed(good, b"torch_utils.persistence", b"evil_module.persistence", tmp_path / "name.pkl"),
        "the name 'evil_mod",
    )
    refused(changed(good, b"residual", b"resudial", tmp_path / "encoder.pkl"), "'none', 'skip' or 'residual'")


Change = Callable[[dict[str, Any], dict[str, Any]], Any]
CHANGES: dict[str, tuple[Change, str]] = {
    "missing": (
        lambda c, t: t.pop("model.enc.8x8_block0.conv1.weight"),
        "lacks the tensor enc.8x8_block0.conv1.weight",
    ),
    "extra": (lambda c, t: t.update({"model.enc.odd": torch.ones(2)}), "has the tensors enc.odd, which this network"),
    "shape": (
        lambda c, t: t.update({"model.map_layer1.bias": torch.ones(7)}),
        r"map_layer1.bias has the shape \(7,\), and this network needs \(32,\)",
    ),
    "type": (lambda c, t: t.update({"model.map_layer1.bias": torch.ones(32).long()}), "torch.int64, not real numbers"),
    "nan": (lambda c, t: t["model.map_layer1.bias"].fill_(torch.nan), "not finite"),
    "blocks": (lambda c, t: c.update(num_blocks=10**9), "num_blocks must be a whole number from 1 to 64"),
    "side": (lambda c, t: c.update(img_resolution=10**12), "img_resolution must be a whole number"),
    "odd side": (lambda c, t: c.update(img_resolution=17), "levels need sides divisible by 2"),
    "width": (lambda c, t: c.update(model_channels=10**12), "model_channels must be a whole number"),
    "labels": (lambda c, t: c.update(label_dim="many"), "label_dim must be a whole number"),
    "levels": (lambda c, t: c.update(channel_mult=[1] * 1000), "channel_mult must be a list of at most 12"),
    "embedding": (lambda c, t: c.update(channel_mult_noise=3), "embedding_type and channel_mult_noise"),
    "arguments": (lambda c, t: c.update(_init_args=(16, 3, 3, False, 0.1)), "does not contain the arguments"),
    "sigma": (lambda c, t: c.update(sigma_max="large"), "sigma_max must be a number"),
}


@pytest.mark.parametrize(("change", "message"), CHANGES.values(), ids=CHANGES)
def test_snapshots_of_another_network_are_refused(
    change: Change, message: str, edm_writer: Any, tmp_path: Path
) -> None:
    """A tensor that is missing, extra, of another shape or type is named, and so is an impossible argument."""
    path = edm_writer("edm-ve-ncsnpp", tmp_path / "changed.pkl", change)
    refused(path, message)


def test_a_module_in_itself_is_refused(tmp_path: Path, persistent: Any) -> None:
    """A network that contains itself ends with an error, not with an endless loop."""
    with persistent() as make:
        state: dict[str, Any] = {"_parameters": {}, "_buffers": {}, "_init_args": (), "_init_kwargs": {}}
        module = make("VEPrecond", state)
        inner = make("Layer", {"_modules": {}})
        inner.state["_modules"]["loop"] = inner
        state["_modules"] = {"model": inner}
        path = tmp_path / "loop.pkl"
        try:
            path.write_bytes(pickle.dumps({"ema": module}, protocol=4))
        except RecursionError:  # pickle cannot write it: repeat the loop to a depth of 60
            for _ in range(60):
                inner = make("Layer", {"_modules": {"loop": inner if inner.state["_modules"] != {} else None}})
            state["_modules"] = {"model": make("Layer", {"_modules": {"deep": _nested(make, 60)}})}
            path.write_bytes(pickle.dumps({"ema": module}, protocol=4))
    refused(path, "module within itself")


def _nested(make: Any, depth: int) -> Any:
    """Return modules in modules."""
    return make("Layer", {"_modules": {"inner": _nested(make, depth - 1)} if depth else {}})


def torch_bytes(value: Any, *, zipped: bool = True) -> bytes:
    """Return what torch.save writes."""
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("suffix", [".pt", ".pth"])
def test_code_in_files_of_torch_is_not_run(suffix: str, zipped: bool, tmp_path: Path) -> None:
    """A command inside a file of torch.save is named, in both formats, and is not run."""
    path, flag = tmp_path / f"model{suffix}", tmp_path / "flag"
    path.write_bytes(torch_bytes({"model": {"all_modules.0.weight": torch.ones(2)}, "x": Attack(flag)}, zipped=zipped))
    refused(path, "the name '(posix|nt).system'")
    assert not flag.exists()


def rezipped(
    content: bytes, change: Callable[[str, bytes], bytes | None], compression: int = zipfile.ZIP_STORED
) -> bytes:
    """Copy a zip file with changed entries; None leaves an entry out."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(buffer, "w", compression) as new:
        for name in old.namelist():
            data = change(name, old.read(name))
            if data is not None:
                new.writestr(name, data)
    return buffer.getvalue()


def test_damaged_zip_files_are_refused(original_file: Write, tmp_path: Path) -> None:
    """Truncated and compressed zip files, and those with missing or short entries, are refused."""
    content = original_file("guided", "guided-uncond").read_bytes()
    path = tmp_path / "model.pt"
    cases: list[tuple[bytes, str]] = [
        (content[: len(content) // 2], "zip directory cannot be read"),
        (b"PK\x03\x04" + bytes(100), "zip directory cannot be read"),
        (rezipped(content, lambda n, d: d, zipfile.ZIP_DEFLATED), "is compressed, which torch.save never does"),
        (rezipped(content, lambda n, d: None if n.endswith("data.pkl") else d), "has no entry data.pkl"),
        (rezipped(content, lambda n, d: None if n.endswith("data/7") else d), "has no entry data/7"),
        (rezipped(content, lambda n, d: d[:-4] if n.endswith("data/7") else d), "numbers of torch.float32 are"),
        (rezipped(content, lambda n, d: b"big" if n.endswith("byteorder") else d), "little-endian"),
        (rezipped(content, lambda n, d: d[:-9] if n.endswith("data.pkl") else d), "ends in the middle"),
    ]
    for damaged, message in cases:
        path.write_bytes(damaged)
        refused(path, message, size=16, head_channels=32)


def test_false_sizes_are_refused(tmp_path: Path) -> None:
    """A tensor cannot claim more elements than its numbers, nor a storage more numbers than the file has bytes."""
    path = tmp_path / "model.pth"
    expanded = {"model": {"all_modules.0.weight": torch.ones(1).expand(10**9)}}
    path.write_bytes(torch_bytes(expanded))
    refused(path, "more elements than the file has numbers")
    legacy = torch_bytes({"model": {"all_modules.0.weight": torch.ones(300)}}, zipped=False)
    path.write_bytes(legacy.replace(b"M,\x01", b"J\xff\xff\xff\x7f"))  # 300 becomes 2^31 - 1
    refused(path, "damaged")
    path.write_bytes(legacy[:-1208] + struct.pack("<q", 2**50) + bytes(1200))
    refused(path, "ends in the middle")
    path.write_bytes(legacy[:-8])
    refused(path, "ends in the middle")


def test_other_contents_are_refused(original_file: Write, tmp_path: Path) -> None:
    """Files of other networks say what they contain."""
    pt, pth = tmp_path / "model.pt", tmp_path / "model.pth"
    cases: list[tuple[Path, Any, str]] = [
        (pt, [torch.ones(2)], "its content is not a state dict, but a list"),
        (pt, {"a": torch.ones(2), "epoch": 3}, "'epoch' is a int, not a tensor"),
        (pt, {"conv.weight": torch.ones(2)}, "no network of guided-diffusion"),
        (pt, {"input_blocks.0.0.weight": torch.ones(8, 3, 3, 3)}, "a classifier of guided-diffusion"),
        (pth, [1], "no dictionary"),
        (pth, {"model": {"conv.weight": torch.ones(2)}}, "no network of score_sde: its tensors are conv.weight"),
        (pth, {"model": {"all_modules.0.weight": torch.ones(2)}, "ema": {}}, "no averaged weights"),
    ]
    for path, value, message in cases:
        path.write_bytes(torch_bytes(value))
        refused(path, message)
    good = torch.load(original_file("score_sde", "score-sde-ve-ncsnpp"), weights_only=True)
    averages = good["ema"]["shadow_params"]
    for wrong, message in (
        (averages[:-1], "averaged tensors for"),
        ([torch.ones(3), *averages[1:]], r"the average of all_modules.1.weight has the shape \(3,\)"),
        ([None, *averages[1:]], "has the shape NoneType"),
    ):
        path = pth
        path.write_bytes(torch_bytes(good | {"ema": {"shadow_params": wrong}}))
        refused(path, message, size=16)


@pytest.mark.parametrize(
    ("family", "name", "ending"),
    [("score_sde", "score-sde-ve-ncsnpp", ".NIN_1.b"), ("guided", "guided-uncond", "1.0.out_layers.3.bias")],
)
def test_tensors_that_do_not_fit_are_named(
    family: str, name: str, ending: str, original_file: Write, tmp_path: Path
) -> None:
    """A tensor that is missing, extra or of another shape is refused under the name in the file."""
    content = torch.load(original_file(family, name), weights_only=True)
    state = content["model"] if family == "score_sde" else content
    tensor = next(key for key in state if key.endswith(ending))
    short = tensor.removeprefix("module.")
    options = {"size": 16} | ({"weights": "model"} if family == "score_sde" else {"head_channels": 32})
    path = tmp_path / f"changed{'.pth' if family == 'score_sde' else '.pt'}"
    for change, message in (
        ({tensor: torch.ones(5)}, rf"the tensor {short} has the shape \(5,\)"),
        ({f"{tensor}.more": torch.ones(5)}, rf"has the tensors {short}.more, which this network does not have"),
        ({tensor: None}, f"lacks the tensor {short}"),
    ):
        new = OrderedDict((k, v) for k, v in {**state, **change}.items() if v is not None)
        path.write_bytes(torch_bytes(content | {"model": new} if family == "score_sde" else new))
        refused(path, message, **options)


def test_paths_that_are_no_files_are_refused(tmp_path: Path) -> None:
    """A missing file, a folder, a pipe and a device are refused at once."""
    pipe = tmp_path / "pipe.pt"
    os.mkfifo(pipe)
    for path, message in (
        (tmp_path / "missing.pkl", "No such file"),
        (tmp_path, "is a folder"),
        (pipe, "is a device, a pipe or a socket"),
        (Path("/dev/zero"), "is a device, a pipe or a socket"),
    ):
        for loader in PREFIX.values():
            with pytest.raises(InputError, match=message):
                open_model(f"{loader}:{path}")


@pytest.mark.parametrize(
    ("family", "name", "options", "message"),
    [
        ("edm", "edm-ve-ncsnpp", {"sigma_max": 10.0}, "VEPrecond fixes its noise levels"),
        ("edm", "edm-edm-ddpmpp", {"sigma_min": 100.0}, "sigma_min < sigma_max"),
        ("score_sde", "score-sde-ve-ncsnpp", {"sde": "vp"}, "needs sde=ve"),
        ("score_sde", "score-sde-ve-ncsnpp", {"beta_min": 0.1}, "beta_min and beta_max belong to"),
        ("score_sde", "score-sde-vp-ddpmpp", {"sigma_min": 0.1}, "sigma_min and sigma_max belong to ve"),
        ("score_sde", "score-sde-vp-ddpmpp", {"sde": "sub-vp", "continuous": False}, "continuous times only"),
        ("score_sde", "score-sde-ve-ncsnpp", {"fir": False}, "filtered convolutions"),
        ("score_sde", "score-sde-ve-ncsnpp", {"size": 17}, "divisible by 2"),
        ("guided", "guided-uncond", {"size": 17, "head_channels": 32}, "divisible by 2"),
        ("guided", "guided-uncond", {"heads": 2, "head_channels": 32}, "state the same"),
        ("guided", "guided-uncond", {"steps": 1}, "steps must be a whole number from 2"),
        ("guided", "guided-uncond", {"schedule": "sigmoid"}, "schedule"),
        ("guided", "guided-uncond", {"scedule": "linear"}, "did you mean 'schedule'"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    family: str, name: str, options: dict[str, Any], message: str, original_file: Write
) -> None:
    """An option that contradicts the file, or another option, is refused."""
    path = original_file(family, name)
    with pytest.raises(InputError, match=message):
        open_model(f"{PREFIX[path.suffix]}:{path}", options=options)
