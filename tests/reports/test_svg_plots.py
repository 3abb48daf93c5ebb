"""Plots as SVG: every published row and every measured result is in them, and nothing in them is markup."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from repro.errors import CheckFailed
from repro.reports.generated_files import check, generated_files, write
from repro.reports.svg_plots import DARK, LIGHT, by_dataset, described, overview, plots, scatter
from tests.reports.kit import a_record, results

SVG = "{http://www.w3.org/2000/svg}"
PUBLISHED: Mapping[str, Any] = {"row": "p-1", "dataset": "camvid", "published": 40.0, "verdict": "unmeasured"}
MEASURED = {
    "row": "p-2",
    "experiment": "a",
    "dataset": "camvid",
    "published": 50.0,
    "measured": 51.5,
    "interval_low": 50.5,
    "interval_high": 52.5,
    "verdict": "reproduced",
}
OWN = {"experiment": "b<i>", "dataset": "own & other", "measured": 30.0, "verdict": "drifted"}
LINES = [PUBLISHED, MEASURED, OWN]


def tags(svg: str, name: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(svg).iter(SVG + name))


def texts(svg: str) -> str:
    return " ".join(element.text or "" for element in tags(svg, "text"))


def test_a_point_per_measured_row_and_a_tick_per_published_one() -> None:
    drawn = scatter(LINES, LIGHT)
    assert len(tags(drawn, "circle")) == 1, "a result without a published number has no place in it"
    ticks = [one for one in tags(drawn, "line") if one.get("stroke") == LIGHT["published"]]
    assert len(ticks) == 2
    assert "published: 2 rows (ticks), 1 of them measured (points)" in texts(drawn)
    assert tags(drawn, "title")[1].text == ("a: measured 51.50 (50.50 to 52.50), published 50.00, reproduced")


def test_above_the_diagonal_is_better_than_published() -> None:
    lower, higher = (
        float(tags(scatter([PUBLISHED, {**MEASURED, "measured": value}], LIGHT), "circle")[0].get("cy", ""))
        for value in (51.0, 59.0)
    )
    assert higher < lower


def test_every_data_set_has_a_line() -> None:
    drawn = by_dataset(LINES, LIGHT)
    assert len(tags(drawn, "circle")) == 2
    own = next(one for one in tags(drawn, "circle") if one.get("stroke") == LIGHT["bad"])
    assert own.get("fill") == "none", "hollow without a published number"
    for text in ("camvid", "own & other", "1 of 2", "1 of 1"):
        assert text in texts(drawn)


def test_the_number_by_the_formula_of_the_page_is_drawn() -> None:
    assert "measured 49.00" in described({**MEASURED, "measured_as_published": 49.0})


def test_both_plots_in_one_file_for_each_theme() -> None:
    light, dark = (overview(LINES, theme, "x & y") for theme in (LIGHT, DARK))
    assert tags(light, "title")[0].text == "x & y"
    assert LIGHT["text"] in light
    assert DARK["text"] in dark
    assert len(tags(light, "svg")) == 3
    assert len(light.encode()) < 100_000


def test_points_lead_to_experiments_in_the_report() -> None:
    first, _ = plots(LINES, link="#/experiment/")
    assert 'href="#/experiment/a"' in first
    assert plots([{"experiment": "new", "verdict": "unmeasured"}]) == []


def test_the_image_of_a_document_is_written_and_compared(tmp_path: Path) -> None:
    found = results(a_record("camvid_x"), root=tmp_path)
    readme = tmp_path / "README.md"
    assert not any(path.suffix == ".svg" for path in generated_files(found)), "no document shows it"
    readme.write_text("<!-- repro:plots -->\n<!-- /repro:plots -->\n")
    write(generated_files(found))
    assert 'srcset="reports/plots-dark.svg"' in readme.read_text()
    check(generated_files(found), tmp_path)
    drawn = tmp_path / "reports" / "plots-light.svg"
    drawn.write_text(drawn.read_text().replace("circle", "ellipse"))
    with pytest.raises(CheckFailed, match=r"plots-light\.svg"):
        check(generated_files(found), tmp_path)
