"""Run by test_training_resume: trains the tiny network in children that die by SIGKILL, again and again.

    python -m tests.training.crash FOLDER SEED KILLS

Forking a process that has imported torch makes a child in milliseconds, so 25 crashes cost seconds. Every
update writes a checkpoint. Every other child is killed from outside at a random time; the others die inside
a checkpoint write: before the bytes are on disk, before the file gets its name, or right after.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch._dynamo  # optimisers import it at their first update: 3 s a child otherwise

from repro.training import checkpoint
from tests.training.kit import run_tiny, some_params

PARAMS = some_params(iterations=150, checkpoint_minutes=0.0, log_every=3, keep="best", validate_every=7)


def validate(model: torch.nn.Module) -> dict[str, float]:
    return {"mIoU": float(sum(p.detach().abs().sum() for p in model.parameters()))}


def train(work: Path) -> None:
    """The whole training, and its weights as the last file."""
    outcome = run_tiny(work, PARAMS, validate=validate)
    torch.save({"weights": outcome.state_dict, "chosen": outcome.chosen}, work / "done.pt")


def child(work: Path, sabotage: Callable[[], None] = lambda: None) -> int:
    """Process id of a child that trains in `work`."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            sabotage()
            train(work)
            code = 0
        finally:
            os._exit(code)
    return pid


def crash(work: Path, *, seed: int, kills: int) -> int:
    """Train in `work` with SIGKILLs until the training is done; the number of kills."""
    draw, killed = random.Random(seed), 0
    while True:
        inside = killed % 2 == 1 and killed < kills
        pid = child(work, lambda: die_inside_a_write(draw)) if inside else child(work)
        if not inside and killed < kills:
            kill_after_progress(pid, work, draw)
        _, status = os.waitpid(pid, 0)
        if os.waitstatus_to_exitcode(status) == 0:
            return killed
        assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL
        killed += 1


def kill_after_progress(pid: int, work: Path, draw: random.Random) -> None:
    """SIGKILL within 30 ms after the child's first checkpoint."""
    before = checkpoint.checkpoints(work)
    while checkpoint.checkpoints(work) == before:
        time.sleep(0.002)
    time.sleep(draw.uniform(0.0, 0.03))
    os.kill(pid, signal.SIGKILL)


def die_inside_a_write(draw: random.Random) -> None:
    """The process ends itself around its second to fourth fsync or rename of a checkpoint."""
    name, after = draw.choice(["fsync", "replace"]), draw.choice([True, False])
    countdown = draw.randint(2, 4)
    real = getattr(os, name)

    def deadly(*args: Any) -> Any:
        nonlocal countdown
        countdown -= 1
        if countdown == 0 and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = real(*args)
        if countdown == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    class Deadly:
        def __getattr__(self, wanted: str) -> Any:
            return deadly if wanted == name else getattr(os, wanted)

    checkpoint.os = Deadly()  # type: ignore[attr-defined]


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    os.waitpid(child(folder / "whole"), 0)
    print(crash(folder / "crashed", seed=int(sys.argv[2]), kills=int(sys.argv[3])))
