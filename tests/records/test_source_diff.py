"""The diff of uncommitted code: listed files only, without secrets; and failures of git."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from repro.errors import ReproError
from repro.fleet.bundle import export_run
from repro.fleet.replay import replay
from repro.io.git import git as ask_git
from repro.io.redact import redact_lines
from repro.params import Project
from repro.records import collect, read_record, source_diff, write_record
from repro.records.provenance import git_state
from repro.records.source_diff import MAX_FILE_BYTES, source_changes
from repro.reports import compare_revision
from repro.reports.html import html_report
from repro.reports.results import load_results
from repro.tracking.record_view import files_of, texts_of
from tests.fleet.test_bundle import KEY, NAME, _git, checkout, finish

SECRET = "s3cr3tPlanted"
# What clones hold besides the code: tracked files that were edited, and files that git does not know.
TRACKED = {
    ".dvc/config": "[core]\nremote = there\n['remote \"there\"']\n"
    f"url = https://u:{SECRET}@h/x\npassword = {SECRET}\nsas_token = sv=1&sig={SECRET}\n",
    "config.txt": f"token: {SECRET}\n",
    ".gitmodules": f"[submodule]\nurl = https://u:{SECRET}@h/x\n",
}
UNTRACKED = (
    *("id_ecdsa", ".npmrc", "_netrc", "kubeconfig", "store.p12", "store.jks", "main.tfvars", "settings.ini"),
    *("service-account.json", "repro/service-account.json", "repro/id_ecdsa", "experiments/.env", "notes.md"),
    *(f"experiments/{NAME}/secrets.yaml", "repro/credentials.json", "published/token.yaml", "repro/keys.bin"),
)
INSIDE = {
    "repro/code.py": f'url = "https://u:{SECRET}@h/x"\nTOKEN = "{SECRET}"\nx = 2\n',
    "params.yaml.extra": SECRET,
    "repro/new.py": f'k = """-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----"""\ny = 3\n',
    "requirements.lock": f"--index-url https://u:{SECRET}@h/simple\n",
    "Makefile": f"API_KEY = {SECRET}\nall:\n\ttrue\n",
}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A finished run of uncommitted code, with secrets in the usual places."""
    made = checkout(tmp_path / "here")
    write(made.root, {".gitignore": ".repro/\ndata\nprepared\n*.safetensors\n", "repro/code.py": "x = 1\n"})
    write(made.root, dict.fromkeys(TRACKED, "first\n"))
    _git(made.root, "init", "-q")
    _git(made.root, "add", "-f", ".")
    _git(made.root, "commit", "-qm", "first")
    write(made.root, {**TRACKED, **dict.fromkeys(UNTRACKED, f"password = {SECRET}\n"), **INSIDE})
    finish(made)
    record = read_record(made.record(NAME))
    entries = [json.loads(line) for line in made.journal(KEY).read_text().splitlines()]
    training = [entry["found"] for entry in entries if entry["kind"] == "provenance"][-1]
    write_record(made.record(NAME), changed(record, {"git": training["git"], "training": training}))
    return made


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def changed(record: Any, provenance: dict[str, Any]) -> Any:
    from dataclasses import replace

    return replace(record, provenance=provenance)


def test_no_planted_secret_is_in_anything_that_travels(project: Project, tmp_path: Path) -> None:
    """Regression: source.diff contained a DVC remote's password, tokens, keys and key stores."""
    bundle = export_run(project, NAME, tmp_path / "run.zip")
    record = read_record(project.record(NAME))
    with zipfile.ZipFile(bundle.path) as archive:
        travels = {name: archive.read(name) for name in archive.namelist()}
    travels |= {f"mlflow/{path.name}": path.read_bytes() for path, _ in files_of(project, record)}
    travels |= {f"mlflow/{name}": text.encode() for name, text in texts_of(record).items()}
    travels |= {"report": html_report(load_results(project)).encode()}
    travels |= {"work": (project.work_folder(KEY) / "source.diff").read_bytes()}
    assert "source.diff" in travels
    assert "mlflow/source.diff" in travels
    for name, content in travels.items():
        assert SECRET.encode() not in content, name
    assert b"x = 2" in travels["work"]
    assert b"y = 3" in travels["work"]


def test_a_link_to_a_secret_does_not_travel(project: Project, tmp_path: Path) -> None:
    """Git stores links: one named like an output would be exported, uploaded and shown."""
    folder, key, record = project.experiment_folder(NAME), tmp_path / "id_rsa", project.record(NAME)
    key.write_text(SECRET)
    (project.root / ".dvc/config").write_text("[core]\n")
    links = (folder / "overlays/key.png", project.work_folder(KEY) / "source.diff", folder / "also/x/a.json")
    for link in links:
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(key)
    bundle = export_run(project, NAME, tmp_path / "a.zip")
    with zipfile.ZipFile(bundle.path) as archive:
        assert not any(SECRET.encode() in archive.read(name) for name in archive.namelist())
    sent = [path for path, _ in files_of(project, read_record(record))]
    assert sent
    assert not {*sent} & {*links}


