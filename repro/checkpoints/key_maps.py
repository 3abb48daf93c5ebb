"""Key maps from our module names to those of each third-party source.

A table maps prefixes (ours -> theirs); the longest matching prefix of a key wins. A table is specific to the
network of `params`, so it works in both directions.
"""

from __future__ import annotations

from collections.abc import Callable

from repro.params.model import ModelParams

Table = dict[str, str]
DEPTHS = {"resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}
MOBILENET_BLOCKS = 17
MOBILENET_LOW = 3  # blocks before the stride 4 features


def conv_norm(ours: str, theirs: str, *, conv: str = "0", bn: str = "1") -> Table:
    """Map the convolution and norm of our ConvNorm to `theirs`.0 and `theirs`.1, or the given names."""
    return {f"{ours}.conv": f"{theirs}.{conv}", f"{ours}.bn": f"{theirs}.{bn}"}


def separable(ours: str, theirs: str, *, depthwise: tuple[str, str], pointwise: tuple[str, str]) -> Table:
    """Map a depthwise and a pointwise ConvNorm; each pair names their convolution and norm."""
    return conv_norm(f"{ours}.depthwise", theirs, conv=depthwise[0], bn=depthwise[1]) | conv_norm(
        f"{ours}.pointwise", theirs, conv=pointwise[0], bn=pointwise[1]
    )


def stages(ours: str, theirs: str) -> Table:
    """Map the residual stages, which all sources name layer1 to layer4 as torchvision does."""
    return {f"{ours}layer{stage}": f"{theirs}layer{stage}" for stage in range(1, 5)}


# --- whole networks


def vainf(params: ModelParams) -> Table:
    """000 torch (recipes 1.3). Its MobileNetV2 is split in two parts that keep the original block numbers."""
    if params.backbone == "mobilenetv2":
        table = _vainf_mobilenet()
    else:
        table = stages("backbone.", "backbone.") | {
            "backbone.stem.0": "backbone.conv1",
            "backbone.stem.1": "backbone.bn1",
        }
    plus = params.family == "deeplabv3plus"
    aspp = "classifier.aspp" if plus else "classifier.classifier.0"
    for branch in range(4):
        table |= conv_norm(f"head.aspp.branches.{branch}", f"{aspp}.convs.{branch}")
    table |= conv_norm("head.aspp.pool", f"{aspp}.convs.4", conv="1", bn="2")
    table |= conv_norm("head.aspp.fuse", f"{aspp}.project")
    first = 0 if plus else 1
    table |= conv_norm("head.low", "classifier.project") if plus else {}
    table |= conv_norm("head.decoder.0", "classifier.classifier", conv=str(first), bn=str(first + 1))
    return table | {"head.classifier": f"classifier.classifier.{first + 3}"}


def _vainf_mobilenet() -> Table:
    table = conv_norm("backbone.stem", "backbone.low_level_features.0")
    for block in range(MOBILENET_BLOCKS):
        part = "low_level_features" if block < MOBILENET_LOW else "high_level_features"
        table |= torchvision_inverted(f"backbone.blocks.{block}", f"backbone.{part}.{block + 1}.conv", block)
    return table


def torchvision_inverted(ours: str, theirs: str, block: int) -> Table:
    """An inverted residual in torchvision's layout; the first block has no expansion."""
    shift = 0 if block == 0 else 1
    table = conv_norm(f"{ours}.expand", f"{theirs}.0") if shift else {}
    table |= conv_norm(f"{ours}.depthwise", f"{theirs}.{shift}")
    return table | {f"{ours}.project.{i}": f"{theirs}.{shift + 1 + i}" for i in range(2)}


def sssegmentation(params: ModelParams, *, fuse: str = "bottleneck") -> Table:
    """001 and 002 (recipes 2); before 2020-12-14 the convolution after the pyramid was named fuse_layer."""
    table = stages("backbone.", "backbone_net.") | {"backbone.stem": "backbone_net.stem"}
    plus, aspp = params.family == "deeplabv3plus", "aspp_net.parallel_branches"
    names = {"depthwise": ("depthwise_conv", "depthwise_bn"), "pointwise": ("pointwise_conv", "pointwise_bn")}
    table |= conv_norm("head.aspp.branches.0", f"{aspp}.0")
    for branch in range(1, 4):
        make = (lambda o, t: separable(o, t, **names)) if params.head.separable else conv_norm
        table |= make(f"head.aspp.branches.{branch}", f"{aspp}.{branch}")
    table |= conv_norm("head.aspp.pool", "aspp_net.global_branch", conv="1", bn="2")
    table |= conv_norm("head.aspp.fuse", f"aspp_net.{fuse}")
    if plus:
        table |= conv_norm("head.low", "shortcut")
        table |= separable("head.decoder.0", "decoder.0", **names)
        table |= separable("head.decoder.1", "decoder.1", **names)
    table |= {"head.classifier": "decoder.3" if plus else "decoder.1"}
    return table | conv_norm("aux.0.conv", "auxiliary_decoder") | {"aux.0.classifier": "auxiliary_decoder.4"}


def sssegmentation_old(params: ModelParams) -> Table:
    return sssegmentation(params, fuse="fuse_layer")


def mmsegmentation(params: ModelParams) -> Table:
    """004 (recipes 4); the names are the same in 0.x and 1.x."""
    head, same = "decode_head", {"conv": "conv", "bn": "bn"}
    names = {
        "depthwise": ("depthwise_conv.conv", "depthwise_conv.bn"),
        "pointwise": ("pointwise_conv.conv", "pointwise_conv.bn"),
    }
    table = stages("backbone.", "backbone.") | {"backbone.stem": "backbone.stem"}
    if params.resnet.stem == "7x7":
        table |= {"backbone.stem.0": "backbone.conv1", "backbone.stem.1": "backbone.bn1"}
    table |= conv_norm("head.aspp.pool", f"{head}.image_pool.1", **same)
    table |= conv_norm("head.aspp.branches.0", f"{head}.aspp_modules.0", **same)
    for branch in range(1, 4):
        ours, theirs = f"head.aspp.branches.{branch}", f"{head}.aspp_modules.{branch}"
        table |= (
            separable(ours, theirs, **names) if params.head.separable else conv_norm(ours, theirs, **same)
        )
    table |= conv_norm("head.aspp.fuse", f"{head}.bottleneck", **same)
    table |= conv_norm("head.low", f"{head}.c1_bottleneck", **same)
    for index in range(2):
        table |= separable(f"head.decoder.{index}", f"{head}.sep_bottleneck.{index}", **names)
    table |= {"head.classifier": f"{head}.conv_seg"}
    table |= conv_norm("aux.0.conv", "auxiliary_head.convs.0", **same)
    return table | {"aux.0.classifier": "auxiliary_head.conv_seg"}


def torchvision(params: ModelParams) -> Table:
    """torchvision's segmentation networks (deeplabv3_resnet50, -101)."""
    table = stages("backbone.", "backbone.")
    table |= {"backbone.stem.0": "backbone.conv1", "backbone.stem.1": "backbone.bn1"}
    for branch in range(4):
        table |= conv_norm(f"head.aspp.branches.{branch}", f"classifier.0.convs.{branch}")
    table |= conv_norm("head.aspp.pool", "classifier.0.convs.4", conv="1", bn="2")
    table |= conv_norm("head.aspp.fuse", "classifier.0.project")
    table |= conv_norm("head.decoder.0", "classifier", conv="1", bn="2")
    table |= {"head.classifier": "classifier.4"}
    return table | conv_norm("aux.0.conv", "aux_classifier") | {"aux.0.classifier": "aux_classifier.4"}


# --- ImageNet backbones


def torchvision_imagenet(params: ModelParams) -> Table:
    """torchvision's classifiers; timm's resnet50 and resnet18 use the same names."""
    if params.backbone != "mobilenetv2":
        return stages("backbone.", "") | {"backbone.stem.0": "conv1", "backbone.stem.1": "bn1"}
    table = conv_norm("backbone.stem", "features.0")
    for block in range(MOBILENET_BLOCKS):
        table |= torchvision_inverted(f"backbone.blocks.{block}", f"features.{block + 1}.conv", block)
    return table


def openmmlab_imagenet(params: ModelParams) -> Table:
    """ResNet-V1c classifiers of OpenMMLab: three 3x3 convolutions in `stem`."""
    return stages("backbone.", "") | {"backbone.stem": "stem"}


def timm_imagenet(params: ModelParams) -> Table:
    """timm: `conv1.{0,1,3,4,6}` and `bn1` for a deep stem; other names for mobilenetv2_100."""
    if params.backbone == "mobilenetv2":
        return _timm_mobilenet()
    if params.resnet.stem == "7x7":
        return torchvision_imagenet(params)
    deep = {f"backbone.stem.{index}": f"conv1.{index}" for index in (0, 1, 3, 4, 6)}
    stem = deep | {"backbone.stem.7": "bn1"}
    return stages("backbone.", "") | stem


def _timm_mobilenet() -> Table:
    table = conv_norm("backbone.stem", "", conv="conv_stem", bn="bn1")
    table = {ours: theirs.removeprefix(".") for ours, theirs in table.items()}
    counts, block = (1, 2, 3, 4, 3, 3, 1), 0
    for stage, count in enumerate(counts):
        for index in range(count):
            table |= _timm_block(f"backbone.blocks.{block}", f"blocks.{stage}.{index}", plain=block == 0)
            block += 1
    return table


def _timm_block(ours: str, theirs: str, *, plain: bool) -> Table:
    if plain:
        table = conv_norm(f"{ours}.depthwise", theirs, conv="conv_dw", bn="bn1")
        return table | {f"{ours}.project.0": f"{theirs}.conv_pw", f"{ours}.project.1": f"{theirs}.bn2"}
    table = conv_norm(f"{ours}.expand", theirs, conv="conv_pw", bn="bn1")
    table |= conv_norm(f"{ours}.depthwise", theirs, conv="conv_dw", bn="bn2")
    return table | {f"{ours}.project.0": f"{theirs}.conv_pwl", f"{ours}.project.1": f"{theirs}.bn3"}


def timm_resnetv2(params: ModelParams) -> Table:
    """timm's resnetv2_50 and _101 for the slim rows; each norm precedes its convolution."""
    table = {"backbone.conv1": "stem.conv", "backbone.postnorm": "norm"}
    post = params.resnet.last_stage == "post"
    for stage, depth in enumerate(DEPTHS[params.backbone]):
        for block in range(depth):
            ours, theirs = f"backbone.stages.{stage}.{block}", f"stages.{stage}.blocks.{block}"
            table |= {f"{ours}.{name}": f"{theirs}.{name}" for name in ("conv1", "conv2", "conv3")}
            table |= {f"{ours}.preact": f"{theirs}.norm1"}
            table |= {f"{ours}.bn1": f"{theirs}.norm2", f"{ours}.bn2": f"{theirs}.norm3"}
            side = f"{ours}.downsample.0" if post and stage == 3 else f"{ours}.shortcut"
            table |= {side: f"{theirs}.downsample.conv"}
    return table


TableMaker = Callable[[ModelParams], Table]
