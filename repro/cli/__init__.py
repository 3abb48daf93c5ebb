"""The command line: parse, call one function, print. Heavy imports live inside commands."""

from __future__ import annotations


def main() -> None:
    """Entry point of the `repro` script."""
    import sys

    from repro.cli.app import app
    from repro.cli.common import guarded

    sys.exit(guarded(lambda: app(standalone_mode=True)))
