"""`repro data` and `repro prepare`, the synthetic scenes, and downloads."""

from __future__ import annotations

import hashlib
import json
import re
import threading
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from repro.cli.console import guarded
from repro.datasets import DATASETS
from repro.datasets.augment.rng import Rng
from repro.datasets.prepare import inspect
from repro.datasets.prepare.prepared_split import Split
from repro.datasets.prepare.smoke_fixtures import write_fixture
from repro.datasets.prepare.stats import Stats, markdown
from repro.datasets.raw.download import fetch
from repro.datasets.sets import camvid, synthetic
from repro.datasets.sets.spec import Download
from repro.errors import DownloadError
from tests.datasets import kit


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project with a tiny CamVid, and the data next to it."""
    root = tmp_path / "project"
    (root / "experiments").mkdir(parents=True)
    (root / "params.yaml").write_text(
        "datasets:\n"
        "  camvid: {classes: 11, splits: {train: 2, val: 2, trainval: 4, test: 2}}\n"
        "  synthetic: {classes: 11, splits: {train: 96, val: 24, test: 48}}\n"
    )
    kit.camvid(tmp_path / "mine")
    monkeypatch.chdir(root)
    return root


def test_outside_a_project_the_built_in_data_sets_are_listed(in_tmp: Path) -> None:
    listed = json.loads(repro("data", "list", "--json"))
    assert [row["name"] for row in listed] == list(DATASETS)
    assert {(row["raw"], row["prepared"]) for row in listed} == {("", "")}
    assert "camvid: CamVid" in repro("data", "list", "camvid")
    assert "unknown dataset 'camvit'" in repro("data", "list", "camvit", code=2)


def repro(*words: str, code: int = 0) -> str:
    """Run a command in this process and return its output."""
    from repro.cli.app import app

    runner = CliRunner()
    result = runner.invoke(app, list(words), standalone_mode=False)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        error = result.exception
        assert guarded(lambda: (_ for _ in ()).throw(error)) == code
        return result.output + str(error)
    assert result.exit_code == code, result.output
    return result.output


@pytest.mark.parametrize("path", ["", ".", "..", "experiments", "/"])
def test_the_project_is_not_a_data_set(project: Path, tmp_path: Path, path: str) -> None:
    """Regression: `repro data link camvid "$CAMVID"` with an unset variable linked the project itself."""
    repro("data", "link", "camvid", str(tmp_path / "mine"))
    assert "no data set to link" in repro("data", "link", "camvid", path, code=2)
    assert (project / "data" / "camvid").resolve() == tmp_path / "mine"
    repro("data", "link", "camvid", "data/camvid")
    assert (project / "data" / "camvid").resolve() == tmp_path / "mine"


def test_an_image_that_cannot_be_written_is_said_first(project: Path, tmp_path: Path) -> None:
    assert "no such folder" in repro("data", "stats", "camvid", "--plot", "nowhere/x.png", code=2)
    assert "FILE.png" in repro("data", "stats", "camvid", "--plot", "x.foo", code=2)
    assert "`--picture` is now `--plot`" in repro("data", "stats", "camvid", "--picture", "x.foo", code=2)
    (tmp_path / "x.png").mkdir()
    assert "FILE.png" in repro("data", "stats", "camvid", "--plot", str(tmp_path / "x.png"), code=2)


def test_link_checks_prepares_and_reports(project: Path, tmp_path: Path) -> None:
    out = repro("data", "link", "camvid", str(tmp_path / "mine"))
    assert "train: 2 of 367 images, 16x12, 2 decoded, 11 classes seen" in out
    assert "write your numbers" not in out, "they stand in params.yaml"
    assert (project / "data/camvid").resolve() == tmp_path / "mine"
    out = repro("prepare", "camvid")
    assert "trainval.zip: 4 images" in out
    assert sorted(path.name for path in (project / "prepared/camvid").iterdir()) == [
        *("test.zip", "train.zip", "trainval.zip", "val.zip")
    ]
    listed = {row["name"]: row for row in json.loads(repro("data", "list", "--json"))}
    assert set(listed) == set(DATASETS)
    assert listed["camvid"]["raw"] == "here"
    assert listed["camvid"]["prepared"] == "test, train, trainval, val"
    assert listed["cityscapes"]["raw"] == "missing"
    assert listed["cityscapes"]["downloads"]
    assert listed["cityscapes"]["size_GB"] == 11.85


def test_what_commands_did_for_machines(project: Path, tmp_path: Path) -> None:
    linked = json.loads(repro("data", "link", "camvid", str(tmp_path / "mine"), "--json"))
    assert linked["linked"] == str(project / "data/camvid")
    assert linked["splits"][0] == {"split": "train", "images": 2, "official": 367, "decoded": 2}
    made = json.loads(repro("prepare", "camvid", "--json"))
    assert made["dataset"] == "camvid"
    for split, facts in made["splits"].items():
        assert Path(facts["file"]).stat().st_size == facts["bytes"]
        assert facts["fingerprint"] == Split.open(Path(facts["file"])).fingerprint
        assert facts["images"] == {"trainval": 4}.get(split, 2)


def test_list_shows_every_archive_with_what_is_known_of_it(project: Path) -> None:
    table = repro("data", "list")
    for name, module in DATASETS.items():
        assert f"\n{name} " in table, "names are not cut"
        text = repro("data", "list", name)
        assert text.startswith(f"{name}: {module.TITLE}")
        for file in module.DOWNLOADS:
            known = file.checksum or "no checksum known"
            assert f"archive: {file.name}, {file.size_GB:g} GB, {known}, " in text
    assert "unknown dataset 'camvit'" in repro("data", "list", "camvit", code=2)


def test_a_wrong_archive_is_reported_by_a_deep_look(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Manually downloaded archives are compared with the published checksum."""
    path = tmp_path / "owner.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted((tmp_path / "mine").rglob("*.png")):
            archive.write(file, file.relative_to(tmp_path / "mine"))
    right = "md5:" + hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    for checksum, code in ((right, 0), ("md5:" + "0" * 32, 2)):
        known = Download(name="owner.zip", page="owner.example", size_GB=0.1, checksum=checksum)
        monkeypatch.setattr(camvid, "DOWNLOADS", (known,))
        out = repro("data", "link", "camvid", str(path), "--deep", code=code)
        assert ("wrong md5:" in out) == (code == 2)
        repro("data", "link", "camvid", str(path))


