"""The pages of a project: its own folder, its own ids, and imports that lose no edit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from repro.cli.app import app
from repro.errors import ParamsError, ReproError, StorageError, UnknownNameError
from repro.params import Project
from repro.published import Published
from repro.published.import_page import import_page
from repro.published.page import page_json
from repro.reports.generated_files import generated_files
from repro.reports.listing import listing
from repro.reports.results import load_results

RUN = CliRunner()
TEXT = """# Zoo

## Cityscapes

| Method | Backbone | mIoU |
| --- | --- | --- |
| Net | R-18 | 70.10 |
| Net | R-50 | 75.20 |
"""


def page(folder: Path, page_id: str, text: str = TEXT) -> Path:
    """A page file in `folder`."""
    path = folder / f"{page_id}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(page_json(import_page(text, source=page_id, origin="RESULTS.md").raw))
    return path


@pytest.fixture
def project(in_tmp: Path) -> Project:
    """A project without pages, which is the working directory."""
    (in_tmp / "experiments").mkdir()
    (in_tmp / "params.yaml").write_text("datasets: {}\n")
    return Project(in_tmp)


def declare(project: Project, name: str, *rows: str) -> None:
    path = project.params_of(name)
    path.parent.mkdir()
    path.write_text(f"dataset: cityscapes\nrows: [{', '.join(rows)}]\n")


def run(*words: str) -> str:
    """Output of a command that succeeds."""
    answer = RUN.invoke(app, list(words))
    assert answer.exit_code == 0, answer.output or answer.exception
    return answer.output


def test_a_project_without_the_folder_has_no_rows(project: Project) -> None:
    assert (project.published.ids, dict(project.published.rows)) == ((), {})
    with pytest.raises(ParamsError, match="has no published/") as raised:
        project.published.row_ids(["001-06"], "params.yaml")
    assert "`repro page import FILE" in str(raised.value.hint)
    assert "earlier versions" in str(raised.value.hint)
    project.published.folder.mkdir()
    with pytest.raises(UnknownNameError, match="none exist yet"):
        project.published.row_ids(["001-06"], "params.yaml")


def test_rows_are_those_of_the_folder(tmp_path: Path) -> None:
    page(tmp_path, "mine"), page(tmp_path, "002")
    found = Published(tmp_path)
    assert list(found.rows) == ["002-01", "002-02", "mine-01", "mine-02"]
    assert (found.page_id("2"), found.page("mine").title) == ("002", "Zoo")
    assert [row.label for row in found.page("mine").rows.values()] == ["R-18", "R-50"]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a b", "{}", "invalid id of a page 'a b'"),
        ("x", "{", "not JSON"),
        ("x", "{}", "not a page of published results"),
        ("x", TEXT, "page 'mine'"),
    ],
)
def test_a_file_that_is_not_a_page_is_one_error_with_its_name(
    project: Project, name: str, text: str, words: str
) -> None:
    mine = page(project.published.folder, "mine")
    declare(project, "one", "mine-01"), declare(project, "two", "mine-02")
    wrong = project.published.path(name)
    wrong.write_text(mine.read_text() if text == TEXT else text)
    new = ["new", "three", "--like", "one"]
    for command in (
        new,
        ["explain", "one"],
        ["report"],
        ["init"],
        ["list"],
        ["check"],
        ["table"],
        ["sync"],
        ["page", "links"],
        ["page", "lint"],
    ):
        answer = RUN.invoke(app, command)
        assert isinstance(answer.exception, ParamsError), command
        assert words in answer.exception.what
        assert (answer.exception.where, answer.output) == (str(wrong), ""), command
    assert not (project.experiments / "three").exists()


def test_a_row_is_of_the_page_that_its_id_names(tmp_path: Path) -> None:
    path = page(tmp_path, "mine")
    other = page(tmp_path, "other")
    for row in ("mine-01", "other-", "other-../../x", "other-01\\n"):
        other.write_text(path.read_text().replace('"id": "mine"', '"id": "other"').replace("mine-01", row))
        with pytest.raises(ParamsError, match=f"holds row '{row[:6]}"):
            _ = Published(tmp_path).rows


@pytest.mark.parametrize("name", ["../../x", "a/b", "-x", "x" * 300])
def test_a_data_set_of_a_page_is_a_name(project: Project, name: str) -> None:
    """It becomes a file of reports/tables."""
    path = page(project.published.folder, "mine")
    path.write_text(path.read_text().replace('"dataset": "cityscapes"', f'"dataset": "{name}"', 1))
    error = RUN.invoke(app, ["table", "--write"]).exception
    assert isinstance(error, ReproError)
    assert "not a data set of row mine-01" in error.what
    (project.root / "RESULTS.md").write_text(TEXT.replace("Cityscapes", "Scenes " * 100))
    run("page", "import", "RESULTS.md", "--id", "mine", "--force")
    assert len(project.published.rows["mine-01"].dataset) == 60
    (project.published.folder / "mine.yaml").write_text(f"dataset: '{name}'\n")
    assert isinstance(RUN.invoke(app, ["page", "import", "RESULTS.md", "--id", "mine"]).exception, ReproError)


OWN = {"shapes": {"folder": {}}, "shapes_v2": {"module": "zoo/x.py", "title": "Second Shapes"}, "camvid": {}}
TEXTS = {  # heading or cell -> data set
    "Results on Shapes": "shapes",
    "Shapes-v2 (val)": "shapes_v2",
    "second shapes, 20 epochs": "shapes_v2",
    "shapeshifters": "shapeshifters",
    "Cityscapes": "cityscapes",
    "CamVid": "camvid",
}


def test_pages_know_the_data_sets_that_the_project_declares(project: Project) -> None:
    """In headings, in a column and in the title of a metric; by name and by title."""
    project.params.write_text(yaml.safe_dump({"datasets": OWN}))
    for text, name in TEXTS.items():
        tables = (
            f"## {text}\n\n| Method | mIoU |\n|---|---|\n| Net | 70.1 |\n",
            f"## Results\n\n| Method | Dataset | mIoU |\n|---|---|---|\n| Net | {text} | 70.1 |\n",
        )
        for table in tables:
            (project.root / "RESULTS.md").write_text(table)
            run("page", "import", "RESULTS.md", "--id", "mine", "--force")
            assert Project(project.root).published.rows["mine-01"].dataset == name, table
    (project.root / "RESULTS.md").write_text("| Method | Shapes mIoU |\n|---|---|\n| Net | 70.1 |\n")
    run("page", "import", "RESULTS.md", "--id", "x", "--out", "x.json")
    assert json.loads((project.root / "x.json").read_text())["rows"]["x-01"]["dataset"] == "shapes"


def test_a_column_that_is_mapped_to_the_family_is_kept(project: Project) -> None:
    (project.root / "RESULTS.md").write_text(TEXT.replace("| Net | R-50", "| - | R-50"))
    project.published.folder.mkdir()
    (project.published.folder / "mine.yaml").write_text("columns: {Method: family}\n")
    run("page", "import", "RESULTS.md", "--id", "mine")
    rows = project.published.rows
    assert [(row.family, row.backbone) for row in rows.values()] == [("Net", "resnet18"), ("", "resnet50")]
    assert load_results(project).to_frame()["family"].iloc[0] == "Net"


def test_sizes_without_parameters_are_shown(project: Project) -> None:
    text = TEXT.replace("| mIoU |", "| mIoU | Size (MB) |").replace("| --- |\n", "| --- | --- |\n")
    page(project.published.folder, "mine", text.replace("70.10 |", "70.10 | 26.6 |"))
    run("table", "--write")
    assert "26.6" in run("table", "--dataset", "cityscapes")


def test_a_page_is_not_another_whose_id_begins_alike(project: Project) -> None:
    page(project.published.folder, "mine"), page(project.published.folder, "mine2")
    declare(project, "one", "mine-01"), declare(project, "two", "mine2-01")
    results = load_results(project)
    assert [line["experiment"] for line in listing(results, page="mine")] == ["one"]
    assert {link["row"] for link in json.loads(run("page", "links", "--page", "mine", "--json"))} == set()


def test_a_table_of_a_page_that_is_gone_is_stale(project: Project) -> None:
    path = page(project.published.folder, "mine")
    run("table", "--write")
    table = project.root / "reports/tables/page-mine.md"
    assert "R-50" in table.read_text()
    path.unlink()
    assert "page-mine.md" in str(RUN.invoke(app, ["table", "--check"]).exception)
    run("table", "--write")
    assert not table.exists()
    assert table not in generated_files(load_results(Project(project.root)))
    run("table", "--check")


# --- import -------------------------------------------------------------------------------------------------


def test_an_import_in_a_project_keeps_rows_page_and_map(project: Project) -> None:
    (project.root / "RESULTS.md").write_text(TEXT)
    (project.root / "map.yaml").write_text("columns: {Backbone: backbone}\n")
    said = run("page", "import", "RESULTS.md", "--id", "mine", "--map", "map.yaml")
    assert "wrote published/mine.json" in said
    assert "1 table, 2 rows" in said
    folder = project.published.folder
    assert (folder / "mine.md").read_text() == TEXT
    assert (folder / "mine.yaml").read_text() == "columns: {Backbone: backbone}\n"
    declare(project, "one", "mine-02")
    assert "75.20" in run("list")
    assert (
        run("table", "--page", "mine", "--values", "published") == TEXT.partition("\n\n## Cityscapes\n\n")[2]
    )


def test_columns_that_no_title_explains_come_with_a_map_to_paste(project: Project) -> None:
    text = "## Cityscapes\n\n| net | ss | msf: all |\n| --- | --- | --- |\n| A | 70.1 | 72.3 |\n"
    (project.root / "RESULTS.md").write_text(text)
    said = run("page", "import", "RESULTS.md", "--id", "mine")
    assert "write mine.yaml and import again:" in said
    pasted = said[said.index("columns:\n") :]
    assert yaml.safe_load(pasted) == {"columns": {"ss": "ignore", "msf: all": "ignore"}}
    (project.published.folder / "mine.yaml").write_text(pasted.replace("ignore", "mIoU", 1))
    assert "columns:" not in run("page", "import", "RESULTS.md", "--id", "mine")
    assert Project(project.root).published.rows["mine-01"].metrics == {"mIoU": 70.1}


def test_an_import_again_updates_what_nobody_edited(project: Project) -> None:
    source = project.root / "RESULTS.md"
    source.write_text(TEXT)
    run("page", "import", "RESULTS.md", "--id", "mine")
    assert "wrote" not in run("page", "import", "RESULTS.md", "--id", "mine")
    source.write_text(TEXT.replace("75.20", "75.40"))
    assert "wrote published/mine.md" in run("page", "import", "RESULTS.md", "--id", "mine")
    assert project.published.rows["mine-02"].metrics == {"mIoU": 75.4}


def test_rows_that_moved_are_named(project: Project) -> None:
    """An experiment names a row by its id."""
    source = project.root / "RESULTS.md"
    source.write_text(TEXT)
    run("page", "import", "RESULTS.md", "--id", "mine")
    source.write_text(TEXT.replace("| Net | R-18 | 70.10 |", "| Net | R-18 | 70.30 |"))
    assert "moved" not in run("page", "import", "RESULTS.md", "--id", "mine")
    source.write_text(TEXT.replace("| Net | R-18", "| Net | R-9 | 65.00 |\n| Net | R-18"))
    said = run("page", "import", "RESULTS.md", "--id", "mine")
    assert "row mine-01 was 'R-18', now 'R-9'\nrow mine-02 was 'R-50', now 'R-18'\n2 rows moved" in said
    source.write_text(TEXT.replace("| Net | R-50 | 75.20 |\n", ""))
    assert "row mine-03 was 'R-50', now there is none" in run("page", "import", "RESULTS.md", "--id", "mine")


@pytest.mark.parametrize("edited", ["mine.json", "mine.md", "mine.yaml"])
def test_an_edit_is_replaced_only_when_that_is_asked_for(project: Project, edited: str) -> None:
    (project.root / "RESULTS.md").write_text(TEXT)
    (project.root / "map.yaml").write_text("columns: {}\n")
    words = ["page", "import", "RESULTS.md", "--id", "mine", "--map", "map.yaml"]
    run(*words)
    path = project.published.folder / edited
    path.write_text(path.read_text().replace("70.1", "70.2") + "\n")
    before, kept = path.read_text(), {one: one.read_bytes() for one in project.published.folder.iterdir()}
    (project.root / "RESULTS.md").write_text(TEXT.replace("75.20", "75.40"))
    error = RUN.invoke(app, words).exception
    assert isinstance(error, StorageError)
    assert edited in error.what
    assert kept == {one: one.read_bytes() for one in project.published.folder.iterdir()}
    run(*words, "--force")
    assert path.read_text() != before


def test_an_edited_page_can_be_read_again(project: Project) -> None:
    (project.root / "RESULTS.md").write_text(TEXT)
    run("page", "import", "RESULTS.md", "--id", "mine")
    kept = project.published.folder / "mine.md"
    kept.write_text(TEXT.replace("75.20", "75.40"))
    run("page", "import", str(kept), "--id", "mine")
    assert project.published.rows["mine-02"].metrics == {"mIoU": 75.4}


def test_a_page_typed_manually_is_not_replaced(project: Project) -> None:
    page(project.published.folder, "mine")
    (project.root / "RESULTS.md").write_text(TEXT)
    for page_id, words in (("mine", "mine.json: edited"), ("sources", "invalid id"), ("a-b", "invalid id")):
        error = RUN.invoke(app, ["page", "import", "RESULTS.md", "--id", page_id]).exception
        assert isinstance(error, ReproError)
        assert words in error.what
