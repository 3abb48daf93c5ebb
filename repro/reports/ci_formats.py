"""The gate's findings in the formats that CI systems read: JUnit, SARIF, markdown, GitHub annotations."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any
from xml.etree import ElementTree

from repro.io.safe_text import printable, printable_texts
from repro.records import FAILING, PASSING
from repro.records.printed_costs import COSTS
from repro.reports import formatting
from repro.reports.gate import Finding, summary
from repro.reports.grid import Grid, markdown

_LEVEL = dict.fromkeys(("unmeasured", "improved", "known difference"), "note")  # every other one is an error
_QUIET = ("reproduced", "holds")
_RULES = {
    "regressed": "The measured number is below the band around the published one.",
    "drifted": "The measured number is below the band around the one that this project measured before.",
    "incomparable": "The result was not measured in the way its reference was, or cannot be believed.",
    "unmeasured": "Nothing was recorded for this experiment yet.",
    "improved": "The measured number is above the band around the published one.",
    "differs": "The network does not have the parameters, size or FLOPs that the page prints.",
    "known difference": "The same, and published/ID.yaml says why.",
}
COLUMNS = (
    *("", "experiment", "row", "metric", "measured", "reference", "band", "difference", "verdict"),
    *("tier", "why"),
)
_MARK = {
    **dict.fromkeys(PASSING, "✅"),
    **dict.fromkeys(FAILING, "❌"),
    "incomparable": "⚠️",
    "unmeasured": "·",
    "known difference": "·",
}


def message(one: Finding) -> str:
    """'mIoU 46.10, reference 47.70 ± 0.80 (-1.60): regressed. <reason>', and what could not be recomputed."""
    if one.measured is None or one.reference is None:
        measured = "" if one.measured is None else f"{one.metric} {one.measured:.2f}: "
        text = f"{measured}{one.verdict_and_tier}. {one.reason}"
    else:
        against = f"reference {one.reference:.2f} ± {one.band or 0:g} ({one.difference:+z.2f})"
        text = f"{one.metric} {one.measured:.2f}, {against}: {one.verdict_and_tier}. {one.reason}"
    return text + "".join(f"; {numbers}" for numbers in one.not_recomputed)


def as_json(findings: Sequence[Finding], code: int) -> dict[str, Any]:
    """What `repro check --json` prints."""
    return {"exit_code": code, "summary": summary(findings), "findings": [_json(one) for one in findings]}


def _json(one: Finding) -> dict[str, Any]:
    """A finding with the keys of docs/json.md; `difference` is a former one."""
    low, high = one.interval or (None, None)
    gap = one.difference
    return {
        "experiment": one.experiment,
        "dataset": one.dataset,
        "rows": list(one.rows),
        "verdict": one.verdict,
        "tier": one.tier or None,
        "reason": one.reason,
        "metric": one.metric,
        "published": one.published,
        "measured": one.measured,
        "reference": one.reference,
        "gap": None if gap is None else round(gap, 4),
        "band": one.band,
        "interval_low": low,
        "interval_high": high,
        "interval_kind": one.interval_kind or None,
        "not_recomputed": list(one.not_recomputed),
        "difference": gap,
    }


def junit(findings: Sequence[Finding]) -> str:
    """JUnit XML: one test case an experiment; regressed and drifted = failure, incomparable = error."""
    counts = {kind: sum(one.verdict == kind for one in findings) for kind in _RULES}
    suite = ElementTree.Element(
        "testsuite",
        name="repro check",
        tests=str(len(findings)),
        failures=str(sum(counts[name] for name in FAILING)),
        errors=str(counts["incomparable"]),
        skipped=str(counts["unmeasured"]),
    )
    outcome = {**dict.fromkeys(FAILING, "failure"), "incomparable": "error", "unmeasured": "skipped"}
    for one in findings:
        name = one.experiment if one.metric not in COSTS else f"{one.experiment} {one.metric}"
        case = ElementTree.SubElement(suite, "testcase", classname=one.dataset or "own", name=name)
        case.set("file", one.file)
        if one.verdict in outcome:
            ElementTree.SubElement(case, outcome[one.verdict], message=message(one))
    ElementTree.indent(suite)
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n' + printable(ElementTree.tostring(suite, "unicode")) + "\n"
    )


def sarif(findings: Sequence[Finding]) -> str:
    """SARIF 2.1.0, each result at the `rows:` line of its params.yaml; passing rows are left out."""
    results = [
        {
            "ruleId": one.verdict,
            "level": _LEVEL.get(one.verdict, "error"),
            "message": {"text": f"{one.experiment}: {message(one)}"},
            "locations": [
                {
                    "physicalLocation": {
                        "artifactLocation": {"uri": one.file, "uriBaseId": "%SRCROOT%"},
                        "region": {"startLine": one.line},
                    }
                }
            ],
            "partialFingerprints": {"experiment": one.experiment}
            | ({"metric": one.metric} if one.metric in COSTS else {}),
        }
        for one in findings
        if one.verdict not in _QUIET
    ]
    rules = [{"id": name, "shortDescription": {"text": text}} for name, text in _RULES.items()]
    driver = {"name": "repro check", "rules": rules}
    document = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "results": results}],
    }
    return json.dumps(printable_texts(document), indent=2, ensure_ascii=False) + "\n"


def comment(findings: Sequence[Finding], code: int) -> str:
    """Markdown for a pull-request comment: the summary, then every row that did not simply hold."""
    head = {0: "holds", 1: "regressed", 2: "cannot be compared"}[code]
    interesting = [one for one in findings if one.verdict not in (*_QUIET, "unmeasured")]
    text = f"## Results: {head}\n\n{summary(findings)}\n"
    return printable(text + ("\n" + markdown([grid(interesting)]) if interesting else ""))


def grid(findings: Iterable[Finding], title: str = "") -> Grid:
    """The findings as a table."""
    rows = tuple(
        (
            _MARK[one.verdict],
            one.experiment,
            " ".join(one.rows),
            one.metric,
            formatting.percent(one.measured),
            formatting.percent(one.reference),
            "" if one.band is None else f"{one.band:g}",
            formatting.difference(one.measured, one.reference),
            one.verdict,
            one.tier,
            one.reason,
        )
        for one in findings
    )
    return Grid(title=title, columns=COLUMNS, rows=rows)


def github(findings: Iterable[Finding]) -> str:
    """GitHub workflow commands, one per line, shown at the params.yaml in a pull request."""
    shown = [one for one in findings if one.verdict in (*FAILING, "incomparable")]
    return printable("".join(_command(one) for one in shown))


def _command(one: Finding) -> str:
    place = f"file={_property(one.file)},line={one.line},title={_property(one.experiment)}"
    return f"::error {place}::{_data(message(one))}\n"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
