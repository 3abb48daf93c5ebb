"""Predictions: strip by strip must be what the plain reference gives, for every page's protocol."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from repro.errors import DataError
from repro.evaluation.evaluate import Stopped, evaluate, predictor
from repro.evaluation.image_counts import true_label
from repro.evaluation.score_maps import (
    Enlarged,
    Mirrored,
    Mosaic,
    Plain,
    Softmax,
    Sum,
    argmax,
    axis_matrix,
    base2,
    first_maximum,
    strips,
)
from repro.evaluation.summary import EvaluationResult
from repro.evaluation.tta import is_zero_tile, tile_corners
from repro.models import resize_logits
from repro.params.protocol import Protocol, Variant, scaled_size
from tests.evaluation.kit import CLASSES, MemorySplit, TinyNet, model_params, protocol, reference_prediction

SIX = [0.5, 0.75, 1.0, 1.25, 1.5, 1.75]
FIVE = [0.5, 0.75, 1.0, 1.25, 1.5]
SLIDE_003 = {"mode": "slide", "pad_tiles": True, "rounding": "floor", "scales": FIVE}
PROTOCOLS = {
    "000": {"mode": "whole"},
    "000 tensorflow": {"mode": "whole", "union_bug": True},
    "001, 002": {"mode": "whole", "base": [512, 128]},
    "002 context": {"mode": "slide", "base": [130, 130], "crop": [60, 60], "stride": [40, 40]},
    "003": SLIDE_003 | {"crop": [41, 41], "overlap": 1 / 3},
    "003 oblong tiles": SLIDE_003 | {"crop": [45, 60], "overlap": 1 / 3},
    "003 early": SLIDE_003 | {"crop": [59, 59], "overlap": 0.0, "scales": [0.9, 1.0, 1.1]},
    "004": {"mode": "whole", "logits_resize": "via_input", "ms_flip": {"scales": SIX}},
    "004 direct": {"mode": "whole", "ms_flip": {"scales": SIX}},
    "logits averaged": {"mode": "whole", "scales": [0.75, 1.0], "flip": True, "average": "logit"},
    "slide, logits averaged": {
        "mode": "slide",
        "crop": [48, 32],
        "stride": [16, 16],
        "average": "logit",
        "flip": True,
    },
    "batch": {"mode": "slide", "crop": [33, 33], "stride": [20, 22], "batch": 3},
}


def measured(
    net: TinyNet, split: MemorySplit, rules: Protocol, *, num_classes: int = 5, **more: Any
) -> EvaluationResult:
    """Evaluate with the default network parameters."""
    return evaluate(net, split, protocol=rules, model_params=model_params(), num_classes=num_classes, **more)


@pytest.mark.parametrize("size", [(83, 121), (96, 64), (37, 150)])
@pytest.mark.parametrize("resize", ["half_pixel", "align_corners", "tf_legacy"])
@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.slow
def test_prediction_is_that_of_the_plain_reference(name: str, resize: str, size: tuple[int, int]) -> None:
    net, params, rules = TinyNet(), model_params(resize=resize), protocol(**PROTOCOLS[name])
    image = MemorySplit([size]).image(0)
    (ours,) = predictor(net, protocol=rules, model_params=params)([image])
    for suffix, variant in rules.variants().items():
        expected = reference_prediction(net, image, rules, variant, params)
        assert ours[suffix].dtype == np.uint8
        assert len(np.unique(expected)) > 2
        assert (ours[suffix] == expected).mean() >= 0.9999


def test_one_variant_alone_gives_the_same_map_and_looks_no_more_than_it_must() -> None:
    net, params, rules = TinyNet(), model_params(), protocol(**PROTOCOLS["004"])
    image, calls = MemorySplit([(83, 121)]).image(0), []
    net.register_forward_hook(lambda *_: calls.append(1))
    (both,) = predictor(net, protocol=rules, model_params=params)([image])
    for ms_flip, suffix, looks in ((False, "", 1), (True, "_ms_flip", 2 * len(SIX))):
        calls.clear()
        (one,) = predictor(net, protocol=rules.single_variant(ms_flip=ms_flip), model_params=params)([image])
        assert np.array_equal(one[""], both[suffix])
        assert len(calls) == looks
    with pytest.raises(ValueError, match="no ms_flip variant"):
        protocol(mode="whole").single_variant(ms_flip=True)


def test_miou_is_that_of_the_plain_reference() -> None:
    net, params = TinyNet(), model_params()
    rules = protocol(**PROTOCOLS["004"])
    split = MemorySplit([(83, 121), (64, 90), (64, 90)])
    result = measured(net, split, rules)
    for suffix, variant in rules.variants().items():
        inter, union = np.zeros(5), np.zeros(5)
        for i in range(3):
            guess = reference_prediction(net, split.image(i), rules, variant, params)
            truth = split.label(i)
            for k in range(5):
                inter[k] += ((guess == k) & (truth == k)).sum()
                union[k] += (((guess == k) | (truth == k)) & (truth != 255)).sum()
        assert result.metrics["mIoU" + suffix] == pytest.approx(100 * (inter / union).mean(), abs=0.005)


@settings(deadline=None, max_examples=25)
@given(
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.sampled_from(["half_pixel", "align_corners", "tf_legacy"]),
    st.integers(1, 7),
)
def test_enlarged_rows_are_those_of_the_whole_map(
    small: tuple[int, int], large: tuple[int, int], rule: str, step: int
) -> None:
    logits_CHW = torch.randn(3, *small, generator=torch.Generator().manual_seed(sum(small)))
    field = Enlarged(Plain(logits_CHW), ((large, rule),))  # type: ignore[arg-type]
    rows = [field.rows(a, min(a + step, large[0])) for a in range(0, large[0], step)]
    expected = resize_logits(logits_CHW[None], large, rule)[0]  # type: ignore[arg-type]
    torch.testing.assert_close(torch.cat(rows, 1), expected, atol=1e-4, rtol=1e-4)


def test_two_steps_are_one_after_the_other() -> None:
    logits_CHW = torch.randn(4, 7, 9)
    field = Enlarged(Plain(logits_CHW), (((25, 33), "half_pixel"), ((19, 60), "align_corners")))
    first = resize_logits(logits_CHW[None], (25, 33), "half_pixel")
    torch.testing.assert_close(
        torch.cat(list(strips(field)), 1),
        resize_logits(first, (19, 60), "align_corners")[0],
        atol=1e-4,
        rtol=1e-4,
    )


@pytest.mark.parametrize("spread", [1.0, 10.0, 400.0])
def test_softmax_of_enlarged_logits(spread: float) -> None:
    """Also where exp2 of the shifted logits would underflow."""
    logits_CHW = torch.randn(6, 5, 5) * spread
    small, safe = base2(logits_CHW)
    assert safe == (spread < 100)
    field = Softmax(Enlarged(Plain(small), (((17, 23), "half_pixel"),)), safe)
    expected = resize_logits(logits_CHW[None], (17, 23), "half_pixel")[0].softmax(0)
    torch.testing.assert_close(field.rows(0, 17), expected, atol=2e-6 * spread, rtol=1e-4)


def test_sum_and_mirror_leave_their_parts_alone() -> None:
    map_CHW = torch.randn(2, 3, 4)
    before = map_CHW.clone()
    both = Sum((Plain(map_CHW), Mirrored(Plain(map_CHW))))
    torch.testing.assert_close(both.rows(0, 3), before + before.flip(-1))
    assert torch.equal(map_CHW, before)


def test_mosaic_needs_full_cover() -> None:
    mosaic = Mosaic((4, 4), ((0, 0, Plain(torch.ones(2, 2, 4))),))
    with pytest.raises(ValueError, match="no tile covers"):
        mosaic.rows(2, 4)


@pytest.mark.parametrize("classes", [2, 21, 150, 255, 300])
def test_first_maximum_is_argmax(classes: int) -> None:
    map_CHW = torch.randint(0, 4, (classes, 6, 7)).float()  # many ties: the first class wins
    assert torch.equal(first_maximum(map_CHW), map_CHW.argmax(0).to(torch.uint8))


def test_first_maximum_of_nan_is_not_a_class() -> None:
    assert first_maximum(torch.full((3, 1, 2), torch.nan)).tolist() == [[255, 255]]


def test_axis_matrix_against_manual_values() -> None:
    assert axis_matrix(2, 4, "half_pixel").tolist() == [[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]]
    assert axis_matrix(2, 4, "tf_legacy").tolist() == [[1, 0], [0.5, 0.5], [0, 1], [0, 1]]
    assert axis_matrix(3, 2, "align_corners").tolist() == [[1, 0, 0], [0, 0, 1]]


def test_argmax_does_not_depend_on_the_strip(monkeypatch: pytest.MonkeyPatch) -> None:
    field = Enlarged(Plain(torch.randn(19, 16, 16)), (((64, 64), "half_pixel"),))
    whole = argmax(field)
    monkeypatch.setattr("repro.evaluation.score_maps.STRIP_BYTES", {"cpu": 1, "cuda": 1})
    assert torch.equal(argmax(field), whole)


@pytest.mark.slow
def test_memory_stays_small() -> None:
    """Twelve views of 64 classes: far less than one full-size map, which has 64 x 256 x 256 x 4 = 16 MiB."""
    net, rules = TinyNet(64), protocol(mode="whole", scales=SIX, flip=True)
    image = MemorySplit([(256, 256)]).image(0)
    peak = _tensor_peak(lambda: predictor(net, protocol=rules, model_params=model_params())([image]))
    logits = 64 * 4 * sum((int(256 * s) // 4) ** 2 for s in SIX) * 2
    assert peak < logits + (20 << 20)


def _tensor_peak(run: object) -> int:
    """Largest sum of tensor bytes alive at once, from torch's own allocation events."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        run()  # type: ignore[operator]
    held = peak = 0
    for event in record.profiler.kineto_results.events():  # type: ignore[union-attr]
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return peak


