"""The PNG encoder, run-length masks and random numbers."""

from __future__ import annotations

import hashlib
import io
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from repro.datasets.augment.rng import Rng
from repro.datasets.formats.image_io import count_values, present_values, read_rgb
from repro.datasets.formats.png_reader import InvalidPng, check, read_rows
from repro.datasets.formats.png_writer import encode_png
from repro.datasets.sets.pascal_context import decode_rle
from tests.datasets.kit import blocks, encode_rle, encoded, photo


def is_whole(data: bytes) -> bool:
    """Whether all checksums of a PNG hold and all pixels are there."""
    try:
        check(data)
    except InvalidPng:
        return False
    return True


@given(
    height=st.integers(1, 40),
    width=st.integers(1, 600),
    levels=st.sampled_from([1, 2, 12, 256]),
    colour=st.booleans(),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=40, deadline=None)
def test_every_png_reader_gets_the_pixels_back(
    height: int, width: int, levels: int, colour: bool, seed: int
) -> None:
    shape = (height, width, 3) if colour else (height, width)
    pixels = np.random.default_rng(seed).integers(0, levels, shape, dtype=np.uint8) * (
        255 // max(1, levels - 1)
    )
    data = encode_png(pixels)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), pixels)
    flag = cv2.IMREAD_COLOR_RGB if colour else cv2.IMREAD_UNCHANGED
    assert np.array_equal(cv2.imdecode(np.frombuffer(data, np.uint8), flag), pixels)


@pytest.mark.parametrize("length", [1, 2, 3, 4, 257, 258, 259, 260, 261, 516, 519, 70000])
def test_runs_of_every_length_survive(length: int) -> None:
    pixels = np.concatenate([np.full(length, 7), [9], np.full(length, 200)]).astype(np.uint8)[None]
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(encode_png(pixels)))), pixels)


def test_the_bytes_are_pinned_and_small() -> None:
    """These hashes must be equal on every platform and with every zlib."""
    label = np.kron(np.arange(12, dtype=np.uint8).reshape(3, 4), np.ones((60, 80), np.uint8))
    assert hashlib.sha256(encode_png(label)).hexdigest()[:16] == "0ac9de209fef030a"
    assert (
        hashlib.sha256(
            encode_png(np.arange(300, dtype=np.uint16).astype(np.uint8).reshape(10, 10, 3))
        ).hexdigest()[:16]
        == "72793c3001bbe19a"
    )
    assert len(encode_png(label)) < label.size / 20


def test_a_photograph_is_stored_not_grown() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert len(encode_png(noise)) < noise.size + 64 + 100


