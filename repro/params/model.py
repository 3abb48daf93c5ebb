"""Parameters of a network: every structural choice that differs between the five pages, by name.

The defaults are those of page 000's PyTorch rows (DeepLabV3+ in torchvision's layout) except `norm.momentum`
(0.01 there); a recipe writes the difference. "." = as the first column, "-" = not used,
512/128 = R-50 and R-101 / R-18, legacy = tf_legacy; 003 slim v3 has dilations 1,1,1,2 and `inner_grid`.

| choice                | 000 torch  | 000 TF | 001        | 002        | 003 ResNet | 003 slim | 004        |
|-----------------------|------------|--------|------------|------------|------------|----------|------------|
| family                | v3+        | .      | .          | v3         | v2         | v2, v3   | .          |
| resnet.version        | v1         | .      | .          | .          | .          | v2       | .          |
| resnet.stem           | 7x7        | .      | deep       | deep       | .          | .        | deep       |
| resnet.stride_in      | 3x3        | -      | .          | .          | 1x1        | last     | .          |
| resnet.dilations      | by stride  | .      | .          | .          | 1,1,2,4    | 1,1,2,4  | .          |
| resnet.first_dilation | contract   | full   | .          | .          | full       | full     | .          |
| resnet.basic_dilation | -          | both   | -          | -          | -          | -        | first      |
| resnet.shortcut       | bn         | conv   | .          | .          | .          | -        | .          |
| norm.momentum         | .01        | .01    | .1         | .1         | .1         | .0003    | .1         |
| norm.eps              | 1e-5       | 1e-3   | .          | .          | .          | .        | .          |
| padding               | symmetric  | same   | .          | .          | same       | slim     | .          |
| resize                | half_pixel | .      | .          | .          | legacy     | legacy   | .          |
| head.channels         | 256        | .      | 512        | 512        | -          | .        | 512/128    |
| head.separable        | no         | .      | yes        | .          | -          | .        | yes        |
| head.fuse             | concat     | .      | .          | .          | -          | sum      | .          |
| head.fuse_kernel      | 1          | .      | 3          | 3          | -          | .        | 3          |
| head.pool             | global     | height | .          | .          | -          | .        | .          |
| head.pool_first       | no         | yes    | .          | .          | -          | .        | yes        |
| head.low_level        | 48         | .      | .          | -          | -          | -        | 48/12      |
| head.low_level_first  | yes        | no     | no         | -          | -          | -        | no         |
| head.decoder_convs    | 1          | .      | 2          | 0          | -          | 0        | 2          |
| head.dropout_at       | aspp       | .      | classifier | classifier | -          | -, 0     | classifier |
| head.dropout_kind     | element    | .      | channel    | channel    | -          | -        | channel    |
| head.bias             | yes        | no     | .          | .          | no         | .        | .          |
| aux.channels          | -          | -      | 512        | 512        | -          | -        | 256/64     |
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt

Channels = Annotated[int, Gt(0)]
Rate = Annotated[int, Gt(0)]
Probability = Annotated[float, Ge(0), Lt(1)]
Resize = Literal["half_pixel", "align_corners", "tf_legacy"]
Backbone = Literal["mobilenetv2", "resnet18", "resnet50", "resnet101", "xception65", "vgg16", "densenet"]
Init = Literal["kaiming", "mmsegmentation", "torch", "he", "tensorpack", "xavier"]


@dataclass(frozen=True, kw_only=True)
class InputParams:
    """What a network is fed: channel order, mean and deviation in 0..255 units.

    The default is ImageNet's (0.485, 0.456, 0.406) and (0.229, 0.224, 0.225) times 255: 000, 001, 002, 004.
    Page 003: order bgr, mean [104, 116, 122], std [1, 1, 1].
    """

    order: Literal["rgb", "bgr"] = "rgb"
    mean: tuple[float, float, float] = (123.675, 116.28, 103.53)  # in the order `order` names
    std: tuple[Annotated[float, Gt(0)], Annotated[float, Gt(0)], Annotated[float, Gt(0)]] = (
        58.395,
        57.12,
        57.375,
    )


@dataclass(frozen=True, kw_only=True)
class NormParams:
    """Batch normalisation in PyTorch's convention: momentum = 1 - TensorFlow's decay.

    Backbone: 000 torch momentum .01; 000 TF eps 1e-3, .01; 003 DenseNet .003, slim .0003; elsewhere .1.
    """

    eps: Annotated[float, Gt(0)] = 1e-5
    momentum: Annotated[float, Gt(0), Le(1)] = 0.1


@dataclass(frozen=True, kw_only=True)
class ResNetParams:
    """Choices inside a residual network.

    version: v1 = activation after the sum; v2 = before the convolutions (003 slim; biases where no BN
        follows).
    stem: one 7x7, or three 3x3 (V1c: 001, 002, 004).
    stride_in: the convolution of a stage's first bottleneck that strides: 3x3 (000-002, 004), 1x1 (003
        ResNet); last = the 3x3 of the LAST block of the stage before (003 slim).
    dilations: of the four stages; none = from the output stride (1,1,1,2 at 16; 1,1,2,4 at 8). 003 ResNet
        writes [1, 1, 2, 4] at output stride 16.
    first_dilation: what the first block of a dilated stage uses: contract = half of the stage's (000 torch,
        001, 002, 004), full (000 TF, 003).
    basic_dilation: which 3x3 of a BasicBlock is dilated: first (004), both (000 TF).
    shortcut: bn = 1x1 + BN when the shape changes; conv = 1x1 without BN whenever stride or dilation is not
        1, also inside a stage (000 TF).
    last_stage: post = activation after the sum in stage 4 of a v2 network (003 slim deeplabv3).
    inner_grid: factors on the dilations of the three convolutions of a stage 4 bottleneck (003 slim: [1, 2,
        4]; only the middle one, of the 3x3, acts).
    extra_rates: one more stage like stage 4 for each rate, cascaded (003 slim without ASPP: [4, 8, 16]).
    zero_init: scale of the last BN of each block starts at 0 (003 ResNet).
    """

    version: Literal["v1", "v2"] = "v1"
    stem: Literal["7x7", "deep"] = "7x7"
    stride_in: Literal["3x3", "1x1", "last"] = "3x3"
    dilations: tuple[Rate, Rate, Rate, Rate] | None = None
    first_dilation: Literal["contract", "full"] = "contract"
    basic_dilation: Literal["first", "both"] = "first"
    shortcut: Literal["bn", "conv"] = "bn"
    last_stage: Literal["same", "post"] = "same"
    inner_grid: tuple[Rate, Rate, Rate] = (1, 1, 1)
    extra_rates: tuple[Rate, ...] = ()
    zero_init: bool = False


@dataclass(frozen=True, kw_only=True)
class MobileNetParams:
    """Where MobileNetV2 pads its 3x3 depthwise convolutions.

    expansion: the block's input is padded with zeros before the 1x1 expansion, and the stem not at all, as
        page 000's code does: the border that the 3x3 sees is ReLU6(BN(0)). The released weights were
        trained so.
    depthwise: each convolution pads itself (torchvision; every other library).
    """

    pad: Literal["expansion", "depthwise"] = "expansion"


@dataclass(frozen=True, kw_only=True)
class DenseNetParams:
    """The DenseNet family of page 003 (recipes of its scripts; names as in the row labels).

    blocks: layers of the four blocks ("30" = 6,8,8,8; "42" = 6,8,16,12; 121 = 6,12,24,16).
    growth: k of "30k48".
    stem: 7x7 = 2k channels and max-pool 3/2; 3x3 = 64, 64, 128 and max-pool 2/2 ("stem" in a label). No BN
        in either.
    compression: of a transition; 1.0 is "nocompression".
    late_pooling: the 2x2 average pool of a transition that does not stride stays; false is "nopooling".
    se: squeeze-and-excitation ratio after each dense layer (senetN), 0 = none.
    transition: plain; se4 = plain, then SE of ratio 4 (transitionsenet4); residual = transitionsenet2.
    inner: how the outputs of blocks 1-3 come back ("dense in dense"): the label's did, did4, newdid, ...
    """

    blocks: tuple[Channels, Channels, Channels, Channels]
    growth: Channels
    stem: Literal["7x7", "3x3"] = "7x7"
    compression: Annotated[float, Gt(0), Le(1)] = 0.5
    late_pooling: bool = True
    se: Annotated[int, Ge(0)] = 0
    transition: Literal["plain", "se4", "residual"] = "plain"
    inner: Literal[
        "none", "did", "did4", "newdid", "newdid2", "newdid4", "newdid4_1", "newdid6", "newdid6_senet"
    ] = "none"


@dataclass(frozen=True, kw_only=True)
class HeadParams:
    """What turns features into logits.

    channels: width of ASPP and decoder.
    rates: of the parallel 3x3 convolutions; none = 6,12,18 at output stride 16 and 12,24,36 at 8. In
        deeplabv2 each rate is one convolution straight to the classes, all summed, and rate 1 means a 1x1
        (003 ResNet: [6]; 003-093: [1]; the paper: [6, 12, 18, 24]). In deeplabv1 the one rate of fc6
        (paper: [12]).
    aspp: false leaves the pyramid out: classifier directly on the features (003-097, 003-103).
    separable: 3x3 convolutions of ASPP and decoder are depthwise 3x3 BN ReLU + 1x1 BN ReLU.
    fuse: concat, or sum of the convolution branches before the pooled one is concatenated (003 slim).
    fuse_kernel: of the convolution after the pyramid.
    pool: global mean, height = means over squares as high as the feature map (000 TF), none.
    pool_first: the pooled branch stands first in the concatenation (000 TF, 004), otherwise last.
    pool_eps: BN eps of the pooled branch where it differs (000 TF: 1e-5).
    low_level: channels kept of the stride 4 features (deeplabv3plus only).
    low_level_first: decoder concatenates [low, aspp] (000 torch), otherwise [aspp, low].
    decoder_convs: 3x3 convolutions before the classifier.
    dropout, dropout_at, dropout_kind: after ASPP's fusion (element), or before the classifier (channel:
        whole maps).
    bias: of the classifier.
    extra_classes: outputs beyond the data set's classes (000 TF: 1, "void", never trained and never right).
    """

    channels: Channels = 256
    rates: tuple[Rate, ...] | None = None
    aspp: bool = True
    separable: bool = False
    fuse: Literal["concat", "sum"] = "concat"
    fuse_kernel: Literal[1, 3] = 1
    pool: Literal["global", "height", "none"] = "global"
    pool_first: bool = False
    pool_eps: Annotated[float, Gt(0)] | None = None
    low_level: Channels = 48
    low_level_first: bool = True
    decoder_convs: Annotated[int, Ge(0), Le(2)] = 1
    dropout: Probability = 0.1
    dropout_at: Literal["aspp", "classifier"] = "aspp"
    dropout_kind: Literal["element", "channel"] = "element"
    bias: bool = True
    extra_classes: Annotated[int, Ge(0)] = 0
    norm: NormParams = field(default_factory=NormParams)


@dataclass(frozen=True, kw_only=True)
class AuxParams:
    """An FCN head on stage 3, used while training: 3x3 BN ReLU, channel dropout, 1x1.

    001, 002: 512 channels. 004: 256, R-18 64.
    """

    channels: Channels
    dropout: Probability = 0.1


@dataclass(frozen=True, kw_only=True)
class ModelParams:
    """What `repro.models.build` needs besides the number of classes.

    output_stride: input size over feature size; may be changed at evaluation (train 16, evaluate 8).
    pretrained: name of the weights that the backbone starts from (`repro weights list`), none = from
        scratch.
    padding: of strided convolutions and pools: symmetric (PyTorch), same (TensorFlow: the odd pixel goes to
        the bottom and right; 000 TF, 003), slim (convolutions symmetric, pools same; 003 slim).
    resize: the rule of every bilinear resize inside the network and of its logits.
    init: kaiming = normal, backbone fan-out, head fan-in (000 torch); mmsegmentation = kaiming, classifiers
        N(0, .01); torch = PyTorch's own; he = truncated normal fan-in (000 TF, slim); tensorpack = the
        same, fan-out where not dilated (003 ResNet); xavier = uniform (003 DenseNet).
    """

    family: Literal["deeplabv1", "deeplabv2", "deeplabv3", "deeplabv3plus", "densenet"]
    backbone: Backbone
    output_stride: Literal[8, 16, 32]
    pretrained: str | None = None
    resnet: ResNetParams = field(default_factory=ResNetParams)
    mobilenet: MobileNetParams = field(default_factory=MobileNetParams)
    densenet: DenseNetParams | None = None
    head: HeadParams = field(default_factory=HeadParams)
    aux: AuxParams | None = None
    norm: NormParams = field(default_factory=NormParams)
    padding: Literal["symmetric", "same", "slim"] = "symmetric"
    resize: Resize = "half_pixel"
    input: InputParams = field(default_factory=InputParams)
    init: Init = "kaiming"

    def __post_init__(self) -> None:
        """Combinations that cannot be; a ValueError becomes a ParamsError that names the file."""
        if (self.family == "densenet") != (self.backbone == "densenet"):
            raise ValueError("family densenet goes with backbone densenet, and with no other")
        if (self.backbone == "densenet") != (self.densenet is not None):
            raise ValueError("backbone densenet needs a `densenet:` block, and no other has one")
        if self.family == "deeplabv1" and self.backbone != "vgg16":
            raise ValueError("family deeplabv1 goes with backbone vgg16")
        if self.backbone == "vgg16" and self.family not in ("deeplabv1", "deeplabv2"):
            raise ValueError("backbone vgg16 goes with family deeplabv1 or deeplabv2")
        if self.backbone == "vgg16" and self.output_stride != 8:
            raise ValueError("backbone vgg16 has output stride 8 only")
        if self.resnet.version == "v2" and self.backbone not in ("resnet50", "resnet101"):
            raise ValueError("resnet version v2 is made of bottlenecks: resnet50 or resnet101")
        if self.resnet.version == "v2" and self.family == "deeplabv3plus":
            raise ValueError("resnet version v2 strides before the first features end; not for deeplabv3plus")
        if self.densenet is not None:
            _check_dense(self.densenet, self.output_stride)
        if self.aux and not self.backbone.startswith("resnet"):
            raise ValueError("an auxiliary head needs a resnet: it reads stage 3")


def _check_dense(dense: DenseNetParams, output_stride: int) -> None:
    if dense.inner in ("newdid", "newdid2") and output_stride != 16:
        raise ValueError("inner newdid and newdid2 pool their taps to output stride 16, and to no other")
    if dense.transition == "residual" and dense.compression != 1.0:
        raise ValueError("transition residual adds its input: it needs compression 1.0")
