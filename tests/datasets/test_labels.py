"""Reading of labels: file formats, palettes, implausible labels, split lists."""

from __future__ import annotations

import io
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from repro.datasets import DATASETS
from repro.datasets.formats.image_io import check_image, read_rgb
from repro.datasets.formats.label_files import read_label_file
from repro.datasets.formats.label_maps import (
    label_facts,
    label_warnings,
    read_colour_label,
    read_value_label,
    value_table,
)
from repro.datasets.prepare.inspect import inspect
from repro.datasets.raw.files import is_system_file
from repro.datasets.raw.source import Source
from repro.datasets.raw.split_lists import read_ids
from repro.datasets.sets import cityscapes, voc2012
from repro.datasets.sets.palettes import voc_colours
from repro.errors import DataError
from tests.datasets import kit, png_kit
from tests.kit import every

VOC = voc2012._VALUES, voc2012._COLOURS
ANY = value_table({value: value for value in range(256)})
SIZES = ((1, 1), (3, 5), (9, 17), (12, 33))  # of one pixel, smaller than a pass, not whole bytes


def bytes_of(colours: list[tuple[int, int, int]]) -> bytes:
    return bytes(channel for colour in colours for channel in colour)


def samples(kind: int, bits: int, size_HW: tuple[int, int], most: int = 1 << 16) -> np.ndarray:
    rng = np.random.default_rng(bits)
    shape = (*size_HW, png_kit.SAMPLES[kind])
    values = rng.integers(0, min(1 << bits, most), shape)
    return values[..., 0] if shape[2] == 1 else values


# Every kind of file


@every("size_HW", SIZES)
@every("interlaced", [False, True])
@every("kind, bits", [(kind, b) for kind, all_ in png_kit.BITS.items() for b in all_])
def test_every_kind_of_png_is_read_as_stored(
    kind: int, bits: int, interlaced: bool, size_HW: tuple[int, int]
) -> None:
    """Compared with the encoder of the tests; 16-bit colours are rejected."""
    pixels = samples(kind, bits, size_HW)
    palette = bytes_of(list(voc_colours(1 << bits))) if kind == png_kit.PALETTE else None
    data = png_kit.encode(pixels, kind, bits, interlaced=interlaced, palette=palette)
    if bits == 16 and kind in (png_kit.RGB, png_kit.RGBA):
        with pytest.raises(DataError, match="16-bit RGB"):
            read_label_file(data, "x")
        return
    found = read_label_file(data, "x")
    expected = (
        pixels
        if pixels.ndim == 2
        else pixels[..., :1].squeeze(-1)
        if pixels.shape[2] == 2
        else pixels[..., :3]
    )
    assert np.array_equal(found.rows(0, size_HW[0]), expected)
    assert (found.bits, found.coloured) == (bits, kind in (png_kit.RGB, png_kit.RGBA))


@every("interlaced", [False, True])
@every("kind, bits", [(kind, b) for kind, all_ in png_kit.BITS.items() for b in all_])
def test_the_encoder_of_the_tests_writes_what_others_read(kind: int, bits: int, interlaced: bool) -> None:
    """Pillow scales gray of 2 and 4 bits by 85 and 17, which is undone; it truncates 16-bit colours."""
    pixels = samples(kind, bits, (9, 17))
    palette = bytes_of(list(voc_colours(1 << bits))) if kind == png_kit.PALETTE else None
    data = png_kit.encode(pixels, kind, bits, interlaced=interlaced, palette=palette)
    seen = np.asarray(Image.open(io.BytesIO(data))).astype(int)
    if kind == png_kit.GRAY and bits < 8:
        seen //= {1: 1, 2: 85, 4: 17}[bits]
    if kind != png_kit.GRAY and bits == 16:
        pixels = pixels >> 8
    if kind == png_kit.GRAY_ALPHA and seen.shape[2] == 4:
        seen = seen[..., [0, 3]]
    assert np.array_equal(seen, pixels)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("interlaced", [False, True])