def test_tiles_of_page_003() -> None:
    rules = protocol(**SLIDE_003 | {"crop": [321, 321], "overlap": 1 / 3})
    assert rules.step == (
        215,
        215,
    )  # 321 * (1 - 1/3) is 214.00000000000003, and ceil
    assert tile_corners((360, 480), rules) == [(0, 0), (0, 159), (39, 0), (39, 159)]
    assert scaled_size((360, 480), 0.75, rules) == (270, 360)


def test_zero_tiles_begin_at_315_pixels() -> None:
    """Tile 473, stride 316, scale 0.5: no tile for sides of at most 315 (page 003, VOC rows)."""
    rules = protocol(**SLIDE_003 | {"crop": [473, 473], "overlap": 1 / 3, "zero_tile": "nan"})
    variant = Variant(scales=(0.5, 1.0), flip=False)
    assert is_zero_tile((315, 500), variant, rules)
    assert is_zero_tile((500, 315), variant, rules)
    assert not is_zero_tile((316, 500), variant, rules)


def test_zero_tile_reports_both_values() -> None:
    rules = protocol(**SLIDE_003 | {"crop": [90, 90], "overlap": 1 / 3, "zero_tile": "nan"})
    split = MemorySplit([(58, 100), (100, 100)])  # 58 x 0.5 = 29 <= 90 - 61 has no tile
    result = measured(TinyNet(), split, rules)
    page, correct = result.confusions["_page"], result.confusions[""]
    assert page.of(0)[:, 1:].sum() == 0 < correct.of(0)[:, 1:].sum()
    assert np.array_equal(page.of(1), correct.of(1))
    assert result.metrics["mIoU_page"] != result.metrics["mIoU"]


