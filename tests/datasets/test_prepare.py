"""Preparation: deterministic, resumable, atomic; errors name the file."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from repro.datasets import prepare_dataset
from repro.datasets.prepare import prepare as engine
from repro.datasets.prepare.inspect import inspect
from repro.datasets.prepare.prepared_split import Split
from repro.datasets.raw.source import Source
from repro.errors import DataError, ParamsError, StorageError
from repro.params import DatasetFacts
from tests.datasets import kit


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """A tiny CamVid: two pairs per split."""
    return kit.camvid(tmp_path / "raw")


def prepare(raw: Path, out: Path, workers: int = 1, per_split: int = 2) -> dict[str, bytes]:
    """Prepare a tiny CamVid and return the bytes of every zip."""
    prepare_dataset("camvid", raw, out, kit.camvid_facts(per_split), workers=workers)
    return {path.name: path.read_bytes() for path in sorted(out.iterdir())}


# The same bytes


def test_workers_times_and_places_do_not_change_a_byte(raw: Path, tmp_path: Path) -> None:
    first = prepare(raw, tmp_path / "one", workers=1)
    for path in raw.rglob("*.png"):
        os.utime(path, (0, 0))
    assert prepare(raw, tmp_path / "three", workers=3) == first
    assert sorted(first) == ["test.zip", "train.zip", "trainval.zip", "val.zip"]


def test_a_prepared_split_is_a_plain_zip(raw: Path, tmp_path: Path) -> None:
    prepare(raw, tmp_path / "out")
    with zipfile.ZipFile(tmp_path / "out/train.zip") as archive:
        assert archive.testzip() is None
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert archive.read("images/train0.png") == (raw / "train/train0.png").read_bytes()
        index = archive.read("index.csv").decode().splitlines()
        facts = json.loads(archive.read("fingerprint.json"))
    assert index[:2] == ["id,image,label,height,width", "train0,images/train0.png,labels/train0.png,12,16"]
    assert (facts["images"], facts["split"], len(facts["fingerprint"])) == (2, "train", 64)


@pytest.mark.parametrize("change", ["pixel", "label", "name"])
def test_the_fingerprint_follows_the_content(raw: Path, tmp_path: Path, change: str) -> None:
    before = Split.open(_prepared(raw, tmp_path / "a")).fingerprint
    if change == "name":
        (raw / "train/train0.png").rename(raw / "train/other.png")
        (raw / "trainannot/train0.png").rename(raw / "trainannot/other.png")
    else:
        path = raw / ("train/train0.png" if change == "pixel" else "trainannot/train0.png")
        pixels = np.array(Image.open(path))
        pixels[0, 0] = (pixels[0, 0] + 1) % 12
        kit.save(path, pixels)
    assert Split.open(_prepared(raw, tmp_path / "b")).fingerprint != before


def test_the_fingerprint_ignores_how_a_label_is_compressed(raw: Path, tmp_path: Path) -> None:
    before = Split.open(_prepared(raw, tmp_path / "a")).fingerprint
    path = raw / "trainannot/train0.png"
    kit.save(path, np.array(Image.open(path)), compress_level=0)
    assert Split.open(_prepared(raw, tmp_path / "b")).fingerprint == before


def _prepared(raw: Path, out: Path) -> Path:
    prepare(raw, out)
    return out / "train.zip"


# Interrupted


def test_an_interrupted_preparation_resumes(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in the second split: finished work is not repeated, and the bytes are the same."""
    whole = prepare(raw, tmp_path / "whole")
    calls: list[str] = []
    real = engine.convert

    def convert(module, source, pair, *, split, workers):  # type: ignore[no-untyped-def]
        calls.append(f"{split}/{pair.id}")
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(module, source, pair, split, workers=workers)

    monkeypatch.setattr(engine, "convert", convert)
    with pytest.raises(KeyboardInterrupt):
        prepare(raw, tmp_path / "out")
    assert not (tmp_path / "out").exists(), "nothing half-written is in place"
    assert prepare(raw, tmp_path / "out") == whole
    assert len(calls) == len(set(calls)) + 1, f"only the interrupted pair was repeated: {calls}"
    assert not list(tmp_path.glob(".out*"))


