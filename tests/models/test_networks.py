"""What every network can do: gradients, batches, odd sizes, memory formats, export, another stride."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from repro.errors import ParamsError
from repro.models import SegmentationNet, build, build_on_meta, number_formats
from repro.params import ModelParams, parse
from tests.models.kit import BASE, NETWORKS, dense, filled, model_params, noise, relative_error

CLASSES = 4
SMALL = [name for name in NETWORKS if name.startswith("dense_")] + [
    "vainf_mobilenetv2_os16",
    "mobilenetv2_depthwise_os16",
    "keras_r18_os8",
    "mmsegmentation_r18_os8",
]
LARGE = [
    "sssegmentation_v3_r50_os16",
    "tensorpack_r50_os16",
    "slim_v2_os16",
    "slim_v3_os16",
    "slim_v3_noaspp_os16",
    "paper_v1_vgg16",
    "paper_v2_vgg16",
    "paper_v3plus_xception65",
]


# Their classifier reads three taps: what follows the third is built, counted and not used, as in the source.
TAPS_ALONE = ("dense_did4_taps", "dense_did_taps_3x3")
BEHIND_TAPS = ("backbone.blocks.3.", "backbone.transitions.2.")


def network(name: str) -> SegmentationNet:
    torch.manual_seed(0)
    return build(model_params(NETWORKS[name]), num_classes=CLASSES)


def outputs_of(name: str) -> int:
    return CLASSES + model_params(NETWORKS[name]).head.extra_classes


@pytest.mark.parametrize("name", [*SMALL, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE)])
def test_gradients_reach_every_parameter(name: str) -> None:
    """One loss over all heads at an odd input size; finite, and not zero in any parameter."""
    net = network(name)
    for module in net.modules():  # at their first values some gradients are zero on purpose: zero_init
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    outputs = net(noise(2, 3, 35, 51).float())
    sum((logits * noise(*logits.shape, seed=1).float()).sum() for logits in outputs).backward()  # type: ignore[union-attr]
    dead = [
        key
        for key, weight in net.named_parameters()
        if weight.grad is None or not weight.grad.isfinite().all() or not weight.grad.abs().sum() > 0
    ]
    unused = name in TAPS_ALONE
    without = [key for key, _ in net.named_parameters() if unused and key.startswith(BEHIND_TAPS)]
    assert dead == without


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.slow
def test_evaluation_does_not_depend_on_the_batch_and_takes_odd_sizes(name: str) -> None:
    net = network(name).double().eval()
    net.load_state_dict(filled(net.state_dict()))
    images = noise(3, 3, 47, 61)
    with torch.no_grad():
        together = net(images)
        alone = [net(image[None])[0] for image in images]
    assert len(together) == 1
    assert together[0].shape[:2] == (3, outputs_of(name))
    assert relative_error(together[0], torch.cat(alone)) < 1e-12


@pytest.mark.parametrize("name", ["vainf_mobilenetv2_os16", "mmsegmentation_r18_os8", "dense_newdid6_senet"])
def test_other_heads_appear_only_while_training(name: str) -> None:
    net = network(name)
    image = noise(2, 3, 49, 65).float()
    heads = {"vainf_mobilenetv2_os16": 1, "mmsegmentation_r18_os8": 2, "dense_newdid6_senet": 3}[name]
    assert len(net(image)) == heads
    assert len(net.eval()(image)) == 1
    assert len(net.all_heads(image)) == heads


@pytest.mark.parametrize("name", ["vainf_mobilenetv2_os16", "mmsegmentation_r18_os8", "dense_newdid6_senet"])
@pytest.mark.slow
def test_channels_last_bf16_and_export_agree_with_plain_fp32(name: str) -> None:
    """Channels last to fp32 rounding, autocast bf16 to bf16 rounding, torch.export exactly."""
    net = network(name).eval()
    net.load_state_dict(filled(net.state_dict()))
    image = noise(1, 3, 65, 81).float()
    with torch.no_grad():
        plain = net(image)[0]
        last = net.to(memory_format=torch.channels_last)(image.to(memory_format=torch.channels_last))[0]
        with number_formats.autocast("cpu"):
            half = net(image)[0]
        exported: Tensor = torch.export.export(net, (image,)).module()(image)[0]
    assert relative_error(last, plain) < 1e-4
    assert half.dtype == torch.bfloat16
    assert relative_error(half.float(), plain) < 0.1  # 8 bits of mantissa through some 60 layers
    assert relative_error(exported, last) < 1e-5


@pytest.mark.parametrize(
    "name", ["vainf_mobilenetv2_os16", "mmsegmentation_r18_os8", "slim_v3_os16", "dense_plain"]
)
def test_the_output_stride_may_change_between_training_and_evaluation(name: str) -> None:
    """The same weights fit at stride 8, 16 and 32, and the features have that stride."""
    states, sizes = [], []
    for stride in (8, 16, 32):
        net = build_on_meta(model_params(NETWORKS[name] | {"output_stride": stride}), num_classes=CLASSES)
        states.append({key: value.shape for key, value in net.state_dict().items()})
        sizes.append(net.backbone(torch.empty(1, 3, 129, 129, device="meta"))[-1].shape[-1])
    assert states[0] == states[1] == states[2]
    assert sizes in ([17, 9, 5], [16, 8, 4])  # page 000's MobileNetV2 has no padding in its stem


def test_a_network_starts_the_same_from_the_same_seed_and_from_another_one_not() -> None:
    first, again = (network("mmsegmentation_r18_os8").state_dict() for _ in range(2))
    assert all(torch.equal(first[key], again[key]) for key in first)
    torch.manual_seed(1)
    other = build(model_params(NETWORKS["mmsegmentation_r18_os8"]), num_classes=CLASSES).state_dict()
    assert not torch.equal(first["backbone.stem.0.weight"], other["backbone.stem.0.weight"])


@pytest.mark.parametrize(
    ("name", "key", "std"),
    [
        ("vainf_r50_os8", "backbone.layer1.0.conv2.weight", (2 / (64 * 9)) ** 0.5),  # fan-out
        ("vainf_r50_os8", "head.aspp.branches.1.conv.weight", (2 / (2048 * 9)) ** 0.5),  # fan-in
        ("mmsegmentation_r18_os8", "head.classifier.weight", 0.01),
        ("keras_r18_os8", "backbone.layer4.0.conv1.weight", (2 / (256 * 9)) ** 0.5),
        ("tensorpack_r50_os16", "backbone.layer2.0.conv1.weight", (2 / 128) ** 0.5),
        ("tensorpack_r50_os16", "backbone.layer4.0.conv2.weight", (2 / (512 * 9)) ** 0.5),
        ("dense_plain", "backbone.blocks.0.0.narrow.conv.weight", (2 / (24 + 48)) ** 0.5),
    ],
)
@pytest.mark.slow
def test_first_weights_have_the_deviation_of_their_source(name: str, key: str, std: float) -> None:
    weight = network(name).state_dict()[key]
    assert weight.mean().abs() < std * 4 / weight.numel() ** 0.5
    assert weight.std().item() == pytest.approx(std, rel=4 / weight.numel() ** 0.5)


@pytest.mark.parametrize(
    ("parts", "drawn"),
    [
        ((), set()),
        (("pool",), {"head.aspp.pool.conv"}),
        (("classifier",), {"head.classifier"}),
        (("pool", "classifier"), {"head.aspp.pool.conv", "head.classifier"}),
    ],
)
@pytest.mark.slow
def test_glorot_draws_the_named_parts_alone_from_a_uniform_distribution(
    parts: tuple[str, ...], drawn: set[str]
) -> None:
    """Bounded by sqrt(6 / (fan in + fan out)) and reaching it, where He's truncated normal goes beyond."""
    params = parse(
        ModelParams,
        {"family": "deeplabv3", "backbone": "resnet18", "output_stride": 16, "init": "he"}
        | {"head": {"glorot": parts}},
        "test",
    )
    torch.manual_seed(0)
    found = set()
    for name, conv in build(params, num_classes=200).named_modules():
        if isinstance(conv, torch.nn.Conv2d) and name.startswith("head."):
            outputs, inputs, height, width = conv.weight.shape
            bound = (6 / ((inputs + outputs) * height * width)) ** 0.5
            if 0.95 * bound < conv.weight.abs().max() <= bound:
                found.add(name)
    assert found == drawn


