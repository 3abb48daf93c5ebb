"""Batches: the same for any number of workers, after a resume, over several processes, from the cache."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from repro.datasets import loader
from repro.datasets.loader import Batch, batches, batches_per_epoch, epoch_order
from repro.datasets.prepare.prepared_split import Split
from repro.errors import DataError, StorageError
from repro.params import Augmentation
from repro.params.augmentation import Pipeline
from tests.datasets import kit

AUGMENTATION = kit.distorting("mmsegmentation", crop=(24, 32), base=(64, 48))


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Split:
    """Seven prepared images of 48x64."""
    folder = tmp_path_factory.mktemp("loader")
    kit.camvid(folder / "raw", per_split=7, size_HW=(48, 64))
    return kit.prepared("camvid", folder / "raw", folder / "prepared/camvid", train=7)["train"]


def draw(split: Split, augmentation: Augmentation = AUGMENTATION, **options: int) -> list[Batch]:
    settings = {"batch": 2, "seed": 1, "start": 0, "stop": 8, **options}
    return list(batches(split, augmentation, **settings))


def same(left: list[Batch], right: list[Batch]) -> bool:
    return len(left) == len(right) and all(
        a.ids == b.ids and torch.equal(a.image_NCHW, b.image_NCHW) and torch.equal(a.label_NHW, b.label_NHW)
        for a, b in zip(left, right, strict=True)
    )


def test_a_batch_is_what_it_says(split: Split) -> None:
    batch = draw(split)[0]
    assert batch.image_NCHW.shape == (2, 3, 24, 32)
    assert batch.image_NCHW.dtype == batch.label_NHW.dtype == torch.uint8
    assert batch.image_NCHW.is_contiguous(memory_format=torch.channels_last)
    assert batch.label_NHW.shape == (2, 24, 32)
    assert len(batch.ids) == 2
    assert set(batch.label_NHW.unique().tolist()) <= {*range(11), 255}


def test_batches_are_pinned(split: Split) -> None:
    """A change here changes every training: it must come with a new `engine.data` or `engine.training`."""
    found = draw(split)
    labels = hashlib.sha256(b"".join(batch.label_NHW.numpy().tobytes() for batch in found)).hexdigest()
    assert [batch.ids for batch in found[:3]] == [
        ("train4", "train5"),
        ("train1", "train6"),
        ("train2", "train0"),
    ]
    assert labels[:16] == "38a6d2d7f928165b"
    means = [round(float(batch.image_NCHW.float().mean()), 1) for batch in found[:3]]
    assert means == pytest.approx([129.2, 151.8, 116.9], abs=0.3)


@pytest.mark.parametrize("name", ["scale_crop", "mmsegmentation", "vainf", "tensorpack"])
def test_decoding_the_upper_rows_only_changes_no_sample(
    split: Split, name: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    augmentation = Augmentation(pipeline=name, crop=(16, 24), scale=(0.5, 2.0))
    found = draw(split, augmentation)
    rows: list[int | None] = []
    real = Split.image
    monkeypatch.setattr(Split, "image", lambda self, i, stop=None: rows.append(stop) or real(self, i, stop))
    assert same(found, draw(split, augmentation))
    assert min(stop for stop in rows if stop is not None) < 40, "of 48 rows"
    monkeypatch.setattr(Split, "lazy_image", real)
    assert same(found, draw(split, augmentation)), "decoded whole"


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_any_number_of_workers_gives_the_same_batches(split: Split, workers: int) -> None:
    assert same(draw(split), draw(split, workers=workers))


def test_a_resumed_run_sees_what_it_would_have_seen(split: Split) -> None:
    whole = draw(split)
    assert same(whole[:5], draw(split, stop=5))
    assert same(whole[5:], draw(split, start=5, workers=2))
    assert draw(split, start=8) == []


def test_an_epoch_shows_every_image_once_and_drops_the_rest(split: Split) -> None:
    found = draw(split, stop=6)
    for epoch in (found[:3], found[3:]):
        ids = [name for batch in epoch for name in batch.ids]
        assert len(ids) == len(set(ids)) == 6
    assert batches_per_epoch(7, 2) == 3
    assert sorted(epoch_order(7, seed=1, epoch=0).tolist()) == list(range(7))


def test_a_padded_epoch_repeats_its_first_images(split: Split) -> None:
    """As torch's DistributedSampler: 7 images for 4 devices are 8 samples, the first one again at the end."""
    found = draw(split, batch=4, stop=4, epoch_images=8)
    for epoch in (found[:2], found[2:]):
        ids = [name for batch in epoch for name in batch.ids]
        assert len(ids) == 8
        assert len(set(ids)) == 7
        assert ids[0] == ids[-1]


