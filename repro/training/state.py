"""What a run needs to go on exactly where it was, taken out of it and put back."""

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
from repro.training import resume
from repro.training.parameters import all_finite
from repro.training.schedule import Plateau
from repro.training.watch import Losses, diverged

if TYPE_CHECKING:
    from repro.training.step import Run


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
        path = resume.write_checked(work, weights, name=f"best-{iteration:09d}", suffix=".pt")
        return replace(best, name=path.name)

    @property
    def is_defined(self) -> bool:
        """Whether any validation gave a number."""
        return self.value is not None and math.isfinite(self.value)

    def is_whole(self, work: Path) -> bool:
        return not self.name or resume.is_whole(work / self.name)

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


def _newest(work: Path) -> resume.Loaded:
    """The newest checkpoint that can be read, with the best weights that it refers to."""
    return resume.load_state(work, usable=lambda state: Best(**state["best"]).is_whole(work))


def forget(work: Path) -> None:
    """Remove the checkpoints of a finished run; its journal stays."""
    resume.forget(work)
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
