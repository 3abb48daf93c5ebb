"""Settings of DVC as the reports read them: what they publish holds no secret."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from repro.cli.app import app
from repro.errors import ParamsError
from repro.io.redact import strip_credentials
from repro.records.dvc_files import cache_folder, remote_url
from tests.reports.kit import a_project, a_record

LOCK = "stages:\n  train:\n    outs:\n    - path: model.safetensors\n      md5: abcdef\n"


def settings(root: Path, name: str, text: str) -> Path:
    (root / ".dvc").mkdir(exist_ok=True)
    (root / ".dvc" / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://alice:S3CRET@host/dvc", "https://host/dvc"),
        ("https://S3CRET@host:8443/dvc/", "https://host:8443/dvc"),
        ("https://host/dvc?token=S3CRET#S3CRET", "https://host/dvc"),
        ("ssh://alice@host/srv/my%20data", "ssh://host/srv/my%20data"),
        ("s3://bucket/dvc", "s3://bucket/dvc"),
        ('"https://alice:S3CRET@host/dvc"', "https://host/dvc"),
        ("https://alice:S3CRET#1@host/dvc", None),
        ("https://alice:S3CRET/1@host/dvc", None),
        ("https://S3CRET?1@host/dvc", None),
        ("https://[S3CRET@host/dvc", None),
    ],
)
def test_an_address_is_published_without_its_secrets(url: str, shown: str | None) -> None:
    assert strip_credentials(url) == shown


def test_no_generated_file_holds_the_remotes_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address comes from .dvc/config.local, which git does not track; the tables are committed."""
    project = a_project(tmp_path, a_record())
    (project.experiments / "camvid_x" / "dvc.lock").write_text(LOCK)
    (tmp_path / "README.md").write_text("<!-- repro:table -->\n<!-- /repro:table -->\n")
    url = "https://alice:S3CRETTOKEN@host/dvc%20data?sig=S3CRETTOKEN"
    settings(tmp_path, "config.local", f"[core]\n    remote = r\n['remote \"r\"']\n    url = {url}\n")
    monkeypatch.chdir(tmp_path)
    answer = CliRunner().invoke(app, ["table", "--write"])
    assert answer.exit_code == 0, answer.output
    texts = [path.read_text() for path in tmp_path.rglob("*") if path.suffix in (".md", ".csv")]
    assert any("https://host/dvc%20data/files/md5/ab/cdef" in text for text in texts)
    assert not any("S3CRETTOKEN" in text or "alice" in text for text in texts)


def test_local_settings_lie_on_top_as_dvc_has_it(tmp_path: Path) -> None:
    settings(tmp_path, "config", "[core]\nremote = r\n['remote \"r\"']\nurl = s3://shared/dvc\n")
    settings(
        tmp_path, "config.local", "['remote \"r\"']\nurl = https://mine/dvc\n[cache]\ndir = ../own%20cache\n"
    )
    assert remote_url(tmp_path) == "https://mine/dvc"
    assert cache_folder(tmp_path) == tmp_path / "own%20cache"
    assert cache_folder(tmp_path / "elsewhere") == tmp_path / "elsewhere" / ".dvc" / "cache"


def test_settings_that_cannot_be_read_are_an_error(tmp_path: Path) -> None:
    settings(tmp_path, "config", "remote = r\n")
    with pytest.raises(ParamsError, match="invalid DVC configuration"):
        remote_url(tmp_path)


@pytest.mark.slow
def test_dvc_itself_writes_what_is_read(tmp_path: Path) -> None:
    """Sections, quotes and the file are those of `dvc remote add --local`."""
    dvc = [sys.executable, "-m", "dvc"]
    add = ["remote", "add", "--local", "-d", "r", "https://alice:S3CRET@host/dvc%20data"]
    for command in (["init", "-q", "--no-scm"], add):
        subprocess.run([*dvc, *command], cwd=tmp_path, check=True, capture_output=True)
    assert remote_url(tmp_path) == "https://host/dvc%20data"
