"""Sources of the settings of each row, and the tool that compares them with the page's commit."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from repro.errors import ParamsError, ReproError
from repro.published import Published
from repro.published.sources import Source
from tests.kit import PUBLISHED
from tools import source_changes

SCRIPT = "scripts/train.py"
THEN = """\
from data import camvid
CLASS_NUM = camvid.class_num()
batch_size = 22
lr = 1e-3  # the first
schedule = [
    dict(type='Resize', size=(2048, 512)),
    dict(type='Flip', prob=0.5),
]
"""
NOW = """\
import os
from data import camvid
CLASS_NUM = camvid.class_num()
batch_size = 21
lr = 1e-3
schedule = [
    dict(type='Load'),
    dict(type='Resize', size=(1024, 1024)),
    dict(type='Flip', prob=0.5),
]
"""
CLASSES = "def class_num():\n    return {0}\n\n\ndef other():\n    return 5\n"


def test_every_row_says_where_its_settings_are() -> None:
    assert set(PUBLISHED.sources) == set(PUBLISHED.rows)
    for row, source in PUBLISHED.sources.items():
        assert source.repository.count("/") == 1
        assert all(len(commit) == 12 for commit in (source.commit, source.recorded))
        known = list(source.places())
        assert known, row
        assert all(line > 0 for _, _, line in known)


def test_the_recorded_commit_is_the_one_the_page_file_names() -> None:
    said = {key: row.recorded.split()[1] for key, row in PUBLISHED.rows.items() if row.recorded}
    assert len(said) == 103
    assert {
        key for key, commit in said.items() if not PUBLISHED.sources[key].recorded.startswith(commit)
    } == set()


def test_a_row_of_twelve_classes_points_at_the_line_that_says_so() -> None:
    """tensorpack/dataflow/dataset/camvid.py:52 at 678ac959: `return 12#webdemo have 12 classes`."""
    assert PUBLISHED.sources["003-017"].files["tensorpack/dataflow/dataset/camvid.py"] == {"class_num": 52}


def test_a_row_names_the_module_of_the_network_that_its_script_builds() -> None:
    """Row 003-053 named densenet_v1.py, which its ResNet script imports and does not use."""
    for row, found in PUBLISHED.sources.items():
        settings = {key for lines in found.files.values() for key in lines}
        modules = {Path(file).name for file, lines in found.files.items() if "classifier" in lines}
        if found.repository == "dongzhuoyao/tensorpack" and modules:
            dense = PUBLISHED.rows[row].backbone.startswith("densenet")
            assert dense == ("growth" in settings) == modules.pop().startswith("densenet"), row


def test_the_multipliers_of_003_102_are_those_of_its_optimizer() -> None:
    """Line 40 of its script sets 5 and 10 and is not used; line 111 gives 10 and 20."""
    lines = PUBLISHED.sources["003-102"].files[
        "examples/Deeplab/experiments/deeplabv2.cs.imagesize672.scale18.py"
    ]
    assert (lines["grad_multipliers"], lines["crop"]) == (111, 32)


def test_a_damaged_list_of_sources_is_an_error(tmp_path: Path) -> None:
    for text in ("[]", "{", '{"rows": {"003-017": {"repository": "a/b"}}}'):
        (tmp_path / "sources.json").write_text(text)
        with pytest.raises(ParamsError, match=r"not a list of sources|not JSON|not a JSON object"):
            _ = Published(tmp_path).sources


@pytest.fixture
def repository(tmp_path: Path) -> tuple[Path, str, str]:
    """A repository with a changed class list, a changed script and a moved file."""
    root = tmp_path / "upstream"
    network = "".join(f"layer({number})\n" for number in range(20))

    def commit(files: dict[str, str], *, remove: str = "") -> str:
        for name, text in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        if remove:
            (root / remove).unlink()
        who = ("-c", "user.name=a", "-c", "user.email=a@b")
        for words in (("add", "-A"), (*who, "commit", "-qm", "x")):
            subprocess.run(["git", *words], cwd=root, check=True)
        done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, check=True, capture_output=True)
        return done.stdout.decode().strip()

    root.mkdir()
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    then = commit({SCRIPT: THEN, "data.py": CLASSES.format(12), "old/net.py": network, "same.py": "x = 1\n"})
    moved = {"new/net.py": network + "layer(20)\n"}
    now = commit({SCRIPT: NOW, "data.py": CLASSES.format(11), **moved}, remove="old/net.py")
    return root, then, now


def source_of(commit: str, files: dict[str, dict[str, int]]) -> dict[str, Source]:
    return {"903-001": Source(repository="a/b", recorded=commit, commit=commit, files=files)}


def test_changed_settings_are_listed_with_both_values(repository: tuple[Path, str, str]) -> None:
    root, then, now = repository
    files = {
        SCRIPT: {"classes": 2, "batch": 3, "lr": 4, "scale": 6, "flip": 7},
        "data.py": {"class_num": 2},
        "old/net.py": {"network": 1},
        "same.py": {"x": 1},
    }
    found = source_changes.changes({"a/b": root}, source_of(then, files), {"903": now})
    assert [what.partition(": ")[2] for what in found] == [
        "batch: 'batch_size = 22' became 'batch_size = 21'",
        "scale: 'dict(type='Resize', size=(2048, 512))' became 'dict(type='Resize', size=(1024, 1024))'",
        "class_num: 'return 12' became 'return 11'",
        "1 other lines differ",
    ]
    assert set(map(tuple, found.values())) == {("903-001",)}


def test_rows_of_other_repositories_are_left_out(repository: tuple[Path, str, str]) -> None:
    root, then, now = repository
    assert source_changes.changes({"c/d": root}, source_of(then, {"data.py": {"x": 1}}), {"903": now}) == {}


def test_a_file_that_is_gone_and_a_missing_commit(repository: tuple[Path, str, str]) -> None:
    root, then, now = repository
    known = source_of(now, {"new/net.py": {"network": 1}})
    (what,) = source_changes.changes({"a/b": root}, known, {"903": then})
    assert "other lines differ" in what  # moved back: git sees the rename
    with pytest.raises(ReproError, match=r"no 'data\.txt'"):
        source_changes.changes({"a/b": root}, source_of(then, {"data.txt": {"x": 1}}), {"903": now})
    with pytest.raises(ReproError, match="git rev-parse failed"):
        source_changes.changes({"a/b": root}, source_of("f" * 40, {"data.py": {"x": 1}}), {"903": now})


@pytest.mark.parametrize("argument", ["a/b", "a/b=/nowhere/at/all"])
def test_an_argument_that_is_not_a_mirror_ends_with_2(
    argument: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert source_changes.main([argument]) == 2
    assert "OWNER/NAME=FOLDER" in capsys.readouterr().err


def test_the_command_line_counts_rows(
    repository: tuple[Path, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert source_changes.main([f"somebody/else={repository[0]}"]) == 0
    assert capsys.readouterr().out == "0 rows changed after their number\n"
