"""Checkpoints of a training: capture, write, verify, restore.

A checkpoint is one file `step-<iteration>-<first 16 hex digits of its sha256>.ckpt`. It is renamed to this
name once all bytes are on disk; the digest detects later corruption. The two newest checkpoints are kept: if
the newest is corrupt, training resumes from the older one and repeats a few minutes. A background thread
writes them, so training waits only for a copy in memory.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import torch
from torch import Tensor

from repro.errors import CheckpointError
from repro.records import disk_errors, truncate_journal
from repro.training.monitor import Losses, diverged
from repro.training.optimizers import all_finite
from repro.training.schedule import Plateau

if TYPE_CHECKING:
    from repro.training.train_step import Run


@dataclass(frozen=True, kw_only=True)
class Best:
    """The weights with the best validation so far, in the file `name` of the work folder.

    The file name contains the iteration: a checkpoint refers to the file that was best when it was written.
    """

    value: float | None = None
    iteration: int = 0
    name: str = ""

    @classmethod
    def write(
        cls, work: Path, weights: dict[str, Tensor], value: float, iteration: int, *, write: bool
    ) -> Best:
        """Write the weights and wait for the disk, before any checkpoint refers to them."""
        best = cls(value=value, iteration=iteration)
        if not write:
            return best
        path = write_with_digest(work, weights, name=f"best-{iteration:09d}", suffix=".pt")
        return replace(best, name=path.name)

    @property
    def is_defined(self) -> bool:
        """Whether any validation gave a finite number."""
        return self.value is not None and math.isfinite(self.value)

    def is_intact(self, work: Path) -> bool:
        return not self.name or is_intact(work / self.name)

    def load(self, work: Path) -> dict[str, Tensor]:
        """Load the weights; CheckpointError if the file is corrupt."""
        if not self.is_intact(work):
            hint = "rerun to resume from an earlier checkpoint; --fresh starts from scratch"
            raise CheckpointError("the best weights are corrupt", where=work / self.name, hint=hint)
        weights: dict[str, Tensor] = torch.load(work / self.name, map_location="cpu", weights_only=True)
        return weights

    def remove_older(self, work: Path) -> None:
        for path in work.glob("best-*.pt"):
            if path.name < self.name:
                path.unlink()


def save(run: Run) -> None:
    """Start writing a checkpoint; raises TrainingDiverged if a weight is not finite."""
    task = run.task
    finish_writing(run, wait=True)
    if not all_finite(run.model):
        raise diverged(f"a weight is not finite after {run.iteration} iterations")
    random = task.ranks.gather(random_state(task.ranks.device))
    if not task.ranks.first:
        return
    state = {
        "iteration": run.iteration,
        "model": run.model.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "scaler": run.scaler.state_dict(),
        "random": random,
        "losses": run.losses.state(),
        "plateau": asdict(run.plateau),
        "best": asdict(run.best),
        "unvalidated": run.unvalidated,
        "journal": task.journal.offset if task.journal is not None else 0,
    }
    run.writer.begin(state, iteration=run.iteration)
    run.saved_bests.append(run.best)


def finish_writing(run: Run, *, wait: bool = False) -> None:
    """Journal a checkpoint that is now on disk, and remove best weights that no checkpoint refers to.

    Raises the OSError of a failed write. `wait` blocks until the current write has finished.
    """
    iteration = run.writer.written(wait=wait)
    if iteration is None:
        return
    run.saved_bests[0].remove_older(run.task.work)
    if run.task.journal is not None:
        run.task.journal.event("checkpoint", step=iteration)


def restore(run: Run) -> int:
    """Load the newest readable checkpoint into `run`; returns its iteration, 0 without a checkpoint.

    Additional processes start with a newly seeded random state, so after a change of the number of processes
    the resumed run equals the uninterrupted one only up to dropout.
    """
    task = run.task
    loaded = _newest(task.work)
    if task.journal is not None:
        for path in loaded.damaged:
            task.journal.event("damaged_checkpoint", file=path.name)
    if (state := loaded.state) is None:
        return 0
    run.writer.intact = loaded.path
    run.model.load_state_dict(state["model"])
    run.optimizer.load_state_dict(state["optimizer"])
    run.scaler.load_state_dict(state["scaler"])
    run.iteration = int(state["iteration"])
    run.losses, run.plateau = Losses(**state["losses"]), Plateau(**state["plateau"])
    run.best = Best(**state["best"])
    run.unvalidated = bool(state.get("unvalidated"))  # missing in older checkpoints
    run.saved_bests.append(run.best)
    if task.ranks.rank < len(state["random"]):
        set_random_state(state["random"][task.ranks.rank], task.ranks.device)
    if task.journal is not None:
        task.journal.event("resumed", step=run.iteration)
    return run.iteration


def rewind(work: Path, journal: Path, *, on_damaged: Callable[[list[Path]], None] | None = None) -> int:
    """Truncate the journal to the newest readable checkpoint, since training repeats what follows.

    Call this before the journal is opened and before a tracker follows it.

    Args:
        work: folder of the checkpoints.
        journal: path of the journal.
        on_damaged: called with the corrupt checkpoints, if there are any.

    Returns:
        The iteration that training resumes from; 0 means from scratch, with an empty journal.
    """
    loaded = _newest(work)
    if loaded.damaged and on_damaged is not None:
        on_damaged(loaded.damaged)
    state = loaded.state
    truncate_journal(journal, int(state["journal"]) if state else 0)
    return int(state["iteration"]) if state else 0


def _newest(work: Path) -> Loaded:
    """The newest readable checkpoint whose best weights are readable, too."""
    return load_state(work, usable=lambda state: Best(**state["best"]).is_intact(work))


def remove_checkpoints(work: Path) -> None:
    """Remove all checkpoints, best weights and partial files; the journal is kept."""
    for path in [*checkpoints(work), *work.glob(".*.part"), *work.glob("best-*.pt")]:
        path.unlink(missing_ok=True)


def random_state(device: torch.device) -> dict[str, Any]:
    """The random state used by dropout; batches depend only on (seed, epoch, index)."""
    state: dict[str, Any] = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    if device.type == "mps":
        state["mps"] = torch.mps.get_rng_state()
    return state


def set_random_state(state: dict[str, Any], device: torch.device) -> None:
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
    if device.type == "mps" and "mps" in state:
        torch.mps.set_rng_state(state["mps"])


_NAME = re.compile(r"step-(\d{9})-([0-9a-f]{16})\.ckpt")


class Writer:
    """Writes the checkpoints of `folder` in a background thread.

    `intact` is the newest checkpoint known to be intact, which is kept in addition to the next one.
    """

    def __init__(self, folder: Path) -> None:
        self.intact: Path | None = None
        self._folder = folder
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: tuple[int, Future[Path]] | None = None

    def begin(self, state: Mapping[str, Any], *, iteration: int) -> None:
        """Copy `state` and start writing the copy; call `written(wait=True)` for the previous one first."""
        assert self._writing is None
        job = partial(save_state, self._folder, host_copy(state), iteration=iteration, keep=self.intact)
        self._writing = iteration, self._thread.submit(job)

    def written(self, *, wait: bool = False) -> int | None:
        """Iteration of the checkpoint whose write finished since the last call, or None.

        Raises the OSError of a failed write. `wait` blocks until the current write has finished.
        """
        if self._writing is None or not (wait or self._writing[1].done()):
            return None
        (iteration, future), self._writing = self._writing, None
        self.intact = future.result()
        return iteration

    def close(self) -> None:
        """Wait for the current write."""
        self._thread.shutdown()


def host_copy(value: Any) -> Any:
    """Deep copy of nested dicts, lists and tuples with all tensors on the CPU."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {name: host_copy(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(host_copy, value))
    return value


