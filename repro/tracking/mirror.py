"""Mirror a running training to MLflow.

    with Journal(path) as journal, Mirror(project, path, run=run):
        train(..., journal=journal)

The training only appends to its journal. A separate process of the lowest priority, the only one that imports
MLflow, follows the journal and sends it. Failures of the tracker (down, slow, full, wrong address) therefore
never affect the training, and `repro sync` sends later what is missing.
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
from repro.records.network import own_code
from repro.tracking.address import tracking_uri
from repro.tracking.run_info import Run, Status, start_fields

LOG = "mirror.log"  # in the journal's folder
_FOLLOWERS: list[subprocess.Popen[bytes]] = []  # keeps references, since followers outlive their Mirror


def is_wanted() -> bool:
    """Whether MLflow is installed and REPRO_TRACKING is not `off`."""
    return os.environ.get("REPRO_TRACKING") != "off" and importlib.util.find_spec("mlflow") is not None


class Mirror:
    """Context manager that starts a follower, and writes start and end of the run to the journal.

    The status follows from the block's exception: FINISHED without one, KILLED after Ctrl-C or a termination
    signal, else FAILED. The follower sets KILLED if the process dies.

    Args:
        project: the project.
        journal_path: journal of the training.
        run: name, data and parameters of the run.
        live: False starts no follower (a node without MLflow).
        device: device of the training ("cuda:0"), for its provenance.
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
            found = collect(self.project.root, device=self.device, params=self.run.params)
            journal.event("provenance", found=found)
        diff = source_diff(self.project.root, own_code(self.run.params))
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
            stopped = signalled or getattr(error, "exit_code", None) == 130  # 128 + SIGINT
            status = "KILLED" if stopped else "FAILED"
        text = f"{type(error).__name__}: {error}" if error else ""
        try:
            with Journal(self.journal_path) as journal:
                journal.event("end", status=status, error=redact_text(text)[:2000])
        except OSError:  # a full disk must not hide the original error
            if error is None:
                raise

    def drain(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for the follower; returns whether everything was sent."""
        try:
            return self.follower is None or self.follower.wait(timeout) == 0
        except subprocess.TimeoutExpired:
            return False

    def _start(self) -> None:
        where = [str(self.project.root), str(self.journal_path), str(os.getpid())]
        # An environment variable, since an address may contain a password and arguments are public.
        environment = os.environ | {"MLFLOW_TRACKING_URI": tracking_uri(self.project)}
        try:
            with self.journal_path.with_name(LOG).open("ab") as log:
                # A new session, so that Ctrl-C in the terminal does not end the follower.
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