def test_gray_ids_are_not_scaled(bits: int, interlaced: bool) -> None:
    ids = samples(png_kit.GRAY, bits, (9, 17), most=21)
    label, note = read_value_label(png_kit.encode(ids, png_kit.GRAY, bits, interlaced=interlaced), "x", *VOC)
    assert np.array_equal(label, ids)
    assert (note is None) == (bits >= 8), "a depth that other readers scale gets a note"


def test_sixteen_bits_are_named() -> None:
    wide = np.full((3, 4), 26001)
    with pytest.raises(DataError, match=r"label values \[26001\] have no class \(a 16-bit gray file\)"):
        read_value_label(png_kit.encode(wide, png_kit.GRAY, 16), "x", *VOC)
    with pytest.raises(DataError, match=r"\[1\] have no class \(a 1-bit gray file\)") as caught:
        read_value_label(png_kit.encode(wide * 0 + 1, png_kit.GRAY, 1), "x", value_table({0: 0, 255: 1}), {})
    assert "swapped" not in str(caught.value)


def tiff_of(pixels: np.ndarray, mode: str | None = None, **options: object) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels, mode).save(out, "TIFF", **options)
    return out.getvalue()


def with_tag(data: bytes, number: int, value: int) -> bytes:
    """A TIFF (little-endian) with the first value of a tag changed."""
    start = struct.unpack_from("<I", data, 4)[0]
    for i in range(struct.unpack_from("<H", data, start)[0]):
        at = start + 2 + 12 * i
        if struct.unpack_from("<H", data, at)[0] == number:
            return data[: at + 8] + struct.pack("<H", value) + data[at + 10 :]
    raise AssertionError(f"no tag {number}")


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_deflate"])
@pytest.mark.parametrize("extra", [0, 1, 2], ids=["unspecified", "associated", "unassociated"])
def test_alpha_of_a_tiff_changes_no_colour(compression: str, extra: int) -> None:
    rgba = np.random.default_rng(0).integers(0, 256, (5, 7, 4), dtype=np.uint8)
    data = with_tag(tiff_of(rgba, compression=compression), 338, extra)
    assert np.array_equal(read_label_file(data, "x").rows(0, 5), rgba[..., :3])
    assert np.array_equal(read_rgb(data, "x"), rgba[..., :3])


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_alpha_of_an_image_changes_no_colour(kind: str) -> None:
    rgba = np.random.default_rng(0).integers(0, 256, (5, 7, 4), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(rgba).save(out, kind, **({"lossless": True, "exact": True} if kind == "WEBP" else {}))
    assert np.array_equal(read_rgb(out.getvalue(), "x"), rgba[..., :3])


@pytest.mark.parametrize("zero_is_white", [False, True])
@pytest.mark.parametrize("mode", ["1", "L", "P", "I;16"])
def test_values_of_a_tiff_are_those_that_are_stored(mode: str, zero_is_white: bool) -> None:
    most = {"1": 2, "L": 21, "P": 21, "I;16": 300}[mode]
    values = np.random.default_rng(0).integers(0, most, (5, 8)).astype(np.uint16 if most > 256 else np.uint8)
    image = Image.fromarray(values.astype(bool) if mode == "1" else values)
    if mode == "P":
        image.putpalette(bytes_of(list(voc_colours(256))))
    out = io.BytesIO()
    image.save(out, "TIFF")
    data = with_tag(out.getvalue(), 262, 0) if zero_is_white and mode in "1L" else out.getvalue()
    assert np.array_equal(read_label_file(data, "x").values, values)


@every("turned", range(1, 9))
@every("kind", ["TIFF", "PNG", "WEBP", "JPEG"])
def test_orientation_is_ignored_in_every_format(kind: str, turned: int) -> None:
    """Also by `repro predict`, so that a file gives the same input everywhere."""
    upright = kit.photo(3, (10, 14))
    exif = Image.Exif()
    exif[0x0112] = turned
    out = {}
    for name, options in {"tagged": {"exif": exif}, "plain": {}}.items():
        file = io.BytesIO()
        lossless = {"lossless": True} if kind == "WEBP" else {"quality": 95} if kind == "JPEG" else {}
        Image.fromarray(upright).save(file, kind, **options, **lossless)
        out[name] = file.getvalue()
    expected = read_rgb(out["plain"], "x")
    info = check_image(out["tagged"], "x")
    assert (info.height, info.width) == (10, 14)
    assert info.note == (None if turned == 1 else f"x: EXIF orientation {turned} ignored")
    assert np.array_equal(read_rgb(out["tagged"], "x"), expected)
    if kind != "JPEG":
        assert np.array_equal(expected, upright)


def test_predict_reads_an_image_as_prepare_does(tmp_path: Path) -> None:
    from repro.evaluation.visualize import read_image

    exif = Image.Exif()
    exif[0x0112] = 3
    path = kit.save(tmp_path / "a.jpg", kit.photo(3, (10, 14)), exif=exif)
    image, note = read_image(path)
    assert np.array_equal(image, read_rgb(path.read_bytes(), "x"))
    assert note == f"{path}: EXIF orientation 3 ignored"
    for content in (b"", b"no image", png_kit.encode(np.zeros((1, 1), int), 0, 8, size=(10**5, 10**5))):
        path.write_bytes(content)
        with pytest.raises(DataError):
            read_image(path)


# What a file is, is read from its content


@pytest.mark.parametrize("kind", ["JPEG", "GIF", "WEBP", "BMP"])
def test_other_formats_under_the_name_of_a_label_are_refused(kind: str) -> None:
    out = io.BytesIO()
    Image.fromarray(kit.blocks(1, range(12))).convert("RGB" if kind == "WEBP" else "L").save(out, kind)
    with pytest.raises(DataError, match=f"a label cannot be a {kind} file"):
        read_label_file(out.getvalue(), "label.png")


def test_a_tiff_that_is_compressed_with_loss_is_not_a_label() -> None:
    with pytest.raises(DataError, match="TIFF with lossy compression"):
        read_label_file(tiff_of(kit.photo(1, (16, 16)), compression="jpeg"), "x")


LARGE = 100_000_000
BROKEN: dict[str, tuple[Callable[[], bytes], str]] = {
    "pixels end early": (
        lambda: png_kit.encode(np.ones((12, 16), int), 0, 8, rows=5),
        "the pixels end early: 85 of 204 bytes",
    ),
    "interlaced pixels end early": (
        lambda: png_kit.encode(np.ones((12, 16), int), 0, 2, interlaced=True, rows=5),
        "the pixels end early",
    ),
    "huge": (
        lambda: png_kit.encode(np.ones((2, 2), int), 0, 8, size=(100_000, 100_000)),
        "declares 100000x100000 pixels",
    ),
    "large and empty": (
        lambda: png_kit.encode(np.ones((2, 2), int), 0, 8, size=(16_000, 16_000)),
        "the pixels end early: 6 of 256,016,000 bytes",
    ),
    "palette of 300": (
        lambda: png_kit.encode(np.ones((2, 2), int), 3, 8, palette=bytes(900)),
        "a palette of 300 colours, allowed are 1 to 256",
    ),
    "no palette": (lambda: png_kit.encode(np.ones((2, 2), int), 3, 8), "0 palettes instead of one"),
    "no such kind": (lambda: png_kit.encode(np.ones((2, 2), int), 3, 16), "invalid PNG format"),
    "no end": (lambda: png_kit.encode(np.ones((2, 2), int), 0, 8)[:-12], "the file ends early"),
    "checksum": (
        lambda: png_kit.encode(np.ones((2, 2), int), 0, 8).replace(b"IDATx", b"IDATy"),
        "wrong checksum in the chunk 'IDAT'",
    ),
}


@pytest.mark.parametrize("kind", sorted(BROKEN))
@pytest.mark.parametrize("read", [read_label_file, check_image], ids=["label", "image"])
def test_a_broken_png_is_one_clear_error(kind: str, read: Callable[[bytes, str], object]) -> None:
    make, message = BROKEN[kind]
    data = make()
    tracemalloc.start()
    with pytest.raises(DataError, match=message) as caught:
        read(data, "folder/x.png")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert caught.value.where == "folder/x.png"
    assert peak < 10_000_000, "what a file declares is not allocated"


@pytest.mark.parametrize("read", [read_label_file, check_image], ids=["label", "image"])
def test_text_that_expands_without_end_is_not_expanded(read: Callable[[bytes, str], object]) -> None:
    import zlib

    text = png_kit.chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(bytes(LARGE), 9))
    data = png_kit.encode(np.ones((2, 2), int), 0, 8, extra=text)
    tracemalloc.start()
    read(data, "x")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


