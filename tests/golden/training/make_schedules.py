"""Learning rates and weight decays of the published schedules, by decimal arithmetic from the pages' facts.

    python tests/golden/training/make_schedules.py > tests/golden/training/schedules.json

Shares no code with the package. Each schedule is written as its source states it: the update number counts
from 0, steps per epoch are floor(images / batch) x scale, a stepped value holds after that many whole epochs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from decimal import Decimal, getcontext
from pathlib import Path
from typing import Any

getcontext().prec = 50
D = Decimal
Rate = Callable[[int, Decimal], Decimal]  # iteration, multiplier -> learning rate
SGD = {"momentum": 0.9, "schedule": "poly", "power": 0.9}


def blended(lr: str, total: int, floor: str) -> Rate:
    """mmcv and sssegmentation: (lr - floor) (1 - i / total)^0.9 + floor."""
    return lambda i, k: (D(lr) * k - D(floor)) * (1 - D(i) / total) ** D("0.9") + D(floor)


def clamped(lr: str, total: int, floor: str) -> Rate:
    """VainF: lr (1 - i / total)^0.9, not below the floor."""
    return lambda i, k: max(D(lr) * k * (1 - D(i) / total) ** D("0.9"), D(floor))


def stepped(lr: str, per_epoch: int, steps: list[tuple[int, str]]) -> Rate:
    """tensorpack: the value set after an epoch."""

    def rate(i: int, k: Decimal) -> Decimal:
        value = D(lr)
        for epoch, after in steps:
            if i >= epoch * per_epoch:
                value = D(after)
        return value * k

    return rate


def sgd_row(
    name: str, images: int, batch: int, lr: str, wd: float, rate: Rate, **more: Any
) -> dict[str, Any]:
    params = SGD | {"split": "train", "batch": batch, "lr": float(lr), "weight_decay": wd} | more
    devices = more["devices"] if more.get("pad_epoch") else 1
    per_epoch = -(-images // devices) * devices // batch
    total = more.get("iterations") or more["epochs"] * per_epoch
    return row(name, images, per_epoch, total, params, rate, lambda i: D(str(wd)))


def adam_row(
    name: str,
    images: int,
    batch: int,
    scale: int,
    lr: str,
    steps: list[tuple[int, str]],
    wd: str,
    *,
    epochs: int = 10,
    gpus: int = 1,
    decays: bool = False,
) -> dict[str, Any]:
    """Page 003: batch per GPU; the epoch is not divided by GPUs; wd x 0.7^floor(step / 80000) for ResNets."""
    per_epoch = images // batch * scale
    params = {
        "split": "train",
        "batch": batch * gpus,
        "epoch_devices": gpus,
        "epochs": epochs,
        "epoch_scale": scale,
        "optimizer": "adam",
        "eps": 2.5e-4,
        "lr": float(lr),
        "schedule": "step",
        "steps": [[epoch, float(value)] for epoch, value in steps],
        "weight_decay": float(wd),
        "weight_decay_on": "kernels",
        "weight_decay_factor": 0.7 if decays else 1.0,
    }
    decay = (lambda i: D(wd) * D("0.7") ** (i // 80000)) if decays else (lambda i: D(wd))
    return row(name, images, per_epoch, epochs * per_epoch, params, stepped(lr, per_epoch, steps), decay)


def row(
    name: str,
    images: int,
    per_epoch: int,
    total: int,
    params: dict[str, Any],
    rate: Rate,
    decay: Callable[[int], Decimal],
) -> dict[str, Any]:
    backbone = D(str(params.get("lr_backbone", 1)))
    places = [0, total // 4, total // 2, (9 * total) // 10, total - 1]
    points = [
        {
            "iteration": i,
            "lr": float(rate(i, D(1))),
            "lr_backbone": float(rate(i, backbone)),
            "weight_decay": float(decay(i)),
        }
        for i in places
    ]
    return {
        "name": name,
        "images": images,
        "params": params,
        "steps_per_epoch": per_epoch,
        "iterations": total,
        "points": points,
    }


FACTS = json.loads(Path(__file__).with_name("rows.json").read_text())


def of_row(name: str, *, images: int) -> dict[str, Any] | None:
    """A published row's own schedule: rows.json holds what the page or its script says, batch per GPU."""
    facts = FACTS.get(name)
    if facts is None:
        return None
    if "batch_per_gpu" in facts:
        steps = [(int(epoch), str(value)) for epoch, value in facts["steps"]]
        return adam_row(
            name, images, facts["batch_per_gpu"], facts["scale"], facts["lr"], steps, facts["weight_decay"],
            epochs=facts["epochs"], gpus=facts["gpus"], decays=facts["decays"],
        )  # fmt: skip
    per_epoch = facts.get("images", images) // facts["batch"]  # padded by DistributedSampler on 001 and 002
    total = facts.get("iterations") or facts["epochs"] * per_epoch
    if "constant" in facts:
        rate: Rate = lambda i, k: D(facts["lr"]) * k  # noqa: E731  (a plateau lowers it later)
    elif "clamp" in facts:
        rate = clamped(facts["lr"], total, facts["clamp"])
    else:
        rate = blended(facts["lr"], total, facts["floor"])
    return row(name, images, per_epoch, total, {}, rate, lambda i: D(facts["weight_decay"]))