def test_link_again_moves_the_link_and_never_the_data(project: Path, tmp_path: Path) -> None:
    repro("data", "link", "camvid", str(tmp_path / "mine"))
    kit.camvid(tmp_path / "other")
    repro("data", "link", "camvid", str(tmp_path / "other"))
    assert (project / "data/camvid").resolve() == tmp_path / "other"
    (project / "data/camvid").unlink()
    kit.camvid(project / "data/camvid")
    assert "data exists at the path of the link" in repro(
        *("data", "link", "camvid", str(tmp_path / "mine")), code=2
    )
    assert len(list((project / "data/camvid/train").iterdir())) == 2


def test_link_refuses_what_is_wrong_and_links_nothing(project: Path, tmp_path: Path) -> None:
    label = kit.blocks(0, range(12))
    label[5, 5] = 99
    kit.save(tmp_path / "mine/valannot/val1.png", label)
    out = repro("data", "link", "camvid", str(tmp_path / "mine"), code=2)
    assert "label values [99]" in out
    assert "valannot/val1.png" in out
    assert not (project / "data/camvid").exists()
    assert "unknown dataset 'camvit'" in repro("data", "link", "camvit", str(tmp_path), code=2)


def test_a_missing_data_set(project: Path) -> None:
    assert "`repro data link camvid PATH`" in repro("prepare", "camvid", code=2)
    assert "not prepared" in repro("data", "stats", "camvid", code=2)
    assert "unknown data set in params.yaml 'ade20k'" in repro("prepare", "ade20k", code=2)
    (project / "data").mkdir()
    (project / "data/camvid").symlink_to(project / "nowhere")
    rows = {row["name"]: row["raw"] for row in json.loads(repro("data", "list", "--json"))}
    assert rows["camvid"] == "broken link"
    assert "is broken: " in (said := repro("data", "require", "camvid", code=2))
    assert str(project / "nowhere") in said


def test_what_is_required_is_here_or_the_way_to_it_is_said(project: Path, tmp_path: Path) -> None:
    assert "`repro data link camvid PATH`" in (said := repro("data", "require", "camvid", code=2))
    assert "`dvc repro` without a name" in said
    assert "`repro data get ade20k` downloads 0.97 GB" in repro("data", "require", "ade20k", code=2)
    assert "unknown dataset 'camvit'" in repro("data", "require", "camvit", code=2)
    repro("data", "link", "camvid", str(tmp_path / "mine"))
    assert json.loads(repro("data", "require", "camvid", "--json")) == {
        "folder": str(project / "data/camvid")
    }


