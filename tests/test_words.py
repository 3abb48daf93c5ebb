"""Texts use the terms of docs/glossary.md, not the words that it replaces."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.conftest import ROOT

GLOSSARY = ROOT / "docs" / "glossary.md"
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "docs/*.md", "docs/datasets/*.md")
# "one a file" for "one per file".
PER = re.compile(
    r"\b(?:one|once|two|\d+|bytes|MB|GB|ms|seconds|images|lines|threads|files) an? "
    r"(?:image|tile|file|class|row|experiment|GPU|process|thread|second|line|page|run|seed|stage|sample|day|week|minute|hour)\b"
)


@cache
def replaced() -> list[re.Pattern[str]]:
    """The words on the left of the glossary's second table."""
    lines = GLOSSARY.read_text(encoding="utf-8").partition("| Instead of")[2].splitlines()[2:]
    cells = [line.split("|")[1] for line in lines if line.startswith("|")]
    words = [word.strip() for cell in cells for word in cell.split(",")]
    assert len(words) > 15
    return [re.compile(rf"(?<!-)\b{re.escape(word)}\b", re.IGNORECASE) for word in words]


def strings(path: Path) -> Iterator[tuple[int, str]]:
    """Every string of a module: messages, help, docstrings."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def found(text: str) -> list[str]:
    prose = re.sub(r"</?[a-z]+>", "", text)  # names of HTML elements are no words
    return [match[0] for pattern in (*replaced(), PER) for match in pattern.finditer(prose)]


def test_messages_and_help_use_the_terms_of_the_glossary() -> None:
    paths = sorted((ROOT / "repro").rglob("*.py"))
    uses = {
        f"{path.relative_to(ROOT)}:{line}": words
        for path in paths
        for line, text in strings(path)
        if (words := found(text))
    }
    assert uses == {}


def test_documents_use_the_terms_of_the_glossary() -> None:
    paths = sorted(path for pattern in DOCUMENTS for path in ROOT.glob(pattern) if path != GLOSSARY)
    uses = {
        str(path.relative_to(ROOT)): words
        for path in paths
        if (words := found(path.read_text(encoding="utf-8")))
    }
    assert uses == {}


def test_names_of_tests_use_the_terms_of_the_glossary() -> None:
    # Nothing is compared but the names: a test of a message quotes what it must not say.
    uses = {
        f"{path.relative_to(ROOT)}:{name}": words
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        for name in re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
        if (words := found(name.replace("_", " ")))
    }
    assert uses == {}


def test_a_replaced_word_is_found() -> None:
    assert found("It goes on; one a file; Told twice") == ["Told", "goes on", "one a file"]
