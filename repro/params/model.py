"""Parameters of networks: every structural choice that differs between the five pages.

The defaults are those of page 000's PyTorch rows (DeepLabV3+ in torchvision's layout) except `norm.momentum`
(0.01 there); a recipe lists the differences. "." = as the first column, "-" = not used,
512/128 = R-50 and R-101 / R-18, legacy = tf_legacy; 003 slim v3 has dilations 1,1,1,2 and `inner_grid`.

| parameter             | 000 torch  | 000 TF | 001        | 002        | 003 ResNet | 003 slim | 004        |
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
from fnmatch import fnmatchcase
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Le

from repro.params.backbones import DenseNetParams, MobileNetParams, NormParams, ResNetParams, check_dense
from repro.params.parse import BelowOne, Count, Later, Positive, ResizeRule

Backbone = Literal["mobilenetv2", "resnet18", "resnet50", "resnet101", "xception65", "vgg16", "densenet"]
Init = Literal["kaiming", "mmsegmentation", "torch", "he", "tensorpack", "xavier"]


@dataclass(frozen=True, kw_only=True)
class PartNames:
    """Which parameters of a network belong to which part, each a prefix of dotted names that may contain `*`.

    backbone: parameters with the learning rate of `lr_backbone`, e.g. `encoder.`; all others have `lr_head`.
    classifier: convolutions with the gradient multipliers `grad_weight` and `grad_bias`, which need it; none
        = those with as many outputs as the last one outside the backbone, for our networks only.
    norms: normalisation layers that `batch_norm: frozen` and `norm_affine: fixed` concern; "" = all.
    """

    backbone: str = "backbone."
    classifier: str | None = ""
    norms: str = ""


def has_prefix(name: str, prefix: str) -> bool:
    """Whether a dotted name starts with a prefix; `*` in it stands for any characters."""
    return fnmatchcase(name, f"{prefix}*")


@dataclass(frozen=True, kw_only=True)
class InputParams:
    """Input normalisation: channel order, mean and standard deviation in 0..255 units.

    The default is ImageNet's (0.485, 0.456, 0.406) and (0.229, 0.224, 0.225) times 255: 000, 001, 002, 004.
    Page 003: order bgr, mean [104, 116, 122], std [1, 1, 1].
    """

    order: Literal["rgb", "bgr"] = "rgb"
    mean: tuple[float, float, float] = (123.675, 116.28, 103.53)  # in the channel order `order`
    std: tuple[Positive, Positive, Positive] = (58.395, 57.12, 57.375)


@dataclass(frozen=True, kw_only=True)
class HeadParams:
    """The segmentation head.

    channels: width of ASPP and decoder.
    rates: dilation rates of the parallel 3x3 convolutions; none = 6,12,18 at output stride 16 and 12,24,36
        at 8. In deeplabv2 each rate is a convolution to the classes, all summed, and rate 1 is a 1x1 (003
        ResNet: [6]; 003-093: [1]; the paper: [6, 12, 18, 24]). In deeplabv1 the rate of fc6 (paper: [12]).
    aspp: false removes ASPP: the classifier reads the features directly (003-097, 003-103).
    separable: 3x3 convolutions of ASPP and decoder are depthwise 3x3 BN ReLU + 1x1 BN ReLU.
    fuse: concat, or sum of the convolution branches before the pooled one is concatenated (003 slim).
    fuse_kernel: kernel size of the convolution after ASPP.
    pool: global mean, height = means over squares as high as the feature map (000 TF), none.
    pool_first: the pooled branch is first in the concatenation (000 TF, 004), otherwise last.
    pool_eps: BN eps of the pooled branch if it differs (000 TF: 1e-5).
    low_level: channels of the projected stride 4 features (deeplabv3plus only).
    low_level_first: decoder concatenates [low, aspp] (000 torch), otherwise [aspp, low].
    decoder_convs: 3x3 convolutions before the classifier.
    dropout, dropout_at, dropout_kind: after ASPP's fusion (element), or before the classifier (channel:
        whole maps).
    bias: whether the classifier has a bias.
    extra_classes: outputs beyond the data set's classes (000 TF: 1, "void", neither trained nor evaluated).
    glorot: parts with Glorot uniform initialisation regardless of `init`: the pooled branch (000 TF, Keras'
        default), the classifier (003-093 to -096, -101: slim's default).
    """

    channels: Count = 256
    rates: tuple[Count, ...] | None = None
    aspp: bool = True
    separable: bool = False
    fuse: Literal["concat", "sum"] = "concat"
    fuse_kernel: Literal[1, 3] = 1
    pool: Literal["global", "height", "none"] = "global"
    pool_first: bool = False
    pool_eps: Positive | None = None
    low_level: Count = 48
    low_level_first: bool = True
    decoder_convs: Annotated[int, Ge(0), Le(2)] = 1
    dropout: BelowOne = 0.1
    dropout_at: Literal["aspp", "classifier"] = "aspp"
    dropout_kind: Literal["element", "channel"] = "element"
    bias: bool = True
    extra_classes: Annotated[int, Ge(0)] = 0
    glorot: Later[tuple[Literal["pool", "classifier"], ...]] = ()
    norm: NormParams = field(default_factory=NormParams)


@dataclass(frozen=True, kw_only=True)
class AuxParams:
    """An auxiliary FCN head on stage 3, used in training only: 3x3 BN ReLU, channel dropout, 1x1.

    001, 002: 512 channels. 004: 256, R-18 64.
    """

    channels: Count
    dropout: BelowOne = 0.1


@dataclass(frozen=True, kw_only=True)
class ModelParams:
    """The arguments of `repro.models.build` besides the number of classes.

    output_stride: input size / feature size; may be changed at evaluation (train 16, evaluate 8).
    pretrained: name of the initial weights of the backbone (`repro weights list`), none = random.
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
    resize: ResizeRule = "half_pixel"
    input: InputParams = field(default_factory=InputParams)
    init: Init = "kaiming"

    size_divisor: ClassVar[int] = 1  # our networks take images of any size
    parts: ClassVar[PartNames] = PartNames(classifier=None)

    @property
    def summary(self) -> str:
        """The network in one line."""
        return f"{self.family} {self.backbone}, output stride {self.output_stride}, resize {self.resize}"

    def __post_init__(self) -> None:
        """Raise ValueError for invalid combinations; `parse` converts it to a ParamsError."""
        if (self.family == "densenet") != (self.backbone == "densenet"):
            raise ValueError("family densenet with backbone densenet, and no other")
        if (self.backbone == "densenet") != (self.densenet is not None):
            raise ValueError("a `densenet:` block with backbone densenet, and no other")
        if self.family == "deeplabv1" and self.backbone != "vgg16":
            raise ValueError("family deeplabv1 with backbone vgg16")
        if self.backbone == "vgg16" and self.family not in ("deeplabv1", "deeplabv2"):
            raise ValueError("backbone vgg16 with family deeplabv1 or deeplabv2")
        if self.backbone == "vgg16" and self.output_stride != 8:
            raise ValueError("backbone vgg16 with output stride 8")
        if self.resnet.version == "v2" and self.backbone not in ("resnet50", "resnet101"):
            raise ValueError("resnet version v2 with bottleneck blocks: resnet50 or resnet101")
        if self.resnet.version == "v2" and self.family == "deeplabv3plus":
            raise ValueError("resnet version v2 without deeplabv3plus: it has no stride 4 features")
        if self.densenet is not None:
            check_dense(self.densenet, self.output_stride)
        if self.aux and not self.backbone.startswith("resnet"):
            raise ValueError("an auxiliary head with a resnet backbone: it reads stage 3")