def test_links_into_the_cache_of_dvc_are_outputs(project: Project) -> None:
    """`dvc config cache.type symlink` makes them."""
    path = project.experiment_folder(NAME) / "overlays" / "0.png"
    cached = project.root / ".dvc" / "cache" / "files" / "md5" / "ab" / "cd"
    cached.parent.mkdir(parents=True)
    (project.root / ".dvc/config").write_text("[core]\n")
    path.rename(cached)
    path.symlink_to(cached)
    assert (path, "overlays") in files_of(project, read_record(project.record(NAME)))


def test_what_is_left_out_and_what_is_masked_is_named(project: Project) -> None:
    git = git_state(project.root)
    named = {*source_changes(project.root).left_out}
    assert {*TRACKED, *UNTRACKED, "params.yaml.extra"} <= named
    assert len(git["not_kept"]) == 21
    assert git["not_kept"][-1].startswith("and ")
    assert git["masked"] == ["Makefile", "repro/code.py", "repro/new.py", "requirements.lock"]
    assert git["dirty"]
    assert git["diff_sha256"]


def test_a_file_that_had_a_secret_already_is_left_out_whole(project: Project) -> None:
    """Without the committed line the patch would not apply."""
    lines = [f'TOKEN = "{SECRET}"', *"abcdefgh", "x = 1"]
    write(project.root, {"repro/old.py": "\n".join(lines), "repro/far.py": "\n".join([*lines, *"abcdefgh"])})
    _git(project.root, "add", "-f", "repro/old.py", "repro/far.py")
    _git(project.root, "commit", "-qm", "second")
    write(project.root, {"repro/old.py": "\n".join(["x = 2", *lines[2:]])})
    write(project.root, {"repro/far.py": "\n".join([*lines, *"abcdefg", "x = 5"])})
    found = source_changes(project.root)
    assert "repro/old.py" in found.left_out
    assert b"x = 5" in found.patch
    assert SECRET.encode() not in found.patch


def test_links_binaries_and_large_files_are_named(project: Project) -> None:
    os.symlink(project.root / "id_ecdsa", project.root / "repro" / "link.py")
    (project.root / "repro" / "binary.py").write_bytes(bytes(range(256)))
    (project.root / "repro" / "large.py").write_bytes(b"x\n" * MAX_FILE_BYTES)
    left = source_changes(project.root).left_out
    assert {"repro/link.py", "repro/binary.py", "repro/large.py"} <= {*left}


def test_a_replay_says_what_the_recorded_difference_does_not_hold(project: Project) -> None:
    said: list[str] = []
    replay(project, NAME, run=lambda tree, arguments: None, say=said.append)
    assert any("not in this replay" in line and ".dvc/config" in line for line in said)
    assert any("masked" in line and "repro/code.py" in line for line in said)


@pytest.mark.parametrize(
    "line",
    [
        *(f'token = "{SECRET}"', f"'client_secret': '{SECRET}'", f'password: str = "{SECRET}"'),
        *(
            f'u = "s3://a:{SECRET}@h"',
            f'u = "https://h/x?sv=1&sig={SECRET}"',
            f"x = '{'ghp_' + 'a' * 8 + SECRET}'",
        ),
    ],
)
def test_literals_of_code_are_masked(line: str) -> None:
    (found,) = redact_lines([line], is_code=True)
    assert SECRET not in found
    assert "***" in found


@pytest.mark.parametrize(
    "line",
    ["token = next(tokens)", "def f(token: str) -> None:", 'author = "Ada"', 'tokens = {"a": 1}', "lr = 0.1"],
)
def test_code_without_a_secret_stays(line: str) -> None:
    assert redact_lines([line], is_code=True) == [line]


# --- what git could not say ---------------------------------------------------------------------------------


