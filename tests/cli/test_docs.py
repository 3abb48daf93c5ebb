"""Documentation that cannot lie: every command has help with an example, and what is generated is current."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

import repro
from repro.cli.app import app
from repro.cli.docs import REFERENCE, reference
from tests.cli.kit import commands
from tests.kit import PUBLISHED, every

ROOT = Path(__file__).parents[2]
COMMANDS = dict(commands())
DOCUMENTED = COMMANDS | {"repro docs": dict(commands(hidden=True))["repro docs"]}


@every("name", COMMANDS)
def test_command_has_help_with_a_runnable_example(name: str) -> None:
    text = COMMANDS[name].help or ""
    assert "Example:" in text, f"{name}: help without an example"
    example = re.sub(r"\s+", " ", text.split("Example:")[1]).strip()
    assert example.startswith(name), example


@every("name", sorted(set(COMMANDS) - {"repro new"}))
def test_examples_name_experiments_that_exist(name: str) -> None:
    example = (COMMANDS[name].help or "").split("Example:")[1]
    named = re.findall(r"(?<![\w/])[a-z0-9]+_\w*_os\d+\w*(?!\S*\.pth)", example)
    missing = [one for one in named if not (ROOT / "experiments" / one / "params.yaml").is_file()]
    assert not missing, f"{name}: no such experiment: {missing}"


@every("name", COMMANDS)
def test_options_have_help(name: str) -> None:
    silent = [p.name for p in COMMANDS[name].params if not getattr(p, "help", None)]
    assert not silent, f"{name}: parameters without help: {silent}"


OTHERWISE = {
    "repro table": "--format json",
    "repro page export": "each kind is a format for machines",
    "repro page import": "prints JSON as it is",
    "repro ui": "serves until it is stopped",
}


@every("name", COMMANDS)
def test_machines_can_read_every_command(name: str) -> None:
    options = {opt for p in COMMANDS[name].params for opt in p.opts}
    assert ("--json" in options) != (name in OTHERWISE)


def test_command_reference_is_current() -> None:
    assert (ROOT / REFERENCE).read_text() == reference(), "run `repro docs`"


@every("page", sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")]))
def test_commands_named_in_documents_exist(page: Path) -> None:
    """Every `repro ...` in a code span or block names a real command and real options."""
    for line in _code(page.read_text()):
        words = shlex.split(line.split("#")[0].replace("[", " ").replace("]", " "))
        if any(name.startswith(" ".join(words) + " ") for name in COMMANDS):
            continue  # a group, such as `repro data`
        command = _longest(words)
        assert command, f"{page.name}: no such command: {line}"
        known = {opt for p in DOCUMENTED[command].params for opt in (*p.opts, *p.secondary_opts)} | {"--help"}
        unknown = [w for w in words if w.startswith("--") and w.split("=")[0] not in known]
        assert not unknown, f"{page.name}: {line}: no option {unknown}"


def test_tests_named_in_documents_exist() -> None:
    """A name that ends in `...` is the beginning of one."""
    text = (ROOT / "docs/reliability.md").read_text()
    named = re.findall(r"`(test_\w+)(\.\.\.)?`", text)
    code = "\n".join(path.read_text() for path in sorted((ROOT / "tests").rglob("test_*.py")))
    missing = [name for name, more in named if not re.search(rf"def {name}{'' if more else '[(]'}", code)]
    assert named
    assert not missing, f"docs/reliability.md: no such test: {missing}"


def test_runnable_rows_are_counted_right() -> None:
    not_run = _rows_without_experiment()
    stated = re.search(
        r"with (\d+) rows.*?(\d+) rows have an experiment", (ROOT / "README.md").read_text(), re.S
    )
    assert stated is not None
    assert [int(number) for number in stated.groups()] == [
        len(PUBLISHED.rows),
        len(PUBLISHED.rows) - len(not_run),
    ]


def test_every_data_set_step_names_the_registry() -> None:
    """Without its entry in DATASETS no command knows a new data set."""
    for page in ("README.md", "CONTRIBUTING.md"):
        steps = (ROOT / page).read_text().split("## Add a data set")[1].split("\n## ")[0]
        assert "`DATASETS`" in steps, page
        assert "`repro/datasets/__init__.py`" in steps, page


def test_links_between_documents_resolve() -> None:
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")]:
        for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#?\s]+)", _prose(page.read_text())):
            # weights are DVC's, not git's: where they lie is known, that they are here is not
            path = page.parent / target.replace("model.safetensors", "dvc.yaml")
            assert path.exists(), f"{page.name}: {target}"


def _rows_without_experiment() -> list[str]:
    table = (ROOT / "docs/rows.md").read_text().split("## Every row")[0]
    return re.findall(r"^\| (\d{3}-\d+) \|", table, re.M)


def _code(text: str) -> list[str]:
    spans = re.findall(r"`(repro [a-z][^`\n]*)`", text)
    blocks = [
        line.strip() for block in re.findall(r"```\w*\n(.*?)```", text, re.S) for line in block.splitlines()
    ]
    return [
        line
        for line in [*spans, *blocks]
        if re.match(r"repro (--help|[a-z])", line) and line != "repro --help"
    ]


def _longest(words: list[str]) -> str | None:
    """The command that the first words name: 'repro data link' before 'repro data'."""
    return next((c for n in (3, 2) if (c := " ".join(words[:n])) in DOCUMENTED), None)


def _prose(text: str) -> str:
    """Without generated tables: their links are the published pages' own."""
    return re.sub(r"<!-- repro:table.*?<!-- /repro:table -->", "", text, flags=re.S)


@pytest.mark.parametrize("words", [["-h"], ["data", "-h"], ["data", "link", "-h"]], ids=" ".join)
def test_help_has_a_short_option(words: list[str]) -> None:
    shown = CliRunner().invoke(app, words)
    assert shown.exit_code == 0
    assert shown.output == CliRunner().invoke(app, [*words[:-1], "--help"]).output


def test_the_version_is_that_of_the_package() -> None:
    shown = CliRunner().invoke(app, ["--version"])
    assert (shown.exit_code, shown.output) == (0, f"repro {repro.__version__}\n")


def test_every_document_is_in_the_navigation_of_the_site() -> None:
    text = (ROOT / "zensical.toml").read_text(encoding="utf-8")
    named = set(re.findall(r'"([\w/-]+\.md)"', text))
    written = {path.name for path in (ROOT / "docs").glob("*.md")}
    assert named == written | {"datasets/README.md", "decisions/README.md"}


def test_all_decisions_are_listed() -> None:
    folder = ROOT / "docs" / "decisions"
    listed = re.findall(r"^\| (\S+) \| \[(.+)\]\((.+)\) \|$", (folder / "README.md").read_text(), re.M)
    notes = sorted(folder.glob("20*.md"))
    assert listed == [(path.name[:10], path.read_text().splitlines()[0][2:], path.name) for path in notes]
