"""Lint, import and link check: every known defect of the five pages is found, sound pages are quiet."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from repro.cli.app import app
from repro.cli.pages.lint import map_of
from repro.errors import DataError, ParamsError, ReproError
from repro.published.import_page import import_page
from repro.published.markdown import read_page as read_markdown
from repro.published.page import page_from_json, page_json, page_markdown, read_page
from repro.published.sources import hash_in_name
from repro.reports.links import Checked, Link, check_digest, check_links, links_of
from repro.reports.lint import NAMES, RULES, lint
from tests.kit import PUBLISHED
from tests.reports.kit import ROOT

RUN = CliRunner()

# Every flag and remark of the published rows that the text of a page can show: (what, rows, rule).
DEFECTS = {
    "cells beyond the header": (["000-01", "000-02", "000-03", "000-04", "000-05"], "beyond-header"),
    "FLOPs N/A": (["000-02", "000-03"], "empty-cell"),
    "135G without input size and convention": (["000-01"], "missing-unit"),
    "empty links": (["000-02", "000-03", "000-05"], "empty-link"),
    "'Comming'": (["000-02", "000-03", "000-05"], "slip"),
    "R-50 and R-101 share a checkpoint, TF rows copy the PyTorch links": (
        ["000-01", "000-02", "000-03", "000-04", "000-05"],
        "shared-link",
    ),
    "a ResNet row links MobileNet": (["000-04"], "wrong-backbone"),
    "R-101 below R-50": (["000-03", "002-12", "004-12"], "order"),
    "two rows, one label": (["003-094", "003-095"], "duplicate-label"),
    "not reported": (
        ["001-02", "001-04", "001-07", "001-09", "001-10", "001-11", "001-12", "004-04"],
        "empty-metric",
    ),
    "no result": (["003-001", "003-002", "003-003", "003-004", "003-005"], "no-metric"),
    "very low, partial, terminated, doubtful, approximate, unknown": (
        ["003-007", "003-009", "003-055", "003-056", "003-057", "003-059", "003-063", "003-064", "003-065"],
        "not-a-number",
    ),
    "epoch 9, val and test in one cell, remarks": (
        ["003-017", "003-018", "003-019", "003-078", "003-080", "003-081", "003-082", "003-086", "003-099"],
        "not-a-number",
    ),
    "parameters '?'": (["003-046"], "not-a-number"),
    "bold": (["003-020", "003-095", "003-101", "003-102"], "emphasis"),
    "47 for 42.7 million": (["003-018"], "other-size"),
    "k48 with the size of k36, k60 with that of k24": (["003-051", "003-059"], "other-size"),
    "misspelt": (["003-017", "003-054", "003-055"], "slip"),
    ".py in a label": (["003-029"], "slip"),
    "doubled dots": ([f"003-{i:03}" for i in [*range(29, 53), 89]], "slip"),
    "mojibake": (["003-064"], "slip"),
    "two sizes in one label": (["003-083", "003-084"], "slip"),
    "'actually48'": (["003-051", "003-052"], "slip"),
    "a value in the wrong column": (["003-088"], "missing-cell"),
    "CamVid and VOC rows in the Cityscapes table": ([f"003-{i:03}" for i in range(85, 93)], "wrong-table"),
    "Aerial rows named camvid": ([f"003-{i:03}" for i in range(72, 78)], "wrong-table"),
    "one label in two tables": (["003-097", "003-103"], "duplicate-label"),
    "68.8 and 68.9": (["003-103"], "two-values"),
    "R-50 rows link R-18 files": (["004-05", "004-06"], "wrong-backbone"),
    "domain rows copy the supervised links": (["004-01", "004-04", "004-05", "004-06"], "shared-link"),
    "flip lower than single scale": (["004-02", "004-03", "004-06"], "order"),
    "13.15 fps twice": (["004-05", "004-06"], "repeated-speed"),
    "6.56 GB of an R-18": (["004-04"], "other-size"),
}


@pytest.mark.parametrize("what", DEFECTS)
def test_every_known_defect_is_found(what: str) -> None:
    row_ids, rule = DEFECTS[what]
    missed = [row_id for row_id in row_ids if (PUBLISHED.rows[row_id].line, rule) not in FOUND[row_id[:3]]]
    assert missed == []


def words(page_id: str) -> Mapping[str, str]:
    """The page's own names of data sets."""
    return map_of(PUBLISHED.path(page_id).with_suffix(".yaml")).lint_datasets


