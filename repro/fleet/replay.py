"""`repro replay`: reproduce a result from its record, and compare the outputs.

The replay runs in a clean worktree at the recorded commit, with the recorded difference of uncommitted code
and the same prepared data. It does not use or change the files of the current checkout. It runs the code of
that commit, a program's commands too, in separate processes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from repro.errors import RecordError, ReproError
from repro.fleet.workspace import remove
from repro.io.atomic import sha256_tree
from repro.io.git import commit_id, git, is_shallow, run_git
from repro.io.names import require_inside
from repro.judgement.evidence import OUT, dependency_sha256
from repro.params import Project
from repro.params.experiment import parse_experiment
from repro.records import DIFF, Expected, Record, collect, read_journal, read_row, sha256_file
from repro.records.build import expected, program_deps

_INCOMPLETE = {
    "not_kept": "not committed and not in the recorded difference, so not in this replay",
    "masked": "credentials were masked in the recorded difference of",
}
Outcome = Literal["bit-equal", "inside tolerance", "different", "missing"]


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Comparison of an output of the replay with the recorded one."""

    output: str
    outcome: Outcome
    detail: str = ""


def replay(
    project: Project,
    name: str,
    *,
    run: Callable[[Path, Sequence[str]], None] | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> list[Compared]:
    """Reproduce the result of `name` and compare it.

    Args:
        project: the project.
        name: experiment with a record.
        run: runs a command of repro in a folder, for tests.
        say: called with progress messages.

    Raises:
        RecordError: its commit is not known, or has other programs than those of the record.
    """
    record = read_row(project.record(name))
    wanted = expected_here(project, record)
    tree = project.cache_folder("replay", record.experiment)
    try:
        worktree(project, record, tree)
        for warning in incomplete(record):
            say(warning)
        for stage in stages(record, tree):
            say(f"repro {' '.join(stage)} in {tree.relative_to(project.root)}")
            (run or run_stage)(tree, stage)
        return list(compare(project, record, tree, wanted))
    finally:
        remove(tree)
        run_git(project.root, "worktree", "prune")


def incomplete(record: Record) -> Iterator[str]:
    """Warnings about parts of the recorded code that the replay does not have."""
    made_at = _made_at(record)
    for key, what in _INCOMPLETE.items():
        names = made_at.get(key)
        if isinstance(names, list) and names:
            yield f"{what}: {', '.join(map(str, names))}"


def _made_at(record: Record) -> Mapping[str, Any]:
    """Git provenance of the training."""
    found = (record.provenance.get("training") or record.provenance).get("git")
    return found if isinstance(found, Mapping) else {}


def stages(record: Record, tree: Path) -> Iterator[list[str]]:
    """Commands of repro to run, in order; data is prepared if it is not yet."""
    if not Project(tree).prepared_split(record.dataset, record.split).parent.is_dir():
        yield ["prepare", record.dataset]
    if record.kind != "external" or _program(record).get("train"):
        yield ["train", record.experiment]
    yield ["evaluate", record.experiment]


def _program(record: Record) -> Mapping[str, Any]:
    """`external:` of the recorded params; {} of a network of this project."""
    return record.params.get("external") or {}


def worktree(project: Project, record: Record, tree: Path) -> None:
    """Check out the recorded code at `tree`, with links to this project's data and without results."""
    made_at = _made_at(record)
    if not made_at.get("commit"):
        why = f": {made_at['unknown']}" if made_at.get("unknown") else ""
        raise RecordError(f"the record has no commit{why}", where=record.experiment)
    commit = commit_id(made_at["commit"], record.experiment)
    remove(tree)  # git removes only registered worktrees
    git(project.root, "worktree", "prune")
    if run_git(project.root, "cat-file", "-e", f"{commit}^{{commit}}").returncode:
        hint = (
            "`git fetch --unshallow`" if is_shallow(project.root) else "`git fetch` the branch of the commit"
        )
        raise RecordError(
            f"its commit {commit[:12]} is not in this clone", where=record.experiment, hint=hint
        )
    git(project.root, "worktree", "add", "--force", "--detach", "--end-of-options", str(tree), commit)
    if made_at.get("diff_sha256"):
        _apply(project, record, tree, str(made_at["diff_sha256"]))
    for name in ("data", "prepared"):
        link(project.root / name, require_inside(tree, tree / name))
    remove_results(require_inside(tree, Project(tree).experiment_folder(record.experiment)))
    _programs_as_recorded(project, record, tree)


def _programs_as_recorded(project: Project, record: Record, tree: Path) -> None:
    """Link files of programs that git does not keep; RecordError for one that is not the recorded one."""
    for path, digest in program_deps(record.provenance.get("inputs") or {}).items():
        target = require_inside(tree, tree / path)
        if not target.exists() and dependency_sha256(project, path) == digest:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to((project.root / path).resolve())
        if dependency_sha256(Project(tree), path) != digest:
            what = f"the recorded commit has no '{path}' as the program used it"
            hint = "commit a program's files before a training, to replay its result anywhere"
            raise RecordError(what, where=record.experiment, hint=hint)


def _apply(project: Project, record: Record, tree: Path, wanted: str) -> None:
    """Apply the recorded difference of uncommitted code, stored with the training's journal."""
    path = project.work_folder(record.run_key) / DIFF
    if not path.is_file() or sha256_file(path) != wanted:
        hint = "commit before training to replay results anywhere"
        raise ReproError("the code was not committed, and its difference is missing", where=path, hint=hint)
    git(tree, "apply", str(path))


def link(source: Path, target: Path) -> None:
    """Link the entries of `source` into the folder `target`; new entries are created in `target` only."""
    target.mkdir(exist_ok=True)
    for entry in source.iterdir() if source.is_dir() else ():
        if not (target / entry.name).exists():
            (target / entry.name).symlink_to(entry.resolve())


def remove_results(folder: Path) -> None:
    """Remove committed outputs, so that only outputs of the replay are compared."""
    for name in ("metrics.json", "curve.csv", "confusion.csv", "cost.json", "model.safetensors", OUT):
        remove(folder / name)


def run_stage(tree: Path, arguments: Sequence[str]) -> None:
    """Run a command with the worktree's code and without tracking; its output goes to standard error."""
    environment = os.environ | {"PYTHONPATH": str(tree), "REPRO_TRACKING": "off"}
    command = [sys.executable, "-m", "repro", *arguments]
    # File descriptor 2, since sys.stderr may be an object without a file.
    done = subprocess.run(command, cwd=tree, env=environment, stdout=2, check=False)
    if done.returncode:
        raise ReproError(
            f"`repro {' '.join(arguments)}` failed in the replay", where=tree, hint="see its output above"
        )


def compare(
    project: Project, record: Record, tree: Path, wanted: Expected | None = None
) -> Iterator[Compared]:
    """Compare all outputs, and the losses step by step; `wanted` is the number of this device."""
    here, there = (one.experiment_folder(record.experiment) for one in (project, Project(tree)))
    trained = ["train", record.experiment] in list(stages(record, tree))
    if trained:
        yield compare_weights(record, there / (OUT if record.kind == "external" else "model.safetensors"))
    yield compare_metrics(record, there / "metrics.json", wanted)
    for name in ("curve.csv", "confusion.csv") if trained else ("confusion.csv",):
        yield compare_bytes(name, here / name, there / name)
    if trained:
        yield first_divergence(_losses(project, record), _losses(Project(tree), record))


def compare_weights(record: Record, path: Path) -> Compared:
    """Compare the weights, or the folder that a program's training left."""
    if not path.exists():
        return Compared(output=path.name, outcome="missing")
    same = sha256_tree(path) == record.model_sha256
    return Compared(output=path.name, outcome="bit-equal" if same else "different")


def expected_here(project: Project, record: Record) -> Expected | None:
    """The number that is expected on this device; that of the record if it does not depend on the device.

    Raises:
        ParamsError: None of several expected numbers is for this device.
    """
    from repro.training.distributed import pick_device  # imports torch

    experiment = parse_experiment(record.params, record.experiment)
    if record.published or not isinstance(experiment.expect, tuple):
        return record.expectation
    here = collect(project.root, device=str(pick_device("auto")))
    return expected(project, experiment, record.kind, {}, provenance=here)


def compare_metrics(record: Record, path: Path, wanted: Expected | None = None) -> Compared:
    """Compare metrics; the tolerance is the band of the expected number, or else 0.05 points."""
    name = "metrics.json"
    if not path.is_file():
        return Compared(output=name, outcome="missing")
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if found.get("undefined", {}) != dict(record.undefined):
        return Compared(output=name, outcome="different", detail="other metrics are undefined")
    gaps = {key: abs(float(found.get(key, float("inf"))) - value) for key, value in record.metrics.items()}
    if not gaps:
        return Compared(output=name, outcome="bit-equal")
    worst = max(gaps, key=lambda key: gaps[key])
    if gaps[worst] == 0:
        return Compared(output=name, outcome="bit-equal")
    wanted = wanted or record.expectation
    gap, detail = gaps.get(record.primary, gaps[worst]), f"{worst} differs by {gaps[worst]:.4f} points"
    if wanted is not None and wanted != record.expectation:  # another device has a number of its own
        gap = abs(float(found.get(wanted.metric, float("inf"))) - wanted.value)
        detail += f"; {wanted.value:g} ± {wanted.band:g} is expected here"
    inside = gap <= (wanted.band if wanted else 0.05)
    return Compared(output=name, outcome="inside tolerance" if inside else "different", detail=detail)


def compare_bytes(name: str, here: Path, there: Path) -> Compared:
    if not here.is_file() or not there.is_file():
        return Compared(output=name, outcome="missing")
    same = here.read_bytes() == there.read_bytes()
    return Compared(output=name, outcome="bit-equal" if same else "different")


def first_divergence(before: dict[int, float], after: dict[int, float]) -> Compared:
    """Find the first step with different losses."""
    if not before or not after:
        return Compared(output="journal", outcome="missing", detail="no journal to compare step by step")
    for step in sorted({*before, *after}):
        if before.get(step) != after.get(step):
            detail = f"first at step {step}: {before.get(step)} then {after.get(step)}"
            return Compared(output="journal", outcome="different", detail=detail)
    return Compared(output="journal", outcome="bit-equal", detail=f"{len(before)} losses")


def _losses(project: Project, record: Record) -> dict[int, float]:
    name = "loss" if record.kind == "external" else "train/loss"
    entries = read_journal(project.journal(record.run_key))
    metrics = [entry for entry in entries if entry["kind"] == "metrics" and name in entry["values"]]
    return {int(entry["step"]): float(entry["values"][name]) for entry in metrics}
