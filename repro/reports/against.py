"""The results of this tree against those of a git revision, image by image.

A drop fails when it is larger than the band and significant: the 95 % interval of the difference, from a
paired bootstrap over images, lies below zero. The matrices of the old revision come from DVC's cache; where
they are not there, a drop larger than the band cannot be compared, and that is no pass. Nor is a result that
the gate doubts, however high; one without a reference of its own is compared, for the old one is that.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

from repro.errors import RecordError, ReproError
from repro.json_reader import load_json
from repro.params.project import Project
from repro.records import Record, Verdict, default_band, from_json
from repro.records.git import git, run_git
from repro.records.make import measured_value
from repro.reports.gate import Finding, about, doubt, finding
from repro.reports.links import locked_md5, locked_md5_text
from repro.reports.results import Results
from repro.reports.storage import cache_folder

ROUNDING = 0.01  # points; records keep four decimals
RESAMPLES = 2_000  # the 2.5 % quantile is then 50 resamples deep


def compare(results: Results, rev: str, names: Iterable[str]) -> list[Finding]:
    """Findings on `names` and on every experiment that only `rev` has a record of."""
    root = results.project.root
    commit = _resolve(root, rev)
    old = _records_at(root, commit)
    wanted = sorted({*names, *(old.keys() - results.records.keys() - results.damaged.keys())})
    return [_compare_one(results, name, old.get(name), commit, rev) for name in wanted]


def _compare_one(
    results: Results, name: str, old: Record | RecordError | None, commit: str, rev: str
) -> Finding:
    new = results.records.get(name)
    if isinstance(old, RecordError):
        return about(results, name, "incomparable", f"the record at {rev} is damaged: {old.what}")
    if old is None:
        return finding(results, name)  # nothing before: judged by its own reference
    if new is None:
        damaged = results.damaged.get(name)
        reason = damaged.what if damaged else f"{rev} has a record, this tree has none"
        return about(results, name, "incomparable", reason)
    for what in ("dataset_fingerprint", "split", "n_images", "protocol_hash", "kind"):
        if getattr(new, what) != getattr(old, what):
            return about(results, name, "incomparable", f"{what} differs from {rev}")
    if new.kind == "cost":
        return finding(results, name)  # a size is counted, not measured: it is the printed one or it is not
    doubted = doubt(results, new, results.seeds(new))
    if doubted:
        return about(results, name, "incomparable", doubted)
    return _difference(results, new, old, commit, rev)


def _difference(results: Results, new: Record, old: Record, commit: str, rev: str) -> Finding:
    name, metric = new.experiment, old.primary
    before, after = (measured_value(record.metrics, old.expectation) for record in (old, new))
    if before is None or after is None:
        return about(results, name, "incomparable", f"no {metric} in one of the two", metric=metric)
    band = old.expectation.band if old.expectation else default_band(old.kind, old.dataset).value
    decided, reason = _weigh(results.project, old, new, after - before, band, commit, rev)
    return about(results, name, decided, reason, metric=metric, measured=after, reference=before, band=band)


def _weigh(
    project: Project, old: Record, new: Record, gap: float, band: float, commit: str, rev: str
) -> tuple[Verdict, str]:
    """The verdict on a difference of `gap` points, and the reason for it."""
    if abs(gap) <= band + 1e-9:
        return "reproduced", f"within the band of {rev}"
    if gap > 0:
        return "improved", f"above the band of {rev}"
    try:
        low, high = _paired_interval(project, old, new, commit)
    except ReproError as error:
        return "incomparable", f"larger than the band, and {error.what}"
    return (
        "regressed" if high < 0 else "reproduced",
        f"95 % interval of the difference {low:+z.2f} to {high:+z.2f}",
    )


def _paired_interval(project: Project, old: Record, new: Record, commit: str) -> tuple[float, float]:
    """95 % interval of new - old mIoU over the same resampled images.

    RecordError where the matrices are not those of the two records: they would then say nothing about them.
    """
    from repro.evaluation.compare import compare as compare_matrices
    from repro.evaluation.files import read_confusions

    name, metric = new.experiment, old.primary
    before = read_confusions(_matrices_at(project, name, commit))
    after = read_confusions(_current_matrices(project, name))
    variant = metric.removeprefix("mIoU")
    found = compare_matrices(before, after, variant=variant, resamples=RESAMPLES).mIoU
    if found.a is None or found.b is None or found.low is None or found.high is None:
        raise RecordError("the matrices give no mIoU")
    for record, value in ((old, found.a), (new, found.b)):
        if not math.isclose(value, record.metrics.get(metric, math.nan), abs_tol=ROUNDING):
            raise RecordError(f"a record does not have the {metric} of its matrices, {value:.2f}")
    return found.low, found.high


def _current_matrices(project: Project, name: str) -> Path:
    path = project.experiments / name / "confusion.npz"
    if path.is_file():
        return path
    return _cached(project.root, locked_md5(path.with_name("dvc.lock"), path.name), f"{path.name} of {name}")


def _matrices_at(project: Project, name: str, commit: str) -> Path:
    lock = git(project.root, "show", f"{commit}:./experiments/{name}/dvc.lock").decode()
    return _cached(
        project.root, locked_md5_text(lock, "confusion.npz"), f"confusion.npz of {name} at {commit[:9]}"
    )


def _cached(root: Path, md5: str | None, what: str) -> Path:
    """The file with this md5 in DVC's local cache."""
    path = cache_folder(root) / "files" / "md5" / (md5 or "-")[:2] / (md5 or "-")[2:]
    if not path.is_file():
        raise RecordError(
            f"{what} is not in DVC's cache", where=path, hint="`dvc fetch --all-commits` gets it"
        )
    return path


def _resolve(root: Path, rev: str) -> str:
    done = run_git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{rev}^{{commit}}")
    if done.returncode:
        hint = "`git fetch` may be needed"
        raise ReproError(f"'{rev}' is no git revision here", where=root, hint=hint)
    return done.stdout.decode().strip()


def _records_at(root: Path, commit: str) -> dict[str, Record | RecordError]:
    """Every record of a revision, read with two git processes; by object, for a name may be any text."""
    listed = git(root, "ls-tree", "-z", commit, "reports/rows/").decode(errors="surrogateescape")
    entries = [entry.partition("\t") for entry in listed.split("\0") if entry.endswith(".json")]
    wanted = "".join(f"{facts.split()[2]}\n" for facts, _, _ in entries).encode()
    rest = git(root, "cat-file", "--batch", feed=wanted) if entries else b""
    found: dict[str, Record | RecordError] = {}
    for _, _, path in entries:
        header, _, rest = rest.partition(b"\n")
        size = int(header.split()[2])
        found[Path(path).stem] = _parsed(rest[:size], f"{commit[:9]}:{path}")
        rest = rest[size + 1 :]
    return found


def _parsed(content: bytes, where: str) -> Record | RecordError:
    try:
        return from_json(load_json(content, where), where)
    except RecordError as error:
        return error
