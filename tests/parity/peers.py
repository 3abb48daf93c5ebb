"""The other libraries' networks, built as the tests and benchmarks need them."""

from __future__ import annotations

import sys
import types
import warnings
from functools import cache
from typing import Any

from torch import Tensor, nn


class _NoOps(types.ModuleType):
    """Stands for mmcv's compiled operations, which mmcv-lite has not and DeepLab does not use."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


@cache
def mmseg() -> types.SimpleNamespace:
    """The parts of mmsegmentation that page 004's DeepLabV3+ is made of."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mmcv

        mmcv.__version__ = "2.1.0"  # mmsegmentation 1.2.2 refuses 2.2.0 by its number alone
        for name in ("mmcv.ops", "mmcv.ops.point_sample"):
            sys.modules.setdefault(name, _NoOps(name))
        from mmseg.models.backbones.resnet import ResNetV1c
        from mmseg.models.decode_heads import ASPPHead, DepthwiseSeparableASPPHead, FCNHead
    return types.SimpleNamespace(
        ResNetV1c=ResNetV1c, ASPP=ASPPHead, SeparableASPP=DepthwiseSeparableASPPHead, FCN=FCNHead
    )


class MMSegmentation(nn.Module):
    """mmsegmentation's network of page 004: `backbone`, `decode_head`, `auxiliary_head`."""

    def __init__(self, *, depth: int, classes: int, plus: bool = True) -> None:
        super().__init__()
        parts, small = mmseg(), depth == 18
        common = {"num_classes": classes, "norm_cfg": {"type": "BN"}, "align_corners": False}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.backbone = parts.ResNetV1c(
                depth=depth,
                num_stages=4,
                out_indices=(0, 1, 2, 3),
                dilations=(1, 1, 2, 4),
                strides=(1, 2, 1, 1),
                norm_cfg={"type": "BN"},
                norm_eval=False,
                contract_dilation=True,
            )
            low = {"c1_in_channels": 64 if small else 256, "c1_channels": 12 if small else 48}
            head = parts.SeparableASPP if plus else parts.ASPP
            self.decode_head = head(
                in_channels=512 if small else 2048,
                in_index=3,
                channels=128 if small else 512,
                dilations=(1, 12, 24, 36),
                dropout_ratio=0.1,
                **(low if plus else {}),
                **common,
            )
            self.auxiliary_head = parts.FCN(
                in_channels=256 if small else 1024,
                in_index=2,
                channels=64 if small else 256,
                num_convs=1,
                concat_input=False,
                dropout_ratio=0.1,
                **common,
            )

    def forward(self, image_NCHW: Tensor) -> tuple[Tensor, Tensor]:
        features = self.backbone(image_NCHW)
        return self.decode_head(features), self.auxiliary_head(features)


def smp(name: str, encoder: str, *, classes: int, stride: int) -> nn.Module:
    """segmentation_models_pytorch's DeepLabV3 or DeepLabV3Plus, without downloaded weights."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import segmentation_models_pytorch as library

        make = getattr(library, name)
        network: nn.Module = make(
            encoder, encoder_weights=None, encoder_output_stride=stride, classes=classes
        )
    return network


def timm(name: str, **choices: Any) -> nn.Module:
    """A timm network, without downloaded weights."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import timm as library

        network: nn.Module = library.create_model(name, pretrained=False, **choices)
    return network
