"""Start-up: `repro --help` beside an empty typer program."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

from tests.bench.row import Row, interleaved

EMPTY = "import typer\napp = typer.Typer()\n@app.command()\ndef hello() -> None: ...\napp()"


BOUND = 1.5  # 46 commands against one: 1.43 from bytecode, 1.25 where both compile at every start


def rows() -> Iterator[Row]:
    ours, peer = interleaved(
        lambda: _run("-m", "repro", "--help"), lambda: _run("-c", EMPTY, "--help"), repeats=7
    )
    yield Row(name="repro --help", peer_name="empty typer program", ours=ours, peer=peer, bound=BOUND)


def _run(*arguments: str) -> None:
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
