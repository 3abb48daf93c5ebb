"""Atomic file writes, canonical JSON and hashes."""

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
    """Write `content` to `path` atomically: a temporary file on the same disk, then a rename.

    On any failure (disk full, no permission, Ctrl-C) the previous file is unchanged. A killed process leaves
    its temporary file in the project's `.repro/tmp`, never in an output folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = temporary_path(path)
    try:
        with disk_errors(partial), partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        with disk_errors(path):
            os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def temporary_path(path: Path) -> Path:
    """Return the temporary file for an atomic write of `path`; remove those of killed processes.

    The file is in the project's `.repro/tmp`, or next to `path` outside a project or across disks.
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
    except OSError:  # the project is read-only
        return None
    return folder if same and not os.path.ismount(path.parent) else None


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Re-raise the OSError of a failed write with its path, which write() omits and torch.save hides."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        cause = error if isinstance(error, OSError) else error.__context__
        if not isinstance(cause, OSError):
            raise
        raise OSError(cause.errno, cause.strerror, str(path)) from None


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: object) -> None:
    """Write `value` as indented JSON, atomically. Raises ValueError for NaN and inf."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def canonical(value: object) -> str:
    """Return JSON with sorted keys and no spaces: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def sha256_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the sha256 of a file (hex), read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_tree(path: Path) -> str:
    """Return a sha256 over a folder's files and their relative paths; of a file, that of its content.

    Python's caches and system files are left out: running a program must not change its hash.
    """
    if path.is_file():
        return sha256_file(path)
    return tree_digest({one.relative_to(path).as_posix(): sha256_file(one) for one in tree_files(path)})


def tree_files(path: Path) -> list[Path]:
    """Return the files of a folder that its hash covers; a file itself."""
    if path.is_file():
        return [path]
    return [one for one in path.rglob("*") if one.is_file() and "__pycache__" not in one.parts]


def tree_digest(files: Mapping[str, str]) -> str:
    """Return the sha256 of a folder from its files: relative path -> sha256."""
    names = sorted(files, key=lambda name: name.split("/"))
    return sha256_text("".join(f"{files[name]}  {name}\n" for name in names))


def run_key(mapping: Mapping[str, Any]) -> str:
    """Return the key of a run: 16 hex digits over its inputs (params, data fingerprint, engine, ...).

    The order of `mapping` does not matter. With 64 bits, a billion runs collide with a probability below 3 %.
    """
    return sha256_text(canonical(mapping))[:16]
