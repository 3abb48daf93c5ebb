"""The results of this tree against those of a git revision, image by image.

First the gate on this tree: what fails there fails here. Then the weights: what dvc.lock names as before is
of the same run. Then what was expected at the revision, where that was lowered or widened since. Then the
earlier number: a drop fails when it is larger than the band and significant, which is when the 95 % interval
of the difference, from a paired bootstrap over images (or over groups or blocks of images that belong
together), is below zero. The matrices of the old revision come from DVC's cache; where they are absent, a
drop larger than the band cannot be compared, and that is no pass.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from repro.errors import RecordError, ReproError
from repro.io.git import git, is_shallow, known_failure, run_git
from repro.io.json_reader import load_json
from repro.io.yaml_reader import load_yaml
from repro.judgement.evidence import LOCK, NPZ, WEIGHTS, folder_evidence
from repro.params import Band, Project, Protocol, parse
from repro.params.bands import parse_bands
from repro.params.protocol_words import protocol_differences
from repro.published.page import QUIRK
from repro.records import PASSING, Record, Verdict, default_band, from_json, verdict
from repro.records.build import measured_value, why_undefined
from repro.records.dvc_files import Lock, cached_file, parse_lock, read_lock
from repro.reports.gate import Finding, about, finding
from repro.reports.results import Results

ROUNDING = 0.01  # points; records keep four decimals
RESAMPLES = 2_000  # the 2.5 % quantile is then 50 resamples deep


def compare(results: Results, rev: str, names: Iterable[str]) -> list[Finding]:
    """Findings on `names` and on every experiment that only `rev` has a record of."""
    root = results.project.root
    commit = _resolve(root, rev)
    old, bands = _records_at(root, commit), _bands_at(root, commit)
    old = {name: one if isinstance(one, RecordError) else _as_judged(one, bands) for name, one in old.items()}
    wanted = sorted({*names, *(old.keys() - results.records.keys() - results.damaged.keys())})
    return [_compare_one(results, name, old.get(name), commit, rev) for name in wanted]


def _compare_one(
    results: Results, name: str, old: Record | RecordError | None, commit: str, rev: str
) -> Finding:
    found, new = finding(results, name), results.records.get(name)
    if isinstance(old, RecordError):
        return about(results, name, "incomparable", f"the record at {rev} is damaged: {old.what}")
    if old is not None and new is None and name not in results.damaged:
        return about(results, name, "incomparable", f"{rev} has a record, this tree has none")
    if old is None or new is None or not found.passes:
        return found  # nothing before; or the gate alone decides, for no revision excuses what it fails
    for what in ("dataset_fingerprint", "split", "n_images", "protocol_hash", "kind"):
        if getattr(new, what) != getattr(old, what):
            return replace(found, verdict="incomparable", reason=_differs(what, new, old, rev))
    wrong = _files_differ(results.project.root, old, new, commit)
    if wrong:
        return replace(found, verdict="incomparable", reason=f"{wrong} {rev}")
    if new.kind == "cost":
        return found  # a size is counted, not measured: it is the printed one or it is not
    return _expected_before(results, found, old, rev) or _difference(results, found, old, commit, rev)


def _differs(what: str, new: Record, old: Record, rev: str) -> str:
    words = protocol_differences(new.protocol, old.protocol) if what == "protocol_hash" else []
    return f"{what} differs from {rev}" + (f": {', '.join(words)}" if words else "")


def _files_differ(root: Path, old: Record, new: Record, commit: str) -> str:
    """What the record says that cannot be, by dvc.lock now and before; empty where it can."""
    before, now = _lock_at(root, old.experiment, commit), _lock_now(root, new.experiment)
    if before is None:
        return ""
    lost = [name for name in (WEIGHTS, NPZ) if name in before.outs and (not now or name not in now.outs)]
    if lost or now is None:
        return f"{LOCK} names no {lost[0]}, and does at" if lost else ""
    return _weights_differ(before, now, old, new) or _numbers_differ(before, now, old, new)


def _numbers_differ(then: Lock, here: Lock, old: Record, new: Record) -> str:
    """The same matrices give the same numbers; and intervals, where these are of the same kind."""
    if NPZ not in then.outs or then.outs[NPZ] != here.outs[NPZ]:
        return ""
    tables: list[tuple[str, Mapping[str, object], Mapping[str, object]]] = [
        ("", old.metrics, new.metrics),
        ("IoU of ", old.per_class, new.per_class),
        *([("the interval of ", old.intervals, new.intervals)] if old.interval == new.interval else []),
    ]
    wrong = [what + key for what, a, b in tables for key in a.keys() & b.keys() if a[key] != b[key]]
    return f"the matrices are the same file, and {min(wrong)} differs from" if wrong else ""


def _weights_differ(then: Lock, here: Lock, old: Record, new: Record) -> str:
    before, now = then.outs.get(WEIGHTS), here.outs.get(WEIGHTS)
    if before is None:
        return ""
    if before == now and new.model_sha256 != old.model_sha256:
        return "the weights are the same file, and their sha256 differs from"
    if before == now and new.kind == "trained" and new.run_key != old.run_key:
        return "the weights are the same file, and their run key differs from"
    if before != now and new.model_sha256 == old.model_sha256:
        return "the weights are another file, with the sha256 of"
    return ""


def _lock_now(root: Path, name: str) -> Lock | None:
    return read_lock(root / "experiments" / name / LOCK)


def _expected_before(results: Results, found: Finding, old: Record, rev: str) -> Finding | None:
    """A failure by what was expected at `rev`, where that was changed since; None where it passes."""
    new, then = results.as_judged(found.experiment), old.expectation
    if then is None or not _changed(old, new, rev):
        return None
    measured = results.judge.number(found.experiment, then.metric)
    decided = verdict(measured=measured, reference=then.value, band=then.band, published=bool(old.published))
    if decided in PASSING:
        return None
    decided = "incomparable" if decided == "unmeasured" else decided
    reason = f"{_changed(old, new, rev)}; by the former it has {decided}"
    return replace(
        found,
        verdict=decided,
        reason=reason,
        metric=then.metric,
        measured=measured,
        reference=then.value,
        band=then.band,
    )


def _changed(old: Record, new: Record, rev: str) -> str:
    """What is expected now and was at `rev`; empty where metric, number, band and origin are the same."""
    if _aim(old) == _aim(new):
        return ""
    return f"what is expected was changed since {rev}: {_aim(old)}, now {_aim(new)}"


def _aim(record: Record) -> str:
    wanted, whose = record.expectation, "published" if record.published else "own"
    return f"{whose} {wanted.metric} {wanted.value!r} ± {wanted.band!r}" if wanted else "nothing"


def _difference(results: Results, found: Finding, old: Record, commit: str, rev: str) -> Finding:
    """The result against its earlier self, in the metric that is compared now."""
    new = results.as_judged(found.experiment)
    before = measured_value(old.metrics, new.expectation)
    if before is None or found.measured is None:
        why = why_undefined(old.undefined, new.expectation)
        reason = f"at {rev}, {why}" if why else f"no {found.metric} at {rev}"
        return replace(found, verdict="incomparable", reason=reason)
    band = min(one.band for one in (old.expectation, new.expectation) if one)
    at_rev = replace(found, reference=before, band=band)
    decided, reason = _weigh(results.project, new, at_rev, commit, rev)
    changed = _changed(old, new, rev)
    return replace(at_rev, verdict=decided, reason=f"{reason}; {changed}" if changed else reason)


def _weigh(project: Project, new: Record, found: Finding, commit: str, rev: str) -> tuple[Verdict, str]:
    """The verdict on the difference from the number at `rev` that `found` refers to, and the reason."""
    before, after = found.reference or 0.0, found.measured or 0.0
    decided = verdict(measured=after, reference=before, band=found.band or 0.0, published=bool(new.published))
    if decided in PASSING:
        place = "within" if after - before <= (found.band or 0.0) + 1e-9 else "above"
        return found.verdict, f"{place} the band of {rev}"
    try:
        low, high, kind = paired_interval(project, new, found.metric, (before, after), commit)
    except ReproError as error:
        return "incomparable", f"larger than the band, and {error.what}"
    reason = f"95 % interval of the difference {low:+z.2f} to {high:+z.2f} ({kind}, paired)"
    return (decided if high < 0 else found.verdict), reason


def paired_interval(
    project: Project, new: Record, metric: str, values: tuple[float, float], commit: str
) -> tuple[float, float, str]:
    """95 % interval of now - before of a mIoU over the same resampled images, and its kind.

    By the page's formula if it has one.

    RecordError where the matrices do not give `values`: they would then say nothing about them.
    """
    from repro.evaluation.outputs import parse_confusions, read_confusions
    from repro.evaluation.paired_test import compare as compare_matrices

    name, protocol = new.experiment, parse(Protocol, new.protocol, new.experiment)
    if not metric.startswith("mIoU"):
        raise RecordError(f"only a mIoU has a paired bootstrap, not {metric}")
    before = read_confusions(_matrices_at(project, name, commit))
    content = folder_evidence(project, name, thorough=False).read(NPZ)
    if content is None:
        raise RecordError(f"{NPZ} of {name} is not here", hint="`dvc pull` or `dvc checkout` brings it")
    after = parse_confusions(content, project.experiment_folder(name) / NPZ)
    variant = metric.removeprefix("mIoU")
    compared = compare_matrices(
        before,
        after,
        variant=variant + (QUIRK if protocol.zero_tile == "nan" else ""),
        union_bug=protocol.union_bug,
        resamples=RESAMPLES,
    )
    found = compared.mIoU
    if found.a is None or found.b is None or found.low is None or found.high is None:
        raise RecordError(f"the matrices give no {metric}")
    for given, value in zip((found.a, found.b), values, strict=True):
        if not math.isclose(given, value, abs_tol=ROUNDING):
            raise RecordError(f"a record does not have the {metric} of its matrices, {given:.2f}")
    return found.low, found.high, compared.interval


def _matrices_at(project: Project, name: str, commit: str) -> Path:
    lock = _lock_at(project.root, name, commit)
    path = cached_file(project.root, lock.outs.get(NPZ) if lock else None)
    if path is None:
        what = f"{NPZ} of {name} at {commit[:9]} is not in DVC's cache"
        raise RecordError(what, hint="`dvc fetch --all-commits` gets it")
    return path


def _lock_at(root: Path, name: str, commit: str) -> Lock | None:
    """The dvc.lock of an experiment at a commit; None where there is none."""
    done = run_git(root, "show", f"{commit}:./experiments/{name}/{LOCK}")
    return None if done.returncode else parse_lock(done.stdout.decode(errors="replace"))


def _bands_at(root: Path, commit: str) -> Mapping[str, Band] | None:
    """`bands:` of params.yaml at a commit; None where it cannot be read."""
    done = run_git(root, "show", f"{commit}:./params.yaml")
    try:
        text = done.stdout.decode(errors="replace")
        return None if done.returncode else parse_bands(load_yaml(text, commit).get("bands"), commit)
    except ReproError:
        return None


def _as_judged(old: Record, bands: Mapping[str, Band] | None) -> Record:
    """A record of the revision with the band that a published number had there, see `Results.as_judged`."""
    wanted, external = old.expectation, old.params.get("external")
    if wanted is None or not old.published or bands is None:
        return old
    released = isinstance(external, Mapping) and not external.get("train")
    band = default_band(bands, "released" if released else old.kind, old.dataset)
    return replace(old, expectation=replace(wanted, band=band.value))


def _resolve(root: Path, rev: str) -> str:
    done = run_git(root, "rev-parse", "--verify", "--end-of-options", f"{rev}^{{commit}}")
    if done.returncode:
        raise known_failure(root, done) or _no_revision(root, rev)
    return done.stdout.decode().strip()


def _no_revision(root: Path, rev: str) -> ReproError:
    if is_shallow(root):
        what = f"'{rev}' is not in this shallow clone"
        return ReproError(what, where=root, hint="`git fetch --unshallow`")
    return ReproError(f"'{rev}' is no git revision here", where=root, hint="`git fetch` may be needed")


def _records_at(root: Path, commit: str) -> dict[str, Record | RecordError]:
    """Every record of a revision, read with two git processes; by object, for a name may be any text."""
    listed = git(root, "ls-tree", "-z", commit, "reports/rows/").decode(errors="surrogateescape")
    entries = [
        entry.partition("\t") for entry in listed.split("\0") if entry.endswith(".json") and " blob " in entry
    ]
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
