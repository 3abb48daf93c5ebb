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
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch
from torch import Tensor

from repro.records import disk_errors

_NAME = re.compile(r"step-(\d{9})-([0-9a-f]{16})\.ckpt")


class Writer:
    """Writes the checkpoints of `folder` from a thread, one at a time, while the training goes on.

    `good` is the newest checkpoint that is known to be whole: the one to keep beside the next.
    """

    def __init__(self, folder: Path) -> None:
        self.good: Path | None = None
        self._folder = folder
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: tuple[int, Future[Path]] | None = None

    def begin(self, state: Mapping[str, Any], *, iteration: int) -> None:
        """Copy `state` and begin to write the copy. Ask `written` of the checkpoint before first."""
        assert self._writing is None
        job = partial(save_state, self._folder, host_copy(state), iteration=iteration, keep=self.good)
        self._writing = iteration, self._thread.submit(job)

    def written(self, *, wait: bool = False) -> int | None:
        """The iteration of the checkpoint that has come to the disk since the last call, if one has.

        Raises the OSError of a write that failed. `wait`: for the one that is being written.
        """
        if self._writing is None or not (wait or self._writing[1].done()):
            return None
        (iteration, future), self._writing = self._writing, None
        self.good = future.result()
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


def save_state(folder: Path, state: Mapping[str, Any], *, iteration: int, keep: Path | None = None) -> Path:
    """Write `state` (tensors, numbers, strings, dicts, lists) as the newest checkpoint of `folder`.

    All others but `keep` go: damaged ones must not take the place of a good one.
    """
    path = write_checked(folder, state, name=f"step-{iteration:09d}", suffix=".ckpt")
    for other in checkpoints(folder):
        if other not in (path, keep):
            other.unlink(missing_ok=True)
    return path


def write_checked(folder: Path, value: Mapping[str, Any], *, name: str, suffix: str) -> Path:
    """Write `value` as `<name>-<digest><suffix>`; what killed writers of such a file left goes."""
    folder.mkdir(parents=True, exist_ok=True)
    half = folder / f".{name}.{os.getpid()}.part"
    try:
        with disk_errors(half), half.open("wb") as file:
            hashing = _Hashing(file)
            torch.save(dict(value), cast(BinaryIO, hashing))
            file.flush()
            os.fsync(file.fileno())
        path = folder / f"{name}-{hashing.digest()}{suffix}"
        os.replace(half, path)
    finally:
        half.unlink(missing_ok=True)
    for left in folder.glob(f".{name.partition('-')[0]}-*.part"):
        left.unlink(missing_ok=True)
    return path


def is_whole(path: Path) -> bool:
    """Whether the bytes of a checked file are those that were written."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16] == path.stem.rpartition("-")[2]


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """The newest state that can be used, its file, and damaged files that were passed over."""

    state: dict[str, Any] | None = None
    path: Path | None = None
    damaged: list[Path]


def load_state(folder: Path, usable: Callable[[dict[str, Any]], bool] = lambda state: True) -> Loaded:
    """Look from the newest to the oldest; one that is not `usable` counts as damaged."""
    damaged: list[Path] = []
    for path in reversed(checkpoints(folder)):
        state = _read(path)
        if state is not None and usable(state):
            return Loaded(state=state, path=path, damaged=damaged)
        damaged.append(path)
    return Loaded(damaged=damaged)


def checkpoints(folder: Path) -> list[Path]:
    """Checkpoint files, oldest first."""
    return sorted(path for path in folder.glob("step-*.ckpt") if _NAME.fullmatch(path.name))


def forget(folder: Path) -> None:
    """Remove all checkpoints and what killed writers left."""
    for path in [*checkpoints(folder), *folder.glob(".*.part")]:
        path.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any] | None:
    """The state in `path`, or None when its bytes are not those that were written."""
    if not is_whole(path):
        return None
    state = torch.load(path, map_location="cpu", weights_only=True)
    return state if isinstance(state, dict) else None


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
