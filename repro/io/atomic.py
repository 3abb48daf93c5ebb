"""Whole files or none: a reader never sees half of what is being written."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` through a temporary file on the same disk and one rename.

    On any failure (disk full, no permission, Ctrl-C) the file that was there before stays as it was. A killed
    process leaves its temporary file in `.repro/tmp` of the project, never in an output or beside README.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    half = temporary(path)
    try:
        with disk_errors(half), half.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        with disk_errors(path):
            os.replace(half, path)
    finally:
        half.unlink(missing_ok=True)


def temporary(path: Path) -> Path:
    """Where to write what will be `path`; what a killed process left there for the same path is removed.

    Outside a project, or where its `.repro` is on another disk, that is the folder of `path`.
    """
    host, name = f"{platform.node()[:40]}", sha256_text(str(path.absolute()))[:16]
    folder = _temporary_folder(path)
    if folder is None:
        return path.with_name(f".{path.name[:200]}.{os.getpid()}.part")
    for left in folder.glob(f"{name}.{glob.escape(host)}.*.part"):
        if not psutil.pid_exists(int(left.suffixes[-2][1:])):
            left.unlink(missing_ok=True)
    return folder / f"{name}.{host}.{os.getpid()}.part"


def _temporary_folder(path: Path) -> Path | None:
    parents = path.absolute().parents
    homes = [one for one in parents if (one / "params.yaml").is_file() and (one / "experiments").is_dir()]
    if not homes:
        return None
    folder = homes[0] / ".repro" / "tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        same = os.stat(folder).st_dev == os.stat(path.parent).st_dev and os.access(folder, os.W_OK)
    except OSError:  # a project that may not be written
        return None
    return folder if same and not os.path.ismount(path.parent) else None


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """The OSError of a failed write, with its file: of a write() it has none, and torch.save hides it."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        told = error if isinstance(error, OSError) else error.__context__
        if not isinstance(told, OSError):
            raise
        raise OSError(told.errno, told.strerror, str(path)) from None


def write_text(path: Path, text: str) -> None:
    """`text` as UTF-8, as `write_bytes` does."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: object) -> None:
    """`value` as indented JSON with a final newline; NaN and inf are refused (ValueError)."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def canonical(value: object) -> str:
    """JSON with sorted keys and no spaces: equal values have equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def sha256_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_file(path: Path) -> str:
    """sha256 of a file's bytes, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def run_key(mapping: Mapping[str, Any]) -> str:
    """The name of a run: 16 hex digits of what it was made from (params, data fingerprint, engine, ...).

    Equal input gives an equal key whatever the order of keys; 64 bits keep a billion runs apart
    with a chance of collision below 3 %.
    """
    return sha256_text(canonical(mapping))[:16]
