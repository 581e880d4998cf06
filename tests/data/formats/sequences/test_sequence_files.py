"""Folders of text files and audio files as sequences: channels, time, windows, labels, and refusals."""

from __future__ import annotations

import sys
import wave
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from sdekit.data import parse_spec
from sdekit.data.formats import encode_sequences, sequences
from sdekit.errors import InputError

RNG = np.random.default_rng(0)


def csv_file(path: Path, rows: np.ndarray, header: str = "time,a,b") -> None:
    """Write a CSV file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, rows, delimiter=",", header=header, comments="", fmt="%.6g")


def timed(length: int, step: float = 0.1) -> np.ndarray:
    """Return a time with equal steps and two random channels, (L, 3)."""
    return np.column_stack([step * np.arange(length), RNG.normal(size=(length, 2))])


def tone(path: Path, length: int, rate: int = 8000, dtype: str = "int16", channels: int = 1) -> np.ndarray:
    """Write a WAV file, and return its amplitudes (C, L)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    amplitudes = RNG.uniform(-1, 1, (length, channels))
    numbers = {
        "uint8": lambda: np.rint(amplitudes * 127 + 128).astype(np.uint8),
        "int16": lambda: np.rint(amplitudes * 32767).astype(np.int16),
        "int32": lambda: np.rint(amplitudes * (2**31 - 1)).astype(np.int32),
        "float32": lambda: amplitudes.astype(np.float32),
    }[dtype]()
    wavfile.write(path, rate, numbers[:, 0] if channels == 1 else numbers)
    return amplitudes.T


def test_text_files(tmp_path: Path) -> None:
    """Columns are channels, the time is left out, and its steps in seconds give the sample rate."""
    rows = [timed(20) for _ in range(3)]
    for i, table in enumerate(rows):
        csv_file(tmp_path / f"{i}.csv", table, "time (s),a,b")
    (tmp_path / ".hidden.csv").write_text("x")
    (tmp_path / "readme.md").write_text("x")
    data = sequences(str(tmp_path))
    assert (data.kind, data.shape, len(data), data.classes) == ("sequence", (2, 20), 3, 0)
    assert data.channel_names == ("a", "b") and data.sample_rate == pytest.approx(10)
    x = data.batch([2, 0]).x
    assert np.allclose(data.units.to_data(x)[0], rows[2][:, 1:].T, atol=1e-5)
    notes = "; ".join(data.notes)
    assert "'time (s)' is taken for the time" in notes and "1 hidden" in notes and "1 .md" in notes


@pytest.mark.parametrize(
    ("header", "first", "channels", "rate"),
    [
        ("time_ms,a,b", np.arange(5) * 20.0, ("a", "b"), 50.0),
        ("timestamp,a,b", np.arange(5) * 20.0, ("a", "b"), None),
        ("u,a,b", np.arange(5) * 0.5, ("a", "b"), None),
        ("u,a,b", np.array([0.0, 1, 3, 2, 5]), ("u", "a", "b"), None),
        ("t,a,b", np.array([0.0, 1, 3, 4, 7]), ("a", "b"), None),
        ("t,a,b", np.array([0.0, 1, 3, 2, 7]), ("t", "a", "b"), None),
    ],
)
def test_time_columns(
    tmp_path: Path, header: str, first: np.ndarray, channels: tuple[str, ...], rate: float | None
) -> None:
    """A column is the time by its name if it increases, or by equal steps of the first column."""
    for i in range(2):
        csv_file(tmp_path / f"{i}.csv", np.column_stack([first, RNG.normal(size=(5, 2))]), header)
    data = sequences(str(tmp_path))
    assert data.channel_names == channels and data.sample_rate == rate
    assert sequences(str(tmp_path), time="none").shape == (3, 5)
    assert sequences(str(tmp_path), time="a").channel_names == (header.split(",")[0], "b")
    assert sequences(str(tmp_path), columns="b").shape == (1, 5)


def test_dates(tmp_path: Path) -> None:
    """Dates in the first column are the time."""
    for i in range(2):
        lines = [f"2024-03-0{d} 12:00,{RNG.normal():.4f}" for d in range(1, 8)]
        (tmp_path / f"{i}.csv").write_text("\n".join(["when,value", *lines]))
    data = sequences(str(tmp_path))
    assert data.channel_names == ("value",) and data.shape == (1, 7) and data.sample_rate is None


def test_windows(tmp_path: Path) -> None:
    """Files of several lengths are refused unless the length of windows is given; the rest is left out."""
    for i, length in enumerate((25, 30, 41)):
        csv_file(tmp_path / f"{i}.csv", timed(length))
    with pytest.raises(InputError, match=r"'0.csv' has 25 values and '2.csv' 41; pass --option data.length=25"):
        sequences(str(tmp_path))
    data = sequences(str(tmp_path), length=10)
    assert len(data) == 2 + 3 + 4 and data.shape == (2, 10)
    assert any("9 windows of 10 values, and 6 values at the ends are left out" in note for note in data.notes)
    assert len(sequences(str(tmp_path), length=10, stride=5)) == 4 + 5 + 7
    assert len(sequences(str(tmp_path), length=20, stride=100)) == 3
    assert sequences(str(tmp_path), length="1s", sample_rate=10.0).shape == (2, 10)
    for options, message in (
        ({"length": 26}, r"1 of 3 sequences are shorter than length=26.*data.length=25"),
        ({"length": "2 days"}, "expected a number of values"),
        ({"length": "1s"}, "the sample rate is not known"),
        ({"length": 0}, "at least one value"),
        ({"length": 10, "mono": True}, "data.mono has no effect"),
    ):
        with pytest.raises(InputError, match=message):
            sequences(str(tmp_path), **options)  # type: ignore[arg-type]


