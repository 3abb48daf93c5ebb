"""An attestation of a result: is this number right, and under which protocol?

It is made of the record, the present judgement and git alone. It is kept in `published/attested/` as markdown
and JSON under the experiment's name. The same record always gives the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from repro.errors import DataError, ReproError, UnknownNameError
from repro.io.atomic import write_text
from repro.io.git import run_git
from repro.io.json_reader import read_json
from repro.io.safe_text import one_line, printable_json
from repro.params.project import Project
from repro.records import Record
from repro.reports.formatting import device_text
from repro.reports.gate import Finding, finding
from repro.reports.model_cards import protocol_words
from repro.reports.results import Results

_HINT = "write it again: `repro page attest NAME --write`"
Attestation = Mapping[str, Any]


def attested(results: Results, name: str, *, by: str | None = None) -> dict[str, Any]:
    """The facts of an attestation, as JSON types; null for what is not known.

    Args:
        results: What is known of the project.
        name: An experiment with a record, or the id of a published row that one stands for.
        by: Who measured; default: who is named in the kept attestation of the same record, else the author
            of the record's commit.

    Raises:
        UnknownNameError: Nothing was measured under this name.
    """
    experiment = results.by_row.get(name, name)
    if experiment not in results.records:
        raise UnknownNameError("measured result", name, results.records, hint="`repro list --measured`")
    record, found = results.records[experiment], finding(results, experiment)
    who = by or _kept_name(results.project, record) or _author(results.project, experiment)
    return {**_number(record, found), **_origin(results.project, record), "measured_by": who}


def _number(record: Record, found: Finding) -> dict[str, Any]:
    low, high = record.intervals.get(found.metric, (None, None))
    return {
        "experiment": record.experiment,
        "rows": list(record.rows),
        "metric": found.metric,
        "measured": record.metrics.get(found.metric),
        "interval_low": low,
        "interval_high": high,
        "interval_kind": record.interval_kind if low is not None else None,
        "published": found.published,
        "reference": found.reference,
        "band": found.band,
        "verdict": found.verdict,
        "tier": found.tier or None,
        "reason": found.reason,
    }


def _origin(project: Project, record: Record) -> dict[str, Any]:
    made, git = record.provenance, record.provenance.get("git") or {}
    packages = made.get("packages") or {}
    return {
        "protocol_words": protocol_words(record, record.primary),
        "protocol": record.protocol_hash,
        "dataset": record.dataset,
        "split": record.split,
        "n_images": record.n_images,
        "dataset_fingerprint": record.dataset_fingerprint,
        "model_sha256": record.model_sha256,
        "measured_at": made.get("at"),
        "git_commit": git.get("commit"),
        "uncommitted_changes": git.get("dirty"),
        "versions": {name: one.get("version") for name, one in packages.items()},
        "python": made.get("python"),
        "device": device_text(record.cost) if record.cost else None,
        "engine": (record.params.get("engine") or {}).get("evaluation"),
        "record_path": project.record(record.experiment).relative_to(project.root).as_posix(),
        "content_hash": record.content_hash,
        "repeat": f"repro replay {record.experiment}",
    }


def _author(project: Project, experiment: str) -> str | None:
    """The author of the record's last commit, or who would commit it; None where git does not know it."""
    asked = (("log", "-1", "--format=%an", "--", str(project.record(experiment))), ("config", "user.name"))
    try:
        said = (run_git(project.root, *words).stdout.decode(errors="replace").strip() for words in asked)
        return next((one_line(name) for name in said if name), None)
    except ReproError:
        return None


def _kept_name(project: Project, record: Record) -> str | None:
    path = project.attested(record.experiment)
    kept = _read(path) if path.is_file() else {}
    same = kept.get("content_hash") == record.content_hash
    return str(kept["measured_by"]) if same and kept.get("measured_by") else None


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(read_json(path, hint=_HINT))
    except ReproError as error:
        raise DataError(f"not an attestation: {error.what}", where=path, hint=_HINT) from None


def as_markdown(facts: Attestation) -> str:
    """The attestation for a reader: an answer in one sentence, then a list of facts."""
    lines = [f"- {key}: {text}" for key, text in _lines(facts).items() if text]
    name, path = facts["experiment"], facts["record_path"]
    check = (
        f"The record is `{path}`.\n`git log --show-signature -- {path}` shows who committed it, and whether\n"
        f"the commit is signed. `repro page attest {name} --check` says whether this matches the record."
    )
    return "\n\n".join([f"# {name}", _answer(facts), "\n".join(lines), check]) + "\n"


def _answer(facts: Attestation) -> str:
    value = "no value" if facts["measured"] is None else f"{facts['measured']:.2f}"
    low, high = facts["interval_low"], facts["interval_high"]
    between = "" if low is None else f" (95 % interval {low:.2f} to {high:.2f})"
    printed = facts["published"]
    published = "no page publishes it" if printed is None else f"published is {printed:.2f}"
    verdict = f"{facts['verdict']} ({facts['tier']})" if facts["tier"] else facts["verdict"]
    return f"**{facts['metric']} {value}**{between}; {published}. Verdict: {verdict}."


def _lines(facts: Attestation) -> dict[str, str]:
    versions = ", ".join(f"{name} {facts['versions'][name]}" for name in sorted(facts["versions"]))
    changes = " with uncommitted changes" if facts["uncommitted_changes"] else ""
    engine = facts["engine"]
    said = {
        "Published rows": ", ".join(facts["rows"]),
        "Compared with": _compared(facts),
        "Interval": facts["interval_kind"],
        "Protocol": f"{facts['protocol_words']} (`{facts['protocol']}`)",
        "Data": f"{facts['dataset']} {facts['split']}, {facts['n_images']} images, fingerprint"
        f" `{facts['dataset_fingerprint']}`",
        "Weights": facts["model_sha256"] and f"sha256 `{facts['model_sha256']}`",
        "Measured by": facts["measured_by"],
        "Measured at": facts["measured_at"],
        "Commit": facts["git_commit"] and f"{facts['git_commit']}{changes}",
        "Engine": None if engine is None else f"version {engine} of the evaluation",
        "Versions": f"Python {facts['python']}, {versions}" if versions else None,
        "Device": facts["device"],
        "Repeat": f"`{facts['repeat']}`",
    }
    return {key: one_line(str(text)) if text else "" for key, text in said.items()}


def _compared(facts: Attestation) -> str:
    """The number and the band that the verdict is of, and where they come from: '50.00 ± 0.8: row ...'."""
    reference, band = facts["reference"], facts["band"]
    accepted = "" if reference is None or band is None else f"{reference:.2f} ± {band:g}"
    return ": ".join(filter(None, [accepted, facts["reason"]]))


def files(project: Project, facts: Attestation) -> dict[Path, str]:
    """The two files of an attestation with their content."""
    path = project.attested(facts["experiment"])
    text = printable_json(json.dumps(facts, indent=2, ensure_ascii=False)) + "\n"
    return {path.with_suffix(".md"): as_markdown(facts), path: text}


def write(project: Project, facts: Attestation) -> list[Path]:
    """Write what differs of an attestation; return its paths."""
    wanted = files(project, facts)
    for path in outdated(wanted):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, wanted[path])
    return list(wanted)


def outdated(wanted: Mapping[Path, str]) -> list[Path]:
    """The files that are missing or have other content."""
    return [path for path, text in wanted.items() if not path.is_file() or path.read_bytes() != text.encode()]


def kept_names(project: Project) -> list[str]:
    """Every name with an attestation, sorted."""
    return sorted(path.stem for path in project.attested_folder.glob("*.json"))
