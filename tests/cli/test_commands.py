"""The command table: how many there are, former names, and examples that can be typed as they are."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from repro.cli.aliases import FORMER
from repro.cli.app import app
from tests.cli.kit import commands

ROOT = Path(__file__).parents[2]
NAME = "synthetic_mobilenetv2_os16"
MOST = 30  # commands that a person sees at the top; `init` came last
STAGES = ("prepare", "train", "evaluate", "benchmark", "record", "verify", "table", "data require")  # of DVC
PROGRAM: Any = typer.main.get_command(app)


def parsed(words: list[str]) -> dict[str, Any]:
    """The parameters that a command line means; nothing is run."""
    command, context = PROGRAM, typer.Context(PROGRAM, info_name="repro")
    while hasattr(command, "commands"):
        word, *words = words
        command = command.commands[word]
    with command.make_context(word, words, parent=context) as made:
        return dict(made.params)


def test_the_top_level_can_be_read_at_a_glance() -> None:
    visible = [name for name, one in PROGRAM.commands.items() if not one.hidden]
    assert len(visible) <= MOST, visible


def test_what_dvc_and_the_owner_type_is_there() -> None:
    names = {name.removeprefix("repro ") for name, _ in commands()}
    assert names >= {*STAGES, "table", "check", "list", "run", "report"}
    assert parsed(["table", "--dataset", "cityscapes"])["dataset"] == "cityscapes"
    assert parsed(["check"])["names"] in (None, [], ())


def test_every_example_can_be_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One in each command's help; files and folders in it are there, and every word and option is right."""
    monkeypatch.chdir(tmp_path)
    for name, command in commands():
        (example,) = re.findall(r"Example:(.*)", command.help, re.S)
        words = shlex.split(example)
        assert words[: len(name.split())] == name.split(), example
        assert parsed(words[1:]) is not None


def test_former_names_lead_to_commands_and_are_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert not FORMER.keys() & PROGRAM.commands.keys()
    for old, new in FORMER.items():
        PROGRAM.main([old, "--help"], standalone_mode=False)
        shown = capsys.readouterr()
        assert shown.err == f"`repro {old}` is now `repro {new}`; the old name works until the next release\n"
        PROGRAM.main([*new.split(), "--help"], standalone_mode=False)
        assert shown.out == capsys.readouterr().out


def test_a_former_name_runs_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    before, now = (
        CliRunner().invoke(app, [*words, "README.md", "--json"]) for words in (["lint"], ["page", "lint"])
    )
    assert (before.exit_code, before.stdout) == (now.exit_code, now.stdout)
    assert before.stderr.startswith("`repro lint` is now `repro page lint`")


def test_a_campaign_is_a_run_of_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    words = ["--page", "004", "--dataset", "isaid", "--dry-run", "--json"]
    before, now = (CliRunner().invoke(app, [name, *words]) for name in ("campaign", "run"))
    assert (before.exit_code, now.exit_code) == (0, 0)
    assert before.stdout == now.stdout
    assert before.stderr.startswith("`repro campaign` is now `repro run`")


def test_a_pattern_and_a_page_are_one_selection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    words = ["run", "voc2012_v3_*", "--page", "3", "--dry-run", "--again", "--json"]
    found = CliRunner().invoke(app, words)
    assert found.exit_code == 0, found.exception
    listed = CliRunner().invoke(app, ["list", "voc2012_v3_*", "--page", "3", "--json"]).stdout
    assert set(re.findall(r'"name": "(\w+)"', found.stdout)) == set(
        re.findall(r'"experiment": "(\w+)"', listed)
    )
    none = CliRunner().invoke(app, ["run", "voc2012_*", "--dataset", "camvid"])
    assert "no experiments: voc2012_*, camvid" in str(none.exception)


@pytest.mark.parametrize("columns", [60, 200])
def test_help_fits_the_terminal(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    for name, _ in commands():
        PROGRAM.main([*name.split()[1:], "--help"], standalone_mode=False)
        longest = max(capsys.readouterr().out.splitlines(), key=len)
        assert len(longest) <= columns, (name, longest)


@pytest.mark.parametrize("columns", ["60", "200"])
def test_lists_on_a_terminal_of_any_width(columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("COLUMNS", columns)
    for words in ("data list", "weights list", f"plan {NAME}", f"show {NAME}", "run --page 000 --dry-run"):
        shown = CliRunner().invoke(app, words.split())
        assert shown.exit_code == 0, shown.exception
        assert shown.stdout
