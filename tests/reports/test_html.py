"""The HTML report, in a real headless Chromium: it loads, sorts, filters, links, and needs no network."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from repro.cli.results.report import missing_data
from repro.params import Project
from repro.reports.experiment_pages import POINTS, confusion, curve, flat
from repro.reports.html import html_report, report_data
from repro.reports.results import load_results
from tests.kit import PUBLISHED
from tests.reports.kit import ROOT, a_record, add
from tests.tracking.kit import a_project, add_record

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
browser = pytest.mark.skipif(CHROMIUM is None, reason="NO CHROMIUM: the report was not opened in a browser")

# Runs inside the page after it has drawn itself; what it finds is read from the dumped document.
# Before everything else in the page: what goes wrong is kept for CHECKS to tell.
PROBE = """<script>
const errors = [];
addEventListener("error", (event) => errors.push(String(event.message)));
console.error = (...words) => errors.push(words.join(" "));
</script>"""
CHECKS = (Path(__file__).parents[1] / "report_probe.js").read_text()


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Two recorded experiments, one of them with pictures and a name that tries to end the script."""
    made = a_project(tmp_path)
    add_record(made, "camvid_a", key="a", mIoU=50.3)
    add_record(made, "camvid_b", key="b", seed=1, mIoU=9.75)
    add_record(made, "synthetic_a", key="c", mIoU=30.0, dataset="synthetic")
    overlays = made.experiments / "camvid_a" / "overlays"
    overlays.mkdir()
    Image.fromarray(np.zeros((30, 900, 3), np.uint8)).save(overlays / "0.png")
    (made.experiments / "new_one").mkdir()
    (made.experiments / "new_one" / "params.yaml").write_text("dataset: camvid\nnote: '</script><b>'\n")
    return made


@browser
@pytest.mark.parametrize("width", [1300, 390], ids=["desktop", "phone"])
def test_the_page_works_in_a_browser(project: Project, tmp_path: Path, width: int) -> None:
    found = _probe(html_report(load_results(project)), tmp_path, width)
    assert found["errors"] == []
    assert found["rows"] == 153  # 150 published, three more experiments: camvid_b, synthetic_a and new_one
    assert sorted(found["first"]) == ["camvid_a", "camvid_b", "synthetic_a"]  # what was measured
    assert ("row" in found["heads"], "verdict" in found["heads"]) == (width > 1200, True)
    assert found["cut"] is False, "the verdict is seen without scrolling"
    assert not any(found[key] for key in ("wide", "page_wide", "compare_wide"))
    _check_plots(found)
    _check_address(found)
    assert {"camvid_a", "camvid_b", "new_one"} <= set(found["links"])
    assert found["unknown"] == []
    assert "48.90 to 51.70" in found["page"]
    assert "git.commit" in found["page"]
    assert found["images"] == [["data:image/jpeg;base64", "image, truth, prediction of 0"]]
    assert {"confusion", "gallery", "params", "provenance"} <= set(found["sections"])
    assert "dvc repro experiments/new_one" in found["unmeasured"]
    assert "research use" in found["unmeasured"], "the licence of the data"
    assert {"metrics", "differences", "classes", "curves"} <= set(found["compared_sections"])
    assert found["compare_address"] == "#/compare?a=camvid_a&b=synthetic_a"
    assert found["warned"], "two data sets are not comparable"
    assert found["unsafe"] == ["string", "string", "string"], "only addresses of the web become links"


def _check_plots(found: dict[str, Any]) -> None:
    names, colours = zip(*found["sets"], strict=True)
    assert names == ("camvid", "synthetic", "published")
    assert len(set(colours)) == 3
    assert found["charts"] == [True, True, True]  # cost, loss, validation
    assert found["points"] >= 4  # of the measured results in both plots


def _check_address(found: dict[str, Any]) -> None:
    """What a reader chose is in the address, and an address shows it again."""
    assert found["up"] == [9.75, 30.0, 50.3]
    assert found["sorted"] == "ascending"
    assert found["down"] == [50.3, 30.0, 9.75]
    assert found["measured"] == ["camvid_a", "synthetic_a", "camvid_b"]  # the best first: still sorted
    assert found["address"] == "#/?hide=unmeasured&sort=-measured"
    shared = found["shared"]
    assert (shared["heads"], shared["text"], shared["sorted"]) == (["row", "measured"], "003-028", "measured")
    assert set(shared["rows"]) == {"003-028"}
    assert found["chosen"] == "row,measured,verdict"


