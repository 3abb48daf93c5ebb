"""The command line: parse, call one function, print. Heavy imports live inside commands."""

from __future__ import annotations


def main() -> None:
    """Entry point of the `repro` script."""
    import os
    import sys

    # Threads of one process wait asleep, not spinning. Beside other work on the same cores, spinning made a
    # training step of 0.42 CPU s cost 0.9 to 6 (2 threads, 2 cores, load 5). Read when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from repro.cli.app import app
    from repro.cli.common import guarded, show_any_character

    show_any_character()
    sys.exit(guarded(lambda: app(standalone_mode=True)))