def rows() -> list[dict[str, Any]]:
    return list(_rows())


DENSE = [(4, "1e-4"), (8, "1e-5")]
RESNET = [(2, "1e-3"), (4, "1e-4"), (6, "8e-5")]
PRETRAINED = [(2, "1e-4"), (4, "1e-5"), (6, "8e-6")]


def _rows() -> Iterator[dict[str, Any]]:
    # 000, PyTorch: README command of the upstream repository.
    yield sgd_row(
        "000-01 to -03", 2975, 16, "0.1", 1e-4, clamped("0.1", 30000, "1e-6"),
        iterations=30000, floor=1e-6, floor_rule="clamp", lr_backbone=0.1,
    )  # fmt: skip
    # 001 and 002: floor 0.01 lr; torch's DistributedSampler pads each epoch to a multiple of the devices.
    for name, images, batch, epochs, total, lr, wd in [
        ("001, 002 VOC", 10582, 16, 60, 39660, "0.01", 5e-4),
        ("001, 002 ADE20K", 20210, 16, 130, 164190, "0.01", 5e-4),
        ("001, 002 Cityscapes", 2975, 8, 220, 81840, "0.01", 5e-4),
        ("002 Pascal Context", 4998, 16, 260, 81120, "0.004", 1e-4),
    ]:
        floor = str(D(lr) / 100)
        yield sgd_row(
            name, images, batch, lr, wd, blended(lr, total, floor),
            epochs=epochs, floor_ratio=0.01, devices=8, pad_epoch=True,
        )  # fmt: skip
    # 004: 80 000 iterations.
    for name, images, lr, floor in [
        ("004 LoveDA", 2522, "0.01", "1e-4"),
        ("004 Vaihingen", 344, "0.01", "1e-4"),
        ("004-04 to -06", 1366, "0.001", "1e-5"),
    ]:
        yield sgd_row(
            name, images, 16, lr, 5e-4, blended(lr, 80000, floor), iterations=80000, floor=float(floor)
        )
    # 003: images, batch per GPU, epoch scale.
    yield adam_row("003-006", 10581, 15, 8, "0.00025", PRETRAINED, "2e-4", decays=True)
    yield adam_row(
        "003-007", 10581, 15, 8, "0.1",
        [(2, "1e-2"), (4, "1e-3"), (6, "1e-4"), (8, "1e-5")], "2e-5", decays=True,
    )  # fmt: skip
    yield adam_row(
        "003-008", 10581, 15, 8, "0.01", [(3, "1e-3"), (6, "1e-4"), (8, "1e-5")], "2e-5", decays=True
    )
    yield adam_row("003-018", 367, 12, 320, "0.0025", RESNET, "2e-5", decays=True)
    yield adam_row("003-028", 468, 45, 32, "0.001", DENSE, "1e-5")
    yield adam_row("003-062", 468, 22, 640, "0.001", DENSE, "1e-5")
    yield adam_row("003-063", 468, 22, 320, "0.001", DENSE, "1e-5", gpus=3)
    yield adam_row("003-064", 468, 24, 320, "0.001", [(5, "1e-4"), (8, "1e-5")], "1e-5", gpus=4)
    yield adam_row("003-065", 468, 21, 640, "0.003", [(4, "3e-4"), (8, "3e-5")], "2e-4", gpus=4)
    yield adam_row("003-066", 468, 21, 160, "0.002", [(4, "2e-4"), (8, "2e-5")], "2e-4", gpus=3)
    yield adam_row("003-085", 468, 20, 1000, "0.001", DENSE, "1e-5")
    yield adam_row("003-089", 468, 44, 32, "0.0015", [(4, "1.5e-4"), (8, "1.5e-5")], "1e-5")
    yield adam_row(
        "003-100", 1464, 9, 20, "6e-5", [(2, "3e-5"), (4, "1e-5"), (6, "5e-6")], "2e-4",
        epochs=8, decays=True,
    )  # fmt: skip
    yield adam_row("003-102", 2975, 7, 18, "0.00025", PRETRAINED, "2e-4", decays=True)


if __name__ == "__main__":
    print(json.dumps(rows(), indent=1))