@pytest.mark.parametrize("wrong", [np.zeros((2, 2), np.uint16), np.zeros((2, 2, 4), np.uint8)])
def test_other_pixels_are_refused(wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected uint8"):
        encode_png(wrong)


# Reading the upper rows


@pytest.mark.parametrize("by", ["this project", "PIL"])
@pytest.mark.parametrize("colour", [True, False])
@given(height=st.integers(1, 40), width=st.integers(1, 70), rows=st.integers(1, 50), seed=st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_upper_rows_are_those_of_the_whole_image(
    by: str, colour: bool, height: int, width: int, rows: int, seed: int
) -> None:
    """PIL chooses a filter per row, this project one for all rows: both decoders are tested."""
    pixels = photo(seed, (height, width))
    pixels = pixels if colour else pixels[..., 0]
    data = encode_png(pixels) if by == "this project" else encoded(pixels, ".png")
    upper = read_rows(data, rows)
    assert upper is not None
    assert upper.flags.writeable
    assert np.array_equal(upper, pixels[:rows])
    assert np.array_equal(np.asarray(read_rows(data)), pixels)


@pytest.mark.parametrize("kind", ["P", "LA", "RGBA", "1", "I;16", "L"])
def test_images_of_other_kinds_of_png_are_left_to_opencv(kind: str) -> None:
    out = io.BytesIO()
    image = Image.fromarray(photo(1)) if kind != "I;16" else Image.fromarray(np.full((4, 5), 900, np.uint16))
    image.convert(kind).save(out, "PNG")
    expected = cv2.imdecode(np.frombuffer(out.getvalue(), np.uint8), cv2.IMREAD_COLOR_RGB)
    assert np.array_equal(read_rgb(out.getvalue(), "x", rows=2), expected)
    assert is_whole(out.getvalue())
    assert not is_whole(out.getvalue()[:-1])


@given(at=st.integers(0, 10**6), bit=st.integers(0, 7), cut=st.booleans(), up=st.booleans())
@settings(max_examples=150, deadline=None)
def test_no_damage_of_a_png_goes_unseen(at: int, bit: int, cut: bool, up: bool) -> None:
    data = bytearray(
        encode_png(blocks(1, range(12), (30, 40))) if up else encoded(photo(1, (30, 40)), ".png")
    )
    assert is_whole(bytes(data))
    at %= len(data)
    if cut:
        del data[at:]
    else:
        data[at] ^= 1 << bit
    assert not is_whole(bytes(data))


def test_a_png_with_right_checksums_and_too_few_rows_is_not_whole() -> None:
    from repro.datasets.formats.png_writer import stored_png

    rows_HB = np.zeros((5, 8), dtype=np.uint8)
    data = stored_png(rows_HB, channels=1)
    header = b"IHDR" + (7).to_bytes(4, "big") + (6).to_bytes(4, "big") + data[24:29]
    taller = data[:12] + header + zlib.crc32(header).to_bytes(4, "big") + data[33:]
    assert is_whole(data)
    assert not is_whole(taller)
    assert read_rows(taller) is None
    rows_HB[2, 0] = 9
    assert not is_whole(stored_png(rows_HB, channels=1)), "unknown filter 9"


def test_values_are_counted_exactly() -> None:
    label = np.zeros((5000, 5000), dtype=np.uint8)
    label[7, 9] = 255
    assert count_values(label)[[0, 1, 255]].tolist() == [5000 * 5000 - 1, 0, 1]
    assert np.array_equal(
        count_values(label[::7, ::3]), np.bincount(label[::7, ::3].reshape(-1), minlength=256)
    )


@given(
    seed=st.integers(0, 2**16),
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    highest=st.integers(1, 255),
)
def test_every_value_that_occurs_is_found(seed: int, height: int, width: int, highest: int) -> None:
    """At any position and however rare: equal neighbours are read once."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, highest + 1, (height, width), dtype=np.uint8).repeat(5, axis=1)
    label[rng.integers(height), rng.integers(width)] = 255
    assert present_values(label).tolist() == np.unique(label).tolist()
    assert present_values(label[:, ::2]).tolist() == np.unique(label[:, ::2]).tolist()


# Run-length masks


@given(seed=st.integers(0, 2**16), height=st.integers(1, 30), width=st.integers(1, 30), share=st.floats(0, 1))
@settings(max_examples=40, deadline=None)
def test_run_length_masks_come_back(seed: int, height: int, width: int, share: float) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < share
    assert np.array_equal(decode_rle(encode_rle(mask), (height, width)), mask)


def test_a_known_coco_mask() -> None:
    """Known answer: runs 3, 4, 5, 4, 4 of a 4x5 mask; the last two as 0 and -1 against the last but one."""
    mask = decode_rle("3450O", (4, 5))
    assert (
        mask.reshape(-1, order="F").tolist()
        == [False] * 3 + [True] * 4 + [False] * 5 + [True] * 4 + [False] * 4
    )


def test_a_mask_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="runs of 20 pixels"):
        decode_rle("3450O", (4, 6))


def test_draws_are_pinned() -> None:
    """A change here changes every training: it must come with a new engine version."""
    rng = Rng(1, 2, 3)
    assert [rng.randrange(100) for _ in range(5)] == [67, 11, 51, 35, 70]
    assert Rng(0, 7).permutation(8).tolist() == [0, 6, 3, 7, 1, 2, 4, 5]
    assert Rng(4).random() == 0.9430561055723676


@given(seed=st.integers(0, 10**9), n=st.integers(1, 1000))
@settings(max_examples=30, deadline=None)
def test_draws_stay_in_their_range(seed: int, n: int) -> None:
    rng = Rng(seed)
    assert 0 <= rng.randrange(n) < n
    assert -3 <= rng.randint(-3, n) <= n
    assert 2.0 <= rng.uniform(2, 5) < 5.0
    assert sorted(rng.permutation(n).tolist()) == list(range(n))


def test_draws_are_uniform() -> None:
    """Chi-square of 20,000 draws over 10 cells: 27.9 is the 0.1 % point for 9 degrees of freedom."""
    rng = Rng(5)
    counts = np.bincount([rng.randrange(10) for _ in range(20000)], minlength=10)
    assert ((counts - 2000) ** 2 / 2000).sum() < 27.9


def test_the_kit_draws_what_it_says() -> None:
    assert set(np.unique(blocks(3, range(12)))) == set(range(12))
    assert photo(1).shape == (12, 16, 3)