def _probe(html: str, folder: Path, width: int) -> dict[str, Any]:
    """What CHECKS found in the page. Chromium makes no window below 500 pixels: the page is narrowed."""
    checks = f"<script>{CHECKS.replace('EXPERIMENT', 'camvid_a')}</script></body>"
    page = folder / "probe.html"
    page.write_text(
        html.replace("<head>", f"<head>{PROBE}<style>html {{ width: {width}px }}</style>", 1).replace(
            "</body>", checks, 1
        )
    )
    assert CHROMIUM is not None
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=3000", "--dump-dom"]
    profile = f"--user-data-dir={folder / 'profile'}"
    done = subprocess.run(
        [CHROMIUM, *flags, profile, f"--window-size={width},900", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
    )
    match = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert match, done.stderr[-2000:]
    loaded: dict[str, Any] = json.loads(
        match[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    )
    return loaded


def test_the_file_needs_nothing_else(project: Project) -> None:
    html = html_report(load_results(project))
    assert not re.findall(r"""(?:src|href)=["']?(?:https?:)?//""", html)
    assert "@import" not in html
    assert "fetch(" not in html.split('id="data"')[1].split("</script>")[0]
    assert html_report(load_results(project)) == html


def test_data_cannot_end_the_script(project: Project) -> None:
    data = html_report(load_results(project)).split('id="data">')[1].split("</script>")[0]
    note = json.loads(data)["experiments"]["new_one"]["note"]
    assert note == "</script><b>"


def data_of(project: Project) -> dict[str, Any]:
    return report_data(load_results(project))


def test_verdicts_are_those_of_the_gate(project: Project) -> None:
    """All were stored as reproduced; camvid_b measured 9.75 where 50 is expected."""
    shutil.copy(ROOT / "params.yaml", project.params)
    add(project, a_record("camvid_a"))
    add(project, a_record("camvid_b", metrics={"mIoU": 9.75}, verdict="reproduced"))
    found = data_of(project)
    assert found["experiments"]["camvid_b"]["verdict"] == "regressed"
    assert {line["experiment"]: line["verdict"] for line in found["rows"] if "experiment" in line} == {
        name: one["verdict"] for name, one in found["experiments"].items()
    }
    (project.experiments / "camvid_a" / "params.yaml").write_text("dataset: camvid\nrows: [003-095]\n")
    one = data_of(project)["experiments"]["camvid_a"]
    assert one["verdict"] == "incomparable"
    assert "Incomparable: its params.yaml is invalid" in one["about"]


def test_a_damaged_record_is_not_unmeasured(project: Project) -> None:
    path = project.rows / "camvid_b.json"
    path.write_text(path.read_text().replace("9.75", "59.75"))
    found = data_of(project)
    one = found["experiments"]["camvid_b"]
    assert one["verdict"] == "incomparable"
    assert one["state"] == "The record is damaged, the record was edited after it was written"
    assert one["next"] == "repro record camvid_b"
    assert [line["verdict"] for line in found["rows"] if line.get("experiment") == "camvid_b"] == [
        "incomparable"
    ]
    new = found["experiments"]["new_one"]
    assert (new["state"], new["next"]) == ("Not measured yet", "dvc repro experiments/new_one")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5])
def test_a_damaged_image_is_named_and_left_out(project: Project, share: float) -> None:
    good = project.experiments / "camvid_a" / "overlays" / "0.png"
    content = good.read_bytes()
    good.with_name("1.png").write_bytes(content[: int(share * len(content))])
    one = data_of(project)["experiments"]["camvid_a"]
    assert len(one["gallery"]) == 1
    assert one["notes"] == ["overlays/1.png cannot be read"]


def test_a_long_curve_is_thinned(tmp_path: Path) -> None:
    path = tmp_path / "curve.csv"
    path.write_text("step,loss,lr,val_mIoU\n" + "".join(f"{n},{n / 2},0.1,\n" for n in range(10 * POINTS)))
    found = curve(path)
    assert found is not None
    assert len(found["loss"]) == POINTS
    assert found["loss"][1] == [10.0, 5.0]
    assert found["val_mIoU"] == []
    assert curve(tmp_path / "absent.csv") is None


def test_rows_of_the_confusion_matrix_sum_to_a_hundred(tmp_path: Path) -> None:
    path = tmp_path / "confusion.csv"
    path.write_text("actual,predicted,count\na,a,3\na,b,1\nb,b,7\n")
    assert confusion(path, ["a", "b", "c"]) == {
        "classes": ["a", "b", "c"],
        "percent": [[75.0, 25.0, 0.0], [0.0, 100.0, 0.0], [0.0, 0.0, 0.0]],
    }


def test_flat_leaves_nothing_nested() -> None:
    nested = {"a": {"b": {"c": 1}, "d": [1, 2]}, "empty": None}
    assert flat(nested) == {"a.b.c": 1, "a.d": "1, 2"}


def test_an_unmeasured_experiment_says_what_it_needs(project: Project) -> None:
    folder = project.experiments / "camvid_next"
    folder.mkdir()
    shape = "recipe: scratch\nmodel: {backbone: mobilenetv2, output_stride: 16}\n"
    shape += "augmentation: {crop: [360, 480]}\ntraining: {split: train, epochs: 2, batch: 4, lr: 0.03}\n"
    shape += "evaluation: {split: test, protocol: whole}\n"
    (folder / "params.yaml").write_text(f"dataset: camvid\nrows: [003-029]\n{shape}")
    shutil.copy(ROOT / "params.yaml", project.params)
    found = report_data(load_results(project), missing={"camvid": "repro data link camvid PATH"})
    one = found["experiments"]["camvid_next"]
    assert one["missing"] == "repro data link camvid PATH"
    assert one["own"]["training.epochs"] == 2
    assert "lr" not in {key for key in one["own"] if key.startswith("recipe")}
    assert one["recipe"] in found["recipes"]
    assert one["estimates"]["training"] == "182 iterations of 4 images of 360x480"
    row = one["rows"][0]
    assert row["id"] == "003-029"
    assert row["url"].endswith(f"?plain=1#L{PUBLISHED.rows['003-029'].line}")
    assert row["printed"]["mIoU"] == PUBLISHED.rows["003-029"].metrics["mIoU"]


def test_data_that_is_not_here_is_named_with_its_command(project: Project) -> None:
    names = ["camvid", "synthetic", "only_on_a_page"]
    assert missing_data(project, names) == {"camvid": "repro data link camvid PATH"}
    (project.prepared / "camvid").mkdir(parents=True)
    assert missing_data(project, names) == {}
