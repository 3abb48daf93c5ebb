"""The follower process: `python -m repro.tracking.follower ROOT JOURNAL PID` feeds MLflow until the run ends.

It has the lowest priority, its own session, and no way to reach the training but to read its journal.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from repro.io.redact import redact_text
from repro.params import Project
from repro.tracking.address import tracking_uri
from repro.tracking.run_info import RunState, read_state
from repro.tracking.run_writer import RemoteRun, attach, send_journal, send_missing, set_status
from repro.tracking.store import open_client

POLL_SECONDS = 1.0
SHARE = 0.02  # of one core, at most, for reading a long journal again
LONGEST_PAUSE = 60.0
GIVE_UP_SECONDS = 120.0  # after the run's end, when MLflow cannot be reached; `repro sync` takes over


def main() -> int:
    """0 when MLflow has everything, 1 when it could not be reached."""
    if hasattr(os, "nice"):
        os.nice(19)
    root, journal = Path(sys.argv[1]), Path(sys.argv[2])
    # Told, not asked for: a training that died while MLflow was imported here is nobody's parent any more.
    return Follower(project=Project(root), journal=journal, parent=int(sys.argv[3])).follow()


@dataclass(kw_only=True)
class Follower:
    """Follows one journal. `parent` is the training's process."""

    project: Project
    journal: Path
    parent: int
    remote: RemoteRun | None = None
    last_error: str = ""
    over_since: float | None = None
    pause: float = POLL_SECONDS
    say: Callable[[str], None] = field(default=lambda text: print(text, flush=True))

    def follow(self) -> int:
        while True:
            began = time.thread_time()
            state = read_state(self.journal)
            cost = time.thread_time() - began
            over = state is None or state.status != "RUNNING" or not self._parent_lives()
            if state is not None and state.pid != self.parent:
                self.say("another process continues this run: done")
                return 0
            if state is not None and self._try(state, final=over) and over:
                self.say(f"done: {len(state.points)} points, {state.status}")
                return 0
            if over and (state is None or self._gave_up()):
                self.say("MLflow was not reached: run `repro sync` when it is back")
                return 1
            self._sleep(max(self.pause, min(cost / SHARE, LONGEST_PAUSE)))

    def _try(self, state: RunState, *, final: bool) -> bool:
        """One attempt to bring MLflow up to date; any failure is noted and forgotten."""
        try:
            self._send(state, final=final)
        except Exception as error:  # whatever it is, it must not end the following
            self._failed(error)
            return False
        self.pause, self.last_error = POLL_SECONDS, ""
        return True

    def _send(self, state: RunState, *, final: bool) -> None:
        uri = tracking_uri(self.project)
        if final:
            ended = read_state(self.journal) or state  # the last line may have come since
            client = self.remote.client if self.remote else open_client(self.project)
            send_journal(client, self.project, uri, ended)
        elif self.remote is None:
            remote = attach(open_client(self.project), self.project, uri, state)
            set_status(remote.client, remote.run_id, state)
            self.remote = remote if send_missing(remote, state) else None
        elif not send_missing(self.remote, state):
            self.remote = None  # a resumed run came out otherwise: the end puts it right

    def _failed(self, error: Exception) -> None:
        text = redact_text(f"{type(error).__name__}: {error}")[:500]
        if text != self.last_error:
            self.say(text)
        self.last_error = text
        self.remote = None
        self.pause = min(self.pause * 2, LONGEST_PAUSE)

    def _gave_up(self) -> bool:
        """Whether the run ended so long ago; how long MLflow was away before does not matter."""
        self.over_since = self.over_since or time.monotonic()
        return time.monotonic() - self.over_since > GIVE_UP_SECONDS

    def _parent_lives(self) -> bool:
        return os.getppid() == self.parent

    def _sleep(self, seconds: float) -> None:
        """Sleep, but wake up when the run has ended and MLflow can be reached."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and (self.last_error or not self._ended()):
            time.sleep(0.2)

    def _ended(self) -> bool:
        if not self._parent_lives() or not self.journal.exists():
            return True
        with self.journal.open("rb") as file:
            file.seek(max(0, self.journal.stat().st_size - 4096))
            return b'"kind": "end"' in file.read().rsplit(b'"kind": "run"', 1)[-1]


if __name__ == "__main__":
    sys.exit(main())
