"""Files are UTF-8 in every locale, and characters that a terminal cannot show stop no command."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def without_encoding(tree: ast.AST) -> Iterator[int]:
    """Lines that read or write text in the locale's encoding."""
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        named = {key.arg for key in call.keywords}
        if "encoding" not in named and (opens_text(call) or any(is_text(key) for key in call.keywords)):
            yield call.lineno


def is_text(key: ast.keyword) -> bool:
    """`text=True` of subprocess."""
    return key.arg in ("text", "universal_newlines") and ast.unparse(key.value) == "True"


def opens_text(call: ast.Call) -> bool:
    """read_text(), write_text("..."), path.open(), path.open("a"), open(path)."""
    named = {key.arg for key in call.keywords}
    values = [argument.value for argument in call.args if isinstance(argument, ast.Constant)]
    if isinstance(call.func, ast.Name):
        return call.func.id == "open" and not any("b" in str(value) for value in values)
    if not isinstance(call.func, ast.Attribute):
        return False
    if call.func.attr == "open":
        return not (call.args or "fileobj" in named) or any(
            set(str(value)) <= set("rwaxt+") for value in values
        )
    return (call.func.attr, len(call.args)) in (("read_text", 0), ("write_text", 1))


def test_every_text_names_its_encoding() -> None:
    found = {
        f"{path.relative_to(ROOT)}:{line}"
        for path in sorted((ROOT / "repro").rglob("*.py"))
        for line in without_encoding(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert found == set()


@pytest.mark.parametrize(
    "command",
    [
        ("table", "--dataset", "camvid"),
        ("show", "camvid_mobilenetv2_os16"),
        ("explain", "camvid_mobilenetv2_os16"),
        ("page", "lint"),
        ("doctor",),
        ("table", "--check"),
        ("docs", "--check"),
    ],
    ids=" ".join,
)
@pytest.mark.slow
def test_a_locale_without_utf8(command: tuple[str, ...]) -> None:
    """The output is the same, with replacements for missing characters."""
    ascii, utf8 = run(*command), run(*command, PYTHONUTF8="1", PYTHONIOENCODING="utf-8")
    assert b"Traceback" not in ascii.stderr
    assert ascii.returncode == utf8.returncode
    assert len(ascii.stdout.splitlines()) == len(utf8.stdout.splitlines())


def test_json_keeps_what_the_terminal_lacks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("| method | mIoU |\n| --- | --- |\n| R-50 – naïve | 70.1 |\n", encoding="utf-8")
    printed = run("page", "import", str(page), "--source", "x", cwd=tmp_path).stdout  # outside a project
    assert "R-50 – naïve" in json.loads(printed.decode("ascii"))["rows"]["x-01"]["cells"]


def run(*command: str, cwd: Path = ROOT, **settings: str) -> subprocess.CompletedProcess[bytes]:
    """Run `repro COMMAND` in an ASCII locale."""
    locale = {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    program = [sys.executable, "-c", "from repro.cli import main; main()", *command]
    return subprocess.run(program, cwd=cwd, env={**os.environ, **locale, **settings}, capture_output=True)
