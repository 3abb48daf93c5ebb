"""Checkpoints of a training: capture, write, verify, restore.

A checkpoint is one file `step-<iteration>-<first 16 hex digits of its sha256>.ckpt`. It gets its name by one
rename after all bytes are on disk, so a file with a name is whole; the digest in the name finds later damage.
The two newest are kept: if the newest cannot be read, the older one is used and a few minutes are lost.
Writing takes a thread of its own: the training waits for a copy in memory, not for the disk.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from repro.errors import CheckpointError
from repro.records import truncate_journal
from repro.training.monitor import Losses, diverged
from repro.training.optimizers import all_finite
from repro.training.schedule import Plateau

if TYPE_CHECKING:
    from repro.training.train_step import Run
import hashlib
import os
import re
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import BinaryIO, cast

from repro.records import disk_errors


@dataclass(frozen=True, kw_only=True)
class Best:
    """The weights that validated best so far: a checked file in the work folder, `name`.

    Its name carries its iteration: a checkpoint refers to the file that was best when it was written,
    whatever came later and was lost.
    """

    value: float | None = None
    iteration: int = 0
    name: str = ""

    @classmethod
    def write(
        cls, work: Path, weights: dict[str, Tensor], value: float, iteration: int, *, write: bool
    ) -> Best:
        """It is on the disk when this returns, before any checkpoint that refers to it."""
        best = cls(value=value, iteration=iteration)
        if not write:
            return best
        path = write_checked(work, weights, name=f"best-{iteration:09d}", suffix=".pt")
        return replace(best, name=path.name)

    @property
    def is_defined(self) -> bool:
        """Whether any validation gave a number."""
        return self.value is not None and math.isfinite(self.value)

    def is_whole(self, work: Path) -> bool:
        return not self.name or is_whole(work / self.name)

    def load(self, work: Path) -> dict[str, Tensor]:
        """The weights; CheckpointError when the file is not what was written."""
        if not self.is_whole(work):
            hint = "the same command goes on from a checkpoint before them; --fresh begins anew"
            raise CheckpointError("the best weights are damaged", where=work / self.name, hint=hint)
        weights: dict[str, Tensor] = torch.load(work / self.name, map_location="cpu", weights_only=True)
        return weights

    def forget_older(self, work: Path) -> None:
        for path in work.glob("best-*.pt"):
            if path.name < self.name:
                path.unlink()


def save(run: Run) -> None:
    """Begin to write a checkpoint; refuses weights that are not finite, so that the last good one stays."""
    task = run.task
    settle(run, wait=True)
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


def settle(run: Run, *, wait: bool = False) -> None:
    """Note a checkpoint that has come to the disk; raises the OSError of one that has not.

    The best weights that the checkpoints on the disk refer to stay, and those found since.
    """
    iteration = run.writer.written(wait=wait)
    if iteration is None:
        return
    run.saved_bests[0].forget_older(run.task.work)
    if run.task.journal is not None:
        run.task.journal.event("checkpoint", step=iteration)


def restore(run: Run) -> int:
    """Put the newest readable checkpoint into the run; the iteration it goes on from, 0 without one.

    With another number of processes the random state of processes that were not there before is seeded
    anew: the resumed run then equals the uninterrupted one up to dropout, not bit for bit.
    """
    task = run.task
    loaded = _newest(task.work)
    if task.journal is not None:
        for path in loaded.damaged:
            task.journal.event("damaged_checkpoint", file=path.name)
    if (state := loaded.state) is None:
        return 0
    run.writer.good = loaded.path
    run.model.load_state_dict(state["model"])
    run.optimizer.load_state_dict(state["optimizer"])
    run.scaler.load_state_dict(state["scaler"])
    run.iteration = int(state["iteration"])
    run.losses, run.plateau = Losses(**state["losses"]), Plateau(**state["plateau"])
    run.best = Best(**state["best"])
    run.unvalidated = bool(state.get("unvalidated"))  # not in checkpoints from before
    run.saved_bests.append(run.best)
    if task.ranks.rank < len(state["random"]):
        set_random_state(state["random"][task.ranks.rank], task.ranks.device)
    if task.journal is not None:
        task.journal.event("resumed", step=run.iteration)
    return run.iteration


def rewind(work: Path, journal: Path, *, on_damaged: Callable[[list[Path]], None] | None = None) -> int:
    """Cut the journal back to the newest readable checkpoint: later lines will be written again.

    Call before the journal is opened and before anything (a tracker) notes that the run goes on. Returns
    the iteration that training will go on from; 0 empties the journal. `on_damaged` is told of checkpoints
    that cannot be read.
    """
    loaded = _newest(work)
    if loaded.damaged and on_damaged is not None:
        on_damaged(loaded.damaged)
    state = loaded.state
    truncate_journal(journal, int(state["journal"]) if state else 0)
    return int(state["iteration"]) if state else 0


def _newest(work: Path) -> Loaded:
    """The newest checkpoint that can be read, with the best weights that it refers to."""
    return load_state(work, usable=lambda state: Best(**state["best"]).is_whole(work))


def forget(work: Path) -> None:
    """Remove the checkpoints of a finished run; its journal stays."""
    forget_checkpoints(work)
    for path in work.glob("best-*.pt"):
        path.unlink()


def random_state(device: torch.device) -> dict[str, Any]:
    """Random state that dropout draws from. Batches need none: they follow from (seed, epoch, index)."""
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
    """Writes the checkpoints of `folder` from a thread, one at a time, while the training goes on.

    `good` is the newest checkpoint that is known to be whole: the one to keep beside the next.
    """

    def __init__(self, folder: Path) -> None:
        self.good: Path | None = None
        self._folder = folder
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: tuple[int, Future[Path]] | None = None

    def begin(self, state: Mapping[str, Any], *, iteration: int) -> None:
        """Copy `state` and begin to write the copy. Ask `written` of the checkpoint before first."""
        assert self._writing is None
        job = partial(save_state, self._folder, host_copy(state), iteration=iteration, keep=self.good)
        self._writing = iteration, self._thread.submit(job)

    def written(self, *, wait: bool = False) -> int | None:
        """The iteration of the checkpoint that has come to the disk since the last call, if one has.

        Raises the OSError of a write that failed. `wait`: for the one that is being written.
        """
        if self._writing is None or not (wait or self._writing[1].done()):
            return None
        (iteration, future), self._writing = self._writing, None
        self.good = future.result()
        return iteration

    def close(self) -> None:
        """Wait for what is being written."""
        self._thread.shutdown()


def host_copy(value: Any) -> Any:
    """`value` in dicts, lists and tuples of its own, its tensors copied to the host: no update changes it."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {name: host_copy(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(host_copy, value))
    return value


