"""A whole SLURM cluster on this machine: munged, slurmctld and slurmd, one node, everything in one folder."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.tracking.kit import free_port

PROGRAMS = ("munged", "slurmctld", "slurmd", "srun", "sbatch", "squeue", "scancel")
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
KillWait=30
InactiveLimit=0
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=test Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def installed() -> bool:
    """Whether a cluster can be started here: Debian's slurm-wlm and munge, and root."""
    return all(tool(name) for name in PROGRAMS) and os.geteuid() == 0


def tool(name: str) -> str | None:
    """Path of a program; daemons are in /usr/sbin, which is not on every PATH."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@contextmanager
def slurm(folder: Path, *, cpus: int = 2) -> Iterator[dict[str, str]]:
    """Environment variables that lead sbatch, squeue and scancel to a running cluster of one node."""
    for name in ("munge", "state", "spool"):
        (folder / name).mkdir(parents=True)
    key = folder / "munge" / "key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    (folder / "munge").chmod(0o755)
    host = platform.node().split(".")[0]
    text = CONFIGURATION.format(folder=folder, host=host, controller=free_port(), node=free_port(), cpus=cpus)
    path = folder / "slurm.conf"
    path.write_text(text)
    variables = {"SLURM_CONF": str(path)}
    with ExitStack() as daemons:
        munge = [
            f"--{name}={folder}/munge/{name}" for name in ("socket", "pid-file", "log-file", "seed-file")
        ]
        daemons.enter_context(
            _daemon(folder, "munged", "--foreground", "--force", f"--key-file={key}", *munge)
        )
        _until((folder / "munge" / "socket").exists, "munged")
        daemons.enter_context(_daemon(folder, "slurmctld", "-D", "-f", str(path), **variables))
        daemons.enter_context(_daemon(folder, "slurmd", "-D", "-N", host, "-f", str(path), **variables))
        _until(lambda: _idle(variables), "the node")
        yield variables


@contextmanager
def _daemon(folder: Path, name: str, *arguments: str, **variables: str) -> Iterator[None]:
    """A program that stays in the foreground, ended by its own process id."""
    program = tool(name)
    assert program
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [program, *arguments], env=os.environ | variables, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _idle(variables: dict[str, str]) -> bool:
    command = ["sinfo", "-h", "-o", "%T"]
    done = subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, check=False)
    return "idle" in done.stdout


def _until(condition: object, what: str, seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < until, f"{what} did not start"
        time.sleep(0.1)