# Palettes


def with_palette(ids: np.ndarray, colours: list[tuple[int, int, int]], bits: int = 8) -> bytes:
    return png_kit.encode(ids, png_kit.PALETTE, bits, palette=bytes_of(colours))


def test_a_palette_in_the_order_of_the_ids_is_read_by_index() -> None:
    ids = kit.blocks(1, (*range(21), 255))
    label, note = read_value_label(with_palette(ids, list(voc_colours(256))), "x", *VOC)
    assert np.array_equal(label, ids)
    assert note is None


def test_a_gray_ramp_says_nothing_and_is_read_by_index() -> None:
    ids = kit.blocks(1, (*range(21), 255))
    label, note = read_value_label(with_palette(ids, [(i, i, i) for i in range(256)]), "x", *VOC)
    assert np.array_equal(label, ids)
    assert note is None


@pytest.mark.parametrize("seed", range(5))
def test_a_palette_in_another_order_is_read_by_its_colours(seed: int) -> None:
    """Programs that compact or sort a palette keep the colours and change the indices."""
    values = np.array([*range(21), 255])
    order = np.random.default_rng(seed).permutation(len(values))
    colours = [voc2012._COLOURS[int(value)] for value in values[order]]
    ids = kit.blocks(seed, (*range(21), 255))
    indices = np.argsort(order)[np.searchsorted(values, ids)]
    label, note = read_value_label(with_palette(indices, colours), "x", *VOC)
    assert np.array_equal(label, ids)
    assert note is not None


