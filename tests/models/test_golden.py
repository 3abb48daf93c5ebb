"""Every network computes what it computed when it was found right; a moved number must be wanted.

    python -m tests.models.test_golden        writes tests/golden/models/logits.json

Then raise `engine:` in params.yaml and say so in CHANGELOG under "Numbers". Networks that a page or
torchvision also computes are compared in test_checkpoints_pages.py and test_models_torchvision.py.
"""

from __future__ import annotations

import json
from functools import cache

import pytest
import torch

from repro.models import build_on_meta
from tests.models.kit import GOLDEN, NETWORKS, filled, model_params, noise

FILE = GOLDEN / "logits.json"
CLASSES, SIZE, SAMPLES = 5, (49, 65), 12


def summary(name: str) -> list[dict[str, object]]:
    """Shape, mean magnitude and some values of each head's logits: float64, eval, `quick_fill`."""
    net = build_on_meta(model_params(NETWORKS[name]), num_classes=CLASSES).double()
    net = net.to_empty(device="cpu").eval()
    net.load_state_dict(filled(net.state_dict()))
    with torch.no_grad():
        heads = net.all_heads(noise(1, 3, *SIZE))
    return [
        {
            "shape": list(logits.shape),
            "mean_abs": logits.abs().mean().item(),
            "values": logits.flatten()[:: max(logits.numel() // SAMPLES, 1)][:SAMPLES].tolist(),
        }
        for logits in heads
    ]


@cache
def golden() -> dict[str, list[dict[str, list[float]]]]:
    return json.loads(FILE.read_text())  # type: ignore[no-any-return]


def test_no_network_is_without_golden_logits() -> None:
    assert golden().keys() == NETWORKS.keys()


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.slow
def test_logits_are_what_they_were(name: str) -> None:
    found, wanted = summary(name), golden()[name]
    assert len(found) == len(wanted)
    for now, then in zip(found, wanted, strict=True):
        assert now["shape"] == then["shape"]
        scale = then["mean_abs"]
        assert now["mean_abs"] == pytest.approx(scale, rel=1e-9)
        assert now["values"] == pytest.approx(then["values"], rel=1e-9, abs=1e-9 * scale)  # type: ignore[operator]


if __name__ == "__main__":
    FILE.write_text(json.dumps({name: summary(name) for name in NETWORKS}, indent=1) + "\n")