def test_nothing_is_rounded_to_tf32(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch's default lets NVIDIA GPUs round convolutions, which training in fp32 does not: two numbers."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    seen: list[tuple[bool, str]] = []

    class Watching(TinyNet):
        def forward(self, image_NCHW: Tensor) -> Any:
            seen.append((torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()))
            return super().forward(image_NCHW)

    measured(Watching(), MemorySplit([(64, 80)]), protocol(mode="whole"))
    assert set(seen) == {(False, "highest")}
    assert torch.backends.cudnn.allow_tf32 is True


def test_bf16_changes_little_and_is_another_protocol() -> None:
    split = MemorySplit([(96, 96), (64, 80)])
    rules = protocol(mode="whole", flip=True)
    low = dataclasses.replace(rules, precision="bf16")
    results = [
        evaluate(TinyNet(), split, protocol=p, model_params=model_params(), num_classes=5)
        for p in (rules, low)
    ]
    assert results[0].protocol_hash != results[1].protocol_hash
    assert abs(results[0].metrics["mIoU"] - results[1].metrics["mIoU"]) < 0.5


def test_twice_is_bit_equal() -> None:
    split = MemorySplit([(83, 121), (64, 90)])
    one, two = (measured(TinyNet(), split, protocol(**PROTOCOLS["004"])) for _ in range(2))
    assert one.metrics == two.metrics


def test_batches_of_one_size_give_what_single_images_give() -> None:
    split = MemorySplit([(64, 80), (64, 80), (48, 80), (64, 80)])
    results = [measured(TinyNet(), split, protocol(mode="whole", batch=batch)) for batch in (1, 3)]
    assert [r.metrics["mIoU"] for r in results] == [results[0].metrics["mIoU"]] * 2
    assert results[1].metrics["n_images"] == 4


def test_first_images_only_and_progress() -> None:
    seen = []
    rules = protocol(mode="whole", first=3, batch=2)
    progress = lambda done, number: seen.append((done, number))  # noqa: E731
    result = measured(TinyNet(), MemorySplit([(32, 32)] * 5), rules, progress=progress)
    assert result.metrics["n_images"] == 3
    assert result.ids == ("scene/000", "scene/001", "scene/002")
    assert seen == [(2, 3), (3, 3)]


def test_model_mode_is_put_back() -> None:
    net = TinyNet().train()
    evaluate(
        net,
        MemorySplit([(32, 32)]),
        protocol=protocol(mode="whole"),
        model_params=model_params(),
        num_classes=5,
    )
    assert net.training


def test_reduce_zero_label() -> None:
    label = np.array([[0, 1, 2, 255]], np.uint8)
    rules = protocol(mode="whole", reduce_zero_label=True)
    assert true_label(label, 2, rules, where="x").tolist() == [[255, 0, 1, 255]]
    assert label.tolist() == [[0, 1, 2, 255]]


def test_another_ignore_index() -> None:
    label = np.array([[0, 11, 2]], np.uint8)
    assert true_label(label, 11, protocol(mode="whole", ignore_index=11), where="x").tolist() == [[0, 255, 2]]


def test_label_of_no_class_is_named() -> None:
    with pytest.raises(DataError, match=r"\[7, 9\]") as error:
        true_label(np.array([[0, 7, 9, 255]], np.uint8), 5, protocol(mode="whole"), where="scene/001")
    assert "scene/001" in str(error.value)
    assert "0..4" in str(error.value)


def test_wrong_number_of_classes() -> None:
    with pytest.raises(DataError, match="7 classes, the split 5"):
        measured(TinyNet(7), MemorySplit([(32, 32)]), protocol(mode="whole"), num_classes=7)


def test_void_output_counts_as_wrong() -> None:
    """A network with one output more than classes: what it gives to the last is given to no class."""
    net = TinyNet(len(CLASSES) + 1)
    result = evaluate(
        net,
        MemorySplit([(64, 64)]),
        protocol=protocol(mode="whole"),
        model_params=model_params(),
        num_classes=5,
    )
    matrix = result.confusions[""].total()
    assert matrix[:, 5].sum() > 0
    assert result.metrics["aAcc"] == pytest.approx(100 * np.trace(matrix) / matrix.sum(), abs=1e-4)


GOLDEN = {"000": (7.936, 7.914), "003": (7.298, 7.276), "004": (7.936, 7.914)}


@pytest.mark.parametrize("name", GOLDEN)
def test_numbers_stay(name: str) -> None:
    """mIoU and boundary mIoU of a seeded network on seeded images."""
    rules = dataclasses.replace(protocol(**PROTOCOLS[name]), boundary_ratio=0.02)
    found = measured(TinyNet(), MemorySplit([(83, 121), (64, 90)]), rules).metrics
    values = (found["mIoU"], found["boundary_mIoU"])
    message = (
        "evaluation gives other numbers: raise engine.evaluation in params.yaml, and say so in CHANGELOG"
    )
    assert values == pytest.approx(GOLDEN[name], abs=0.02), message


def test_a_stop_is_honoured_before_the_next_batch() -> None:
    """A signal during the validation of a training: seconds, not the rest of the split."""
    split, seen = MemorySplit([(24, 32)] * 6), []
    with pytest.raises(Stopped):
        evaluate(
            TinyNet(),
            split,
            protocol=protocol(mode="whole", batch=2),
            model_params=model_params(),
            num_classes=5,
            keep=lambda index, *_: seen.append(index),
            stopped=lambda: len(seen) >= 2,
        )
    assert seen == [0, 1]
