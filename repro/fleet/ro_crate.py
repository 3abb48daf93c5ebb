"""The RO-Crate of an exported run: `ro-crate-metadata.json`, which says what each file of it is."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

import repro
from repro.io.safe_text import printable_json
from repro.records import Record
from repro.reports.model_cards import NAMES, protocol_words

CRATE = "ro-crate-metadata.json"
_VERSION = "https://w3id.org/ro/crate/1.1"
_CONTEXT = (f"{_VERSION}/context", {"sha256": "https://schema.org/sha256"})
_ABOUT = {
    "record.json": "the record: numbers, protocol, provenance and parameters of the result",
    "model.safetensors": "weights after training",
    "curve.csv": "learning curve",
    "metrics.json": "metrics of the evaluation",
    "cost.json": "size and speed of the network",
    "confusion.csv": "confusion matrix over all images",
    "confusion.npz": "confusion matrix of each image",
    "journal.jsonl": "journal of the training",
}
_FORMATS = {
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".csv": "text/csv",
    ".png": "image/png",
    ".npz": "application/zip",
}


def ro_crate(record: Record, hashes: Mapping[str, str]) -> str:
    """Return the metadata of an exported run as JSON-LD in the form of RO-Crate 1.1.

    Args:
        record: The record of the run.
        hashes: Path in the exported file -> sha256, of all files that the metadata describes.
    """
    metadata = {
        "@id": CRATE,
        "@type": "CreativeWork",
        "about": {"@id": "./"},
        "conformsTo": {"@id": _VERSION},
    }
    numbers = list(_numbers(record))
    files = [_file(member, digest) for member, digest in hashes.items()]
    graph = [metadata, _root(record, files, numbers), *files, _action(record, files), _software(), *numbers]
    return printable_json(json.dumps({"@context": _CONTEXT, "@graph": graph}, indent=2)) + "\n"


def _root(record: Record, files: list[dict[str, Any]], numbers: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "@id": "./",
        "@type": "Dataset",
        "name": record.experiment,
        "description": f"A run of {record.experiment}: {protocol_words(record, record.primary)}",
        "datePublished": str(record.provenance.get("at") or ""),
        "hasPart": _references(files),
        "mentions": {"@id": "#run"},
        "variableMeasured": _references(numbers),
    }


def _references(entities: list[dict[str, Any]]) -> list[dict[str, str]]:
    return [{"@id": one["@id"]} for one in entities]


def _file(member: str, digest: str) -> dict[str, Any]:
    path = PurePosixPath(member)
    form = _FORMATS.get(path.suffix, "application/octet-stream")
    about = {"description": _ABOUT[path.name]} if path.name in _ABOUT else {}
    return {
        "@id": quote(member),
        "@type": "File",
        "name": member,
        **about,
        "encodingFormat": form,
        "sha256": digest,
    }


def _action(record: Record, files: list[dict[str, Any]]) -> dict[str, Any]:
    """What made the files: the commit of the project, and when its result was recorded."""
    commit = (record.provenance.get("git") or {}).get("commit")
    said = {"endTime": record.provenance.get("at"), "description": commit and f"at commit {commit}"}
    return {
        "@id": "#run",
        "@type": "CreateAction",
        "name": f"training and evaluation of {record.experiment} on {record.dataset}",
        **{key: value for key, value in said.items() if value},
        "instrument": {"@id": "#repro"},
        "result": _references(files),
    }


def _software() -> dict[str, Any]:
    return {"@id": "#repro", "@type": "SoftwareApplication", "name": "repro", "version": repro.__version__}


def _numbers(record: Record) -> Iterator[dict[str, Any]]:
    """The metrics of the record in percent, with their intervals."""
    for metric, value in record.metrics.items():
        if metric in NAMES:
            between = dict(zip(("minValue", "maxValue"), record.intervals.get(metric, ()), strict=False))
            about = {"name": NAMES[metric], "value": value, "unitText": "percent", **between}
            yield {"@id": f"#{metric}", "@type": "PropertyValue", **about}