def test_one_file(tmp_path: Path) -> None:
    """One long file is cut into windows, and is refused without their length."""
    csv_file(tmp_path / "long.csv", timed(100))
    with pytest.raises(InputError, match="one sequence of 100 values; expected at least 2: pass --option data.length"):
        sequences(str(tmp_path / "long.csv"))
    assert len(sequences(str(tmp_path / "long.csv"), length=25)) == 4
    with pytest.raises(InputError, match="no such file"):
        sequences(str(tmp_path / "none.csv"))
    np.save(tmp_path / "a.npy", np.zeros(3))
    with pytest.raises(InputError, match="an array is array:"):
        sequences(str(tmp_path / "a.npy"))


def test_labels(tmp_path: Path) -> None:
    """Sub-folders are classes, of each window; splits are refused; a label file is not a sequence."""
    for name, length in (("walk/0", 20), ("walk/1", 20), ("run/0", 40)):
        csv_file(tmp_path / "a" / f"{name}.csv", timed(length))
    data = sequences(str(tmp_path / "a"), length=20)
    labels = data.labels_of(range(4))
    assert labels is not None and data.class_names == ("run", "walk") and labels.tolist() == [0, 0, 1, 1]
    assert sequences(str(tmp_path / "a"), length=20, labels="none").classes == 0
    for name in ("train/0", "test/0"):
        csv_file(tmp_path / "b" / f"{name}.csv", timed(20))
    with pytest.raises(InputError, match="splits of one data set, not classes; pass sequences:.*train"):
        sequences(str(tmp_path / "b"))
    for name in ("0", "1"):
        csv_file(tmp_path / "c" / f"{name}.csv", timed(20))
    (tmp_path / "c" / "labels.csv").write_text("file,label\n0.csv,up\n1.csv,down\n")
    assert sequences(str(tmp_path / "c")).class_names == ("down", "up")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("time,a,b\n0,1,2\n0.1,x,2\n", r"1.csv, line 3, column 'a': 'x'; expected a finite number: correct"),
        ("time,a,b\n0,1,2\n0.1,,2\n", "column 'a': an empty cell.*fill in the value"),
        ("time,a,c\n0,1,2\n0.1,1,2\n", "1.csv has the columns time, a, c, and 0.csv has time, a, b"),
    ],
)
def test_bad_text_files(tmp_path: Path, text: str, message: str) -> None:
    """The message gives the file, the line and the column."""
    csv_file(tmp_path / "0.csv", timed(2))
    (tmp_path / "1.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        sequences(str(tmp_path))


@pytest.mark.parametrize(("dtype", "error"), [("uint8", 1 / 50), ("int16", 1e-4), ("int32", 1e-6), ("float32", 1e-6)])
def test_wav_files(tmp_path: Path, dtype: str, error: float) -> None:
    """Amplitudes are from -1 to 1 for every type of numbers, and have the power 1 in the model."""
    amplitudes = [tone(tmp_path / f"{i}.wav", 200, dtype=dtype, channels=2) for i in range(2)]
    data = sequences(str(tmp_path))
    assert (data.shape, data.sample_rate, data.units.low, data.units.high) == ((2, 200), 8000, -1, 1)
    x = data.batch([1, 0]).x
    assert np.abs(data.units.to_data(x) - np.stack([amplitudes[1], amplitudes[0]])).max() < error
    assert float(x.square().mean()) == pytest.approx(1, abs=1e-3)
    assert sequences(str(tmp_path), scale="none").units.scale == 1
    mono = sequences(str(tmp_path), mono=True)
    assert mono.shape == (1, 200)
    assert np.abs(mono.units.to_data(mono.batch([0]).x)[0, 0] - amplitudes[0].mean(0)).max() < error


def test_windows_of_recordings(tmp_path: Path) -> None:
    """A window is the same part of the file whichever way it is read, also by its duration."""
    amplitudes = tone(tmp_path / "a.wav", 1000)[0]
    data = sequences(str(tmp_path / "a.wav"), length="50ms", stride=300)
    assert data.shape == (1, 400) and len(data) == 3
    found = data.units.to_data(data.batch([2, 1]).x)[:, 0]
    assert np.abs(found - np.stack([amplitudes[600:1000], amplitudes[300:700]])).max() < 1e-4


def test_recordings_that_do_not_fit(tmp_path: Path) -> None:
    """Sample rates and numbers of channels must agree, and damaged files are named."""
    tone(tmp_path / "a" / "0.wav", 100)
    tone(tmp_path / "a" / "1.wav", 100, rate=16000)
    with pytest.raises(InputError, match="'0.wav' has a sample rate of 8000 Hz and '1.wav' 16000 Hz; convert"):
        sequences(str(tmp_path / "a"))
    tone(tmp_path / "b" / "0.wav", 100)
    tone(tmp_path / "b" / "1.wav", 100, channels=2)
    with pytest.raises(InputError, match="data.mono=true"):
        sequences(str(tmp_path / "b"))
    assert sequences(str(tmp_path / "b"), mono=True).shape == (1, 100)
    (tmp_path / "b" / "2.wav").write_bytes(b"RIFF")
    with pytest.raises(InputError, match="2.wav cannot be read"):
        sequences(str(tmp_path / "b"), mono=True)
    csv_file(tmp_path / "a" / "2.csv", timed(5))
    with pytest.raises(InputError, match=r"audio files \('0.wav'\) and text files \('2.csv'\)"):
        sequences(str(tmp_path / "a"))
    (tmp_path / "c").mkdir()
    with pytest.raises(InputError, match="contains no sequences"):
        sequences(str(tmp_path / "c"))


def test_other_audio_formats(tmp_path: Path) -> None:
    """FLAC files are read by soundfile; without it, the message names the extra."""
    try:
        import soundfile
    except (ImportError, OSError):
        (tmp_path / "0.flac").write_bytes(b"fLaC")
        with pytest.raises(InputError, match=r"pip install 'sdekit\[audio\]'"):
            sequences(str(tmp_path))
        return
    amplitudes = RNG.uniform(-1, 1, (2, 500))
    for i, row in enumerate(amplitudes):
        soundfile.write(tmp_path / f"{i}.flac", row, 8000)
    data = sequences(str(tmp_path), length=100)
    assert data.shape == (1, 100) and len(data) == 10
    assert np.abs(data.units.to_data(data.batch([7]).x)[0, 0] - amplitudes[1, 200:300]).max() < 1e-4


def test_wav_files_of_24_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """WAV files of 24 bits are read by soundfile, in parts; without it, the message names the extra."""
    numbers = RNG.integers(-(2**23), 2**23, (300, 2))
    with wave.open(str(tmp_path / "0.wav"), "wb") as file:
        file.setparams((2, 3, 8000, 0, "NONE", ""))
        file.writeframes(b"".join(int(number).to_bytes(3, "little", signed=True) for number in numbers.ravel()))
    with monkeypatch.context() as context:
        context.setitem(sys.modules, "soundfile", None)
        with pytest.raises(
            InputError, match=r"0.wav needs the package soundfile \(SciPy: .*pip install 'sdekit\[audio"
        ):
            sequences(str(tmp_path), length=100)
    pytest.importorskip("soundfile")
    data = sequences(str(tmp_path), length=100)
    assert data.shape == (2, 100) and len(data) == 3
    assert np.abs(data.units.to_data(data.batch([2]).x)[0].T - numbers[200:] / 2**23).max() < 1e-6


def test_parts_of_mp3_files(tmp_path: Path) -> None:
    """A window of an MP3 file contains what the whole file contains there, also after quiet parts with small frames."""
    soundfile = pytest.importorskip("soundfile")
    t = np.arange(150_000)
    soundfile.write(tmp_path / "0.mp3", np.where(t // 30_000 % 2, RNG.normal(0, 0.1, t.shape), 0.5 * np.sin(t)), 22050)
    whole = soundfile.read(tmp_path / "0.mp3", dtype="float32")[0]
    data = sequences(str(tmp_path), length=1000)
    numbers = data.units.to_data(data.batch(range(len(data))).x)
    assert len(data) == 150 and np.abs(numbers.ravel() - whole).max() < 1e-4


def test_written_files_are_read_again(tmp_path: Path) -> None:
    """Samples are written in a format that is read as the same sequences."""
    tone(tmp_path / "a" / "0.wav", 64)
    tone(tmp_path / "a" / "1.wav", 64)
    for i in range(2):
        csv_file(tmp_path / "b" / f"{i}.csv", timed(10))
    for name, tolerance in (("a", 1e-4), ("b", 1e-6)):
        data = sequences(str(tmp_path / name))
        numbers = data.units.to_data(data.batch([0, 1]).x)
        (tmp_path / name / "new").mkdir()
        files = encode_sequences(
            numbers, ["0", "1"], units=data.units, channels=data.channel_names, sample_rate=data.sample_rate
        )
        for file, content in files:
            (tmp_path / name / "new" / file).write_bytes(content)
        again = sequences(str(tmp_path / name / "new"))
        assert np.abs(again.units.to_data(again.batch([0, 1]).x) - numbers).max() < tolerance
        assert again.channel_names == data.channel_names


def test_folders_of_sequences_are_suggested(tmp_path: Path) -> None:
    """A path without its kind is answered with the kind."""
    csv_file(tmp_path / "x" / "0.csv", timed(5))
    with pytest.raises(InputError, match="did you mean sequences:"):
        parse_spec(str(tmp_path))