def fake_git(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """A fake git that runs `script`."""
    folder.mkdir()
    (folder / "git").write_text(f"#!{sys.executable}\n{script}\n")
    (folder / "git").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_outside_a_repository_the_commit_is_unknown(tmp_path: Path) -> None:
    unknown = {"commit": None, "dirty": None, "diff_sha256": None, "unknown": "not in a git repository"}
    assert collect(tmp_path)["git"] == unknown


def test_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_state(tmp_path)["unknown"] == "git is not installed"
    assert source_diff(tmp_path) == b""


def test_without_a_commit(tmp_path: Path) -> None:
    _git(tmp_path, "init", "-q")
    assert git_state(tmp_path)["unknown"] == "the repository has no commit yet"


@pytest.fixture
def foreign(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A clone that belongs to another user."""
    if os.getuid() != 0:
        pytest.skip("only root can give a file away")
    for path in (project.root, project.root / ".git"):
        os.chown(path, 12345, 12345)
    monkeypatch.setenv("HOME", str(project.root.parent))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for name in ("SUDO_UID", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    return project


def test_the_clone_of_somebody_else(foreign: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: the commit was None without a reason, and `check --against` suggested `git fetch`."""
    found = git_state(foreign.root)
    assert found["commit"] is None
    assert found["unknown"] == "git refuses a repository that belongs to another user"
    with pytest.raises(ReproError, match="another user") as caught:
        compare_revision.compare(load_results(foreign), "HEAD", [NAME])
    assert f"git config --global --add safe.directory {foreign.root}" in str(caught.value)


def test_a_refusal_is_understood_in_any_language(foreign: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGUAGE", "de")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    with pytest.raises(ReproError, match="another user"):
        ask_git(foreign.root, "status")


def test_a_shallow_clone(project: Project, tmp_path: Path) -> None:
    old = _git(project.root, "rev-parse", "HEAD").strip()
    _git(project.root, "commit", "-qam", "second")
    _git(tmp_path, "clone", "-q", "--depth", "1", f"file://{project.root}", "shallow")
    clone = Project(tmp_path / "shallow")
    found = git_state(clone.root)
    assert found["shallow"] is True
    assert found["commit"] == _git(project.root, "rev-parse", "HEAD").strip()
    with pytest.raises(ReproError, match="not in this shallow clone") as caught:
        compare_revision.compare(load_results(clone), old, [])
    assert "git fetch --unshallow" in str(caught.value)


def test_a_worktree_a_detached_head_and_a_submodule_know_their_commit(
    project: Project, tmp_path: Path
) -> None:
    commit = _git(project.root, "rev-parse", "HEAD").strip()
    _git(project.root, "worktree", "add", "-q", "--detach", str(tmp_path / "tree"))
    outer = tmp_path / "outer"
    outer.mkdir()
    _git(outer, "init", "-q")
    _git(outer, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(project.root), "zoo")
    for root in (tmp_path / "tree", outer / "zoo"):
        assert git_state(root) == {"commit": commit, "dirty": False, "diff_sha256": None}
    shutil.rmtree(project.root / ".git" / "worktrees")
    assert git_state(tmp_path / "tree")["unknown"] == "the repository of this worktree is missing"


def test_a_git_that_fails_later_is_not_a_clean_tree(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: an unreadable index counted as a tree without changes."""
    (project.root / ".git" / "index").write_bytes(b"DIRC damaged")
    found = git_state(project.root)
    assert (found["dirty"], found["diff_sha256"]) == (None, None)
    assert "failed" in found["unknown"]
    assert str(project.root) not in found["unknown"]


def test_a_git_that_hangs(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_git(tmp_path / "bin", monkeypatch, "import time; time.sleep(60)")
    with pytest.raises(ReproError, match="did not answer"):
        ask_git(project.root, "status", timeout=0.5)


def test_a_commit_that_is_not_here_is_named_before_a_replay(project: Project) -> None:
    record = read_record(project.record(NAME))
    write_record(project.record(NAME), changed(record, {"git": {"commit": "ab" * 20, "dirty": False}}))
    with pytest.raises(ReproError, match="commit abababababab is not in this clone"):
        replay(project, NAME, run=lambda tree, arguments: None)


def test_the_sources_of_the_network_that_ran_are_included_and_no_other_code(project: Project) -> None:
    write(project.root, {"zoo/nets.py": f'x = 1\nTOKEN = "{SECRET}"\n', "zoo/other.py": "y = 2\n"})
    assert {"zoo/nets.py", "zoo/other.py"} <= {*source_changes(project.root).left_out}
    found = source_changes(project.root, ("zoo/nets.py",))
    assert b"zoo/nets.py" in found.patch
    assert SECRET.encode() not in found.patch
    assert "zoo/nets.py" not in found.left_out
    assert "zoo/other.py" in found.left_out
    params: dict[str, Any] = {"model": {"build": "zoo.nets:Net", "sources": {"zoo/nets.py": "0" * 64}}}
    wanted = hashlib.sha256(found.patch).hexdigest()
    assert collect(project.root, params=params)["git"]["diff_sha256"] == wanted
    folder = {"external": {"predict": {"deps": ["zoo/"]}}}  # of a program
    assert collect(project.root, params=folder)["git"]["diff_sha256"] != wanted
    assert "zoo/other.py" not in source_changes(project.root, ("zoo/",)).left_out
