"""Run by test_training_distributed: jobs of two real gloo processes, forked after the imports are paid for.

python -m tests.training.ranks FOLDER
srun -n 2 python -m tests.training.ranks --step FOLDER: one process of a job that somebody else started
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import accelerate  # noqa: F401  (imported before forking)
import torch
import torch._dynamo
from torch import nn

from repro.errors import ReproError
from repro.params.training import TrainingParams
from repro.records import Journal
from repro.training.checkpoint import rewind
from repro.training.distributed import Ranks, detect_lost_rank, join, leave
from repro.training.loop import fit
from repro.training.monitor import Status
from tests.training.kit import TinyNet, some_params, tiny_task

PARAMS = some_params(iterations=10, batch=4, log_every=1)
WATCHED = some_params(
    iterations=30,
    batch=4,
    log_every=1,
    validate_every=1,
    monitor="loss",
    keep="best",
    schedule="plateau",
    plateau_patience=1,
)
PER_STEP = some_params(iterations=10, batch=4, log_every=1, checkpoint_minutes=0)


def network() -> TinyNet:
    """Without BN and dropout: what is computed does not depend on how images are spread."""
    torch.manual_seed(0)
    return TinyNet(norm=False, dropout=0.0)


def train(work: Path, ranks: Ranks, until: Callable[[Ranks, int], None] | None = None) -> None:
    """One rank of a job, as the CLI runs it; `until` may end it after an update, before it is saved."""

    def progress(status: Status) -> None:
        if until is not None:
            until(ranks, status.iteration)

    params = PER_STEP if until is not None else PARAMS
    alone(work, ranks, params, model=network(), progress=progress)


def watched(work: Path, ranks: Ranks) -> None:
    """With BN, whose statistics differ per rank, and a learning rate that validation lowers."""
    alone(work, ranks, WATCHED, model=TinyNet(dropout=0.0), validate=statistics)


def statistics(model: nn.Module) -> dict[str, float]:
    """A validation loss that hangs on the statistics of BN, and gets better on some ranks alone."""
    mean = next(module for module in model.modules() if isinstance(module, nn.BatchNorm2d)).running_mean
    assert mean is not None
    return {"loss": float(mean.double().sum().sin())}


def alone(work: Path, ranks: Ranks, params: TrainingParams, **more: Any) -> None:
    """One rank's training in `work`, where rank 0 writes."""
    if ranks.first:
        work.mkdir(exist_ok=True)
        rewind(work, work / "journal.jsonl")
    ranks.wait()
    journal = Journal(work / "journal.jsonl") if ranks.first else None
    outcome = fit(tiny_task(work, journal, params, ranks=ranks, **more))
    torch.save(outcome.state_dict, work / f"weights-{ranks.rank}.pt")


def job(body: Callable[[Ranks], None], folder: Path) -> list[int]:
    """Run `body` in two processes; their exit codes (negative: killed by that signal)."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = []
    for rank in range(2):
        pid = os.fork()
        if pid == 0:
            os._exit(process(body, rank, port, folder))
        children.append(pid)
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]


def process(body: Callable[[Ranks], None], rank: int, port: int, folder: Path) -> int:
    """SLURM's names for the place, as srun gives them."""
    os.environ |= {"SLURM_PROCID": str(rank), "SLURM_STEP_NUM_TASKS": "2", "SLURM_LOCALID": str(rank)}
    os.environ |= {"SLURM_STEP_NODELIST": "localhost", "SLURM_JOB_ID": "7", "MASTER_PORT": str(port)}
    ranks = join("cpu")
    assert (ranks.rank, ranks.world) == (rank, 2)
    try:
        with detect_lost_rank(ranks):
            body(ranks)
    except ReproError as error:
        (folder / f"error-{rank}.txt").write_text(f"{type(error).__name__}\n{error}")
        return error.exit_code
    leave()
    return 0


def dies_at_4(ranks: Ranks, iteration: int) -> None:
    if ranks.rank == 1 and iteration == 4:
        os.kill(os.getpid(), signal.SIGKILL)


def stops_at_4(ranks: Ranks, iteration: int) -> None:
    if ranks.rank == 1 and iteration == 4:
        os.kill(os.getpid(), signal.SIGTERM)


def step(folder: Path) -> None:
    ranks = join("cpu")
    with detect_lost_rank(ranks):
        train(folder / "srun", ranks)
    leave()


if __name__ == "__main__":
    torch.set_num_threads(1)
    here = Path(sys.argv[-1])
    if sys.argv[1] == "--step":
        sys.exit(step(here))
    print("two", job(lambda ranks: train(here / "two", ranks), here))
    print("killed", job(lambda ranks: train(here / "killed", ranks, dies_at_4), here))
    os.rename(here / "error-0.txt", here / "killed.txt")
    print("stopped", job(lambda ranks: train(here / "stopped", ranks, stops_at_4), here))
    print("watched", job(lambda ranks: watched(here / "watched", ranks), here))
    train(here / "one", Ranks(device=torch.device("cpu")))
    train(here / "killed", Ranks(device=torch.device("cpu")))  # resumes with one process
