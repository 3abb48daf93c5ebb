"""Metadata of models in YAML as a markdown table, so that pages of every form are read by one importer.

Two forms: a metafile (`Models:` with `Results:`, as OpenMMLab writes it) and the `model-index:` of a model
card.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from repro.errors import DataError
from repro.io import text_table
from repro.io.yaml_reader import load_yaml, read_yaml

_FORMS = "a metafile with `Models:`, or a model card with `model-index:`"
_COSTS = ("Memory (GB)", "Training Memory (GB)", "Flops", "Parameters")
Row = dict[str, str]


def yaml_as_markdown(path: Path) -> str:
    """The results of a YAML file as one markdown table with a row per model and data set.

    Raises:
        DataError: The file has neither form, or no result.
    """
    return _read(read_yaml(path), path)


def _read(found: Mapping[str, Any], where: object) -> str:
    models, index = found.get("Models"), found.get("model-index")
    try:
        rows = [*_metafile(models or []), *_model_index(index or [])]
    except (AttributeError, TypeError, LookupError) as error:
        raise DataError(f"not results of models: {error}", where=where, allowed=_FORMS) from error
    if not rows:
        raise DataError("no result in this file", where=where, allowed=_FORMS)
    return _table(rows)


def with_model_index(text: str, where: object) -> str:
    """A markdown page, with the results of its front matter (a model card's) as a table at its end."""
    front, end, _ = text.removeprefix("---\n").partition("\n---")
    if not (text.startswith("---\n") and end and re.search(r"(?m)^model-index:", front)):
        return text
    found = load_yaml(front, where)
    return f"{text.rstrip()}\n\n## model-index\n\n{_read(found, where)}"


def _metafile(models: list[Mapping[str, Any]]) -> Iterator[Row]:
    for model in models:
        facts = model.get("Metadata") or {}
        results = model.get("Results") or []
        for result in [results] if isinstance(results, Mapping) else results:
            row = {"Model": str(model["Name"]), "Dataset": str(result.get("Dataset", ""))}
            row |= {key: str(value) for key, value in (result.get("Metrics") or {}).items()}
            row |= {key: str(facts[key]) for key in _COSTS if key in facts}
            row |= {"Config": _link("config", model.get("Config"))}
            yield row | {"Download": _link("model", model.get("Weights"))}


def _model_index(models: list[Mapping[str, Any]]) -> Iterator[Row]:
    for model in models:
        for result in model.get("results") or []:
            dataset = result.get("dataset") or {}
            row = {
                "Model": str(model["name"]),
                "Dataset": str(dataset.get("name") or dataset.get("type", "")),
            }
            for metric in result.get("metrics") or []:
                row[str(metric.get("name") or metric["type"])] = str(metric["value"])
            yield row


def _link(text: str, target: object) -> str:
    return f"[{text}]({target})" if target else ""


def _table(rows: list[Row]) -> str:
    titles = list(dict.fromkeys(title for row in rows for title in row))
    body = [[row.get(title, "") for title in titles] for row in rows]
    return text_table.markdown(titles, body) + "\n"
