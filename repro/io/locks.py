"""Lock files that record their holder, so that a waiting process can name it."""

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
from repro.io.redact import redact_command

NOTICE_SECONDS = 2.0  # of waiting, before a message names the holder
SILENT_SECONDS = 10.0  # without a heartbeat: the holder is stopped, or another program
HEARTBEAT_SECONDS = 1.0


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
    timeout: float = 0.0,
    reentrant: bool = True,
    hint: str = "wait for it or stop it",
) -> Iterator[None]:
    """Hold the lock file `path`.

    Args:
        path: The lock file; its folder is created.
        what: What the holder does, for messages: "the data set camvid is being prepared".
        timeout: Seconds to wait for each holder that sends heartbeats. A message after 2 s names the holder.
        reentrant: Whether the same thread may acquire the lock again.
        hint: Advice in the error.

    Raises:
        StorageError: The lock is held; the message names the holder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, is_singleton=True)
    _acquire(lock, path, what, timeout, hint)
    if lock.lock_counter > 1 and not reentrant:
        lock.release()
        raise StorageError(f"{what} already, by {_describe(holder_of(path))}", where=path, hint=hint)
    try:
        with _holder_file(path, heartbeat=timeout > 0) if lock.lock_counter == 1 else nullcontext():
            yield
    finally:
        lock.release()


def is_locked(path: Path) -> bool:
    """Return whether another process holds the lock file `path`."""
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
    """Return the process recorded next to the lock `path`; None if there is none or it has ended."""
    import psutil

    try:
        holder = Holder(**json.loads(_holder_path(path).read_text(encoding="utf-8")))
        gone = holder.host == platform.node() and not psutil.pid_exists(holder.pid)
    except (OSError, ValueError, TypeError, OverflowError):
        return None
    return None if gone else holder


def _acquire(lock: FileLock, path: Path, what: str, timeout: float, hint: str) -> None:
    began = since = time.monotonic()
    seen, noticed = holder_of(path), False
    while True:
        with suppress(Timeout):
            lock.acquire(timeout=min(timeout, 0.2), poll_interval=0.05)
            return
        now, holder = time.monotonic(), holder_of(path)
        if holder != seen:
            seen, since = holder, now
        silent = min(now - since, _age(path))
        if now - since >= timeout or silent >= SILENT_SECONDS:
            raise StorageError(f"{what} already, by {_describe(holder)}", where=path, hint=hint)
        if now - began >= NOTICE_SECONDS and not noticed:
            noticed = True
            logging.getLogger(__name__).warning("%s already; waiting for %s", what, _describe(holder))


def _describe(holder: Holder | None) -> str:
    return str(holder) if holder else "an unknown program"


def _holder_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.holder")


def _age(path: Path) -> float:
    """Seconds since the holder's last heartbeat; inf without one."""
    try:
        return time.time() - _holder_path(path).stat().st_mtime
    except OSError:
        return float("inf")


@contextmanager
def _holder_file(path: Path, *, heartbeat: bool) -> Iterator[None]:
    """Record this process next to the lock; with `heartbeat`, touch that file while the lock is held."""
    file, released = _holder_path(path), threading.Event()
    with suppress(OSError):  # a full disk must not stop the work itself
        file.write_text(json.dumps(asdict(_this_process())), encoding="utf-8")

    def beat() -> None:
        while not released.wait(HEARTBEAT_SECONDS):
            with suppress(OSError):
                os.utime(file)

    thread = threading.Thread(target=beat, name="lock", daemon=True)
    if heartbeat:
        thread.start()
    try:
        yield
    finally:
        released.set()
        if heartbeat:
            thread.join()
        file.unlink(missing_ok=True)


def _this_process() -> Holder:
    return Holder(
        pid=os.getpid(),
        host=platform.node(),
        user=user(),
        command=" ".join(redact_command(sys.argv))[:200],
        since=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    )


def user() -> str:
    """Return the user's name, or the numeric id if there is none, as in some containers."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return str(getattr(os, "getuid", lambda: "unknown")())