def test_a_project_inside_another_takes_its_data(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`dvc exp run --temp` and `--queue` work in copies of the project below .dvc/tmp, without its data."""
    copy = project / ".dvc/tmp/exps/one"
    (copy / "experiments").mkdir(parents=True)
    (copy / "params.yaml").write_text((project / "params.yaml").read_text())
    (tmp_path / "data/ade20k").mkdir(parents=True)  # beside the project, not of a project
    (tmp_path / "data/ade20k/x").touch()
    repro("data", "link", "camvid", str(tmp_path / "mine"))
    monkeypatch.chdir(copy)
    repro("data", "require", "camvid")
    assert (copy / "data/camvid").readlink() == tmp_path / "mine"
    repro("data", "require", "ade20k", code=2)


def test_verify(project: Path, tmp_path: Path) -> None:
    repro("data", "link", "camvid", str(tmp_path / "mine"))
    found = json.loads(repro("data", "verify", "--deep", "--json"))
    assert found[0]["splits"][0] == {"split": "train", "images": 2, "official": 367, "decoded": 2}
    (tmp_path / "mine/test/test0.png").write_bytes((tmp_path / "mine/train/train0.png").read_bytes())
    out = repro("data", "verify", "camvid", "--deep", code=1)
    assert "duplicate images across splits (leakage)" in out


def test_an_image_in_two_splits_is_reported_without_a_deep_look(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy has another name and is not among the images that a quick check decodes."""
    monkeypatch.setattr(inspect, "QUICK", 2)
    kit.camvid(tmp_path / "mine", per_split=10)
    (tmp_path / "mine/test/test7.png").write_bytes((tmp_path / "mine/train/train1.png").read_bytes())
    linked = json.loads(repro("data", "link", "camvid", str(tmp_path / "mine"), "--json"))
    assert linked["shared"] == {"train & test": 1, "trainval & test": 1}
    assert "train & test: 1 image in both" in repro("data", "link", "camvid", str(tmp_path / "mine"))
    out = repro("data", "verify", "camvid", code=1)
    assert (
        "duplicate images across splits (leakage): {'camvid': {'train & test': 1, 'trainval & test': 1}}"
        in out
    )


def test_verify_reports_shared_images_and_notes_to_machines(project: Path, tmp_path: Path) -> None:
    kit.save(tmp_path / "mine/val/val0.png", kit.photo(0)[..., 0])
    repro("data", "link", "camvid", str(tmp_path / "mine"))
    (found,) = json.loads(repro("data", "verify", "--json"))
    assert found["shared"] == {}
    assert found["notes"].keys() == {"val", "trainval"}
    assert found["notes"]["val"][0].endswith("val0.png: gray image, read as RGB")


def test_verify_fails_where_a_split_is_not_whole_and_link_says_what_to_do(
    project: Path, tmp_path: Path
) -> None:
    for folder in ("test", "testannot"):
        (tmp_path / "mine" / folder / "test0.png").unlink()
    assert "write your numbers under datasets.camvid" in repro(
        "data", "link", "camvid", str(tmp_path / "mine")
    )
    assert "{'test': '1 in place of 2'}" in repro("data", "verify", code=1)
    params = project / "params.yaml"
    params.write_text(params.read_text().replace("test: 2}", "test: 1}"))
    assert "test: 1 of 233 images" in repro("data", "verify")


def test_only_the_splits_of_params_are_compared_with_it(project: Path, tmp_path: Path) -> None:
    """LoveDA's train includes train_rural and train_urban, which need not be listed."""
    for i, path in enumerate(sorted(kit.loveda(tmp_path / "loveda").rglob("images_png/*.png"))):
        kit.save(path, kit.photo(i))
    repro("data", "link", "loveda", str(tmp_path / "loveda"))
    with (project / "params.yaml").open("a") as params:
        params.write("  loveda: {classes: 7, splits: {train: 3, val: 2}}\n")
    assert "train_rural: 2 of 1366 images" in repro("data", "verify", "loveda")
    text = (project / "params.yaml").read_text()
    (project / "params.yaml").write_text(text.replace("{train: 3, val: 2}", "{train: 3, val: 9}"))
    out = repro("data", "verify", "loveda", code=1)
    assert "not the numbers of images in params.yaml: {'loveda': {'val': '2 in place of 9'}}" in out


def test_of_cut_images_the_official_number_is_checked_unless_the_tiles_are_ones_own(
    project: Path, tmp_path: Path
) -> None:
    write_fixture("isaid", tmp_path / "isaid")
    repro("data", "link", "isaid", str(tmp_path / "isaid"))
    assert "{'train': '4 in place of 1411', " in repro("data", "verify", "isaid", code=1)
    with (project / "params.yaml").open("a") as params:
        params.write("  isaid: {classes: 16, splits: {train: 4, val: 2}}\n")
    assert "train: 4 of 1411 images" in repro("data", "verify", "isaid")


def unpadded(table: str) -> str:
    """A table without padding."""
    return re.sub(" {2,}", " ", table)


def test_stats(project: Path, tmp_path: Path) -> None:
    repro("data", "link", "camvid", str(tmp_path / "mine"))
    repro("prepare", "camvid")
    out = unpadded(repro("data", "stats", "camvid", "--plot", str(tmp_path / "classes.png")))
    assert (tmp_path / "classes.png").read_bytes().startswith(b"\x89PNG")
    split = Split.open(project / "prepared/camvid/train.zip")
    pixels = np.concatenate([split.label(i).reshape(-1) for i in range(2)])
    share = 100 * (pixels == 3).sum() / (pixels != 255).sum()
    assert f"| {camvid.CLASSES[3]} | " in out
    row = next(line for line in out.splitlines() if line.startswith("| road"))
    assert f"{share:.3f} | 2" in row
    assert "| train | 2 |" in out


def test_a_bar_in_the_name_of_a_class_does_not_break_the_table() -> None:
    nothing = np.zeros(2, np.int64)
    found = Stats(split="val", images=1, pixels_C=nothing, images_C=nothing, ignored=0, sizes=Counter())
    assert "| a\\|b | 0.000 | 0 |" in unpadded(markdown(("a|b", "c"), [found]))


# The synthetic scenes


def test_synthetic_scenes_are_pinned() -> None:
    """dvc.lock holds the hash of these bytes on every platform; a change here needs synthetic.VERSION + 1."""
    digest = hashlib.sha256()
    for i in range(6):
        image, label = synthetic.scene(Rng(synthetic.VERSION, 0, i))
        digest.update(image.tobytes() + label.tobytes())
    assert digest.hexdigest()[:16] == "4d807082f135d64e"


def test_synthetic_scenes_hold_every_class_and_need_more_than_colour() -> None:
    """A nearest-mean-colour classifier, fitted on the scenes it is tested on, stays below 20 %."""
    scenes = [synthetic.scene(Rng(synthetic.VERSION, 1, i)) for i in range(24)]
    image = np.concatenate([scene[0].reshape(-1, 3) for scene in scenes]).astype(np.float64)
    label = np.concatenate([scene[1].reshape(-1) for scene in scenes])
    assert set(np.unique(label)) == set(range(12))
    means = np.stack([image[label == c].mean(axis=0) for c in range(11)])
    guess = np.argmin(((image[:, None] - means) ** 2).sum(axis=-1), axis=1)
    valid = label < 11
    confusion = np.zeros((11, 11))
    np.add.at(confusion, (label[valid], guess[valid]), 1)
    iou = np.diag(confusion) / (confusion.sum(0) + confusion.sum(1) - np.diag(confusion))
    print(f"nearest mean colour: mIoU {100 * iou.mean():.1f}")
    assert iou.mean() < 0.2


def test_synthetic_is_made_in_one_command(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthetic, "SPLITS", {"train": 3, "val": 1, "test": 2})
    assert "6 scenes of 160x120" in repro("data", "synthetic")
    first = {path: path.read_bytes() for path in (project / "data/synthetic").rglob("*.png")}
    assert len(first) == 12
    repro("data", "synthetic")
    assert {path: path.read_bytes() for path in (project / "data/synthetic").rglob("*.png")} == first
    assert "{'train': '3 in place of 96', " in repro("data", "verify", "synthetic", code=1)
    params = project / "params.yaml"
    params.write_text(params.read_text().replace("train: 96, val: 24, test: 48", "train: 3, val: 1, test: 2"))
    assert "train: 3 images" in repro("data", "verify", "synthetic")


def test_the_built_in_set_is_drawn_where_it_is_required(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synthetic, "SPLITS", {"train": 3, "val": 1, "test": 2})
    (project / "data").mkdir()
    (project / "data/synthetic").symlink_to(project / "nowhere")
    repro("data", "require", "synthetic")
    drawn = project / "data/synthetic/test/test_001.png"
    before = drawn.stat().st_mtime_ns
    repro("data", "require", "synthetic")
    assert drawn.stat().st_mtime_ns == before


# Downloads

CONTENT = bytes(range(256)) * 4096


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    """A local server: serves CONTENT, supports ranges, and records its requests."""

    class Owner(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            self.server.asked.append(asked)  # type: ignore[attr-defined]
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and "ranges" in self.path else 0
            if start >= len(CONTENT):
                self.send_error(416)
                return
            self.send_response(404 if "absent" in self.path else 206 if start else 200)
            self.send_header("Content-Length", str(len(CONTENT) - start))
            self.end_headers()
            end = len(CONTENT) // 2 if "short" in self.path else len(CONTENT)
            self.wfile.write(CONTENT[start:end])

        def log_message(self, *_: object) -> None:
            pass

    owner = ThreadingHTTPServer(("127.0.0.1", 0), Owner)
    owner.asked = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=owner.serve_forever)
    thread.start()
    yield owner
    owner.shutdown()
    thread.join()
    owner.server_close()


@pytest.fixture
def file(server: ThreadingHTTPServer) -> Download:
    url = f"http://127.0.0.1:{server.server_port}/ranges"
    checksum = "md5:" + hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
    return Download(name="a.zip", page="owner.example", size_GB=0.001, url=url, checksum=checksum)


def test_a_download_is_checked_and_kept(file: Download, tmp_path: Path, server: ThreadingHTTPServer) -> None:
    seen: list[tuple[int, int | None]] = []
    path = fetch(file, tmp_path, progress=lambda *step: seen.append(step))
    assert path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert fetch(file, tmp_path) == path
    assert server.asked == [None], "asked once only"  # type: ignore[attr-defined]
    assert [p.name for p in tmp_path.iterdir()] == ["a.zip"]


@pytest.mark.parametrize("have", [1000, len(CONTENT)])
def test_a_download_resumes_where_it_stopped(
    file: Download, tmp_path: Path, server: ThreadingHTTPServer, have: int
) -> None:
    (tmp_path / "a.zip.part").write_bytes(CONTENT[:have])
    assert fetch(file, tmp_path).read_bytes() == CONTENT
    assert server.asked == [f"bytes={have}-"]  # type: ignore[attr-defined]


def test_a_server_without_ranges_starts_again(file: Download, tmp_path: Path) -> None:
    assert file.url is not None
    (tmp_path / "a.zip.part").write_bytes(b"something else")
    assert fetch(replace(file, url=file.url.replace("ranges", "plain")), tmp_path).read_bytes() == CONTENT


def test_a_wrong_checksum_is_refused_and_removed(file: Download, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="wrong md5") as caught:
        fetch(replace(file, checksum="md5:" + "0" * 32), tmp_path)
    assert caught.value.allowed == "0" * 32
    assert "owner.example" in str(caught.value.hint)
    assert not list(tmp_path.iterdir())


def test_a_download_that_ends_early_keeps_its_part(
    file: Download, tmp_path: Path, server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("repro.io.download.WAIT_S", 0.0)
    assert file.url is not None
    with pytest.raises(DownloadError, match=r"cannot fetch a\.zip: the connection ended early"):
        fetch(replace(file, url=file.url + "-short"), tmp_path)
    assert len(server.asked) == 4, "tried again"  # type: ignore[attr-defined]
    assert 0 < (tmp_path / "a.zip.part").stat().st_size < len(CONTENT)
    assert fetch(file, tmp_path).read_bytes() == CONTENT


def test_a_missing_page_and_a_dead_server(
    file: Download, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("repro.io.download.WAIT_S", 0.0)
    assert file.url is not None
    with pytest.raises(DownloadError, match="404") as caught:
        fetch(replace(file, url=file.url.replace("ranges", "absent")), tmp_path)
    assert "owner.example" in str(caught.value.hint)
    with pytest.raises(DownloadError, match=r"cannot fetch a\.zip"):
        fetch(replace(file, url="http://127.0.0.1:9/none"), tmp_path)


def test_get_links_what_it_fetched(
    project: Path, tmp_path: Path, file: Download, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_hand = Download(name="labels.zip", page="owner.example/labels", size_GB=1.0)
    monkeypatch.setattr(DATASETS["loveda"], "DOWNLOADS", (file, by_hand))
    out = repro("data", "get", "loveda")
    assert (project / "data/loveda/a.zip").read_bytes() == CONTENT
    assert "labels.zip from owner.example/labels" in out


def test_get_says_where_to_go_when_an_account_is_needed(project: Path) -> None:
    out = repro("data", "get", "cityscapes", code=2)
    assert "no anonymous download" in out
    assert "www.cityscapes-dataset.com" in out