FOUND = {
    page.id: {(one.line, one.rule) for one in lint(page_markdown(page), words=words(page.id))}
    for page in PUBLISHED.pages.values()
}


def test_every_rule_has_a_name_that_can_be_switched_off() -> None:
    assert {rule for found in FOUND.values() for _, rule in found} <= set(NAMES)
    assert [one.rule for one in lint(SOUND.replace("81.00", "**81.00**"), off=["emphasis"])] == []


def test_the_map_of_a_page_switches_rules_off(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(SOUND.replace("81.00", "**81.00**"))
    assert RUN.invoke(app, ["page", "lint", str(page)]).exit_code == 1
    page.with_suffix(".yaml").write_text("lint: {ignore: [emphasis]}\n")
    assert RUN.invoke(app, ["page", "lint", str(page)]).exit_code == 0
    page.with_suffix(".yaml").write_text("lint: {ignore: [emphases]}\n")
    answer = RUN.invoke(app, ["page", "lint", str(page)])
    assert isinstance(answer.exception, ReproError)
    assert "did you mean 'emphasis'?" in str(answer.exception)


def test_the_map_of_a_page_names_data_sets(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(SOUND.replace("| R-50-D8 | 512x512 ", "| cs.R-50-D8 | 512x512 "))
    assert RUN.invoke(app, ["page", "lint", str(page)]).exit_code == 0
    page.with_suffix(".yaml").write_text("lint: {datasets: {cs: cityscapes}}\n")
    assert (
        "'cs.R-50-D8' names cityscapes under 'ADE20K'" in RUN.invoke(app, ["page", "lint", str(page)]).output
    )
    for wrong in ("lint: {datasets: [cs]}", "lint: {datasets: {cs: 3}}", "lint: {data: {}}", "lint: 3"):
        page.with_suffix(".yaml").write_text(wrong)
        assert isinstance(RUN.invoke(app, ["page", "lint", str(page)]).exception, ParamsError), wrong


def test_flags_are_all_covered() -> None:
    """Every flagged row is in the list above, so a new flag needs a rule."""
    listed = {row_id for row_ids, _ in DEFECTS.values() for row_id in row_ids}
    assert {row.id for row in PUBLISHED.rows.values() if row.flags} <= listed


SOUND = """## Cityscapes
| Model | Crop | Params (M) | mIoU (%) | Download |
| --- | --- | --- | --- | --- |
| R-50-D8 | 512x1024 | 43.58 | 80.10 | [model](https://x.org/r50-d8.pth) |
| R-101-D8 | 512x1024 | 62.57 | 81.00 | [model](https://x.org/r101-d8.pth) |

## ADE20K
| Model | Crop | Params (M) | mIoU (%) | Download |
| --- | --- | --- | --- | --- |
| R-50-D8 | 512x512 | 43.58 | 44.51 | [model](https://x.org/r50-d8_ade.pth) |
"""


def test_a_sound_page_is_quiet() -> None:
    assert lint(SOUND) == []
    assert lint("no table here | only text\n") == []


OTHER_ZOOS = """## ADE20K
| Method | Backbone | Pretrain | size | Resolution | Mem (GB) | FPS | FLOPs | mIoU (ss/ms) |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
| Former | ViT | [small set](https://x.org/vit.pth) | tiny | 512x512 | 1.21 | 5.8 | 36G | 38.1 / 38.8 |
| Former | ViT | [large set](https://x.org/vit.pth) | tiny | 512x512 | 1.21 | 5.8 | 36G | - / 41.5 |
| Former | ViT | [small set](https://x.org/vit.pth) | base | 512x512 | 1.78 | 4.1 | 45G | 45.3 / 46.9 |

| Files | Original |
| --- | --- |
| vit_small.pth | [vit_small](https://x.org/vit_small.pth) |

| Data | train | val |
| --- | --- | --- |
| A | 20210 | |

| Model | Top-1 | Params (M) |
| --- | --- | --- |
| ViT | 81.5 | 22.1 |
"""


BY_METHOD = """| Model | Backbone | Params (M) | mIoU (%) |
| --- | --- | --- | --- |
| FCN | ResNet-50 | 35.3 | 60.5 |
| FCN | ResNet-101 | 54.3 | 63.7 |
| DeepLabV3 | ResNet-50 | 42.0 | 66.4 |
| DeepLabV3 | ResNet-101 | 61.0 | 67.4 |
"""


def test_a_method_belongs_to_the_label_of_its_row() -> None:
    """FCN and DeepLabV3 with the same backbone are two networks, in whatever columns they stand."""
    lines = [line.strip("| ").split(" | ") for line in BY_METHOD.splitlines()]
    joined = [[f"{first} {second}", *rest] for first, second, *rest in lines]
    swapped = [[second, first, *rest] for first, second, *rest in lines]
    for cells in (lines, joined, swapped):
        if cells is joined:
            cells[:2] = [["Network", "Params (M)", "mIoU (%)"], ["---"] * 3]
        page = "".join(f"| {' | '.join(line)} |\n" for line in cells)
        assert lint(page) == [], page
        assert {one.rule for one in lint(page.replace("67.4", "65.4"))} == {"order"}, page


def test_customs_of_other_zoos_are_quiet() -> None:
    found = [(one.rule, one.line) for one in lint(OTHER_ZOOS)]
    assert found == [], found


@pytest.mark.parametrize(
    ("old", "new", "rule", "line"),
    [
        ("38.1 / 38.8", "38.1", "not-a-number", 4),
        ("38.1 / 38.8", "38.1 / about 38", "not-a-number", 4),
        ("| base |", "| tiny |", "duplicate-label", 4),
        ("| FPS |", "| FPS (img/s) |", "nothing", 0),
        ("| Resolution |", "| Remark |", "missing-unit", 4),
        ("| 5.8 |", "| 15.82 |", "repeated-speed", 4),
        ("| Pretrain |", "| Weights |", "nothing", 0),
        ("x.org/vit_small", "x.org/fcn_hr18", "nothing", 0),
    ],
)
def test_what_is_wrong_on_such_a_page_is_found(old: str, new: str, rule: str, line: int) -> None:
    assert old in OTHER_ZOOS
    found = {(one.rule, one.line) for one in lint(OTHER_ZOOS.replace(old, new))}
    assert found == set() if rule == "nothing" else (rule, line) in found


@pytest.mark.parametrize(
    ("old", "new", "rule", "line"),
    [
        ("r101-d8.pth", "r50-d8.pth", "shared-link", 4),
        ("r101-d8.pth", "r50-d8_b.pth", "wrong-backbone", 5),
        ("https://x.org/r101-d8.pth", "", "empty-link", 5),
        ("81.00 |", "81.00 | 3 | 4 |", "beyond-header", 5),
        ("81.00 | [model](https://x.org/r101-d8.pth)", "81.00", "missing-cell", 5),
        ("81.00", "0.81", "mixed-units", 5),
        ("81.00", "181.0", "impossible", 5),
        ("62.57", "-62.57", "impossible", 5),
        ("81.00", "79.00", "order", 5),
        ("81.00", "81.00 (ours)", "not-a-number", 5),
        ("81.00", "-", "empty-metric", 5),
        ("81.00", "**81.00**", "emphasis", 5),
        ("81.00", "81.00 (**val**)", "nothing", 0),
        ("| mIoU (%) |", "| mAcc (%) |", "nothing", 0),
        ("R-101-D8 ", "R-50-D8 ", "duplicate-label", 5),
        ("62.57", "", "empty-cell", 5),
        ("| 62.57", "| 82.57", "nothing", 0),
        ("Params (M)", "Params", "missing-unit", 2),
        ("R-101-D8 ", "R-101-D8 camvid ", "wrong-table", 5),
        ("R-101-D8 ", "R-101-D8.py ", "slip", 5),
        ("| R-101-D8", "| --- | --- | --- | --- | --- |\n| R-101-D8", "mid-rule", 5),
    ],
)
def test_each_rule_sees_its_defect(old: str, new: str, rule: str, line: int) -> None:
    assert old in SOUND
    found = {(one.rule, one.line) for one in lint(SOUND.replace(old, new, 1))}
    assert found == set() if rule == "nothing" else (rule, line) in found


_CELL = st.sampled_from(
    ["", "0", "-", "50.1", "0.7", "71 %", "R-50", "dense30k36", "[m]()", "[x](y)", "**3**", "a|b", "1e3"]
)
_LINE = st.lists(_CELL, min_size=1, max_size=5).map("|".join)
_TITLES = ["Model", "mIoU", "Params", "Mem (GB)", "FLOPs", "fps", "mIoU(ms+flip)", "Crop"]


@settings(max_examples=120, deadline=None)
@given(st.lists(st.sampled_from(_TITLES), min_size=2, max_size=5), st.lists(_LINE, max_size=6))
def test_any_table_is_read_without_a_crash(titles: list[str], lines: list[str]) -> None:
    text = "\n".join(["## Cityscapes", "|".join(titles), "|".join(["---"] * len(titles)), *lines])
    for problem in lint(text):
        assert 2 <= problem.line <= 3 + len(lines)
        assert problem.text


def test_every_rule_has_a_sentence() -> None:
    assert all(rule.__doc__ and rule.__doc__.rstrip().endswith(".") for rule in RULES.values())


def test_command_lists_line_and_rule_and_fails(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(SOUND.replace("81.00", "181.0"))
    answer = RUN.invoke(app, ["page", "lint", str(page)])
    assert f"{page}:5: impossible: mIoU (%): 181 cannot be" in answer.stdout
    assert answer.exit_code != 0
    found = json.loads(RUN.invoke(app, ["page", "lint", str(page), "--json"]).stdout)
    assert found[0] | {"text": ""} == {"page": str(page), "rule": "impossible", "line": 5, "text": ""}
    page.write_text(SOUND)
    assert RUN.invoke(app, ["page", "lint", str(page)]).exit_code == 0


# --- import -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page_id", PUBLISHED.ids)
def test_an_imported_page_prints_byte_for_byte(page_id: str) -> None:
    text = page_markdown(PUBLISHED.page(page_id))
    page = page_from_json(import_page(text, source="x").raw)
    originals = PUBLISHED.page(page_id).tables
    assert [page.markdown(t) for t in page.tables] == [PUBLISHED.page(page_id).markdown(t) for t in originals]
    assert [row.cells for row in page.rows.values()] == [
        row.cells for row in PUBLISHED.page(page_id).rows.values()
    ]


# What the import cannot know: two numbers in one cell, words beside a number, a number in a wrong column.
UNCLEAR = {"003-009", "003-017", "003-055", "003-056", "003-057", "003-064", "003-065", "003-078"}
UNCLEAR |= {"003-080", "003-081", "003-082", "003-086", "003-088", "003-102"}
# Words in parentheses after the number: it is read, and a person reads the words.
REMARKED = {"003-063", "003-099", "003-100"}


@pytest.mark.parametrize("page_id", PUBLISHED.ids)
def test_an_imported_page_has_the_published_metrics(page_id: str) -> None:
    known = PUBLISHED.page(page_id)
    taken = page_from_json(import_page(page_markdown(known), source="x").raw).rows.values()
    for row, imported in zip(known.rows.values(), taken, strict=True):
        if row.id in UNCLEAR:
            assert "mIoU" not in imported.metrics, row.id
            assert "note" in imported.flags or row.id == "003-088", row.id
        else:
            assert dict(imported.metrics) == pytest.approx(dict(row.metrics)), row.id
            assert ("note" in imported.flags and bool(row.metrics)) == (row.id in REMARKED), row.id
        if page_id in ("001", "002", "004"):
            assert (imported.output_stride, imported.crop) == (row.output_stride, row.crop)
            assert row.backbone.startswith(imported.backbone)


def test_import_command_writes_a_page_that_reads_back(tmp_path: Path) -> None:
    source, out = tmp_path / "README.md", tmp_path / "page-mine.json"
    source.write_text(SOUND)
    answer = RUN.invoke(app, ["page", "import", str(source), "--source", "mine", "--out", str(out)])
    assert answer.exit_code == 0
    page = read_page(out)
    assert dict(page.rows["mine-02"].metrics) == {"mIoU": 81.0}
    assert dict(page.rows["mine-02"].cost) == {"params_M": 62.57}
    assert page.rows["mine-03"].dataset == "ade20k"
    assert page_json(json.loads(out.read_text())) == out.read_text()


@pytest.mark.parametrize("name", ["", "a b/..", "x-1", "naïve", "3"])
def test_a_source_is_a_new_word(tmp_path: Path, name: str) -> None:
    (tmp_path / "page.md").write_text(SOUND)
    error = RUN.invoke(app, ["page", "import", str(tmp_path / "page.md"), "--source", name]).exception
    assert isinstance(error, ParamsError)
    assert f"'{name}'" in error.what
    assert error.where == "--id"
    assert error.allowed


def test_pages_are_written_as_the_writer_writes() -> None:
    for page_id in PUBLISHED.ids:
        text = PUBLISHED.path(page_id).read_text()
        assert page_json(json.loads(text)) == text


def test_a_page_without_a_table_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no table"):
        import_page("# only words\n", source="x")
    (tmp_path / "binary.md").write_bytes(b"\xff\xfe\x00")
    for name in ("missing.md", "binary.md"):
        assert RUN.invoke(app, ["page", "import", str(tmp_path / name), "--source", "x"]).exit_code != 0


@pytest.mark.parametrize("text", ["", '{"tables": []}\n', "# words\n\n| method | mIoU |\n| --- | --- |\n"])
def test_a_page_in_which_nothing_can_be_wrong_does_not_pass(tmp_path: Path, text: str) -> None:
    (tmp_path / "sound.md").write_text(SOUND)
    (tmp_path / "mistyped.md").write_text(text)
    error = RUN.invoke(
        app, ["page", "lint", str(tmp_path / "sound.md"), str(tmp_path / "mistyped.md")]
    ).exception
    assert isinstance(error, DataError)
    assert (error.what, error.where) == ("no table in this page", str(tmp_path / "mistyped.md"))


def test_one_page_is_reported_as_one(tmp_path: Path) -> None:
    (tmp_path / "sound.md").write_text(SOUND)
    assert RUN.invoke(app, ["page", "lint", str(tmp_path / "sound.md")]).stderr == "nothing wrong in 1 page\n"


# --- links --------------------------------------------------------------------------------------------------


class Server:
    """Answers by address; counts how often it was asked."""

    def __init__(self, **answers: list[int]) -> None:
        self.answers = {f"https://{name}": codes for name, codes in answers.items()}
        self.asked: list[tuple[str, str]] = []

    def __call__(self, method: str, url: str) -> int:
        self.asked.append((method, url))
        if url not in self.answers:
            raise ConnectionError("no route")
        codes = self.answers[url]
        return codes.pop(0) if len(codes) > 1 else codes[0]


def link(name: str, row: str = "000-01", role: str = "model") -> Link:
    return Link(row=row, role=role, url=f"https://{name}")


def test_links_are_ok_dead_or_not_reached() -> None:
    server = Server(fine=[200], gone=[404], shy=[405, 206], busy=[503, 503, 200], broken=[500])
    names = ["fine", "gone", "shy", "busy", "broken", "silent"]
    checked = check_links([link(name) for name in names], ask=server, pause=0)
    states = {one.link.url.removeprefix("https://"): one.state for one in checked}
    assert states == {
        "fine": "ok",
        "gone": "dead",
        "shy": "ok",
        "busy": "ok",
        "broken": "unreached",
        "silent": "unreached",
    }
    assert server.asked.count(("HEAD", "https://silent")) == 3
    assert ("GET", "https://shy") in server.asked


def test_a_mirror_of_the_same_row_is_named_and_addresses_are_asked_once() -> None:
    server = Server(gone=[404], copy=[200])
    found = [link("gone"), link("copy", role="model_mirror"), link("gone", row="000-02")]
    checked = check_links(found, ask=server, pause=0)
    assert [one.mirror for one in checked] == ["https://copy", None, None]
    asked = [("HEAD", "https://gone"), ("GET", "https://gone"), ("HEAD", "https://copy")]
    assert sorted(server.asked) == sorted(asked)


def test_the_sha256_in_a_name_is_held_against_the_content() -> None:
    content = b"weights"
    right = hashlib.sha256(content).hexdigest()[:8]
    for digits, state in ((right, "ok"), ("0" * 8, "dead")):
        url = f"https://x.org/r50-d8_512x512-{digits}.pth"
        checked = Checked(link=Link(row="004-01", role="model", url=url), state="ok", detail="HTTP 200")
        assert check_digest(checked, fetch=lambda _: [content]).state == state
    plain = Checked(link=link("x.org/model.pth"), state="ok", detail="HTTP 200")
    assert check_digest(plain, fetch=lambda _: [content]) is plain, "no sha256 is known"
    known = [one for one in links_of(PUBLISHED.rows.values()) if hash_in_name(one.url)]
    assert {one.row for one in known} == {f"004-{i:02}" for i in range(1, 15)}


COMPARED = """| row | experiment | published mIoU | measured mIoU | 95 % interval | gap | memory (MiB) |
|---|---|---|---|---|---|---|
| 003-028 | camvid_a | 50.00 | 49.76 | 48.21–51.14 | -0.24 | 636 (a) |
|  | camvid_b |  | 52.89 | 51.52–54.13 |  | 686 (a) |
|  | synthetic_c |  | 40.27 | 38.34–41.95 | +0.00 | 626 (b) |
"""


def test_results_beside_published_ones_are_quiet() -> None:
    assert lint(COMPARED) == []
    assert lint((ROOT / "README.md").read_text()) == []


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("-0.24", "-0.24 | x", "beyond-header"),
        ("49.76", "-49.76", "impossible"),
        ("636 (a)", "-636 (a)", "impossible"),
        ("636 (a)", "636 (see below)", "not-a-number"),
        ("synthetic_c", "camvid_b", "duplicate-label"),
        ("published", "reported", "empty-cell"),
    ],
)
def test_what_is_wrong_beside_published_ones_is_found(old: str, new: str, rule: str) -> None:
    assert rule in {one.rule for one in lint(COMPARED.replace(old, new))}


def test_links_of_the_rows() -> None:
    found = links_of(PUBLISHED.rows.values())
    assert len(found) == 7 + 16 * 3 + 1 + 14 * 3  # 000, 002, the test server link of 003-102, 004
    assert all(one.url.startswith("https://") for one in found)


WEIGHTS = b"weights"
RIGHT = f"/r50-{hashlib.sha256(WEIGHTS).hexdigest()[:8]}.pth"


class Site(BaseHTTPRequestHandler):
    """Weights under a right and a wrong name; /shy refuses HEAD, /busy comes the third time, else gone."""

    asked: ClassVar[Counter[str]] = Counter()

    def do_GET(self) -> None:
        self.asked[self.path] += 1
        here = self.path in (RIGHT, "/r50-00000000.pth", "/copy.pth") or self.path.startswith("/shy")
        busy = self.path == "/busy" and self.asked[self.path] < 3
        self.send_response(503 if busy else 200 if here or self.path == "/busy" else 404)
        self.send_header("Content-Length", str(len(WEIGHTS)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(WEIGHTS)

    def do_HEAD(self) -> None:
        if self.path.startswith("/shy"):
            self.send_error(405)
        else:
            self.do_GET()

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def site() -> Iterator[str]:
    """The address of a real server."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_real_server_is_asked(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = {"model": "/gone.pth", "model_mirror": "/copy.pth", "config": "/shy.py"}
    second = {"model": "/r50-00000000.pth", "model_mirror": RIGHT, "log": "/busy"}
    found = [
        Link(row=row, role=role, url=site + path)
        for row, paths in (("000-01", first), ("000-02", second))
        for role, path in paths.items()
    ]
    monkeypatch.setattr("repro.reports.links.links_of", lambda _: found)
    answer = RUN.invoke(app, ["page", "links", "--check", "--sha256"])
    dead = [line for line in answer.stdout.splitlines() if line.startswith("dead")]
    assert len(answer.stdout.splitlines()) == len(dead) == 2
    assert f"gone.pth: HTTP 404 (mirror: {site}/copy.pth)" in dead[0]
    assert "r50-00000000.pth: sha256 is" in dead[1]
    assert "2 of 6 links are dead (4 ok, 2 dead, 0 unreached)" in str(answer.exception)


@pytest.mark.parametrize(("state", "code"), [("ok", 0), ("dead", 1), ("unreached", 2)])
def test_command_exit_status(monkeypatch: pytest.MonkeyPatch, state: str, code: int) -> None:
    from repro.cli.console import guarded
    from repro.reports import links

    answers = {"ok": 200, "dead": 404, "unreached": 500}

    def ask(method: str, url: str) -> int:
        return answers[state]

    monkeypatch.setattr(links, "http_status", ask)
    monkeypatch.setattr("time.sleep", lambda _: None)

    def run() -> None:
        answer = RUN.invoke(app, ["page", "links", "--check", "--page", "000"])
        if answer.exception and not isinstance(answer.exception, SystemExit):
            raise answer.exception

    assert guarded(run) == code


@pytest.mark.parametrize(
    "line",
    [
        "# a" + " " * 9000 + "b",
        "**" + "*" * 9000 + "x",
        "| " + "[" * 9000 + " | 5 |",
        "| " + "[a](" * 2200 + " | 5 |",
        "| x | " + "-" * 9000 + "x |",
        "|" + "- " * 4500 + "x|",
        "| " + "dense30k1(" * 900 + " | 5 |",
        "| x | " + "9" * 9000 + " |",
        "|" * 100,
    ],
    ids=lambda line: line[:8],
)
@pytest.mark.timeout(60)
def test_no_line_takes_more_than_a_moment(line: str) -> None:
    """The cube of 9,000 steps took hours."""
    page = f"{line}\n\n| name | mIoU |\n|---|---|\n| r50 | 5 |\n{line}\n"
    lint(page)
    assert import_page(page, source="mine").raw["tables"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("x" * 2**20 + "x", "the file is too large"),
        ("x\n" * 5001, "5,001 lines"),
        ("| " + "x" * 10_000 + " |", "line 1 has 10,004 characters"),
        ("|" * 101, "line 1 has 101 columns"),
    ],
)
def test_a_page_beyond_the_limits_is_refused(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "page.md"
    path.write_text(content)
    with pytest.raises(DataError, match=words):
        read_markdown(path)
