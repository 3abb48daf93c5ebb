"""Parameters of backbones and batch normalisation. `model.py` lists the values of each page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le

from repro.params.parse import Count, Positive


@dataclass(frozen=True, kw_only=True)
class NormParams:
    """Batch normalisation in PyTorch's convention: momentum = 1 - TensorFlow's decay.

    Backbone: 000 torch momentum .01; 000 TF eps 1e-3, .01; 003 DenseNet .003, slim .0003; elsewhere .1.
    """

    eps: Positive = 1e-5
    momentum: Annotated[float, Gt(0), Le(1)] = 0.1


@dataclass(frozen=True, kw_only=True)
class ResNetParams:
    """Variants of residual networks.

    version: v1 = activation after the sum; v2 = before the convolutions (003 slim; biases where no BN
        follows).
    stem: one 7x7, or three 3x3 (V1c: 001, 002, 004).
    stride_in: the strided convolution of a stage's first bottleneck: 3x3 (000-002, 004), 1x1 (003 ResNet);
        last = the 3x3 of the LAST block of the previous stage (003 slim).
    dilations: of the four stages; none = from the output stride (1,1,1,2 at 16; 1,1,2,4 at 8). 003 ResNet
        writes [1, 1, 2, 4] at output stride 16.
    first_dilation: of the first block of a dilated stage: contract = half of the stage's (000 torch, 001,
        002, 004), full (000 TF, 003).
    basic_dilation: which 3x3 of a BasicBlock is dilated: first (004), both (000 TF).
    shortcut: bn = 1x1 + BN when the shape changes; conv = 1x1 without BN whenever stride or dilation is not
        1, also inside a stage (000 TF).
    last_stage: post = activation after the sum in stage 4 of a v2 network (003 slim deeplabv3).
    inner_grid: factors on the dilations of the three convolutions of a stage 4 bottleneck (003 slim: [1, 2,
        4]; only the middle factor, of the 3x3, has an effect).
    extra_rates: an additional stage like stage 4 per rate, cascaded (003 slim without ASPP: [4, 8, 16]).
    zero_init: scale of the last BN of each block starts at 0 (003 ResNet).
    """

    version: Literal["v1", "v2"] = "v1"
    stem: Literal["7x7", "deep"] = "7x7"
    stride_in: Literal["3x3", "1x1", "last"] = "3x3"
    dilations: tuple[Count, Count, Count, Count] | None = None
    first_dilation: Literal["contract", "full"] = "contract"
    basic_dilation: Literal["first", "both"] = "first"
    shortcut: Literal["bn", "conv"] = "bn"
    last_stage: Literal["same", "post"] = "same"
    inner_grid: tuple[Count, Count, Count] = (1, 1, 1)
    extra_rates: tuple[Count, ...] = ()
    zero_init: bool = False


@dataclass(frozen=True, kw_only=True)
class MobileNetParams:
    """Padding of the 3x3 depthwise convolutions in MobileNetV2.

    expansion: zero-pad the block's input before the 1x1 expansion, and do not pad the stem, as page 000's
        code does: the border of the 3x3's input is ReLU6(BN(0)). The released weights were trained this way.
    depthwise: pad inside each convolution (torchvision and all other libraries).
    """

    pad: Literal["expansion", "depthwise"] = "expansion"


@dataclass(frozen=True, kw_only=True)
class DenseNetParams:
    """The DenseNet variants of page 003; names as in the row labels.

    blocks: layers of the four blocks ("30" = 6,8,8,8; "42" = 6,8,16,12; 121 = 6,12,24,16).
    growth: k of "30k48".
    stem: 7x7 = 2k channels and max-pool 3/2; 3x3 = 64, 64, 128 and max-pool 2/2 ("stem" in a label). No BN
        in either.
    compression: of a transition; 1.0 is "nocompression".
    late_pooling: keep the 2x2 average pool (stride 1) of transitions that do not stride; false: "nopooling".
    se: squeeze-and-excitation ratio after each dense layer (senetN), 0 = none.
    transition: plain; se4 = plain, then SE of ratio 4 (transitionsenet4); residual = transitionsenet2.
    inner: how the outputs of blocks 1-3 are reused ("dense in dense"): the label's did, did4, newdid, ...
        did4_taps and did_taps_3x3: the module before 2018-03-06 20:03, whose classifier reads only the taps,
        reduced by 1x1 to a quarter (003-035) or by 3x3 to an eighth (003-052) of their channels.
    """

    blocks: tuple[Count, Count, Count, Count]
    growth: Count
    stem: Literal["7x7", "3x3"] = "7x7"
    compression: Annotated[float, Gt(0), Le(1)] = 0.5
    late_pooling: bool = True
    se: Annotated[int, Ge(0)] = 0
    transition: Literal["plain", "se4", "residual"] = "plain"
    inner: Literal[
        "none",
        "did",
        "did4",
        "did4_taps",
        "did_taps_3x3",
        "newdid",
        "newdid2",
        "newdid4",
        "newdid4_1",
        "newdid6",
        "newdid6_senet",
    ] = "none"


def check_dense(dense: DenseNetParams, output_stride: int) -> None:
    """Raise ValueError for combinations that cannot be built; no script of page 003 has them."""
    if dense.inner in ("newdid", "newdid2") and output_stride != 16:
        raise ValueError("inner newdid and newdid2 require output stride 16")
    if dense.transition == "residual" and dense.compression != 1.0:
        raise ValueError("transition residual requires compression 1.0: it adds its input")
