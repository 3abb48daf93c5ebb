"""Files that commands are told to write: never in place of what somebody else wrote."""

from __future__ import annotations

import contextlib
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from repro.cli.app import app
from repro.cli.run.bundle import is_bundle
from repro.errors import StorageError
from tests.reports.kit import ROOT
from tests.tracking.kit import a_project, add_record

NAME = "camvid_mobilenetv2_os16"
PAGE = "| method | mIoU |\n| --- | --- |\n| R-50 | 70.1 |\n"
COMMANDS = {
    "report": ["report", "--out"],
    "export": ["bundle", "export", NAME, "--out"],
    "import": ["page", "import", "page.md", "--source", "mine", "-o"],
    "metadata": ["page", "export", "csv", "-o"],
}


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = a_project(tmp_path / "p")
    add_record(made, NAME, key="a", mIoU=50.3)
    (made.root / "page.md").write_text(PAGE)
    (made.root / "README.md").write_text("words\n")
    (made.root / "other.json").write_text('{"source": {"id": "theirs"}, "tables": [], "rows": {}}\n')
    with zipfile.ZipFile(made.root / "other.zip", "w") as archive:
        archive.writestr("notes.txt", "words")
    monkeypatch.chdir(made.root)
    return made.root


def refused(command: str, path: str) -> StorageError:
    """An export is asked for in this project, which has the experiment; it comes no further than its file."""
    typed = str(Path(path).absolute()) if command == "export" else path
    with contextlib.chdir(ROOT if command == "export" else "."):
        error = CliRunner().invoke(app, [*COMMANDS[command], typed]).exception
    assert isinstance(error, StorageError), error
    assert error.hint
    return error


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("path", ["README.md", "page.md", "other.json", "other.zip"])
def test_a_file_of_others_stays(command: str, path: str) -> None:
    before = Path(path).read_bytes()
    error = refused(command, path)
    assert "there is a file already" in error.what
    assert Path(str(error.where)).absolute() == Path(path).absolute()
    assert Path(path).read_bytes() == before


@pytest.mark.parametrize("command", ["report", "import", "metadata"])
def test_what_it_wrote_before_is_replaced(command: str) -> None:
    Path("out").touch()  # as mktemp leaves it
    for _ in range(2):
        assert CliRunner().invoke(app, [*COMMANDS[command], "out"]).exit_code == 0
        assert Path("out").stat().st_size


def test_an_exported_run_is_known_by_its_manifest(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "run.zip", "w") as archive:
        archive.writestr("manifest.json", "{}")
    assert is_bundle(tmp_path / "run.zip")


@pytest.mark.parametrize("command", COMMANDS)
def test_no_folder_is_made_for_it(command: str) -> None:
    error = refused(command, "nowhere/x")
    assert error.what == "cannot write there: no such file or folder"
    assert error.where == str(Path("nowhere/x").absolute())
    assert not Path("nowhere").exists()


@pytest.mark.parametrize("command", ["report", "import", "metadata"])
@pytest.mark.parametrize("path", ["", ".."])
def test_a_folder_is_not_a_file(command: str, path: str) -> None:
    error = refused(command, path)
    assert error.what == "cannot write there: a folder, not a file"
    assert error.where == str(Path(path).resolve())


def test_a_device_is_written_to_and_never_replaced() -> None:
    """Through a link of its own: whatever goes wrong here, the machine's device stays."""
    Path("null").symlink_to("/dev/null")
    assert CliRunner().invoke(app, [*COMMANDS["import"], "null"]).exit_code == 0
    assert refused("report", "null").where == "null"
    assert Path("null").is_symlink()
