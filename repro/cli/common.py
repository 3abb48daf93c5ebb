"""What every command shares: consoles, JSON output, names, and errors that become messages."""

from __future__ import annotations

import errno
import glob
import json
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from repro.cli.places import unusable
from repro.errors import ReproError

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")]


def experiments_like(incomplete: str) -> list[str]:
    """Names of experiments for the shell's completion; none outside a project."""
    from repro.params.project import find_project  # the light half of repro.params: a shell waits for this

    try:
        folders = find_project().experiments.glob(f"{glob.escape(incomplete)}*/params.yaml")
    except ReproError:
        return []
    return sorted(path.parent.name for path in folders)


Name = Annotated[
    str,
    typer.Argument(help="Experiment, e.g. camvid_mobilenetv2_os16.", autocompletion=experiments_like),
]
Names = Annotated[
    list[str] | None,
    typer.Argument(
        help="Experiments, or patterns such as 'camvid_*'; none means all.", autocompletion=experiments_like
    ),
]


def console(*, stderr: bool = False) -> Any:
    """A rich console; colours and boxes disappear when piped."""
    from rich.console import Console

    return Console(stderr=stderr, soft_wrap=True, highlight=False)


def emit_json(value: object) -> None:
    """`value` as one JSON document on standard output."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


def answer(facts: object, text: str, *, json: bool) -> None:
    """What a command did: one JSON document for machines, `text` for people."""
    if json:
        emit_json(facts)
    else:
        console().print(text, markup=False)


def guarded(run: Callable[[], object]) -> int:
    """Call `run`; the exit status, with errors of ours and of the machine told in plain words."""
    try:
        run()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        return _say(_STOPPED, code) if code == 130 else code
    except KeyboardInterrupt:
        return _say(_STOPPED, 130)
    except ReproError as error:
        return _say(str(error), error.exit_code)
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except OSError as error:
        if (typed := unusable(error)) is not None:
            return _say(str(typed), typed.exit_code)
        if error.errno not in _MACHINE:
            raise
        return _say(f"{_MACHINE[error.errno]}\n  where: {error.filename or error}\n  next: {_NEXT}", 2)
    return 0


_STOPPED = "stopped; finished work is kept, the same command goes on from there"
_NEXT = "free some space or fix the permission, then repeat the command; finished work is kept"
_MACHINE = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file is larger than this account or file system allows",
    errno.EACCES: "no permission",
    errno.EPERM: "no permission",
    errno.EROFS: "the file system is read-only",
}


def _say(text: str, code: int) -> int:
    sys.stderr.write(f"error: {text}\n" if code != 130 else f"{text}\n")
    return code
