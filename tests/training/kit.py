"""A network of a few hundred weights and batches out of thin air: a step takes about a millisecond."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from repro.models import resize_logits
from repro.params import TrainingParams
from repro.records import Journal, read_journal
from repro.training.checkpoint import rewind
from repro.training.distributed import Ranks
from repro.training.loop import Outcome, fit
from repro.training.schedule import length
from repro.training.train_step import Task

CLASSES = 3
IMAGES = 32
RESIZE = partial(resize_logits, rule="half_pixel")


def some_params(**changes: Any) -> TrainingParams:
    base = TrainingParams(split="train", batch=4, iterations=12, lr=0.05, weight_decay=1e-3, log_every=2)
    return replace(base, **changes)


# Of fp16: its first updates overflow, and it grows again at once. What a checkpoint forgets of it shows.
restless_scaler = partial(torch.amp.GradScaler, init_scale=2.0**28, growth_interval=2)


class TinyNet(nn.Module):
    """backbone, head with dropout, and an auxiliary head; logits at half the input size."""

    def __init__(self, *, norm: bool = True, dropout: float = 0.2) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1),
            nn.BatchNorm2d(8) if norm else nn.Identity(),
            nn.ReLU(),
        )
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Conv2d(8, CLASSES, 1))
        self.aux = nn.ModuleList([nn.Conv2d(8, CLASSES, 1)])

    def forward(self, image_NCHW: Tensor) -> tuple[Tensor, ...]:
        features = self.backbone(image_NCHW)
        heads = (self.head(features), *(aux(features) for aux in self.aux))
        return heads if self.training else heads[:1]


@dataclass(frozen=True)
class Cut:
    image_NCHW: Tensor
    label_NHW: Tensor


def batches(start: int, stop: int, *, batch: int = 4, rank: int = 0, world: int = 1) -> Iterator[Cut]:
    """This rank's part of random global batches that depend on the iteration alone; 255 is sprinkled in."""
    for iteration in range(start, stop):
        source = torch.Generator().manual_seed(iteration)
        image = torch.randint(0, 256, (batch, 3, 16, 16), generator=source, dtype=torch.uint8)
        label = (image[:, 0] // 86).to(torch.uint8)
        label[torch.rand(label.shape, generator=source) < 0.1] = 255
        yield Cut(image[rank::world], label[rank::world])


def normalise(image_NCHW: Tensor) -> Tensor:
    return image_NCHW.float() / 128 - 1


def tiny_task(work: Path, journal: Journal | None, params: TrainingParams | None = None, **more: Any) -> Task:
    params = params or some_params()
    torch.manual_seed(0)
    ranks = more.pop("ranks", Ranks(device=torch.device("cpu")))
    feed = partial(batches, batch=params.batch, rank=ranks.rank, world=ranks.world)
    defaults: dict[str, Any] = {"model": TinyNet(), "feed": feed, "of": length(params, images=IMAGES)}
    return Task(
        params=params,
        classes=CLASSES,
        work=work,
        journal=journal,
        ranks=ranks,
        normalise=normalise,
        resize=RESIZE,
        **(defaults | more),
    )


def run_tiny(work: Path, params: TrainingParams | None = None, **more: Any) -> Outcome:
    """Train in `work`, resuming from existing checkpoints, as the CLI does."""
    work.mkdir(parents=True, exist_ok=True)
    rewind(work, work / "journal.jsonl")
    with Journal(work / "journal.jsonl") as journal:
        return fit(tiny_task(work, journal, params, **more))


def numbers(work: Path) -> list[tuple[int, dict[str, float]]]:
    """Every metric in the journal except those about the machine."""
    lines = [entry for entry in read_journal(work / "journal.jsonl") if entry["kind"] == "metrics"]
    lines = [entry for entry in lines if not any(name.startswith("system/") for name in entry["values"])]
    return [(entry["step"], entry["values"]) for entry in lines]


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    """Bit for bit."""
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
