"""A bundle is read only when its list of members is sound: one spelling, once, bounded, plain files."""

from __future__ import annotations

import json
import stat
import zipfile
from pathlib import Path

import pytest

from repro.errors import RecordError
from repro.fleet import check_bundle
from repro.fleet.bundle import export_run, import_run
from repro.fleet.check_bundle import allowed, verify_bundle
from repro.params import Project
from tests.fleet.test_bundle import NAME, checkout, finish, forge, outputs


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """The exported run of a project."""
    project = checkout(tmp_path / "here")
    finish(project)
    return export_run(project, NAME, tmp_path / "run.zip").path


@pytest.fixture
def home(tmp_path: Path) -> Project:
    return checkout(tmp_path / "home")


def refused(home: Project, bundle: Path, why: str) -> None:
    before = outputs(home)
    with pytest.raises(RecordError, match=why):
        import_run(home, bundle)
    assert outputs(home) == before


@pytest.mark.parametrize(
    "member",
    [
        *(
            "./model.safetensors",
            "overlays//0.png",
            "overlays/./0.png",
            "overlays/../metrics.json",
            "x/../cost.json",
        ),
        *(
            "model.safetensors/",
            "overlays/.png",
            "overlays/a\nb.png",
            f"overlays/{'x' * 252}.png",
            "/cost.json",
        ),
        *(
            f"also/{'x' * 300}/metrics.json",
            "also/-f/metrics.json",
            "also/./metrics.json",
            "overlays\\0.png",
            "",
        ),
        *("out", "out/", "out/../cost.json", "out//a", "deps/./a", "deps/a\nb", f"deps/{'x' * 256}", "deps"),
    ],
)
def test_a_second_spelling_is_not_a_member(bundle: Path, home: Project, member: str) -> None:
    """`./model.safetensors` beside `model.safetensors` was verified as one and placed as the other."""
    assert not allowed(member)
    with zipfile.ZipFile(bundle, "a") as archive:
        archive.writestr(zipfile.ZipInfo(member), b"unverified")
    refused(home, bundle, "the file holds")


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("member", ["model.safetensors", "manifest.json", "record.json"])
def test_a_member_is_there_once(bundle: Path, home: Project, member: str) -> None:
    with zipfile.ZipFile(bundle, "a") as archive:
        archive.writestr(member, b"unverified")
    refused(home, bundle, f"the file holds '{member}' twice")


def test_a_member_that_the_manifest_does_not_list_is_refused(bundle: Path, home: Project) -> None:
    with zipfile.ZipFile(bundle, "a") as archive:
        archive.writestr("overlays/unlisted.png", b"unverified")
    refused(home, bundle, "not both in the file and in its manifest")


def test_many_members_are_refused(bundle: Path, home: Project) -> None:
    with zipfile.ZipFile(bundle, "a") as archive:
        for number in range(check_bundle.MOST_MEMBERS):
            archive.writestr(f"overlays/{number:05d}x.png", b"")
    refused(home, bundle, "members")


@pytest.mark.parametrize("member", ["overlays/0.png", "cost.json", "curve.csv", "manifest.json"])
def test_a_member_of_many_zeros_is_refused_before_it_is_read(
    bundle: Path, home: Project, member: str
) -> None:
    """40 MiB of zeros are 40 kB in the file."""
    changes = {member: bytes(40 << 20)} if member != "manifest.json" else {}
    if changes:
        forge(bundle, changes)
    else:
        with zipfile.ZipFile(bundle) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        members["manifest.json"] = json.dumps(json.loads(members["manifest.json"])).encode() + b" " * (
            40 << 20
        )
        with zipfile.ZipFile(bundle, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in members.items():
                archive.writestr(name, data)
    refused(home, bundle, "40 MiB")


def test_links_are_no_members(bundle: Path, home: Project) -> None:
    link = zipfile.ZipInfo("overlays/link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(bundle, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    refused(home, bundle, "a link")


def test_what_changes_between_the_check_and_the_copy_is_not_placed(
    bundle: Path, home: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    from repro.errors import StorageError
    from repro.fleet import bundle as module

    real = verify_bundle

    def verify_then_swap(project: Project, path: Path) -> check_bundle.Bundle:
        found = real(project, path)
        forge(path, {"model.safetensors": b"another"})
        return found

    monkeypatch.setattr(module, "verify_bundle", verify_then_swap)
    before = outputs(home)
    with pytest.raises(StorageError, match="changed while it was read"):
        import_run(home, bundle)
    assert outputs(home) == before


@pytest.mark.parametrize(
    ("member", "why"),
    [
        ("also/page000/metrics.json", "a result under 'page000'"),
        ("also/page000/overlays/0.png", "a result under 'page000'"),
        ("source.diff", "does not match the record"),
    ],
)
def test_nothing_lands_that_the_record_does_not_name(
    bundle: Path, home: Project, member: str, why: str
) -> None:
    """The judgement reads what belongs to the record, and nobody looked at the rest."""
    forge(bundle, {member: b"{}"})
    refused(home, bundle, why)
