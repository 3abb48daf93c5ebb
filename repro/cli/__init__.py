"""The command line: parse, call one function, print. Heavy imports live inside commands."""

from __future__ import annotations

from collections.abc import Callable


def main() -> None:
    """Entry point of the `repro` script."""
    import os
    import sys

    # Threads of one process wait asleep, not spinning. Beside other work on the same cores, spinning made a
    # training step of 0.42 CPU s cost 0.9 to 6 (2 threads, 2 cores, load 5). Read when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from repro.cli.streams import keep_streams

    keep_streams()
    from repro.cli.app import app
    from repro.cli.console import guarded, show_any_character

    show_any_character()
    sys.exit(_unless_ours(lambda: guarded(lambda: app(standalone_mode=True))))


FAULT = 3  # exit code of a fault of this program: Python's own would be 1, which says that a check failed


def _unless_ours(run: Callable[[], int]) -> int:
    """The exit status of `run`; FAULT and the traceback where the program itself is wrong."""
    import sys
    import traceback

    try:
        code = run()
        sys.stdout.flush()
        return code
    except Exception:
        sys.stderr.write(f"{traceback.format_exc()}this is a fault of the program: please report it\n")
        return FAULT
