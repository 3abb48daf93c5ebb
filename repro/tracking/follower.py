"""The follower process: `python -m repro.tracking.follower ROOT JOURNAL PID` sends a journal to MLflow.

It runs until the run ends, with the lowest priority and in its own session, and only reads the journal.
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
SHARE = 0.02  # largest fraction of one core for reading the journal repeatedly
LONGEST_PAUSE = 60.0
GIVE_UP_SECONDS = 120.0  # after the run's end, if MLflow cannot be reached; `repro sync` sends the rest


def main() -> int:
    """Return 0 if everything was sent to MLflow, 1 if it could not be reached."""
    if hasattr(os, "nice"):
        os.nice(19)
    root, journal = Path(sys.argv[1]), Path(sys.argv[2])
    # The PID is an argument, since a training that died during our imports is no longer our parent.
    return Follower(project=Project(root), journal=journal, parent=int(sys.argv[3])).follow()


@dataclass(kw_only=True)
class Follower:
    """Follows one journal; `parent` is the PID of the training."""

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
        """Try once to update MLflow; errors are logged."""
        try:
            self._send(state, final=final)
        except Exception as error:  # no error may end the follower
            self._failed(error)
            return False
        self.pause, self.last_error = POLL_SECONDS, ""
        return True

    def _send(self, state: RunState, *, final: bool) -> None:
        uri = tracking_uri(self.project)
        if final:
            ended = read_state(self.journal) or state  # the last entry may be newer
            client = self.remote.client if self.remote else open_client(self.project)
            send_journal(client, self.project, uri, ended)
        elif self.remote is None:
            remote = attach(open_client(self.project), self.project, uri, state)
            set_status(remote.client, remote.run_id, state)
            self.remote = remote if send_missing(remote, state) else None
        elif not send_missing(self.remote, state):
            self.remote = None  # a resumed run differs: the final update corrects it

    def _failed(self, error: Exception) -> None:
        text = redact_text(f"{type(error).__name__}: {error}")[:500]
        if text != self.last_error:
            self.say(text)
        self.last_error = text
        self.remote = None
        self.pause = min(self.pause * 2, LONGEST_PAUSE)

    def _gave_up(self) -> bool:
        """Whether the run ended more than GIVE_UP_SECONDS ago."""
        self.over_since = self.over_since or time.monotonic()
        return time.monotonic() - self.over_since > GIVE_UP_SECONDS

    def _parent_lives(self) -> bool:
        return os.getppid() == self.parent

    def _sleep(self, seconds: float) -> None:
        """Sleep, but wake up when the run ends, unless MLflow is unreachable."""
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