def save_state(folder: Path, state: Mapping[str, Any], *, iteration: int, keep: Path | None = None) -> Path:
    """Write `state` (tensors, numbers, strings, dicts, lists) as the newest checkpoint of `folder`.

    Removes all other checkpoints except `keep`.
    """
    path = write_with_digest(folder, state, name=f"step-{iteration:09d}", suffix=".ckpt")
    for other in checkpoints(folder):
        if other not in (path, keep):
            other.unlink(missing_ok=True)
    return path


def write_with_digest(folder: Path, value: Mapping[str, Any], *, name: str, suffix: str) -> Path:
    """Write `value` as `<name>-<digest><suffix>`, and remove partial files of killed processes."""
    folder.mkdir(parents=True, exist_ok=True)
    half = folder / f".{name}.{os.getpid()}.part"
    try:
        with disk_errors(half), half.open("wb") as file:
            hashing = _Hashing(file)
            torch.save(dict(value), cast(BinaryIO, hashing))
            file.flush()
            os.fsync(file.fileno())
        path = folder / f"{name}-{hashing.digest()}{suffix}"
        os.replace(half, path)
    finally:
        half.unlink(missing_ok=True)
    for left in folder.glob(f".{name.partition('-')[0]}-*.part"):
        left.unlink(missing_ok=True)
    return path


def is_intact(path: Path) -> bool:
    """Whether the content of `path` has the digest in its name."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16] == path.stem.rpartition("-")[2]


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """The newest usable state, its file, and the corrupt files that were skipped."""

    state: dict[str, Any] | None = None
    path: Path | None = None
    damaged: list[Path]


def load_state(folder: Path, usable: Callable[[dict[str, Any]], bool] = lambda state: True) -> Loaded:
    """Load the newest intact checkpoint of `folder` whose state is `usable`; others count as corrupt."""
    damaged: list[Path] = []
    for path in reversed(checkpoints(folder)):
        state = _read(path)
        if state is not None and usable(state):
            return Loaded(state=state, path=path, damaged=damaged)
        damaged.append(path)
    return Loaded(damaged=damaged)


def checkpoints(folder: Path) -> list[Path]:
    """Checkpoint files, oldest first."""
    return sorted(path for path in folder.glob("step-*.ckpt") if _NAME.fullmatch(path.name))


def _read(path: Path) -> dict[str, Any] | None:
    """The state in `path`, or None if it is corrupt."""
    if not is_intact(path):
        return None
    state = torch.load(path, map_location="cpu", weights_only=True)
    return state if isinstance(state, dict) else None


class _Hashing:
    """A file that computes the sha256 of what is written to it; torch.save only appends."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()

    def digest(self) -> str:
        return self._hash.hexdigest()[:16]
