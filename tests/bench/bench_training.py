"""Training: loader, step, journal and checkpoints beside a plain loop as a tutorial would write it.

Same network, same images (PNG, 480x360), crop 256, batch 4, the threads torch chooses. The plain loop reads
with PIL, transforms with torchvision, loads with DataLoader(num_workers=2) and computes in fp32; ours has
bf16, channels_last and the pixel cache, and writes its journal. On a GPU where there is one.
"""

from __future__ import annotations

import importlib.util
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext, suppress
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as TF

from repro.datasets import prepare_dataset
from repro.datasets.augment.rng import Rng
from repro.datasets.prepare.prepared_split import Split
from repro.datasets.sets import synthetic
from repro.models import build
from repro.params import DatasetFacts, Experiment, Project, load_experiment
from repro.records import Journal, read_journal
from repro.tracking.address import sqlite_path, tracking_uri
from repro.tracking.mirror import Mirror
from repro.training.monitor import Status
from repro.training.train import train
from tests.bench.row import Row, ratio_interval
from tests.tracking.kit import a_project, a_run, journal_of

CROP, BATCH, WARM, STEPS, REPEATS = 256, 4, 2, 4, 2
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SHOWN, LEAD, WINDOW = 10, 20, 60  # steps to the first journal line, then till MLflow rests, then measured
SAVED = 8.0  # seconds between checkpoints
PAIRS = 8  # windows of 30 s differ by 2 %, as much as the bound
IMAGES = 24
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def rows() -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        raw = write_images(Path(folder) / "data")
        e = experiment()
        split = prepared(raw, Path(folder) / "prepared" / "camvid")
        network = lambda: build(e.model, num_classes=11)  # noqa: E731
        ours, peer = zip(*[(ours_s(e, split), plain_s(raw, network)) for _ in range(REPEATS)], strict=True)
        name = f"training step with its data, {CROP}x{CROP}, batch {BATCH}"
        peer_name = "plain torch loop, same network"
        yield Row(name=name, peer_name=peer_name, ours=min(ours), peer=min(peer), bound=0.46)
        yield from against_smp(name, raw, min(ours))
        yield overhead(e, split)
        if DEVICE == "cuda":
            yield waiting(e, split)
        else:
            print("no GPU: its rows and the share of waiting for data are not measured", file=sys.stderr)


def against_smp(name: str, raw: Path, ours: float) -> Iterator[Row]:
    if importlib.util.find_spec("segmentation_models_pytorch") is None:
        print("segmentation_models_pytorch is not installed: one row less", file=sys.stderr)
        return
    import segmentation_models_pytorch as smp

    def network() -> nn.Module:
        return smp.DeepLabV3Plus("mobilenet_v2", encoder_weights=None, classes=11)

    peer = min(plain_s(raw, network) for _ in range(REPEATS))
    yield Row(name=name, peer_name="plain torch loop, smp's network", ours=ours, peer=peer, bound=0.59)


def overhead(e: Experiment, split: Split) -> Row:
    """The loop as `repro train` runs it beside the loop alone, in turn; the mean ratio and its interval.

    Tracked: journal, MLflow's mirror following it, and a checkpoint every 8 s, where a real training writes
    one every 10 minutes. What MLflow costs to start, once in hours of training, is not in it.
    """
    pairs = []
    for i in range(PAIRS):  # each first as often as the other: the machine warms up within a pair
        order = (True, False) if i % 2 else (False, True)
        seconds = {tracked: window_s(e, split, tracked=tracked) for tracked in order}
        pairs.append((seconds[True], seconds[False]))
    ratio, *interval = ratio_interval(pairs)
    peer = statistics.median(plain for _, plain in pairs)
    name = f"step with journal, MLflow and a checkpoint every {SAVED:.0f} s"
    return Row(
        name=name,
        peer_name="the same step without",
        ours=ratio * peer,
        peer=peer,
        bound=1.02,
        interval=(interval[0], interval[1]),
    )


def window_s(e: Experiment, split: Split, *, tracked: bool = False) -> float:
    """Seconds a step over a long window."""
    minutes = SAVED / 60 if tracked else 1e9
    e = replace(e, training=replace(e.training, iterations=LEAD + WINDOW, checkpoint_minutes=minutes))
    times: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        project = a_project(Path(folder))
        path = journal_of(project)

        def progress(status: Status) -> None:
            if tracked and status.iteration == SHOWN:
                wait_until_shown(project)
            times.append(now() if status.iteration in (LEAD, LEAD + WINDOW) else 0.0)

        with Journal(path) if tracked else nullcontext() as journal:
            mirror = Mirror(project, path, run=a_run())
            with mirror if tracked else nullcontext():
                train(e, split=split, work=path.parent, device=DEVICE, journal=journal, progress=progress)
        if tracked:
            saved = [entry for entry in read_journal(path) if entry["kind"] == "checkpoint"]
            assert len(saved) > 1, "no checkpoint in the window"  # the other one is the last
            assert mirror.drain(60), "MLflow did not follow"
    return (times[-1] - times[LEAD - 1]) / WINDOW


