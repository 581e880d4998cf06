"""Folders of samples. They are written completely or not at all, and replace only earlier results."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile, mkstemp
from typing import TYPE_CHECKING, Any

from sdekit.errors import InputError, SdekitError

from .json_files import format_json, load_fields
from .staging import names_in, recover, staged, write_atomically

if TYPE_CHECKING:
    import numpy as np

    from sdekit.models import OpenedModel
    from sdekit.sampling import Samples

SAMPLES = "samples.npy"
SAMPLES_TABLE, IMPUTED = "samples.csv", "imputed.csv"
RECORDS = ("sample.json", "restore.json", "edit.json", "evaluation.json")
FILES = (
    *(
        SAMPLES,
        SAMPLES_TABLE,
        IMPUTED,
        "grid.png",
        "scatter.png",
        "pairs.png",
        "lines.png",
        "slices.png",
        "measurement.npy",
        "measurement.png",
        "before-after.png",
    ),
    *("mean.npy", "mean.png", "std.npy", "std.png", "comparison.png", "nearest.png"),
    *RECORDS,
)
IMAGES, SEQUENCES = "images", "sequences"
"""Folders with one file for each image, and for each sequence that was read from a text file or an audio file."""
MOST_RECORD = 2**28
"""Largest size in bytes of a record, which contains the seed of every sample."""
NAMES = {IMAGES: re.compile(r"(0|[1-9]\d*)\.png"), SEQUENCES: re.compile(r"(0|[1-9]\d*)\.(wav|csv)")}
"""Names of the files in these folders: the seed of the sample."""


def write_results(
    out: Path,
    opened: OpenedModel,
    samples: Samples,
    record: Mapping[str, Any],
    *,
    record_name: str = "sample.json",
    captions: Sequence[str] | None = None,
    other_files: Mapping[str, bytes] | None = None,
    real: np.ndarray | None = None,
    known: np.ndarray | None = None,
    texts: Mapping[str, str] | None = None,
    overwrite: bool = False,
) -> Path | None:
    """Write samples, pictures of them and their record into a folder, all at once.

    Arguments:
        out: Folder to write.
        opened: Model that drew the samples. Its units and kind determine the numbers and the pictures.
        samples: Samples in the model's units.
        record: JSON-ready facts about the samples. A checksum is added.
        record_name: File name of the record, one of `RECORDS`.
        captions: Name of the class of each sample, which the pictures show, or None.
        other_files: Contents of further files by name; the names are in `FILES`.
        real: Rows of the data (M, d) in the units of the data, which pairs.png shows in grey; None for samples alone.
        known: Known coordinates of all samples (d,) in the units of the data, NaN if they are not known. The samples
            have exactly these numbers.
        texts: Texts of known columns of a table, by name, which samples.csv contains as they are; or None.
        overwrite: Replace earlier results in the folder.
    Returns:
        The picture to look at, or None for data without pictures.
    Raises:
        SdekitError: If the files cannot be written. Earlier results are then unchanged, and the message names the file
            that keeps the samples.
    """
    import numpy as np

    from sdekit.data.formats import encode_sequences
    from sdekit.plotting import picture, png, sample_pictures, to_pixels
    from sdekit.sampling import samples_as_csv

    from .files import save_json

    data, main_picture = opened.to_data(samples.x), None
    if known is not None:
        data = np.where(np.isnan(known), data, known).astype(data.dtype)
    with _kept(data), staged_results(out, overwrite=overwrite) as new:
        np.save(new / SAMPLES, data)
        for name, content in (other_files or {}).items():
            (new / name).write_bytes(content)
        pictures = sample_pictures(
            data,
            kind=opened.kind,
            units=opened.units,
            columns=opened.channel_names,
            captions=captions,
            sample_rate=opened.sample_rate,
            table=opened.columns,
            real=real,
        )
        if opened.columns:
            (new / SAMPLES_TABLE).write_bytes(samples_as_csv(opened, data, captions, texts))
        main_picture = next(iter(pictures), None)
        for name, content in pictures.items():
            (new / name).write_bytes(content)
        if opened.kind == "image":
            (new / IMAGES).mkdir()
            for seed, image in zip(samples.seeds, to_pixels(data, opened.units), strict=True):
                (new / IMAGES / f"{seed}.png").write_bytes(png(picture(image)))
        elif opened.kind == "sequence":
            files = encode_sequences(
                data,
                [str(seed) for seed in samples.seeds],
                units=opened.units,
                channels=opened.channel_names,
                sample_rate=opened.sample_rate,
            )
            for name, content in files:
                (new / SEQUENCES).mkdir(exist_ok=True)
                (new / SEQUENCES / name).write_bytes(content)
        save_json(new / record_name, record)
    if "before-after.png" in (other_files or {}):
        main_picture = "before-after.png"
    return None if main_picture is None else out / main_picture


def write_imputation(
    out: Path, record: Mapping[str, Any], files: Mapping[str, bytes], *, table: str, overwrite: bool = False
) -> Path | None:
    """Write a table whose missing cells were drawn, pictures of it and restore.json into a folder, all at once.

    Arguments:
        out: Folder to write.
        record: Content of restore.json. A checksum is added.
        files: Contents of the table and of the pictures by name.
        table: Name of the table.
        overwrite: Replace earlier results in the folder.
    Returns:
        The picture to look at, or None without pictures.
    Raises:
        SdekitError: If the files cannot be written. Earlier results are then unchanged, and the message names the file
            that keeps the table.
    """
    _write_files(out, record, "restore.json", files, (table, files[table]), overwrite=overwrite)
    picture = next((name for name in files if name.endswith(".png")), None)
    return None if picture is None else out / picture


def write_evaluation(
    out: Path, record: Mapping[str, Any], files: Mapping[str, bytes], *, overwrite: bool = False
) -> None:
    """Write an evaluation and its files into a folder, all at once.

    Arguments:
        out: Folder to write.
        record: Content of evaluation.json. A checksum is added.
        files: Contents of further files by name: "samples.npy", "comparison.png" and "nearest.png".
        overwrite: Replace earlier results in the folder.
    Raises:
        SdekitError: If the files cannot be written. Earlier results are then unchanged, and the message names the file
            that keeps the evaluation.
    """
    main = ("evaluation.json", format_json(record).encode())
    _write_files(out, record, "evaluation.json", files, main, overwrite=overwrite)


def _write_files(
    out: Path,
    record: Mapping[str, Any],
    record_name: str,
    files: Mapping[str, bytes],
    main: tuple[str, bytes],
    *,
    overwrite: bool,
) -> None:
    """Write files and their record. If this fails, the file `main` (name, content) is saved elsewhere."""
    from .files import save_json

    try:
        with staged_results(out, overwrite=overwrite) as new:
            for name, content in files.items():
                (new / name).write_bytes(content)
            save_json(new / record_name, record)
    except SdekitError as error:
        if " are in " in str(error):  # the files were moved beside --out
            raise
        raise SdekitError(f"{error}. {keep_result(main[1], main[0])}") from error


@contextmanager
def _kept(data: np.ndarray) -> Iterator[None]:
    """Context manager that keeps the samples in the folder of temporary files if writing fails."""
    try:
        yield
    except SdekitError as error:
        if " are in " in str(error):  # the files were moved beside --out
            raise
        raise SdekitError(f"{error}. {keep_result(npy_bytes(data), SAMPLES)}") from error


def npy_bytes(array: np.ndarray) -> bytes:
    """Return the contents of a .npy file.

    Arguments:
        array: Numbers, which are stored in float32.
    Returns:
        Contents of the file.
    """
    import numpy as np

    content = io.BytesIO()
    np.save(content, np.ascontiguousarray(array, dtype=np.float32))
    return content.getvalue()


def check_writable(path: Path, option: str) -> None:
    """Check that a file or a folder can be written, before the computation whose result it is to contain.

    Arguments:
        path: File or folder, which need not exist.
        option: Option that names it, for the message.
    Raises:
        InputError: If it cannot be written. Nothing is left behind.
    """
    try:
        if path.exists() and not (path.is_dir() or path.is_file()):
            raise InputError(f"{option} {path} is a device, a pipe or a socket: choose another path")
        folder = path if path.is_dir() else next(place for place in path.absolute().parents if place.exists())
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(
            f"{option} {path} cannot be written ({error.strerror or error}): choose another path"
        ) from error


def keep_result(content: bytes, name: str) -> str:
    """Write a result that could not be written to its place into the folder of temporary files.

    Arguments:
        content: The result.
        name: File name, to recognise it by.
    Returns:
        A sentence that names the file, or says why the result is lost.
    """
    try:
        file, path = mkstemp(prefix="sdekit-", suffix=f"-{name[-60:]}")
        with open(file, "wb") as opened:
            opened.write(content)
    except OSError as error:
        return f"The result could not be kept in another place either ({error.strerror or error})"
    return f"The result is kept in {path}"


def write_or_keep(path: Path, content: bytes) -> None:
    """Write a file atomically, or keep its content in the folder of temporary files if this fails.

    Arguments:
        path: File to write.
        content: Contents of the file.
    Raises:
        SdekitError: If the file cannot be written. The message names the file that keeps the content.
    """
    try:
        write_atomically(path, content)
    except SdekitError as error:
        raise SdekitError(f"{error}. {keep_result(content, path.name)}") from error


def check_results_folder(out: Path, *, overwrite: bool) -> None:
    """Check that results can be written to a folder without loss of other files.

    Arguments:
        out: Folder, which need not exist.
        overwrite: Whether earlier results may be replaced.
    Raises:
        InputError: If the folder contains other files, or earlier results without `overwrite`, or cannot be written.
    """
    recover(out)
    _check(out, overwrite=overwrite)
    check_writable(out, "--out")


@contextmanager
def staged_results(out: Path, *, overwrite: bool) -> Iterator[Path]:
    """Context manager that gives an empty folder, and at the end moves its files to `out`, see `staged`.

    Arguments:
        out: Folder of the results, which is created.
        overwrite: Replace earlier results.
    Yields:
        The empty folder.
    Raises:
        SdekitError: If the files cannot be written or moved.
    """
    with staged(out, lambda: _check(out, overwrite=overwrite), description="new samples") as new:
        yield new


def _check(out: Path, *, overwrite: bool) -> list[str]:
    """Return the names in a folder. Raises InputError if new results must not replace them."""
    try:
        for place in (out, *out.parents):
            if place.exists() and not place.is_dir():
                raise InputError(f"--out {out}: {place} is a file, choose a folder")
        names, foreign = names_in(out), _foreign_names(out)
    except OSError as error:
        raise InputError(f"--out {out} cannot be read ({error.strerror or error}): choose another folder") from error
    if not names:
        return names
    if foreign:
        raise InputError(f"--out {out} contains other files ({foreign[0]}, ...): choose another folder")
    if not any(_is_our_record(out / name) for name in RECORDS):
        raise InputError(
            f"--out {out} contains {names[0]} and no record of sdekit ({', '.join(RECORDS)}), so sdekit did not write "
            "it: choose another folder"
        )
    if not overwrite:
        raise InputError(
            f"--out {out} already contains samples: choose another folder, or replace them with --overwrite"
        )
    return names


def _foreign_names(out: Path) -> list[str]:
    """Sorted names of files that sdekit does not write into a folder of results."""
    names = []
    for name in names_in(out):
        path = out / name
        if name in NAMES and path.is_dir() and not path.is_symlink():
            files = sorted(path.iterdir())
            names += [f"{name}/{p.name}" for p in files if not (NAMES[name].fullmatch(p.name) and p.is_file())]
        elif name not in FILES or not path.is_file():
            names.append(name)
    return names


def _is_our_record(path: Path) -> bool:
    """Whether sdekit wrote a record: it then has a checksum."""
    try:
        return {"run", "seeds", "sha256"} <= load_fields(path, MOST_RECORD).keys()
    except (OSError, ValueError):
        return False
