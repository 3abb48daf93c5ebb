"""What the tests of models and checkpoints share: the networks by name, deterministic weights, golden files.

In golden/models:
pages.json   state-dict keys of six networks as the pages' own code builds them; "<name> norm <c>" represents
             the five entries of a batch normalisation
pages.npz    what that code computes (float64, eval) under `page_fill`: every second row and column, of 150
             classes every fifth
logits.json  what our networks computed when they were found right: see test_models_golden.py
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from repro.params import ModelParams, parse

GOLDEN = Path(__file__).parents[1] / "golden" / "models"
NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
COUNTER = "num_batches_tracked"

WIDE = {"channels": 512, "fuse_kernel": 3, "low_level_first": False, "dropout_at": "classifier"}
S3 = {"family": "deeplabv3", "resnet": {"stem": "deep"}, "init": "torch", "aux": {"channels": 512}}
S3 |= {"head": WIDE | {"decoder_convs": 0, "dropout_kind": "channel"}}
S3PLUS = S3 | {"family": "deeplabv3plus"}
S3PLUS |= {"head": WIDE | {"decoder_convs": 2, "dropout_kind": "channel", "separable": True}}
MM = S3PLUS | {"aux": {"channels": 256}, "init": "mmsegmentation"}
MM |= {"head": S3PLUS["head"] | {"pool_first": True}}
MM18 = MM | {"aux": {"channels": 64}, "head": MM["head"] | {"channels": 128, "low_level": 12}}
PLUS = {"family": "deeplabv3plus"}
KERAS_NORM = {"eps": 1e-3, "momentum": 0.01}
KERAS = PLUS | {
    "backbone": "resnet18",
    "resnet": {"first_dilation": "full", "basic_dilation": "both", "shortcut": "conv"},
    "norm": KERAS_NORM,
    "padding": "same",
    "init": "he",
    "head": {
        "pool": "height",
        "pool_first": True,
        "pool_eps": 1e-5,
        "low_level_first": False,
        "bias": False,
        "extra_classes": 1,
        "norm": KERAS_NORM,
    },
}
TENSORPACK = {
    "family": "deeplabv2",
    "resnet": {
        "stride_in": "1x1",
        "dilations": [1, 1, 2, 4],
        "first_dilation": "full",
        "zero_init": True,
    },
    "head": {"rates": [6], "bias": False},
    "padding": "same",
    "resize": "tf_legacy",
    "init": "tensorpack",
}
SLIM = {"backbone": "resnet50", "padding": "slim", "resize": "tf_legacy", "init": "he"}
SLIM_V2 = {"version": "v2", "stride_in": "last", "first_dilation": "full"}
SLIM_V3 = SLIM_V2 | {"last_stage": "post", "inner_grid": [1, 2, 4]}
DENSE = {
    "family": "densenet",
    "backbone": "densenet",
    "norm": {"momentum": 0.003},
    "padding": "same",
    "resize": "tf_legacy",
    "init": "xavier",
}


def dense(blocks: tuple[int, ...], growth: int, stride: int = 16, **choices: Any) -> dict[str, Any]:
    block = {"blocks": list(blocks), "growth": growth} | choices
    return DENSE | {"output_stride": stride, "densenet": block}


BASE = {"stem": "3x3", "compression": 1.0, "late_pooling": False}  # "stem.nocompression.nopooling"
D30, D121 = (6, 8, 8, 8), (6, 12, 24, 16)
TINY = (2, 2, 2, 2)


def net(raw: Mapping[str, Any], backbone: str | None = None, stride: int | None = None) -> dict[str, Any]:
    """`raw` with a backbone and an output stride."""
    return (
        dict(raw)
        | ({"backbone": backbone} if backbone else {})
        | ({"output_stride": stride} if stride else {})
    )


# The six networks whose source code computed golden/models/pages.npz.
PAGES: dict[str, dict[str, Any]] = {
    "mmsegmentation_v3plus_r18_os8_nc6": net(MM18, "resnet18", 8),
    "mmsegmentation_v3plus_r50_os8_nc7": net(MM, "resnet50", 8),
    "sssegmentation_v3_r50_os8_nc21": net(S3, "resnet50", 8),
    "sssegmentation_v3plus_r50_os16_nc150": net(S3PLUS, "resnet50", 16),
    "vainf_v3plus_mobilenet_os16_nc19": net(PLUS, "mobilenetv2", 16),
    "vainf_v3plus_resnet50_os16_nc19": net(PLUS, "resnet50", 16),
}

# Every kind of network that can be built, small where depth adds nothing.
NETWORKS: dict[str, dict[str, Any]] = {
    "vainf_mobilenetv2_os16": net(PLUS, "mobilenetv2", 16),
    "vainf_mobilenetv2_os8": net(PLUS, "mobilenetv2", 8),
    "mobilenetv2_depthwise_os16": net(PLUS, "mobilenetv2", 16) | {"mobilenet": {"pad": "depthwise"}},
    "vainf_r50_os8": net(PLUS, "resnet50", 8),
    "keras_r18_os16": net(KERAS, stride=16),
    "keras_r18_os8": net(KERAS, stride=8),
    "sssegmentation_v3plus_r50_os8": net(S3PLUS, "resnet50", 8),
    "sssegmentation_v3_r50_os16": net(S3, "resnet50", 16),
    "mmsegmentation_r18_os8": net(MM18, "resnet18", 8),
    "tensorpack_r50_os16": net(TENSORPACK, "resnet50", 16),
    "slim_v2_os16": net(SLIM | {"family": "deeplabv2"}, stride=16)
    | {"resnet": SLIM_V2 | {"dilations": [1, 1, 2, 4]}, "head": {"rates": [1]}},
    "slim_v3_os16": net(SLIM | {"family": "deeplabv3"}, stride=16)
    | {"resnet": SLIM_V3, "head": {"fuse": "sum", "decoder_convs": 0, "dropout": 0.0}},
    "slim_v3_noaspp_os16": net(SLIM | {"family": "deeplabv3"}, stride=16)
    | {
        "resnet": SLIM_V3 | {"extra_rates": [4, 8, 16]},
        "head": {"aspp": False, "decoder_convs": 0, "dropout": 0.0},
    },
    "dense_plain": dense(TINY, 12),
    "dense_stem_se8": dense(TINY, 12, se=4, **BASE),
    "dense_did": dense(TINY, 12, inner="did", **BASE),
    "dense_did4": dense(TINY, 12, inner="did4", **BASE),
    "dense_did4_taps": dense(TINY, 12, inner="did4_taps", **BASE),
    "dense_did_taps_3x3": dense(TINY, 12, inner="did_taps_3x3", **BASE),
    "dense_newdid": dense(TINY, 12, inner="newdid", **BASE),
    "dense_newdid2": dense(TINY, 12, inner="newdid2", **BASE),
    "dense_newdid4": dense(TINY, 12, inner="newdid4", **BASE),
    "dense_newdid4_1": dense(TINY, 12, inner="newdid4_1", **BASE),
    "dense_newdid6_os8": dense(TINY, 12, 8, inner="newdid6", **BASE),
    "dense_newdid6_senet": dense(TINY, 12, inner="newdid6_senet", **BASE),
    "dense_transition_residual": dense(TINY, 12, transition="residual", **BASE),
    "dense_transition_se4": dense(TINY, 12, transition="se4", **BASE),
    "paper_v1_vgg16": {"family": "deeplabv1", "backbone": "vgg16", "output_stride": 8},
    "paper_v2_vgg16": {"family": "deeplabv2", "backbone": "vgg16", "output_stride": 8},
    "paper_v2_r50": {"family": "deeplabv2", "backbone": "resnet50", "output_stride": 8},
    "paper_v3plus_xception65": net(PLUS, "xception65", 16)
    | {"head": {"separable": True, "decoder_convs": 2, "low_level_first": False}},
}


def model_params(raw: Mapping[str, Any]) -> ModelParams:
    return parse(ModelParams, raw, "models_kit")


def page_fill(key: str, shape: tuple[int, ...]) -> Tensor:
    """The value of a state entry in golden/models/pages.npz: drawn from the sha256 of its name."""
    draw = np.random.default_rng(int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "little"))
    if key.endswith(COUNTER):
        return torch.zeros(shape, dtype=torch.int64)
    if key.endswith("running_var") or (len(shape) == 1 and key.endswith("weight")):
        values = draw.uniform(0.5, 1.5, shape)
    elif len(shape) == 1:
        values = draw.normal(0, 0.1, shape)
    else:
        values = draw.normal(0, math.sqrt(2 / math.prod(shape[1:])), shape)
    return torch.from_numpy(values)


def quick_fill(key: str, shape: tuple[int, ...]) -> Tensor:
    """The same kind of values, a short draw repeated: cheap for networks of 60 M parameters."""
    if key.endswith(COUNTER):
        return torch.zeros(shape, dtype=torch.int64)
    if key.endswith("running_var") or (len(shape) == 1 and key.endswith("weight")):
        return _repeated(key, shape).abs() * 0.5 + 0.5
    if len(shape) == 1:
        return _repeated(key, shape) * 0.1
    return _repeated(key, shape) * math.sqrt(2 / math.prod(shape[1:]))


def _repeated(key: str, shape: tuple[int, ...]) -> Tensor:
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "little")
    values = np.random.default_rng(seed).normal(0, 1, 4093)  # a prime: no kernel size divides it
    return torch.from_numpy(np.resize(values, shape))


def filled(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict of the same names and shapes under `quick_fill`."""
    return {key: quick_fill(key, tuple(value.shape)) for key, value in state.items()}