def save_state(folder: Path, state: Mapping[str, Any], *, iteration: int, keep: Path | None = None) -> Path:
    """Write `state` (tensors, numbers, strings, dicts, lists) as the newest checkpoint of `folder`.

    All others but `keep` go: damaged ones must not take the place of a good one.
    """
    path = write_checked(folder, state, name=f"step-{iteration:09d}", suffix=".ckpt")
    for other in checkpoints(folder):
        if other not in (path, keep):
            other.unlink(missing_ok=True)
    return path


def write_checked(folder: Path, value: Mapping[str, Any], *, name: str, suffix: str) -> Path:
    """Write `value` as `<name>-<digest><suffix>`; what killed writers of such a file left goes."""
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


def is_whole(path: Path) -> bool:
    """Whether the bytes of a checked file are those that were written."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16] == path.stem.rpartition("-")[2]


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """The newest state that can be used, its file, and damaged files that were passed over."""

    state: dict[str, Any] | None = None
    path: Path | None = None
    damaged: list[Path]


def load_state(folder: Path, usable: Callable[[dict[str, Any]], bool] = lambda state: True) -> Loaded:
    """Look from the newest to the oldest; one that is not `usable` counts as damaged."""
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


def forget_checkpoints(folder: Path) -> None:
    """Remove all checkpoints and what killed writers left."""
    for path in [*checkpoints(folder), *folder.glob(".*.part")]:
        path.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any] | None:
    """The state in `path`, or None when its bytes are not those that were written."""
    if not is_whole(path):
        return None
    state = torch.load(path, map_location="cpu", weights_only=True)
    return state if isinstance(state, dict) else None


class _Hashing:
    """A file that takes the sha256 of what is written through it; torch.save only appends."""

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
