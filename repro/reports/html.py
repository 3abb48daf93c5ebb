"""`repro report`: one HTML file with every result, that opens from disk without a network.

Tables, plots and pages are drawn by assets/*.js from JSON inside the file; curves by Chart.js 4 (MIT, licence
beside it). The same records give the same bytes on one machine.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from repro.errors import ParamsError
from repro.io.safe_text import printable_texts
from repro.params import read_yaml
from repro.reports.experiment_pages import experiment_page, flat
from repro.reports.frame import result_lines
from repro.reports.gate import headline
from repro.reports.results import Results
from repro.reports.svg_plots import plots

TITLES = (  # of a report, and of one by version 0.1
    b"<title>Results: published and measured</title>",
    b"<title>DeepLab results: published and measured</title>",
)
SCRIPTS = ("report.js", "charts.js", "overview.js", "experiment.js", "compare.js", "router.js")
# Columns of `result_lines` that a reader of a table cannot use: hashes, and paths that other links lead to.
_LEFT_OUT = (
    "dataset_fingerprint",
    "model_sha256",
    "run_key",
    "config_path",
    "log_path",
    "undefined",
    "reference",
)


def html_report(results: Results, *, missing: Mapping[str, str] | None = None) -> str:
    """The report of everything that is recorded and declared.

    Args:
        results: all results.
        missing: command that provides a data set that is not on this machine, by data set.
    """
    found = report_data(results, missing=missing or {})
    # "<" as an escape: no class name or note can end the script element
    data = json.dumps(printable_texts(found), ensure_ascii=False, separators=(",", ":")).replace(
        "<", "\\u003c"
    )
    text = _asset("report.html").replace("/*STYLE*/", _asset("report.css"))
    text = text.replace("/*CHART*/", _asset("chart.umd.min.js"))
    text = text.replace("/*REPORT*/", "".join(_asset(name) for name in SCRIPTS))
    return text.replace("/*PLOTS*/", "".join(plots(found["rows"], link="#/experiment/"))).replace(
        "/*DATA*/", data
    )


def is_report(path: Path) -> bool:
    """Whether a file is a report, of whatever version: by its title, which stands at its beginning."""
    with path.open("rb") as file:
        start = file.read(1000)
    return any(title in start for title in TITLES)


def _asset(name: str) -> str:
    return files("repro.reports").joinpath("assets", name).read_text(encoding="utf-8")


def report_data(results: Results, *, missing: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What the page draws: a line per result, and everything about each experiment."""
    lines = [_shown(line) for line in result_lines(results)]
    by_name: dict[str, dict[str, Any]] = {}
    for line in lines:
        by_name.setdefault(line.get("experiment", ""), line)
    measured = sum("measured" in line for line in lines)
    names = results.names()
    return {
        "summary": f"{len(lines)} results, {measured} measured, {len(names)} experiments.",
        "headline": headline(results),
        "datasets": sorted({line["dataset"] for line in lines if "dataset" in line}),
        "rows": lines,
        "recipes": _recipes(results),
        "experiments": {
            name: experiment_page(results, name, by_name.get(name, {}), missing or {}) for name in names
        },
    }


def _shown(line: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of a result, without what a table cannot show."""
    known = {key: value for key, value in line.items() if value not in (None, "") and value == value}
    return {key: value for key, value in known.items() if key not in _LEFT_OUT}


def _recipes(results: Results) -> dict[str, dict[str, Any]]:
    """The shared settings that params.yaml of experiments differ from."""
    try:
        blocks = read_yaml(results.project.params).get("recipes") or {}
    except (ParamsError, FileNotFoundError):
        return {}
    return {str(name): flat(block) for name, block in blocks.items() if isinstance(block, Mapping)}
