"""How a fleet runs: the options that `repro run`, `repro fleet` and `repro campaign` share, in one place."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from typing import Annotated, Any, get_type_hints

import typer


@dataclass(frozen=True, kw_only=True)
class How:
    """A fleet's options, as they were typed."""

    jobs: Annotated[int, typer.Option(min=0, help="Parallel jobs (0 = one per GPU, else 1).")] = 0
    gpus: Annotated[str, typer.Option(help="GPUs of this machine to use, e.g. 0,1.")] = ""
    budget: Annotated[str | None, typer.Option(help="Wall time: 25m, 3h, 90s.")] = None
    launcher: Annotated[str, typer.Option(help="local or slurm.")] = "local"
    slurm: Annotated[
        list[str], typer.Option(metavar="KEY=VALUE", help="What sbatch gets: partition=gpu, gpus_per_node=1.")
    ] = ()  # type: ignore[assignment]
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="Run what can run where others cannot.")
    ] = False
    again: Annotated[bool, typer.Option("--again", help="Also re-run recorded experiments.")] = False
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would run, and in which order.")
    ] = False
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")] = (
        False
    )

    @property
    def is_asked_for(self) -> bool:
        """Whether anything was said that only a fleet can do."""
        flags = self.jobs or self.gpus or self.slurm or self.dry_run or self.again
        return bool(flags) or self.budget is not None or self.launcher != "local"


def with_how(command: Callable[..., None]) -> Callable[..., None]:
    """`command(..., how)` as typer wants it: every field of How is an option of its own."""
    hints, shared = get_type_hints(command, include_extras=True), get_type_hints(How, include_extras=True)
    own = [
        one.replace(annotation=hints[name])
        for name, one in inspect.signature(command).parameters.items()
        if name != "how"
    ]
    options = [
        inspect.Parameter(
            f.name, inspect.Parameter.KEYWORD_ONLY, default=f.default, annotation=shared[f.name]
        )
        for f in fields(How)
    ]

    @wraps(command)
    def called(**given: Any) -> None:
        how = How(**{field.name: given.pop(field.name) for field in fields(How)})
        command(**given, how=how)

    called.__signature__ = inspect.Signature([*own, *options])  # type: ignore[attr-defined]
    called.__annotations__ = {one.name: one.annotation for one in (*own, *options)}
    return called


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
