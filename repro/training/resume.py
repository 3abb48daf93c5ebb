"""Checkpoints of work in progress: exact, checked, and never the only copy.

A checkpoint is one file `step-<iteration>-<first 16 hex digits of its sha256>.ckpt`. It gets its name by one
rename after all bytes are on disk, so a file with a name is whole; the digest in the name finds later damage.
The two newest are kept: if the newest cannot be read, the older one is used and a few minutes are lost.
Writing takes a thread of its own: the training waits for a copy in memory, not for the disk.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch
from torch import Tensor

KEEP = 2
_NAME = re.compile(r"step-(\d{9})-([0-9a-f]{16})\.ckpt")


class Writer:
    """Writes the checkpoints of `folder` from a thread, one at a time, while the training goes on."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: tuple[int, Future[Path]] | None = None

    def begin(self, state: Mapping[str, Any], *, iteration: int) -> None:
        """Copy `state` and begin to write the copy. Ask `written` of the checkpoint before first."""
        assert self._writing is None
        copy = host_copy(state)
        self._writing = iteration, self._thread.submit(save_state, self._folder, copy, iteration=iteration)

    def written(self, *, wait: bool = False) -> int | None:
        """The iteration of the checkpoint that has come to the disk since the last call, if one has.

        Raises the OSError of a write that failed. `wait`: for the one that is being written.
        """
        if self._writing is None or not (wait or self._writing[1].done()):
            return None
        (iteration, future), self._writing = self._writing, None
        future.result()
        return iteration

    def close(self) -> None:
        """Wait for what is being written."""
        self._thread.shutdown()


def host_copy(value: Any) -> Any:
    """`value` in dicts, lists and tuples of its own, its tensors copied to the host: no update changes it."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {name: host_copy(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(host_copy, value))
    return value


def save_state(folder: Path, state: Mapping[str, Any], *, iteration: int) -> Path:
    """Write `state` (tensors, numbers, strings, dicts, lists) as the newest checkpoint of `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    half = folder / f".step.{os.getpid()}.part"
    try:
        with disk_errors(half), half.open("wb") as file:
            hashing = _Hashing(file)
            torch.save(dict(state), cast(BinaryIO, hashing))
            file.flush()
            os.fsync(file.fileno())
        path = folder / f"step-{iteration:09d}-{hashing.digest()}.ckpt"
        os.replace(half, path)
    finally:
        half.unlink(missing_ok=True)
    _forget_old(folder)
    return path


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """The OSError of a failed write, with its file: torch.save lays a RuntimeError of its own over it."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        told = error if isinstance(error, OSError) else error.__context__
        if not isinstance(told, OSError):
            raise
        raise OSError(told.errno, told.strerror, str(path)) from None


def load_state(folder: Path) -> tuple[dict[str, Any] | None, list[Path]]:
    """(the newest state that can be read or None, damaged files that were passed over)."""
    damaged: list[Path] = []
    for path in reversed(checkpoints(folder)):
        state = _read(path)
        if state is not None:
            return state, damaged
        damaged.append(path)
    return None, damaged


def checkpoints(folder: Path) -> list[Path]:
    """Checkpoint files, oldest first."""
    return sorted(path for path in folder.glob("step-*.ckpt") if _NAME.fullmatch(path.name))


def forget(folder: Path) -> None:
    """Remove all checkpoints and what killed writers left."""
    for path in [*checkpoints(folder), *folder.glob(".*.part")]:
        path.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any] | None:
    """The state in `path`, or None when its bytes are not those that were written."""
    match = _NAME.fullmatch(path.name)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    if match is None or digest != match[2]:
        return None
    state = torch.load(path, map_location="cpu", weights_only=True)
    return state if isinstance(state, dict) else None


def _forget_old(folder: Path) -> None:
    for path in [*checkpoints(folder)[:-KEEP], *folder.glob(".step.*.part")]:
        path.unlink(missing_ok=True)


class _Hashing:
    """A file that takes the sha256 of what is written through it; torch.save only appends."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()

    def digest(self) -> str:
        return self._hash.hexdigest()[:16]