def test_a_compacted_palette_of_two_bits() -> None:
    """Indices 0, 1, 2 for border, person, background, as Pillow's quantize() leaves them."""
    indices = np.array([[0, 1, 2, 2], [1, 1, 2, 0]])
    data = with_palette(indices, [(224, 224, 192), (192, 128, 128), (0, 0, 0)], bits=2)
    label, _ = read_value_label(data, "x", *VOC)
    assert np.array_equal(label, np.array([255, 15, 0])[indices])


@pytest.mark.parametrize(
    ("colours", "message"),
    [
        (
            [(0, 0, 0), (1, 2, 3)],
            r"index 1 has the colour \(1, 2, 3\), which is not in the data set's palette",
        ),
        ([(0, 0, 0)], "index 1 is not in the file's palette of 1 colours"),
    ],
)
def test_a_palette_that_cannot_be_read_is_refused(colours: list[tuple[int, int, int]], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read_value_label(with_palette(np.array([[0, 1]]), colours), "x", *VOC)
    assert "gray ids" in str(caught.value.hint)


def test_a_colour_of_two_ids_cannot_be_read_back() -> None:
    """Cityscapes draws pole and pole group alike; only one of them is evaluated."""
    colours = [(128, 64, 128), (153, 153, 153)]
    city = cityscapes._VALUES, cityscapes._COLOURS
    road, _ = read_value_label(with_palette(np.zeros((2, 2), int), colours), "x", *city)
    assert (road == 0).all()
    with pytest.raises(DataError, match="belongs to several ids"):
        read_value_label(with_palette(np.array([[0, 1]]), colours), "x", *city)


def test_colour_labels_of_a_set_of_ids_are_read_by_colour() -> None:
    ids = kit.blocks(1, (*range(21), 255))
    colours = np.array(voc_colours(256))[ids]
    alpha = np.random.default_rng(0).integers(0, 256, (*ids.shape, 1))
    for pixels, kind in ((colours, png_kit.RGB), (np.concatenate([colours, alpha], axis=2), png_kit.RGBA)):
        label, note = read_value_label(png_kit.encode(pixels, kind, 8), "x", *VOC)
        assert np.array_equal(label, ids)
        assert note is not None
    with pytest.raises(DataError, match="is not in the palette of the data set") as caught:
        read_value_label(png_kit.encode(kit.photo(1), png_kit.RGB, 8), "x", *VOC)
    assert "are image and label swapped" in str(caught.value.hint)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_palette_of_a_set_of_colours_is_read_by_its_colours(bits: int) -> None:
    colours = [(255, 255, 255), (0, 0, 255)]
    indices = samples(png_kit.PALETTE, 1, (5, 7))
    data = png_kit.encode(indices, png_kit.PALETTE, bits, palette=bytes_of(colours))
    label, unknown = read_colour_label(data, "x", {colours[0]: 3, colours[1]: 4})
    assert np.array_equal(label, indices + 3)
    assert unknown == 0
    with pytest.raises(DataError, match=r"colour \(0, 0, 255\) at row"):
        read_colour_label(data, "x", {colours[0]: 3})


@pytest.mark.parametrize(("kind", "bits"), [(png_kit.GRAY, 1), (png_kit.GRAY, 8), (png_kit.GRAY_ALPHA, 8)])
def test_gray_is_not_a_label_of_colours(kind: int, bits: int) -> None:
    data = png_kit.encode(samples(kind, bits, (3, 4)), kind, bits)
    with pytest.raises(DataError, match=f"expected a colour label, found {bits}-bit gray"):
        read_colour_label(data, "x", {(0, 0, 0): 0})


# Labels that cannot be what their name says


def test_train_ids_in_place_of_label_ids(tmp_path: Path) -> None:
    raw = kit.cityscapes(tmp_path / "raw")
    path = next((raw / "gtFine/val").rglob("*_labelIds.png"))
    kit.save(path, kit.blocks(1, (*range(19), 255)))
    with pytest.raises(DataError, match="train ids instead of original ids: 19 values from 0 to 18, and 255"):
        inspect("cityscapes", raw)


@pytest.mark.parametrize("name", ["ade20k", "loveda", "camvid"])
def test_train_ids_that_are_refused_anyway_are_called_so(name: str) -> None:
    table = DATASETS[name]._VALUES  # type: ignore[attr-defined]
    classes = len(DATASETS[name].CLASSES)
    with pytest.raises(DataError, match=r"\[255\] have no class") as caught:
        read_value_label(
            png_kit.encode(kit.blocks(1, (*range(classes), 255), (40, 40)), 0, 8), "x", table, {}
        )
    assert "train ids" in str(caught.value.hint)


def test_labels_that_can_be_read_and_cannot_be_right() -> None:
    classes = ("a", "b", "c")
    right = label_facts("right", kit.blocks(1, range(3), (30, 40)))
    one, none = (
        label_facts("one", np.full((9, 9), 1, np.uint8)),
        label_facts("none", np.full((9, 9), 255, np.uint8)),
    )
    noise = label_facts("noise", np.random.default_rng(0).integers(0, 3, (30, 40), dtype=np.uint8))
    assert label_warnings("val", [right] * 9, classes, complete=True) == ()
    found = label_warnings("val", [right, one, one, none, noise], classes, complete=True)
    assert [text.partition(", e.g. ")[0] for text in found] == [
        "split val: 2 of 5 labels have only one class",
        "split val: 1 of 5 labels have no class, all pixels are ignored",
        "split val: 1 of 5 labels change at more than 30% of neighbouring pixels, like photographs or noise",
    ]
    assert found[0].endswith("one: b")


def test_classes_that_no_label_of_a_whole_split_holds() -> None:
    shifted = label_facts("shifted", kit.blocks(1, range(1, 4), (30, 40)))
    many = [f"class {i}" for i in range(19)]
    expected = ("split val: none of 2 labels has class 0; are these the original ids?",)
    assert label_warnings("val", [shifted] * 2, many[:4], complete=True) == expected
    assert label_warnings("val", [shifted] * 2, many[:4], complete=False) == ()
    assert "and 8 more" in label_warnings("val", [shifted] * 16, many, complete=False)[0]


def test_warnings_are_of_a_preparation_and_of_a_look(tmp_path: Path) -> None:
    from repro.datasets import prepare_dataset

    raw = kit.camvid(tmp_path / "raw")
    kit.save(raw / "valannot/val0.png", np.full((12, 16), 3, np.uint8))
    expected = "split val: 1 of 2 labels have only one class, e.g. val0: road"
    report = prepare_dataset("camvid", raw, tmp_path / "out", kit.camvid_facts())
    found = {f.split: f.warnings for f in inspect("camvid", raw).splits}
    assert expected in report.warnings
    assert expected in found["val"]
    assert found["test"] == ()


def test_real_camvid_is_without_a_warning() -> None:
    found = inspect("camvid", kit.real("camvid"), deep=True)
    assert [f.warnings for f in found.splits] == [()] * 4


# Lists, extensions, files of the system

FORMS = {
    "plain": "t1\nt2\n",
    "windows": "\ufefft1\r\nt2\r\n\r\n   \r\n",
    "no last line end": "t1\nt2",
    "numbers": "t1  1\nt2 -1\n",
    "extensions": "t1.jpg\nt2.JPG\n",
    "slash": "/t1\n/t2\n",
    "paths": "JPEGImages/t1.jpg\n./JPEGImages/t2.jpg\n",
    "windows paths": "JPEGImages\\t1.jpg\r\nJPEGImages\\t2.jpg\r\n",
    "two columns": "/JPEGImages/t1.jpg /SegmentationClass/t1.png\n"
    "/JPEGImages/t2.jpg\t/SegmentationClass/t2.png\n",
    "commas": "t1.jpg,t1.png\nt2.jpg, t2.png\n",
}
LIST = "VOCdevkit/VOC2012/ImageSets/Segmentation/train.txt"


@pytest.mark.parametrize("form", sorted(FORMS))
def test_a_list_of_any_usual_form(tmp_path: Path, form: str) -> None:
    raw = kit.voc2012(tmp_path / "raw")
    (raw / LIST).write_bytes(FORMS[form].encode())
    assert kit.prepared("voc2012", raw, tmp_path / "out", train=2)["train"].ids == ["t1", "t2"]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("JPEGImages/t1.jpg SegmentationClass/t2.png", "'t1' and 't2' are two ids"),
        ("# the second part", "'#' and 'the' are two ids"),
        ("<html>", "no id found"),
        ("JPEGImages/", "no id found"),
    ],
)
def test_a_list_that_cannot_be_read_is_named_with_its_line(tmp_path: Path, line: str, why: str) -> None:
    raw = kit.voc2012(tmp_path / "raw")
    (raw / LIST).write_text(f"t1\n\n{line}\n")
    with Source.open(raw) as source, pytest.raises(DataError, match=why) as caught:
        read_ids(source, LIST)
    assert str(caught.value.where).endswith("train.txt: line 3")


