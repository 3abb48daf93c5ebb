"""Web addresses of the project's repository, without credentials."""

from __future__ import annotations

from pathlib import Path

from repro.io.repository import commit_url, file_url, repository_url, web_address
from tests.reports.kit import git

COMMIT = "1" * 40
REMOTES = {
    "git@host.org:owner/name.git": "https://host.org/owner/name",
    "ssh://git@host.org:2222/owner/name.git": "https://host.org/owner/name",
    "https://user:secret@host.org/owner/name.git/": "https://host.org/owner/name",
    "/srv/git/name.git": None,
    "file:///srv/git/name.git": None,
    "": None,
}


def test_the_web_address_of_a_remote() -> None:
    assert {remote: web_address(remote) for remote in REMOTES} == REMOTES


def test_files_and_commits_are_linked_where_the_remote_is_known(tmp_path: Path) -> None:
    assert repository_url(tmp_path) is None
    git(tmp_path, "init", "-q")
    git(tmp_path, "remote", "add", "origin", "https://user:secret@host.org/o/n.git")
    zoo = tmp_path / "zoo"
    zoo.mkdir()
    assert file_url(zoo, "a b.yaml") == "https://host.org/o/n/blob/HEAD/zoo/a%20b.yaml"
    assert commit_url(zoo, COMMIT) == f"https://host.org/o/n/commit/{COMMIT}"
    assert commit_url(zoo, "HEAD; rm") is None