def waiting(e: Experiment, split: Split) -> Row:
    """The share of a long window in which the loop waited for its next batch."""
    shares: list[float] = []
    e = replace(e, training=replace(e.training, iterations=LEAD + WINDOW))
    with tempfile.TemporaryDirectory() as work:
        progress = lambda status: shares.append(status.data_wait)  # noqa: E731
        train(e, split=split, work=Path(work), device=DEVICE, progress=progress)
    return Row(name="waiting for data", peer_name="the whole time", ours=shares[-1], peer=1.0, bound=0.05)


def now() -> float:
    """Seconds, when everything that was asked of the device is done."""
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def wait_until_shown(project: Project) -> None:
    """Until MLflow holds a number of the run that is being trained."""
    path, deadline = sqlite_path(tracking_uri(project)), time.monotonic() + 60
    assert path is not None
    while time.monotonic() < deadline:
        with suppress(sqlite3.OperationalError), closing(sqlite3.connect(path)) as store:
            if store.execute("SELECT count(*) FROM metrics").fetchone()[0]:
                return
        time.sleep(0.2)
    raise AssertionError("MLflow shows nothing after a minute")


def experiment() -> Experiment:
    """The CamVid experiment at the bench's size."""
    found = load_experiment(Project(Path(__file__).parents[2]), "camvid_mobilenetv2_os16")
    training = replace(found.training, split="train", batch=BATCH, epochs=None, iterations=WARM + STEPS)
    return replace(
        found,
        training=replace(training, validate_every=None, warmup=0),
        augmentation=replace(found.augmentation, crop=(CROP, CROP), cache=True),
    )


def ours_s(e: Experiment, split: Split) -> float:
    """Seconds a step of the loop as `repro train` runs it."""
    times: list[float] = []

    def progress(status: Status) -> None:
        times.append(now())

    with tempfile.TemporaryDirectory() as work, Journal(Path(work) / "journal.jsonl") as journal:
        train(e, split=split, work=Path(work), device=DEVICE, journal=journal, progress=progress)
    return (times[-1] - times[WARM - 1]) / STEPS


def plain_s(raw: Path, network: Callable[[], nn.Module]) -> float:
    """Seconds a step of the plain loop."""
    model = network().train().to(DEVICE)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    scheduler = torch.optim.lr_scheduler.PolynomialLR(optimizer, WARM + STEPS, power=0.9)
    loader = DataLoader(Plain(raw), BATCH, shuffle=True, num_workers=2, drop_last=True)
    began, done = 0.0, 0
    while True:
        for image, label in loader:
            if done == WARM:
                began = now()
            image, label = image.to(DEVICE), label.to(DEVICE)
            out = model(image)
            logits = out[0] if isinstance(out, tuple) else out
            logits = F.interpolate(logits, size=label.shape[1:], mode="bilinear", align_corners=False)
            loss = F.cross_entropy(logits, label, ignore_index=255)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            loss.item()
            done += 1
            if done == WARM + STEPS:
                return (now() - began) / STEPS


class Plain(Dataset[tuple[Tensor, Tensor]]):
    """Images and labels by PIL, scaled, cropped, flipped and normalised by torchvision."""

    def __init__(self, raw: Path) -> None:
        self.images = sorted((raw / "train").glob("*.png"))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        path = self.images[i]
        image = Image.open(path).convert("RGB")
        label = Image.open(path.parents[1] / "trainannot" / path.name)
        scale = random.uniform(0.5, 2.0)
        size = [round(image.height * scale), round(image.width * scale)]
        image = TF.resize(image, size)
        label = TF.resize(label, size, interpolation=v2.InterpolationMode.NEAREST)
        pad = [0, 0, max(CROP - size[1], 0), max(CROP - size[0], 0)]
        image, label = TF.pad(image, pad), TF.pad(label, pad, fill=255)
        top, left, height, width = _window(image, (CROP, CROP))
        image, label = (TF.crop(x, top, left, height, width) for x in (image, label))
        if random.random() < 0.5:
            image, label = TF.hflip(image), TF.hflip(label)
        pixels = TF.normalize(TF.to_dtype(TF.to_image(image), torch.float32, scale=True), MEAN, STD)
        target = torch.from_numpy(np.array(label)).long()
        return pixels, target.masked_fill(target == 11, 255)


def _window(image: Image.Image, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """A random window of `size` inside `image`."""
    top, left = random.randint(0, image.height - size[0]), random.randint(0, image.width - size[1])
    return top, left, *size


def write_images(root: Path) -> Path:
    """CamVid's layout and size, drawn: the built-in scenes three times as large."""
    for folder in ("train", "trainannot"):
        (root / folder).mkdir(parents=True)
    for i in range(IMAGES):
        image, label = synthetic.scene(Rng(1, 7, i))
        large = cv2.resize(image, (480, 360), interpolation=cv2.INTER_LINEAR)
        cv2.imwrite(str(root / "train" / f"{i:03d}.png"), large[:, :, ::-1])
        labels = cv2.resize(label, (480, 360), interpolation=cv2.INTER_NEAREST)
        cv2.imwrite(str(root / "trainannot" / f"{i:03d}.png"), labels)
    return root


def prepared(raw: Path, out: Path) -> Split:
    for split in ("val", "test"):
        for kind in ("", "annot"):
            (raw / f"{split}{kind}").mkdir()
    prepare_dataset("camvid", raw, out, DatasetFacts(classes=11, splits={"train": IMAGES}), workers=2)
    return Split.open(out / "train.zip")