def test_an_id_without_a_file_is_named_with_list_and_line(tmp_path: Path) -> None:
    raw = kit.voc2012(tmp_path / "raw")
    (raw / LIST).write_text("t1\nt7.jpg\n")
    with pytest.raises(DataError, match="missing file for 't7'") as caught:
        kit.prepared("voc2012", raw, tmp_path / "out", train=2)
    assert str(caught.value.where).endswith("JPEGImages/t7.jpg")
    assert "train.txt: line 2" in str(caught.value.hint)


LAYOUTS: dict[str, Callable[[Path], Path]] = {
    "camvid": kit.camvid,
    "voc2012": kit.voc2012,
    "ade20k": kit.ade20k,
    "cityscapes": kit.cityscapes,
    "loveda": kit.loveda,
    "pascal_context": lambda root: kit.context(root, "png"),
}


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_extensions_in_capitals_and_files_of_the_system_change_nothing(tmp_path: Path, name: str) -> None:
    raw = LAYOUTS[name](tmp_path / "raw")
    before = {f.split: (f.images, f.histogram.tolist()) for f in inspect(name, raw, deep=True).splits}
    for path in [path for path in raw.rglob("*") if path.suffix in (".png", ".jpg", ".mat")]:
        moved = path.rename(path.with_suffix(path.suffix.upper()))
        (path.parent / f"._{moved.name}").write_bytes(b"\0\5\x16\7Mac OS X")
        kit.save(path.parent / ".ipynb_checkpoints" / f"{path.stem}-checkpoint.png", kit.photo(1))
        (path.parent / ".DS_Store").write_bytes(b"Bud1")
        (path.parent / "Thumbs.db").write_bytes(b"\xd0\xcf")
    after = {f.split: (f.images, f.histogram.tolist()) for f in inspect(name, raw, deep=True).splits}
    assert after == before
    zipped = kit.zipped(
        raw, tmp_path / "raw.zip", lambda inside: f"__MACOSX/{inside}" if "._" in inside else inside
    )
    found = {f.split: (f.images, f.histogram.tolist()) for f in inspect(name, zipped, deep=True).splits}
    assert found == before