def test_epochs_and_seeds_differ(split: Split) -> None:
    orders = {tuple(epoch_order(50, seed=seed, epoch=epoch)) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9
    assert not same(draw(split), draw(split, seed=2))
    first, again = draw(split, batch=7, stop=2)
    samples = [
        dict(zip(b.ids, b.image_NCHW.float().mean((1, 2, 3)).tolist(), strict=True)) for b in (first, again)
    ]
    assert all(samples[0][name] != samples[1][name] for name in samples[0]), "redrawn in every epoch"


@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_a_batch_exactly(split: Split, world: int) -> None:
    """Together the ranks see the samples of one process, each once, whatever the world size."""
    whole = draw(split, batch=6, stop=3)
    ranks = [draw(split, batch=6, stop=3, rank=rank, world=world) for rank in range(world)]
    for i, batch in enumerate(whole):
        for rank in range(world):
            assert ranks[rank][i].ids == batch.ids[rank::world]
            assert torch.equal(ranks[rank][i].image_NCHW, batch.image_NCHW[rank::world])


def test_impossible_batches(split: Split) -> None:
    with pytest.raises(DataError, match="batch size 8 exceeds 7 images"):
        draw(split, batch=8)
    with pytest.raises(DataError, match="batch size 5 over 2 processes"):
        draw(split, batch=5, world=2)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_sample_names_its_file(split: Split, tmp_path: Path, workers: int) -> None:
    data = bytearray(split.path.read_bytes())
    offset = split._members["images/train3.png"][0]
    data[offset + 60] ^= 0xFF
    path = tmp_path / "train.zip"
    path.write_bytes(bytes(data))
    with pytest.raises(DataError, match="damaged member") as caught:
        draw(Split.open(path), batch=7, workers=workers)
    assert str(caught.value.where).endswith("images/train3.png")


def test_stopping_early_leaves_no_thread(split: Split) -> None:
    before = threading.active_count()
    for _ in batches(split, AUGMENTATION, batch=2, seed=0, start=0, stop=1000, workers=3):
        break
    deadline = threading.Event()
    for _ in range(100):
        if threading.active_count() == before:
            break
        deadline.wait(0.05)
    assert threading.active_count() == before


# The cache


@pytest.fixture
def copied(split: Split, tmp_path: Path) -> Split:
    """A split of a new project, so that its cache is new."""
    (tmp_path / "params.yaml").write_text("datasets: {}\n")
    path = tmp_path / "prepared/camvid/train.zip"
    path.parent.mkdir(parents=True)
    path.write_bytes(split.path.read_bytes())
    return Split.open(path)


def test_the_cache_gives_the_same_samples(copied: Split, tmp_path: Path) -> None:
    cached = replace(AUGMENTATION, cache=True)
    plain = draw(copied)
    assert same(plain, draw(copied, cached, workers=2)), "built"
    assert same(plain, draw(copied, cached)), "found"
    files = list((tmp_path / ".repro/cache").glob("*.u8"))
    assert [file.stat().st_size for file in files] == [loader.cache_bytes(copied)] == [7 * 48 * 64 * 4]


def test_the_cache_is_read_only_and_untouched(copied: Split) -> None:
    pixels = loader.open_cache(copied)
    before = pixels.image(3).copy()
    list(batches(copied, replace(AUGMENTATION, cache=True), batch=7, seed=0, start=0, stop=3))
    assert np.array_equal(pixels.image(3), before)
    with pytest.raises(ValueError, match="read-only"):
        pixels.image(3)[0] = 0


def test_a_stale_cache_is_not_used(copied: Split) -> None:
    loader.open_cache(copied)
    other = Split(copied.path, copied.samples, {**copied.facts, "fingerprint": "f" * 64}, copied._members)
    assert loader.cache_path(other) != loader.cache_path(copied)


def test_a_cache_of_a_wrong_length_is_built_again(copied: Split) -> None:
    path = loader.cache_path(copied)
    loader.open_cache(copied)
    path.write_bytes(path.read_bytes()[:100])
    assert np.array_equal(loader.open_cache(copied).image(6), copied.image(6))


def test_an_interrupted_build_leaves_nothing(copied: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Split.image
    monkeypatch.setattr(
        Split, "image", lambda self, i: (_ for _ in ()).throw(KeyboardInterrupt) if i == 3 else real(self, i)
    )
    with pytest.raises(KeyboardInterrupt):
        loader.open_cache(copied)
    monkeypatch.undo()
    assert not list(loader.cache_path(copied).parent.glob("*.u8*part")), "no half-built file"
    assert np.array_equal(loader.open_cache(copied).label(6), copied.label(6))


def test_a_cache_that_does_not_fit_reports_its_size(copied: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(copied.path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(StorageError, match=r"the pixel cache needs 0\.0 GB"):
        loader.open_cache(copied)


@pytest.mark.slow
def test_several_processes_build_one_cache(copied: Split) -> None:
    """Two processes at the same time."""
    program = (
        "import sys; from pathlib import Path; from repro.datasets import loader\n"
        "from repro.datasets.prepare.prepared_split import Split\n"
        "print(loader.open_cache(Split.open(Path(sys.argv[1]))).label(6).sum())"
    )
    command = [sys.executable, "-c", program, str(copied.path)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
    assert [int(process.communicate()[0]) for process in running] == [int(copied.label(6).sum())] * 2
    assert len(list(loader.cache_path(copied).parent.glob("*.u8"))) == 1
