"""Run a program without a shell: output shown and kept, signals forwarded, a time limit, no process left.

The program leads its process group, so that its children end with it. Ctrl-C and SIGTERM are forwarded
to the group, which has GRACE seconds to save its work.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO

from repro.errors import CheckFailed, Interrupted, ParamsError
from repro.io.safe_text import one_line

GRACE = 30.0  # seconds between a signal and SIGKILL
POLL = 0.1  # seconds
LAST_LINES = 3  # of the output, in an error


@dataclass(frozen=True, kw_only=True)
class Command:
    """A program to run.

    Attributes:
        arguments: Program and arguments.
        folder: Working directory.
        environment: Variables in addition to those of this process.
        log: File that gets the output, appended.
        timeout: Seconds, None without a limit.
        what: Key of params.yaml that the command is from, for errors.
    """

    arguments: Sequence[str]
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    log: Path
    timeout: float | None = None
    what: str = "command"


def run(
    command: Command,
    *,
    show: Callable[[str], None] = lambda text: None,
    meanwhile: Callable[[], None] = lambda: None,
    started: Callable[[int], None] = lambda pid: None,
) -> None:
    """Run a program to its end.

    Args:
        command: The program.
        show: Called with the output as it comes, with the program's own line ends.
        meanwhile: Called every POLL seconds while the program runs.
        started: Called once with its process id.

    Raises:
        ParamsError: The program does not exist or cannot be executed.
        CheckFailed: It failed, was ended by a signal, or exceeded its time limit.
        Interrupted: This process received SIGINT or SIGTERM and passed it on.
    """
    command.log.parent.mkdir(parents=True, exist_ok=True)
    with command.log.open("ab") as log, _passing_signals() as received:
        process = start(command)
        started(process.pid)
        tail: deque[str] = deque(maxlen=LAST_LINES)
        reader = threading.Thread(target=_copy, args=(_output(process), log, show, tail), daemon=True)
        reader.start()
        try:
            late = _wait(process, command, received, meanwhile)
        finally:
            _end_group(process)
            reader.join(timeout=5)
    _check(process.returncode, command, received, tail, late=late)


def start(command: Command) -> subprocess.Popen[bytes]:
    """Start the program. Raises ParamsError if there is none."""
    program = command.arguments[0]
    try:
        return subprocess.Popen(
            command.arguments,
            cwd=command.folder,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **command.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        what = f"no program '{program}'" if missing else f"'{program}' cannot be run: {error.strerror}"
        raise ParamsError(
            what,
            where=command.what,
            allowed="a program on PATH, or a path from the project's root to an executable file",
            hint=f"for a Python script: `python {program} ...`" if program.endswith(".py") else None,
        ) from None


def _output(process: subprocess.Popen[bytes]) -> IO[bytes]:
    if process.stdout is None:
        raise ValueError("the program was started without a pipe")
    return process.stdout


@contextmanager
def _passing_signals() -> Iterator[list[int]]:
    """The signals that arrive; without the main thread, which receives them, none."""
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)

    try:
        before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:
        before = {}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _copy(output: IO[bytes], log: IO[bytes], show: Callable[[str], None], tail: deque[str]) -> None:
    """Copy the output to the log and the terminal, keep its last lines, and close it."""
    rest = ""
    with output:
        while block := os.read(output.fileno(), 1 << 16):
            with suppress(ValueError):  # the log is closed: a process that left the group writes on
                log.write(block)
                log.flush()
            text = block.decode("utf-8", errors="replace")
            show(text)
            *lines, rest = (rest + text).replace("\r", "\n").split("\n")
            tail.extend(map(_shown, filter(_says, lines)))
        tail.extend(map(_shown, filter(_says, [rest])))


def _says(line: str) -> bool:
    """Whether a line has more than the marks below a line of a traceback."""
    return bool(line.strip(" ^~\t"))


def _shown(line: str) -> str:
    return one_line(line.strip())[:300]


def _wait(
    process: subprocess.Popen[bytes],
    command: Command,
    received: list[int],
    meanwhile: Callable[[], None],
) -> bool:
    """Wait for the end of the program; True if it had to be ended because of its time limit."""
    began, passed, stop_by, late = time.monotonic(), 0, None, False
    while process.poll() is None:
        now = time.monotonic()
        if command.timeout is not None and now - began > command.timeout and not late and not passed:
            late, stop_by = True, now + GRACE
            _signal(process, signal.SIGTERM)
        if len(received) > passed:
            # A second signal asks to end at once.
            _signal(process, received[passed] if passed == 0 else signal.SIGKILL)
            passed, stop_by = passed + 1, now + GRACE
        if stop_by is not None and now > stop_by:
            _signal(process, signal.SIGKILL)
        meanwhile()
        with suppress(subprocess.TimeoutExpired):
            process.wait(POLL)
    return late


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End what the program has left running, and the program itself after an error of ours."""
    _signal(process, signal.SIGKILL)
    process.wait()


def _check(code: int, command: Command, received: Sequence[int], tail: Sequence[str], *, late: bool) -> None:
    """Raise the error of a program that did not succeed."""
    if received:
        name = signal.Signals(received[0]).name
        what = f"{name}: the program was stopped; what it had saved is kept"
        raise Interrupted(what, where=command.log, hint="repeat the command to continue")
    said = f"; it said: {' / '.join(tail)}" if tail else "; it said nothing"
    if late:
        what = f"the program did not end within {command.timeout:g} s"
        hint = "raise `timeout:`, or repeat the command if the program can resume"
        raise CheckFailed(what + said, where=command.log, allowed=command.what, hint=hint)
    if code < 0:
        reason = " (often: out of memory)" if -code == signal.SIGKILL else ""
        what = f"the program was ended by {signal.Signals(-code).name}{reason}"
        raise CheckFailed(what + said, where=command.log, hint="repeat the command to continue")
    if code > 0:
        what = f"the program failed with exit code {code}"
        raise CheckFailed(what + said, where=command.log, hint="the log has its whole output")