def _interrupted(raw: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop a preparation after the pairs of its first split, before the split is finished."""
    with monkeypatch.context() as patch:
        patch.setattr(engine, "_finish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            prepare(raw, out)


def test_a_torn_journal_and_a_torn_zip_are_cut_back(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = prepare(raw, tmp_path / "whole")
    _interrupted(raw, tmp_path / "out", monkeypatch)
    part = tmp_path / ".out.part"
    journal = part / "train.jsonl"
    journal.write_bytes(journal.read_bytes()[:-7])
    with (part / "train.zip").open("ab") as torn:
        torn.write(b"half a member")
    assert prepare(raw, tmp_path / "out") == whole


def test_killed_by_the_kernel_and_repeated(tmp_path: Path) -> None:
    """A SIGKILL during the preparation, then the same command again."""
    raw = kit.camvid(tmp_path / "raw", per_split=6)
    whole = prepare(raw, tmp_path / "whole", per_split=6)
    program = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom repro.datasets import prepare_dataset\n"
        "from tests.datasets.kit import camvid_facts\n"
        "report = lambda split, done, total: done == 4 and os.kill(os.getpid(), signal.SIGKILL)\n"
        "prepare_dataset('camvid', Path(sys.argv[1]), Path(sys.argv[2]), camvid_facts(6), progress=report)\n"
    )
    command = [sys.executable, "-c", program, str(raw), str(tmp_path / "out")]
    done = subprocess.run(command, cwd=kit.ROOT, capture_output=True, check=False)
    assert done.returncode == -9, done.stderr.decode()
    assert len((tmp_path / ".out.part/train.jsonl").read_text().splitlines()) == 4
    assert prepare(raw, tmp_path / "out", per_split=6) == whole


# Two at once


def _held(raw: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Start a second preparation during the first."""
    real = engine.convert

    def convert(*given, **named):  # type: ignore[no-untyped-def]
        monkeypatch.setattr(engine, "convert", real)
        with pytest.raises(StorageError, match="the data set camvid is being prepared already"):
            prepare(raw, out)
        return real(*given, **named)

    monkeypatch.setattr(engine, "convert", convert)


def test_a_second_preparation_at_the_same_time_is_refused(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = prepare(raw, tmp_path / "whole")
    _held(raw, tmp_path / "out", monkeypatch)
    assert prepare(raw, tmp_path / "out") == whole, "the first one has lost nothing"
    assert not list(tmp_path.glob(".out*")), "no lock is left"


@pytest.mark.parametrize("damage", ["twice", "overlap", "gap", "content", "not a line"])
def test_a_journal_that_is_not_true_is_cut_back(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    """The state after two concurrent writers or a crash of the machine."""
    whole = prepare(raw, tmp_path / "whole")
    _interrupted(raw, tmp_path / "out", monkeypatch)
    _damage(tmp_path / ".out.part", damage)
    assert prepare(raw, tmp_path / "out") == whole


def _damage(part: Path, kind: str) -> None:
    path = part / "train.jsonl"
    first, second = path.read_text().splitlines(keepends=True)
    offset = json.loads(second)["members"][0][1]
    if kind == "content":
        data = bytearray((part / "train.zip").read_bytes())
        data[offset + 60 : offset + 80] = bytes(20)
        (part / "train.zip").write_bytes(data)
        return
    moved = {"overlap": offset - 10, "gap": offset + 1}.get(kind, offset)
    other = second.replace(f", {offset},", f", {moved},")
    path.write_text(first + {"twice": first, "not a line": "12\n"}.get(kind, other))


@pytest.mark.parametrize("moved", range(5))
@pytest.mark.parametrize("emptied", [False, True])
def test_stopped_while_the_splits_move_into_place(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moved: int, emptied: bool
) -> None:
    """Finished splits are not written again unless they were removed (DVC empties its outputs)."""
    whole, out, converted = prepare(raw, tmp_path / "whole"), tmp_path / "out", []
    real, convert, remove, left = os.replace, engine.convert, shutil.rmtree, [moved]

    def replace(source: Path, target: Path) -> None:
        if Path(target).parent == out:
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
        real(source, target)

    def rmtree(path: Path, **how: bool) -> None:
        if out.exists():
            raise KeyboardInterrupt
        remove(path, **how)

    monkeypatch.setattr(os, "replace", replace)
    monkeypatch.setattr(shutil, "rmtree", rmtree)
    with pytest.raises(KeyboardInterrupt):
        prepare(raw, out)
    monkeypatch.undo()
    if emptied:
        for path in out.iterdir():
            path.unlink()
    monkeypatch.setattr(engine, "convert", lambda *a, **n: converted.append(a) or convert(*a, **n))
    assert prepare(raw, out) == whole
    assert len(converted) == (sum((2, 2, 4, 2)[:moved]) if emptied else 0)
    assert not list(tmp_path.glob(".out*"))


def test_a_split_that_params_do_not_list_any_more_goes(raw: Path, tmp_path: Path) -> None:
    prepare(raw, tmp_path / "out")
    (tmp_path / "out/notes.txt").write_text("mine")
    kit.prepared("camvid", raw, tmp_path / "out", train=2, val=2)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        *("notes.txt", "train.zip", "val.zip")
    ]


def test_changed_input_is_not_mixed_with_an_earlier_try(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_finish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        prepare(raw, tmp_path / "out")
    monkeypatch.undo()
    kit.save(raw / "train/train0.png", kit.photo(99))
    prepare(raw, tmp_path / "out")
    assert np.array_equal(Split.open(tmp_path / "out/train.zip").image(0), kit.photo(99))


def test_a_full_disk_leaves_nothing_behind(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = prepare(raw, tmp_path / "out")
    real = zipfile.ZipFile.writestr
    written: list[str] = []

    def writestr(self, info, data, *rest):  # type: ignore[no-untyped-def]
        written.append(info.filename)
        if len(written) == 5:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(self, info, data, *rest)

    monkeypatch.setattr(zipfile.ZipFile, "writestr", writestr)
    with pytest.raises(StorageError, match="No space left on device"):
        prepare(raw, tmp_path / "out")
    monkeypatch.undo()
    assert not list(tmp_path.glob(".out*"))
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == old


def test_a_really_full_disk(raw: Path) -> None:
    """/dev/full answers every write with ENOSPC."""
    if not Path("/dev/full").exists():
        pytest.skip("NO /dev/full on this system")
    with pytest.raises(OSError, match="No space left"), open("/dev/full", "wb", buffering=0) as full:
        full.write(b"x")
    with pytest.raises(StorageError, match="cannot write the prepared data"):
        prepare(raw, Path("/dev/full/out"))


# Bad input: every message names the file


def _cmyk(raw: Path) -> None:
    Image.fromarray(kit.photo(0)).convert("CMYK").save(raw / "train/train0.jpg", "JPEG")
    (raw / "train/train0.jpg").rename(raw / "train/train0.png")


def _swap(raw: Path) -> None:
    image, label = raw / "train/train0.png", raw / "trainannot/train0.png"
    image.rename(raw / "x.png")
    label.rename(image)
    (raw / "x.png").rename(label)


def _value(raw: Path) -> None:
    label = kit.blocks(0, range(12))
    label[5, 5] = 77
    kit.save(raw / "trainannot/train0.png", label)


def _wide_rgb(path: Path) -> None:
    """PIL does not write such files."""
    wide_HWC = kit.photo(0).astype(np.uint16) * 257
    path.write_bytes(cv2.imencode(".png", wide_HWC)[1].tobytes())


def _truncate(name: str) -> Callable[[Path], None]:
    def change(raw: Path) -> None:
        data = (raw / name).read_bytes()
        (raw / name).write_bytes(data[: len(data) // 2])

    return change


BAD: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "missing label": (
        lambda raw: (raw / "trainannot/train0.png").unlink(),
        "no label for 'train0'",
        "train/train0.png",
    ),
    "missing image": (
        lambda raw: (raw / "train/train0.png").unlink(),
        "no image for 'train0'",
        "trainannot/train0.png",
    ),
    "swapped": (_swap, "are image and label swapped", "trainannot/train0.png"),
    "sizes": (
        lambda raw: kit.save(raw / "trainannot/train0.png", kit.blocks(0, range(12), (16, 12))),
        "label is 12x16, image is 16x12",
        "trainannot/train0.png",
    ),
    "label value": (_value, r"label values \[77\]", "trainannot/train0.png"),
    "16-bit label": (
        lambda raw: kit.save(raw / "trainannot/train0.png", np.full((12, 16), 300, np.uint16)),
        r"label values \[300\] have no class \(a 16-bit gray file\)",
        "trainannot/train0.png",
    ),
    "16-bit image": (
        lambda raw: kit.save(raw / "train/train0.png", np.full((12, 16), 300, np.uint16)),
        "more than 8 bits",
        "train/train0.png",
    ),
    "16-bit RGB image": (
        lambda raw: _wide_rgb(raw / "train/train0.png"),
        r"image with more than 8 bits \(16-bit RGB\)",
        "train/train0.png",
    ),
    "zero bytes": (lambda raw: (raw / "train/train0.png").write_bytes(b""), "empty file", "train/train0.png"),
    "zero-byte label": (
        lambda raw: (raw / "trainannot/train0.png").write_bytes(b""),
        "empty file",
        "trainannot/train0.png",
    ),
    "no image at all": (
        lambda raw: (raw / "train/train0.png").write_bytes(b"<html>404</html>"),
        "not a readable image",
        "train/train0.png",
    ),
    "truncated image": (_truncate("train/train0.png"), "damaged image", "train/train0.png"),
    "truncated label": (_truncate("trainannot/train0.png"), "damaged image", "trainannot/train0.png"),
    "CMYK": (_cmyk, "CMYK", "train/train0.png"),
}


@pytest.mark.parametrize("kind", sorted(BAD))
@pytest.mark.parametrize("command", ["prepare", "inspect"])
def test_bad_input_names_the_file(raw: Path, tmp_path: Path, kind: str, command: str) -> None:
    change, message, file = BAD[kind]
    change(raw)
    run = partial(inspect, "camvid", raw, deep=True)
    with pytest.raises(DataError, match=message) as caught:
        prepare(raw, tmp_path / "out", workers=2) if command == "prepare" else run()
    assert str(caught.value.where).endswith(file), caught.value
    assert caught.value.hint, "every message says what to do"
    assert not (tmp_path / "out").exists()


def test_a_colour_outside_the_palette(tmp_path: Path) -> None:
    from repro.datasets.sets.isaid import PALETTE

    label = kit.coloured(np.zeros((12, 16), np.uint8), PALETTE)
    label[3, 7] = (1, 2, 3)
    for split in ("train", "val"):
        kit.save(tmp_path / "raw" / split / "images/P1.png", kit.photo(0))
        kit.save(tmp_path / "raw" / split / "Semantic_masks/images/P1_instance_color_RGB.png", label)
    with pytest.raises(DataError, match=r"colour \(1, 2, 3\) at row 3, column 7") as caught:
        kit.prepared("isaid", tmp_path / "raw", tmp_path / "out", train=1)
    assert str(caught.value.where).endswith("P1_instance_color_RGB.png")


def test_a_colour_label_of_16_bits(tmp_path: Path) -> None:
    from repro.datasets.sets.isaid import PALETTE

    raw = tmp_path / "raw/train"
    kit.save(raw / "images/P1.png", kit.photo(0))
    label = kit.save(raw / "Semantic_masks/images/P1_instance_color_RGB.png", kit.photo(0))
    label.write_bytes(cv2.imencode(".png", np.full((12, 16, 3), PALETTE[0], np.uint16))[1].tobytes())
    kit.save(tmp_path / "raw/val/images/P2.png", kit.photo(1))
    with pytest.raises(DataError, match=r"label with more than 8 bits \(16-bit RGB\)"):
        kit.prepared("isaid", tmp_path / "raw", tmp_path / "out", train=1)


def test_gray_and_turned_photographs_are_read_and_reported(tmp_path: Path) -> None:
    """ADE20K has gray JPEGs; EXIF orientation is ignored, for labels are drawn on the stored pixels."""
    raw = kit.ade20k(tmp_path / "raw")
    folder = raw / "ADEChallengeData2016/images/validation"
    kit.save(folder / "ADE_val_00000000.jpg", kit.photo(0, (20, 20))[..., 0])
    turned = Image.Exif()
    turned[0x0112] = 6
    kit.save(folder / "ADE_val_00000001.jpg", kit.photo(1, (20, 20)), exif=turned, quality=100)
    report = prepare_dataset("ade20k", raw, tmp_path / "out", DatasetFacts(classes=150, splits={"val": 2}))
    assert [note.rpartition("/")[2] for note in report.notes] == [
        "ADE_val_00000000.jpg: gray image, read as RGB",
        "ADE_val_00000001.jpg: EXIF orientation 6 ignored",
    ]
    split = Split.open(tmp_path / "out/val.zip")
    gray, upright = split.image(0), split.image(1)
    assert np.array_equal(gray[..., 0], gray[..., 2])
    assert np.abs(upright.astype(int) - kit.photo(1, (20, 20))).mean() < 8, "not turned"


def test_a_turned_photograph_of_another_shape_is_an_error(tmp_path: Path) -> None:
    """Labels of the rotated view of an image do not match its stored pixels."""
    raw = kit.ade20k(tmp_path / "raw")
    base = raw / "ADEChallengeData2016"
    turned = Image.Exif()
    turned[0x0112] = 6
    kit.save(base / "images/validation/ADE_val_00000001.jpg", kit.photo(1, (20, 30)), exif=turned)
    kit.save(base / "annotations/validation/ADE_val_00000001.png", kit.blocks(1, range(151), (30, 20)))
    with pytest.raises(DataError, match="label is 20x30, image is 30x20"):
        kit.prepared("ade20k", raw, tmp_path / "out", val=2)


def test_duplicate_ids(tmp_path: Path) -> None:
    raw = kit.voc2012(tmp_path / "raw")
    path = raw / "VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt"
    path.write_text("v1\nv2\nv1\n")
    with pytest.raises(DataError, match="duplicate id 'v1'") as caught:
        kit.prepared("voc2012", raw, tmp_path / "out", val=3)
    assert str(caught.value.where) == f"{path}: line 3"
    assert str(caught.value.hint).endswith(f"{path}: line 1")


@pytest.mark.parametrize("text", ["", "\n \r\n"])
def test_a_list_without_ids_is_named(tmp_path: Path, text: str) -> None:
    """Its split was reported as absent, or not at all."""
    raw = kit.voc2012(tmp_path / "raw")
    path = raw / "VOCdevkit/VOC2012/ImageSets/Segmentation/train.txt"
    path.write_text(text)
    with pytest.raises(DataError, match=r"the list has no ids|empty file") as caught:
        inspect("voc2012", raw)
    assert str(caught.value.where) == str(path)


def test_one_name_in_both_parts_of_trainval(raw: Path, tmp_path: Path) -> None:
    for folder in ("train", "trainannot"):
        (raw / folder / "train0.png").rename(raw / folder / "val0.png")
    with pytest.raises(DataError, match="duplicate id 'val0' in split trainval"):
        kit.prepared("camvid", raw, tmp_path / "out", trainval=4)


@pytest.mark.parametrize("text", [b"v1\nv2\n2007_0000\xe4\n", "v1\nv2\n".encode("utf-16"), b"v\x001\x00\n"])
def test_a_list_that_is_not_utf8_names_the_file_and_the_line(tmp_path: Path, text: bytes) -> None:
    raw = kit.voc2012(tmp_path / "raw")
    path = raw / "VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt"
    path.write_bytes(text)
    line = 3 if b"\xe4" in text else 1
    for run in (partial(inspect, "voc2012", raw), partial(kit.prepared, "voc2012", raw, tmp_path, val=2)):
        with pytest.raises(DataError, match=f"line {line} is not UTF-8 text") as caught:
            run()
        assert caught.value.where == str(path)


def test_a_byte_order_mark_is_not_part_of_an_id(tmp_path: Path) -> None:
    raw = kit.voc2012(tmp_path / "raw")
    path = raw / "VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert kit.prepared("voc2012", raw, tmp_path / "out", val=2)["val"].ids == ["v1", "v2"]


def test_the_same_stem_twice(tmp_path: Path) -> None:
    raw = kit.ade20k(tmp_path / "raw")
    folder = raw / "ADEChallengeData2016/images/validation"
    kit.save(folder / "ADE_val_00000001.png", kit.photo(1, (20, 20)))
    with pytest.raises(DataError, match="duplicate id 'ADE_val_00000001'") as caught:
        kit.prepared("ade20k", raw, tmp_path / "out", val=2)
    assert "remove one of the two; the other one is " in str(caught.value.hint)
    assert "/" not in str(caught.value.allowed), "what is allowed is no path"


def test_extensions_in_capitals_count(raw: Path, tmp_path: Path) -> None:
    for name in ("train/train0", "trainannot/train1"):
        (raw / f"{name}.png").rename(raw / f"{name}.PNG")
    found = kit.prepared("camvid", raw, tmp_path / "out", train=2)["train"]
    assert [sample.image for sample in found.samples] == ["images/train0.png", "images/train1.png"]
    kit.save(raw / "val/val0.png", kit.photo(3)).rename(raw / "val/val0.PNG")
    kit.save(raw / "val/val0.png", kit.photo(4))
    with pytest.raises(DataError, match="duplicate id 'val0'"):
        inspect("camvid", raw)


def test_the_same_image_in_two_splits_is_found(raw: Path) -> None:
    (raw / "test/test0.png").write_bytes((raw / "train/train1.png").read_bytes())
    (raw / "test/test1.png").write_bytes((raw / "val/val0.png").read_bytes())
    found = inspect("camvid", raw, deep=True)
    assert found.shared == {"train & test": 1, "val & test": 1, "trainval & test": 2}


@pytest.mark.parametrize("kind", ["folder", "zip", "tar", "tgz"])
def test_images_of_one_size_are_compared_as_far_as_they_differ(tmp_path: Path, kind: str) -> None:
    """Equal first bytes and sizes are not duplicates; duplicates are found in folders and archives."""
    raw = kit.camvid(tmp_path / "raw", size_HW=(180, 160))
    for name, row in (("train/train0", 0), ("test/test0", 179), ("val/val0", 0)):
        pixels = np.zeros((180, 160, 3), np.uint8)
        pixels[row] = 9
        pixels[100] = 1
        kit.save(raw / f"{name}.png", pixels, compress_level=0)
    whole = raw if kind == "folder" else kit.packed(raw, tmp_path / f"all.{kind}")
    assert inspect("camvid", whole).shared == {"train & val": 1}


def test_splits_to_train_on_may_overlap(tmp_path: Path) -> None:
    """VOC's trainaug and trainval share VOC's train, and neither contains the other."""
    assert inspect("voc2012", kit.voc2012(tmp_path / "raw")).shared == {}


def test_a_link_that_leads_nowhere_is_not_a_full_disk(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A drive that is temporarily missing: the error says so, and finished work is kept."""
    image, drive = raw / "train/train1.png", tmp_path / "drive.png"
    image.rename(drive)
    image.symlink_to(drive)
    monkeypatch.setattr(engine, "_finish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        prepare(raw, tmp_path / "out")
    monkeypatch.undo()
    drive.rename(tmp_path / "away.png")
    for run in (partial(inspect, "camvid", raw), partial(prepare, raw, tmp_path / "out")):
        with pytest.raises(DataError, match="cannot be read: broken link") as caught:
            run()
        assert caught.value.where == str(image)
        assert f"restore {drive}" in str(caught.value.hint)
    assert len((tmp_path / ".out.part/train.jsonl").read_text().splitlines()) == 2


def test_an_unreadable_folder(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As root everything is readable, so the error of the operating system is simulated."""
    real = os.scandir

    def scandir(path):  # type: ignore[no-untyped-def]
        if str(path).endswith("valannot"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(DataError, match="no permission") as caught:
        Source.open(raw)
    assert str(caught.value.where).endswith("valannot")


def test_counts_that_differ_from_the_params(raw: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"split train has 2 images, params\.yaml has 3") as caught:
        kit.prepared("camvid", raw, tmp_path / "out", train=3)
    assert caught.value.allowed == "officially 367"
    assert not list(tmp_path.glob("*out*")), "reported before anything is converted"


def test_params_that_cannot_be(raw: Path, tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="12 classes"):
        prepare_dataset("camvid", raw, tmp_path / "o", DatasetFacts(classes=12, splits={"train": 2}))
    with pytest.raises(ParamsError, match="unknown split 'tset'"):
        prepare_dataset("camvid", raw, tmp_path / "o", DatasetFacts(classes=11, splits={"tset": 2}))


def test_no_splits_at_all(raw: Path, tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="no splits") as caught:
        prepare_dataset("camvid", raw, tmp_path / "o", DatasetFacts(classes=11, splits={}))
    assert caught.value.allowed == "train, val, trainval, test"


def test_missing_and_wrong_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the data set is missing") as caught:
        Source.open(tmp_path / "camvid")
    assert "repro data link NAME PATH" in str(caught.value)
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="the data set is missing"):
        Source.open(tmp_path / "file" / "camvid")
    (tmp_path / "camvid/photos").mkdir(parents=True)
    kit.save(tmp_path / "camvid/photos/a.png", kit.photo(0))
    with pytest.raises(DataError, match="no folder with train and trainannot") as caught:
        inspect("camvid", tmp_path / "camvid")
    assert "among photos" in str(caught.value)


# Archives


@pytest.mark.parametrize("name", ["../x.png", "/etc/x.png", "a/../../x.png", "C:/x.png", "a\\..\\b.png"])
def test_members_that_leave_a_zip(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr("train/ok.png", b"x")
        archive.writestr(name, b"x")
    with pytest.raises(DataError, match="unsafe archive") as caught:
        Source.open(tmp_path / "bad.zip")
    assert str(caught.value.where).endswith("bad.zip")


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_links_in_an_archive(tmp_path: Path, kind: str) -> None:
    target = tmp_path / f"bad.{kind}"
    if kind == "zip":
        info = zipfile.ZipInfo("train/link.png")
        info.external_attr = 0o120777 << 16
        with zipfile.ZipFile(target, "w") as archive:
            archive.writestr(info, "/etc/passwd")
    else:
        member = tarfile.TarInfo("train/link.png")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        with tarfile.open(target, "w") as tar:
            tar.addfile(member)
    with pytest.raises(DataError, match=r"'train/link.png' is a (symbolic )?link"):
        Source.open(target)


def test_a_corrupt_member_of_the_owners_zip(raw: Path, tmp_path: Path) -> None:
    target = kit.zipped(raw, tmp_path / "owner.zip")
    with zipfile.ZipFile(target) as archive:
        info = archive.getinfo("train/train1.png")
    data = bytearray(target.read_bytes())
    start = info.header_offset + 30 + len(info.filename)
    for i in range(start + 20, start + 60):
        data[i] ^= 0xFF
    target.write_bytes(bytes(data))
    with pytest.raises(DataError, match="cannot be read") as caught:
        prepare(target, tmp_path / "out")
    assert str(caught.value.where).endswith("owner.zip/train/train1.png")


@pytest.mark.parametrize("kind", ["zip", "tar", "tgz"])
def test_half_an_archive(raw: Path, tmp_path: Path, kind: str) -> None:
    target = kit.packed(raw, tmp_path / f"owner.{kind}")
    data = target.read_bytes()
    target.write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match="damaged archive") as caught:
        prepare(target, tmp_path / "out")
    assert str(caught.value.where).endswith(f"owner.{kind}")


def test_a_damaged_prepared_split_is_reported(raw: Path, tmp_path: Path) -> None:
    path = _prepared(raw, tmp_path / "out")
    with zipfile.ZipFile(path) as archive:
        offset = archive.getinfo("labels/train1.png").header_offset
    data = bytearray(path.read_bytes())
    data[offset + 30 + len("labels/train1.png") + 50] ^= 1
    path.write_bytes(bytes(data))
    split = Split.open(path)
    assert split.label(0).shape == (12, 16)
    with pytest.raises(DataError, match="damaged member") as caught:
        split.label(1)
    assert str(caught.value.where).endswith("train.zip:labels/train1.png")
    path.write_bytes(bytes(data[: len(data) // 2]))
    with pytest.raises(DataError, match="not a prepared split"):
        Split.open(path)
    with pytest.raises(DataError, match="not prepared"):
        Split.open(tmp_path / "nowhere/train.zip")


def test_a_link_that_leads_in_circles_is_followed_once(raw: Path, tmp_path: Path) -> None:
    (raw / "again").symlink_to(raw, target_is_directory=True)
    assert set(prepare(raw, tmp_path / "out")) == {"train.zip", "val.zip", "trainval.zip", "test.zip"}
