"""Lock files that say who holds them: one process at a time, and nobody waits without knowing for whom."""

from __future__ import annotations

import getpass
import json
import logging
import os
import platform
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from repro.errors import StorageError
from repro.io.redact import scrub

NOTICE_SECONDS = 2.0  # until somebody who waits reads for whom
SILENT_SECONDS = 10.0  # a holder that works writes every second; one that is stopped or foreign does not
BEAT_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class Holder:
    """The process that holds a lock."""

    pid: int
    host: str
    user: str
    command: str
    since: str  # UTC

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, {self.user}: {self.command}, since {self.since}"


@contextmanager
def locked(
    path: Path,
    what: str,
    *,
    patience: float = 0.0,
    again: bool = True,
    hint: str = "wait for it or stop it",
) -> Iterator[None]:
    """Hold the lock file `path`; unless `again` is false, the same thread may take it twice.

    `what` says what its holder does ("the data set camvid is being prepared"). Who comes second waits up to
    `patience` seconds for each holder that shows signs of life, and is told after two of them for whom.

    Raises StorageError that names the holder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, is_singleton=True)
    _acquire(lock, path, what, patience, hint)
    if lock.lock_counter > 1 and not again:
        lock.release()
        raise StorageError(f"{what} already, by {_who(holder_of(path))}", where=path, hint=hint)
    try:
        with _signs_of_life(path, beating=patience > 0) if lock.lock_counter == 1 else nullcontext():
            yield
    finally:
        lock.release()


def is_locked(path: Path) -> bool:
    """Whether another process holds the lock file `path`."""
    if not path.is_file():
        return False
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


def holder_of(path: Path) -> Holder | None:
    """Who wrote beside the lock `path`; None where nobody did who lives, as another program that locks it."""
    import psutil

    try:
        holder = Holder(**json.loads(_note(path).read_text(encoding="utf-8")))
        gone = holder.host == platform.node() and not psutil.pid_exists(holder.pid)
    except (OSError, ValueError, TypeError, OverflowError):
        return None
    return None if gone else holder


def _acquire(lock: FileLock, path: Path, what: str, patience: float, hint: str) -> None:
    began = since = time.monotonic()
    seen, noticed = holder_of(path), False
    while True:
        with suppress(Timeout):
            lock.acquire(timeout=min(patience, 0.2), poll_interval=0.05)
            return
        now, holder = time.monotonic(), holder_of(path)
        if holder != seen:
            seen, since = holder, now
        silent = min(now - since, _age(path))
        if now - since >= patience or silent >= SILENT_SECONDS:
            raise StorageError(f"{what} already, by {_who(holder)}", where=path, hint=hint)
        if now - began >= NOTICE_SECONDS and not noticed:
            noticed = True
            logging.getLogger(__name__).warning("%s already; waiting for %s", what, _who(holder))


def _who(holder: Holder | None) -> str:
    return str(holder) if holder else "a program that left no name"


def _note(path: Path) -> Path:
    return path.with_name(f"{path.name}.holder")


def _age(path: Path) -> float:
    """Seconds since the holder's last sign of life; endless without one."""
    try:
        return time.time() - _note(path).stat().st_mtime
    except OSError:
        return float("inf")


@contextmanager
def _signs_of_life(path: Path, *, beating: bool) -> Iterator[None]:
    """Write who holds the lock beside it, and refresh that while it is held where others wait."""
    note, over = _note(path), threading.Event()
    with suppress(OSError):  # a full disk stops no work that needs none
        note.write_text(json.dumps(asdict(_myself())), encoding="utf-8")

    def beat() -> None:
        while not over.wait(BEAT_SECONDS):
            with suppress(OSError):
                os.utime(note)

    thread = threading.Thread(target=beat, name="lock", daemon=True)
    if beating:
        thread.start()
    try:
        yield
    finally:
        over.set()
        if beating:
            thread.join()
        note.unlink(missing_ok=True)


def _myself() -> Holder:
    return Holder(
        pid=os.getpid(),
        host=platform.node(),
        user=user(),
        command=" ".join(scrub(sys.argv))[:200],
        since=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    )


def user() -> str:
    """The user's name; their number where the system knows none, as in a container."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return str(getattr(os, "getuid", lambda: "unknown")())
