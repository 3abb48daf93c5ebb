"""The mirror: shows a training in MLflow while it runs, without ever touching the training.

    with Journal(path) as journal, Mirror(project, path, run=run):
        train(..., journal=journal)

A process of lowest priority follows the journal and feeds MLflow from it. The training only appends lines to
a file. Whatever happens to the tracker (down, slow, full, wrong address), the training neither notices nor
waits, and `repro sync` makes up for it later. MLflow is imported in that process alone.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from repro.io.redact import redact_text
from repro.params import Project
from repro.records import DIFF, Journal, collect, source_diff, write_bytes
from repro.tracking.address import tracking_uri
from repro.tracking.run_info import Run, Status, start_fields

LOG = "mirror.log"  # beside the journal
_FOLLOWERS: list[subprocess.Popen[bytes]] = []  # they outlive their block, so somebody must hold them


def is_wanted() -> bool:
    """Whether to follow live: MLflow is installed and REPRO_TRACKING is not `off`."""
    return os.environ.get("REPRO_TRACKING") != "off" and importlib.util.find_spec("mlflow") is not None


class Mirror:
    """Feeds MLflow from the journal at `journal_path` while the block runs, and notes how it ended.

    The block's exception decides: none is FINISHED, Ctrl-C or a termination signal turned into SystemExit
    is KILLED, anything else is FAILED. A process killed outright is found out by the follower: KILLED.
    `live=False` notes start and end in the journal and starts nothing (a node without MLflow). `device` is
    what the training runs on ("cuda:0"), for its provenance.
    """

    def __init__(
        self, project: Project, journal_path: Path, *, run: Run, live: bool = True, device: str | None = None
    ) -> None:
        self.project = project
        self.journal_path = journal_path
        self.run = run
        self.live = live
        self.device = device
        self.follower: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with Journal(self.journal_path) as journal:
            journal.event("run", **start_fields(self.run))
            journal.event("provenance", found=collect(self.project.root, device=self.device))
        diff = source_diff(self.project.root)
        if diff:
            write_bytes(self.journal_path.with_name(DIFF), diff)
        if self.live and is_wanted():
            self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        status: Status = "FINISHED"
        if error is not None:
            signalled = isinstance(error, (KeyboardInterrupt, SystemExit))
            stopped = signalled or getattr(error, "exit_code", None) == 130  # 128 + SIGINT: saved, then ended
            status = "KILLED" if stopped else "FAILED"
        text = f"{type(error).__name__}: {error}" if error else ""
        try:
            with Journal(self.journal_path) as journal:
                journal.event("end", status=status, error=redact_text(text)[:2000])
        except OSError:  # a full disk must not hide the error that is on its way
            if error is None:
                raise

    def drain(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds until MLflow has everything; False when it has not."""
        try:
            return self.follower is None or self.follower.wait(timeout) == 0
        except subprocess.TimeoutExpired:
            return False

    def _start(self) -> None:
        where = [str(self.project.root), str(self.journal_path), str(os.getpid())]
        # By environment, not by argument: an address may hold a password, and arguments are public.
        environment = os.environ | {"MLFLOW_TRACKING_URI": tracking_uri(self.project)}
        try:
            with self.journal_path.with_name(LOG).open("ab") as log:
                # Its own session: Ctrl-C in the terminal ends the training, not the report of its end.
                self.follower = subprocess.Popen(
                    [sys.executable, "-m", "repro.tracking.follower", *where],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=environment,
                    start_new_session=True,
                )
            _FOLLOWERS.append(self.follower)
        except OSError as error:
            with Journal(self.journal_path) as journal:
                journal.event("mirror_failed", error=str(error))