def noise(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal values, float64."""
    return torch.from_numpy(np.random.default_rng(seed).normal(0, 1, shape))


def relative_error(found: Tensor, wanted: Tensor) -> float:
    """Largest difference over the largest wanted magnitude."""
    assert found.shape == wanted.shape
    found, wanted = found.detach(), wanted.detach()
    return float((found - wanted).abs().max() / wanted.abs().max())


@cache
def pages() -> dict[str, Any]:
    """golden/models/pages.json."""
    loaded: dict[str, Any] = json.loads((GOLDEN / "pages.json").read_text())
    return loaded


def page_keys(name: str) -> dict[str, tuple[int, ...]]:
    """Foreign key -> shape of one of the six networks, in the source's order."""
    return dict(_spread(pages()[name]["keys"]))


def _spread(lines: list[str]) -> Iterator[tuple[str, tuple[int, ...]]]:
    for line in lines:
        prefix, *rest = line.split(" ")
        if rest[0] == "norm":
            yield from ((f"{prefix}.{part}", () if part == COUNTER else (int(rest[1]),)) for part in NORM)
        else:
            yield prefix, tuple(int(side) for side in rest[0].split("x"))


def page_outputs(name: str) -> list[Tensor]:
    """What the source's code computes: logits, and those of the auxiliary head where there is one."""
    with np.load(GOLDEN / "pages.npz") as arrays:
        parts = (f"{name}.{part}" for part in ("logits", "aux_logits"))
        return [torch.from_numpy(arrays[part]) for part in parts if part in arrays]


def sampled(logits: Tensor) -> Tensor:
    """The part of a prediction that pages.npz keeps."""
    return logits[:, :: 5 if logits.shape[1] > 100 else 1, ::2, ::2]
