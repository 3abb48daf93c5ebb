"""How several experiments run: the options of `repro run` that schedule them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class LauncherName(StrEnum):
    """What starts an experiment: a process on this machine, or a SLURM job."""

    local = "local"
    slurm = "slurm"


@dataclass(frozen=True, kw_only=True)
class FleetOptions:
    """The options of `repro run` that concern scheduling, as they were typed."""

    jobs: int | None = None  # None: one after another in this terminal, unless another option schedules
    gpus: str = ""
    budget: str | None = None
    launcher: LauncherName = LauncherName.local
    slurm: Sequence[str] = ()
    keep_going: bool = False
    again: bool = False
    dry_run: bool = False
    as_json: bool = False

    @property
    def schedules(self) -> bool:
        """Whether an option was given that only the scheduler understands."""
        given = self.gpus or self.slurm or self.dry_run or self.again
        return bool(given) or self.jobs is not None or self.budget is not None or self.launcher != "local"


def parse_duration(text: str | None) -> float | None:
    """'90s', '25m', '3h', '1h30m' as seconds."""
    from repro.errors import ParamsError

    if text is None:
        return None
    match = re.fullmatch(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?", text)
    if not text or match is None:
        raise ParamsError(f"not a duration: '{text}'", where="--budget", allowed="90s, 25m, 3h, 1h30m")
    hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return 3600 * hours + 60 * minutes + seconds


def visible_gpus(asked: str, visible: str | None) -> list[str]:
    """'0,1' as CUDA names them for a child; numbers count within `visible`, what this process may use."""
    from repro.errors import ParamsError

    names = [name.strip() for name in asked.split(",") if name.strip()]
    known = [name.strip() for name in (visible or "").split(",") if name.strip()]
    if visible is None:
        return names
    numbered = {str(number): name for number, name in enumerate(known)} | {
        name: name for name in known if "-" in name
    }
    for name in names:
        if name not in numbered:
            where = f"CUDA_VISIBLE_DEVICES={visible}"
            raise ParamsError(f"no GPU '{name}'", where=where, allowed=", ".join(numbered) or "none")
    return [numbered[name] for name in names]