def test_two_spellings_of_one_file_are_refused(tmp_path: Path) -> None:
    raw = kit.voc2012(tmp_path / "raw")
    folder = raw / "VOCdevkit/VOC2012/JPEGImages"
    (folder / "t1.JPG").write_bytes((folder / "t1.jpg").read_bytes())
    with pytest.raises(DataError, match="two files with the same name"):
        inspect("voc2012", raw)


def test_what_is_a_file_of_the_system() -> None:
    assert all(map(is_system_file, ("._a.png", "x/.DS_Store", "a/.ipynb_checkpoints/b.png", "THUMBS.DB")))
    assert not any(map(is_system_file, ("a._b.png", ".hidden.png", "_a.png", "a/thumbs.png")))


# Predictions that are scored


def test_score_reads_maps_as_labels_are_read(tmp_path: Path) -> None:
    from repro.evaluation.map_files import Legend, MapFile, match, read_map

    palette = DATASETS["camvid"].PALETTE
    legend, ids = Legend.of(palette), kit.blocks(1, range(11))
    order = np.random.default_rng(0).permutation(11)
    forms = {
        "gray": png_kit.encode(ids, png_kit.GRAY, 4),
        "colour": png_kit.encode(np.array(palette)[ids], png_kit.RGB, 8),
        "palette": with_palette(ids, list(palette), bits=4),
        "other palette": with_palette(np.argsort(order)[ids], [palette[i] for i in order], bits=4),
        "wide": png_kit.encode(ids, png_kit.GRAY, 16, interlaced=True),
    }
    for name, data in forms.items():
        (tmp_path / f"{name}.PNG").write_bytes(data)
        assert np.array_equal(read_map(MapFile(path=tmp_path / f"{name}.PNG"), legend, (12, 16)), ids), name
    (tmp_path / "._gray.PNG").write_bytes(b"\0\5\x16\7")
    assert len(match(tmp_path, list(forms))) == len(forms)


@pytest.mark.parametrize("kind", sorted(BROKEN))
def test_score_of_a_broken_map_is_one_clear_error(tmp_path: Path, kind: str) -> None:
    from repro.evaluation.map_files import Legend, MapFile, read_map

    (tmp_path / "a.png").write_bytes(BROKEN[kind][0]())
    with pytest.raises(DataError):
        read_map(MapFile(path=tmp_path / "a.png"), Legend.of(voc_colours(21)), (12, 16))


def test_opencv_agrees_on_gray_and_colours_of_8_bits() -> None:
    """A second independent decoder, for files that it does not change."""
    for kind in (png_kit.GRAY, png_kit.RGB):
        for interlaced in (False, True):
            pixels = samples(kind, 8, (9, 17))
            data = png_kit.encode(pixels, kind, 8, interlaced=interlaced)
            seen = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
            assert np.array_equal(seen if seen.ndim == 2 else seen[..., ::-1], pixels)
            assert np.array_equal(read_label_file(data, "x").rows(0, 9), pixels)