def test_zero_init_makes_every_block_start_as_its_shortcut() -> None:
    net = network("tensorpack_r50_os16")
    state = net.state_dict()
    lasts = [key for key in state if key.endswith("bn3.weight")]
    assert len(lasts) == 16
    assert all(not state[key].any() for key in lasts)
    assert state["backbone.layer1.0.bn2.weight"].eq(1).all()


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (dense((2, 2, 2, 2), 12, inner="newdid", **BASE) | {"output_stride": 8}, "output stride 16"),
        (dense((2, 2, 2, 2), 12, transition="residual"), "compression 1"),
        ({"family": "densenet", "backbone": "resnet50", "output_stride": 8}, "backbone densenet"),
        ({"family": "deeplabv3", "backbone": "vgg16", "output_stride": 8}, "deeplabv1 or deeplabv2"),
        (
            {"family": "deeplabv3", "backbone": "mobilenetv2", "output_stride": 8, "aux": {"channels": 8}},
            "resnet",
        ),
        (
            {"family": "deeplabv2", "backbone": "resnet18", "output_stride": 8, "resnet": {"version": "v2"}},
            "v2",
        ),
    ],
)
def test_combinations_that_cannot_be_built_are_refused(raw: dict[str, Any], message: str) -> None:
    with pytest.raises(ParamsError) as caught:
        model_params(raw)
    assert message in str(caught.value)
