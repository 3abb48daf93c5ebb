"""Comparing two results: paired intervals, p-values that mean what they say, Holm's correction."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from repro.errors import IncomparableError, RecordError
from repro.evaluation.bootstrap import interval
from repro.evaluation.confusion import Confusions, collect, squeeze
from repro.evaluation.outputs import StoredConfusions, npz, pack, read_confusions, unpack
from repro.evaluation.paired_test import Difference, compare, holm

CLASSES = ("road", "tree", "car")


def split(images: int, *, seed: int, accuracy: float = 0.8) -> Confusions:
    """Images of 1,000 pixels, of which each is right with probability `accuracy`."""
    generator = np.random.default_rng(seed)
    matrices = []
    for _ in range(images):
        true = generator.multinomial(1000, generator.dirichlet([2.0] * 3))
        matrix = np.zeros((3, 4), np.int64)
        for k in range(3):
            shares = np.full(3, (1 - accuracy) / 2)
            shares[k] = accuracy
            matrix[k, :3] = generator.multinomial(true[k], shares)
        matrices.append(squeeze(matrix))
    return collect(matrices, classes=3)


def stored(confusions: Confusions, **changes: object) -> StoredConfusions:
    one = StoredConfusions(
        confusions={"": confusions},
        ids=tuple(f"i{k}" for k in range(confusions.images)),
        classes=CLASSES,
        protocol="p" * 12,
        fingerprint="f" * 64,
        split="val",
        chosen=np.arange(3),
        absent="skip",
    )
    return dataclasses.replace(one, **changes)  # type: ignore[arg-type]


def numbers(one: Difference) -> tuple[float, float, float, float]:
    """difference, low, high, p; all known."""
    values = (one.difference, one.low, one.high, one.p)
    assert None not in values
    return values  # type: ignore[return-value]


def test_clear_difference_is_found() -> None:
    found = compare(stored(split(60, seed=0)), stored(split(60, seed=1, accuracy=0.85)), resamples=2000)
    difference, low, _, p = numbers(found.mIoU)
    assert 0 < low < difference
    assert p < 0.01
    assert [one.name for one in found.classes] == list(CLASSES)
    changes = [abs(image.b - image.a) for image in found.changed]
    assert changes == sorted(changes, reverse=True)


def test_no_difference_is_not_a_discovery() -> None:
    """Of 200 pairs of equally good results about 5 % have p below 0.05, and most intervals hold 0."""
    hits = inside = 0
    for seed in range(200):
        pair = [stored(split(40, seed=2 * seed + k)) for k in (0, 1)]
        _, low, high, p = numbers(compare(*pair, resamples=400).mIoU)
        hits += p < 0.05
        inside += low <= 0 <= high
    assert 2 <= hits <= 22  # binomial(200, 0.05): outside with probability below 0.001
    assert inside >= 175


def test_swapping_changes_the_sign_alone() -> None:
    a, b = stored(split(20, seed=0)), stored(split(20, seed=1))
    one, two = compare(a, b, resamples=500).mIoU, compare(b, a, resamples=500).mIoU
    assert one.difference == pytest.approx(-two.difference)  # type: ignore[operator]
    assert (one.low, one.high) == pytest.approx((-two.high, -two.low))  # type: ignore[operator]
    assert one.p == two.p


def test_the_same_result_twice() -> None:
    found = compare(stored(split(20, seed=0)), stored(split(20, seed=0)), resamples=200)
    assert (found.mIoU.difference, found.mIoU.low, found.mIoU.high, found.mIoU.p) == (0, 0, 0, 1)


def test_pairing_takes_the_images_out() -> None:
    """B is A with a little more right in every image: the interval is far narrower than that of A itself."""
    easy_and_hard = [split(1, seed=k, accuracy=0.4 + 0.5 * (k % 2)) for k in range(40)]
    matrices = [one.of(0) for one in easy_and_hard]
    better = [m.copy() for m in matrices]
    for m in better:
        for k in range(3):
            m[k, k] += m[k, (k + 1) % 3] // 20
            m[k, (k + 1) % 3] -= m[k, (k + 1) % 3] // 20
    a, b = (stored(collect([squeeze(m) for m in some], classes=3)) for some in (matrices, better))
    _, paired_low, paired_high, _ = numbers(compare(a, b, resamples=1000).mIoU)
    low, high = interval(a.confusions[""], chosen=np.arange(3), absent="skip", resamples=1000)
    assert paired_low > 0
    assert (paired_high - paired_low) < (high - low) / 5


def test_holm_against_manual_values() -> None:
    def one(name: str, p: float | None) -> Difference:
        return Difference(name=name, a=1.0, b=1.0, difference=0.0, low=0.0, high=0.0, p=p)

    found = holm([one("a", 0.01), one("b", 0.04), one("c", None), one("d", 0.03), one("e", 0.005)])
    assert [d.p for d in found] == pytest.approx([0.03, 0.06, None, 0.06, 0.02])


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"protocol": "q" * 12}, "different protocols"), ({"fingerprint": "0" * 64}, "different data")],
)
def test_unfair_comparison_is_refused_and_forced_with_a_warning(changes: dict[str, str], words: str) -> None:
    a, b = stored(split(9, seed=0)), stored(split(9, seed=1), **changes)
    with pytest.raises(IncomparableError, match=words):
        compare(a, b)
    assert words in compare(a, b, force=True, resamples=50).warnings[0]


def test_common_images_of_different_lists() -> None:
    whole = split(9, seed=0)
    part = collect([squeeze(whole.of(k)) for k in (6, 2)], classes=3)
    a, b = stored(whole), stored(part, ids=("i6", "i2"))
    with pytest.raises(IncomparableError, match="2 in common"):
        compare(a, b)
    found = compare(a, b, force=True, resamples=50)
    assert (found.n_images, found.mIoU.difference) == (2, 0)


def test_nothing_in_common() -> None:
    a = stored(split(3, seed=0))
    with pytest.raises(IncomparableError, match="no image in common"):
        compare(a, stored(split(3, seed=0), ids=("x", "y", "z")), force=True)
    with pytest.raises(IncomparableError, match="different classes"):
        compare(a, stored(split(3, seed=0), classes=("a", "b", "c")), force=True)
    with pytest.raises(IncomparableError, match="no variant"):
        compare(a, a, variant="_ms_flip")


def test_absent_class_has_no_difference() -> None:
    matrix = np.zeros((3, 4), np.int64)
    matrix[0, 0] = matrix[1, 1] = 5
    one = stored(collect([squeeze(matrix)], classes=3))
    assert compare(one, one, resamples=20).classes[2].difference is None


def test_packed_confusions_come_back() -> None:
    both = {"": split(4, seed=0), "_ms_flip": split(4, seed=1)}
    back = unpack(pack(both))
    for suffix, one in both.items():
        assert all(np.array_equal(one.of(i), back[suffix].of(i)) for i in range(4))
    assert npz(pack(both)) == npz(pack(both))


def test_damaged_matrices(tmp_path: Path) -> None:
    path = tmp_path / "confusion.npz"
    path.write_bytes(npz(pack({"": split(2, seed=0)}))[:-30])
    with pytest.raises(RecordError, match="corrupt"):
        read_confusions(path)
    path.write_bytes(npz(pack({"": split(2, seed=0)})))  # whole, but without ids
    with pytest.raises(RecordError, match="corrupt"):
        read_confusions(path)
