"""Standard streams that never end a command: the reader may go away, or never have been there.

`repro check | head -1` and `repro check >&-` exit as `repro check` does: what nobody reads is dropped, the
work and its verdict stay.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import TextIO

_GONE = (errno.EPIPE, errno.EBADF, errno.ESHUTDOWN, errno.ECONNRESET)


class Output(io.RawIOBase):
    """A file descriptor that is written to until its reader is gone."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self.descriptor = descriptor
        self.is_gone = False

    def write(self, data: bytes) -> int:  # type: ignore[override]
        if not self.is_gone:
            try:
                return os.write(self.descriptor, data)
            except OSError as error:
                self.is_gone = True  # a full disk too: said once, and the rest is dropped
                if error.errno not in _GONE:
                    raise
        return len(data)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self.descriptor

    def isatty(self) -> bool:
        return os.isatty(self.descriptor)


def keep_streams() -> None:
    """Standard output and error of this process as streams that outlive their readers; called once, first."""
    _fill_descriptors()
    sys.stdout, sys.stderr = _stream(1, sys.stdout), _stream(2, sys.stderr)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", errors="replace")  # noqa: SIM115


def reader_is_gone() -> bool:
    """Whether nobody reads standard output any more: what only shows, and without an end, may stop."""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return isinstance(raw, Output) and raw.is_gone


def _fill_descriptors() -> None:
    """Nothing that is opened later may get the number of a standard stream that was closed."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        continue
    os.close(number)


def _stream(descriptor: int, old: TextIO | None) -> io.TextIOWrapper:
    raw = Output(descriptor)
    lines = descriptor == 2 or raw.isatty()
    encoding, errors = (old.encoding, old.errors) if old is not None else ("utf-8", "replace")
    if old is not None:
        old.flush()
    buffered = io.BufferedWriter(raw, 1 if lines else io.DEFAULT_BUFFER_SIZE)  # type: ignore[type-var]
    return io.TextIOWrapper(buffered, encoding=encoding, errors=errors, line_buffering=lines)
