"""What all commands share: consoles that print text without markup, JSON output, errors as messages."""

from __future__ import annotations

import errno
import io
import json
import re
import sys
from collections.abc import Callable, Iterable
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from repro.cli import completion
from repro.cli.extras import missing_extra
from repro.errors import ReproError
from repro.io.safe_text import printable, printable_json


class PlainConsole(Console):
    """Rich without markup and emoji codes; every string, those in tables too, comes through `render_str`."""

    def __init__(self, *, stderr: bool) -> None:
        super().__init__(stderr=stderr, soft_wrap=True, highlight=False, markup=False, emoji=False)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(printable(text), **options)


Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")]


Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="Experiment, e.g. camvid_mobilenetv2_os16.",
        autocompletion=completion.experiments,
    ),
]
Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="NAME",
        help="Experiments, or patterns such as 'camvid_*'; none means all.",
        autocompletion=completion.experiments,
    ),
]


def console(*, stderr: bool = False) -> Any:
    """A rich console; colours and boxes disappear when piped."""

    return PlainConsole(stderr=stderr)


def write(text: str, *, stderr: bool = False) -> None:
    """Text on a standard stream, without what a terminal would obey."""
    (sys.stderr if stderr else sys.stdout).write(printable(text))


def pass_through(text: str) -> None:
    """What a program of the zoo prints, unchanged, on standard error: its colours and progress bars work."""
    sys.stderr.write(text)
    sys.stderr.flush()


def show_any_character() -> None:
    """A character that the terminal's encoding lacks becomes "?" on standard output, not a traceback."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors in ("strict", "surrogateescape"):
        sys.stdout.reconfigure(errors="replace")


def emit_json(value: object) -> None:
    """`value` as one JSON document on standard output."""
    emit_json_text(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


def emit_json_text(text: str) -> None:
    """JSON text on standard output; what its encoding lacks is escaped, so that no "?" changes the data."""
    text = printable_json(text)
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        text = re.sub("[^\x00-\x7f]", lambda found: json.dumps(found[0])[1:-1], text)
    sys.stdout.write(text)


def shortened(notes: Iterable[str], *, shown: int = 3) -> list[str]:
    """Notes `FILE: text`, of each text (whatever its numbers) the first few and how many more there are."""
    kinds: dict[str, list[str]] = {}
    for note in notes:
        kinds.setdefault(re.sub(r"\d+", "", note.rpartition(": ")[2]), []).append(note)
    lines = []
    for alike in kinds.values():
        lines += alike[:shown]
        if len(alike) > shown:
            lines.append(f"... and {len(alike) - shown} more (--json lists all)")
    return lines


def answer(facts: object, text: str, *, json: bool) -> None:
    """Print the result of a command: one JSON document, or `text`."""
    if json:
        emit_json(facts)
    else:
        console().print(text)


def _flushed(run: Callable[[], object]) -> None:
    """Call `run` and flush its output here, where a full disk can still be reported."""
    try:
        run()
    finally:
        sys.stdout.flush()


def guarded(run: Callable[[], object]) -> int:
    """Call `run`; the exit status, with expected errors and those of the machine as messages."""
    try:
        _flushed(run)
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        return _say(_STOPPED, code) if code == 130 else code
    except KeyboardInterrupt:
        return _say(_STOPPED, 130)
    except ReproError as error:
        return _say(str(error), error.exit_code)
    except MemoryError:
        return _say(_MEMORY, 2)
    except (ImportError, RuntimeError) as error:
        if isinstance(error, ImportError) and (missing := missing_extra(error)):
            return _say(missing, 2)
        if str(error).startswith("Symlink loop"):  # what pathlib raises before Python 3.13
            return _say(_machine(errno.ELOOP, str(error)), 2)
        if not any(words in str(error) for words in _OUT_OF_MEMORY):
            raise
        return _say(f"{_MEMORY}\n  where: {str(error)[:200]}", 2)
    except OSError as error:
        if error.errno not in _MACHINE:
            raise
        return _say(_machine(error.errno, str(error.filename or error)), 2)
    return 0


def _machine(number: int, where: str) -> str:
    return f"{_MACHINE[number]}\n  where: {where[:300]}\n  next: {_NEXT.get(number, _REPEAT)}"


_STOPPED = "interrupted; progress is saved, rerun to resume"
_MEMORY = "not enough memory (`ulimit -v`, other programs): free some, then repeat the command"
# What a library says that could not be loaded, a thread that could not be started, a tensor without a place.
_OUT_OF_MEMORY = (
    "failed to map segment",
    "cannot allocate memory",
    "can't start new thread",
    "can't allocate memory",
)
_REPEAT = "free some space or fix the permission, then repeat the command; progress is saved"
_NEXT = {
    errno.ELOOP: "remove the link",
    errno.ENAMETOOLONG: "use a shorter name",
    errno.ENOTDIR: "name another path",
}
_MACHINE = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file is larger than this account or file system allows",
    errno.EACCES: "no permission",
    errno.EPERM: "no permission",
    errno.EROFS: "the file system is read-only",
    errno.ELOOP: "a symbolic link leads to itself",
    errno.ENAMETOOLONG: "the name of a file is too long",
    errno.ENOTDIR: "a file where a folder is needed",
    errno.EMFILE: "this process may open no more files (`ulimit -n`)",
    errno.ENFILE: "this machine may open no more files",
    errno.ENOMEM: "not enough memory (`ulimit -v`)",
    errno.EAGAIN: "no more processes or threads are allowed (`ulimit -u`)",
}


def _say(text: str, code: int) -> int:
    write(f"error: {text}\n" if code != 130 else f"{text}\n", stderr=True)
    return code
