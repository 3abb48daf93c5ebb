"""Web addresses of published pages at their commit, and of papers."""

from __future__ import annotations

import pytest

from repro.published.page import Source
from repro.published.web_links import page_url, papers

COMMIT = "1" * 40


@pytest.mark.parametrize(
    ("origin", "commit", "url"),
    [
        ("a/b:docs/R E.md".replace(" ", "_"), COMMIT, f"https://github.com/a/b/blob/{COMMIT}/docs/R_E.md"),
        ("a/b:R.md (branch x)", COMMIT, f"https://github.com/a/b/blob/{COMMIT}/R.md"),
        ("a/b:R.md", "", None),
        ("notes/mine.md", COMMIT, None),
        ("https://example.org/results", "", "https://example.org/results"),
        ("javascript:alert(1)", COMMIT, None),
    ],
)
def test_a_page_is_linked_at_its_commit(origin: str, commit: str, url: str | None) -> None:
    assert page_url(Source(id="p", origin=origin, commit=commit)) == url


def test_a_row_is_linked_by_its_line() -> None:
    found = page_url(Source(id="p", origin="a/b:R.md", commit=COMMIT), 28)
    assert found == f"https://github.com/a/b/blob/{COMMIT}/R.md?plain=1#L28"


def test_papers_of_a_family_and_a_backbone() -> None:
    assert [title for title, _ in papers("deeplabv3plus", "mobilenetv2")] == [
        "DeepLab v3+ (2018)",
        "MobileNetV2 (2018)",
    ]
    assert list(papers(None, "other")) == []
