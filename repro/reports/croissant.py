"""Croissant metadata of a data set (MLCommons, JSON-LD): its page, licence, archives, splits and classes.

It is made of the declaration and the records alone: no image is read, and no code of a zoo runs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from repro.datasets import described
from repro.datasets.sets.spec import DatasetModule, Download
from repro.errors import ParamsError
from repro.io.safe_text import printable_json
from repro.reports.results import Results

_CROISSANT = "http://mlcommons.org/croissant/"
_TERMS = (
    *("citeAs", "column", "equivalentProperty", "extract", "field", "fileObject", "fileProperty", "fileSet"),
    *("format", "includes", "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet"),
    *("references", "regex", "repeated", "replace", "samplingRate", "separator", "source", "subField"),
    "transform",
)
_JSON = ("data", "examples")
_CONTEXT: Mapping[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": _CROISSANT,
    "rai": f"{_CROISSANT}RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    **{term: {"@id": f"cr:{term}", "@type": "@json"} for term in _JSON},
    **{term: f"cr:{term}" for term in _TERMS},
}


def croissant(results: Results, names: Sequence[str]) -> str:
    """Return the metadata of one data set of the project as JSON-LD.

    Archives without a published checksum are named in the description: Croissant wants the checksum of each
    file in the distribution. `fingerprint` is that of the prepared split in the records, empty without one.

    Raises:
        ParamsError: Not exactly one name was given.
        UnknownNameError: There is no such data set.
    """
    if len(names) != 1:
        what = f"a Croissant file holds one data set, not {len(names)}"
        raise ParamsError(what, hint="repro page export croissant DATASET")
    document = _document(names[0], described(results.project, names[0]), _fingerprints(results, names[0]))
    return printable_json(json.dumps(document, indent=2, ensure_ascii=False)) + "\n"


def _document(name: str, module: DatasetModule, fingerprints: Mapping[str, str]) -> dict[str, Any]:
    files = [_file(one) for one in module.DOWNLOADS if one.url and one.checksum]
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": name,
        "description": _description(module),
        "conformsTo": f"{_CROISSANT}1.0",
        **({"license": module.LICENCE} if module.LICENCE else {}),
        **_page(module.PAGE),
        **({"distribution": files} if files else {}),
        "recordSet": [_splits(module, fingerprints), _classes(module)],
    }


def _page(page: str) -> dict[str, str]:
    """The owner's page as an address; {} where it is none, as of the built-in set, which a command draws."""
    scheme, _, rest = page.rpartition("://")
    is_address = "." in rest.partition("/")[0] and " " not in rest
    return {"url": f"{scheme or 'https'}://{rest}"} if is_address else {}


def _description(module: DatasetModule) -> str:
    by_hand = [f"{one.name} from {one.url or one.page}" for one in module.DOWNLOADS if not one.checksum]
    archives = f" Archives without a published checksum: {'; '.join(by_hand)}." if by_hand else ""
    layout = f" Layout: {module.LAYOUT}." if module.LAYOUT else ""
    return f"{module.TITLE}, for semantic segmentation into {len(module.CLASSES)} classes.{layout}{archives}"


def _file(file: Download) -> dict[str, Any]:
    kind, _, checksum = str(file.checksum).partition(":")
    form = "application/zip" if file.name.endswith(".zip") else "application/x-tar"
    size = {"contentSize": f"{file.size_GB:g} GB"}
    where = {"@id": file.name, "name": file.name, "contentUrl": file.url, **size}
    return {"@type": "cr:FileObject", **where, "encodingFormat": form, kind: checksum}


def _splits(module: DatasetModule, fingerprints: Mapping[str, str]) -> dict[str, Any]:
    data = [
        {"name": split, "images": count, "fingerprint": fingerprints.get(split, "")}
        for split, count in module.SPLITS.items()
    ]
    fields = {"name": "sc:Text", "images": "sc:Integer", "fingerprint": "sc:Text"}
    return _records("splits", "cr:Split", key="name", fields=fields, data=data)


def _classes(module: DatasetModule) -> dict[str, Any]:
    data = [{"value": value, "name": name} for value, name in enumerate(module.CLASSES)]
    fields = {"value": "sc:Integer", "name": "sc:Text"}
    return _records("classes", "sc:Enumeration", key="value", fields=fields, data=data)


def _records(
    name: str, kind: str, *, key: str, fields: Mapping[str, str], data: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """A record set with its records inside the document; their keys are the ids of its fields."""
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "dataType": kind,
        "key": {"@id": f"{name}/{key}"},
        "field": [
            {"@type": "cr:Field", "@id": f"{name}/{field}", "name": field, "dataType": value}
            for field, value in fields.items()
        ],
        "data": [{f"{name}/{field}": value for field, value in one.items()} for one in data],
    }


def _fingerprints(results: Results, dataset: str) -> dict[str, str]:
    """Split -> fingerprints of its prepared images in the records, separated by commas if several."""
    found: dict[str, set[str]] = {}
    for record in results.records.values():
        if record.dataset == dataset and record.dataset_fingerprint:
            found.setdefault(record.split, set()).add(record.dataset_fingerprint)
    return {split: ", ".join(sorted(values)) for split, values in found.items()}
