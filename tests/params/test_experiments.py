"""Every experiment resolves, builds and agrees with its published row, and every row has one."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from repro.datasets import DATASETS
from repro.models.build import build_on_meta
from repro.params import Experiment, ModelParams, experiment_names, read_yaml
from repro.published import Row
from repro.records.printed_costs import cost_verdict, printed_costs
from repro.scaffold.dvc_files import drift
from repro.training.schedule import length
from tests.kit import PROJECT, PUBLISHED, every, experiment

ROOT = Path(__file__).parents[2]
GOLDEN: dict[str, int] = json.loads((ROOT / "tests/golden/published/iterations.json").read_text())
# Page 003's ignore number, which its padding puts into the blue channel, where it is not 255.
PADDED_WITH = {11: (17, 18, 19, 20, 21, 22, 23, 24, 25, 28, 53), 28: (67, 68, 69)}
TO_BE_TRAINED_ANEW = {"003-028"}  # recorded before these facts were in: its params.yaml says which
NOT_RUN = set(
    re.findall(r"^\| (\d{3}-\d+) \|", (ROOT / "docs/rows.md").read_text().split("## Every row")[0], re.M)
)
SPLITS = {"trainaug": "train_aug", "trainval": "train_val"}
# Sizes that the pages print and no reading of the sources gives (recipes: unknown 8, 9, 10; label slips).
ODD_SIZES = {"003-018": 42.7, "003-044": 13.1, "003-051": 9.7}


@cache
def root_params() -> dict[str, dict[str, object]]:
    return read_yaml(PROJECT.params)


def of_rows(name: str) -> list[Row]:
    return [PUBLISHED.rows[row] for row in experiment(name).rows]


@cache
def names() -> list[str]:
    return experiment_names(PROJECT)


@cache
def published() -> list[str]:
    return [name for name in names() if experiment(name).rows and experiment(name).measure == "all"]


def sized() -> list[str]:
    """Rows that print sizes but no accuracy."""
    return [name for name in names() if experiment(name).measure != "all"]


def of_page_003() -> list[str]:
    return [name for name in published() if experiment(name).rows[0].startswith("003")]


def of_category_crops() -> list[str]:
    return [name for name in published() if experiment(name).augmentation.category_share < 1]


@cache
def weights_of(params: ModelParams, classes: int) -> dict[str, tuple[int, ...]]:
    """Name -> shape of each parameter; many rows share a network."""
    network = build_on_meta(params, num_classes=classes)
    return {name: tuple(weight.shape) for name, weight in network.named_parameters()}


def millions_of(params: ModelParams, classes: int) -> float:
    return sum(math.prod(shape) for shape in weights_of(params, classes).values()) / 1e6


def test_every_row_has_exactly_one_experiment_or_a_reason() -> None:
    repeated = re.compile(r"_seed\d+$")  # `repro run NAME --seeds` makes these: other seeds of one experiment
    standing = Counter(row for name in names() if not repeated.search(name) for row in experiment(name).rows)
    assert max(standing.values()) == 1
    assert set(standing) | NOT_RUN == set(PUBLISHED.rows)
    assert not set(standing) & NOT_RUN


@every("name", names)
@pytest.mark.slow
def test_it_resolves_and_its_network_builds(name: str) -> None:
    it = experiment(name)
    assert {it.training.split, it.evaluation.split} <= set(it.facts.splits)
    if it.start_from is not None:
        assert it.start_from in names()
    weights = weights_of(it.model, it.facts.classes)
    classifiers = [shape for name, shape in weights.items() if name.startswith("head") and len(shape) == 4]
    assert classifiers[-1][0] == it.facts.classes + it.model.head.extra_classes
    for row in of_rows(name):
        printed = ODD_SIZES.get(row.id, row.cost.get("params_M"))
        if printed is not None:
            millions = millions_of(it.model, it.facts.classes)
            assert millions == pytest.approx(printed, rel=0.03, abs=0.11 if printed % 1 else 1.0), row.id


@every("name", published)
def test_it_says_what_its_row_says(name: str) -> None:
    it = experiment(name)
    for row in of_rows(name):
        assert row.dataset == it.dataset
        assert row.output_stride == it.model.output_stride
        assert row.crop == it.augmentation.crop
        assert row.batch in (None, it.training.batch // it.training.epoch_devices)
        said = (
            row.train_set.removeprefix(f"{row.dataset}/").split(" ")[0].split("_rural")[0].split("_urban")[0]
        )
        assert said in (it.training.split, SPLITS.get(it.training.split)), row.train_set
        assert _depth(row.backbone) == _depth(_backbone(it))


@every("name", published)
def test_the_schedule_is_as_long_as_the_sources_say(name: str) -> None:
    it = experiment(name)
    found = length(it.training, images=it.facts.splits[it.training.split]).iterations
    assert {found} == {GOLDEN[row] for row in it.rows}


@every("name", names)
def test_the_header_says_what_and_what_to_expect(name: str) -> None:
    text = (PROJECT.experiments / name / "params.yaml").read_text()
    header = " ".join(line.removeprefix("#").strip() for line in text.splitlines() if line.startswith("#"))
    assert len(header) > 60
    if not experiment(name).rows:
        assert "Not a published row" in header
    for row in of_rows(name):
        assert f"page {row.page} row {int(row.id.split('-')[1])}" in header.lower()
        if "mIoU" in row.metrics:
            assert f"{row.metrics['mIoU']:g} mIoU" in header


@every("name", sized)
def test_a_row_of_sizes_is_the_network_that_is_built(name: str) -> None:
    """003-002 to -005 print MiB of fp32 weights: 26.65, 69.24 and 117.22, and 163 of 163.6."""
    it, (row,) = experiment(name), of_rows(name)
    millions = millions_of(it.model, 21)
    found = printed_costs({"params_M": millions}, row)
    assert [size.name for size in found] == ["params_M", "size_MB"]
    assert cost_verdict(found) == "reproduced"
    assert found[1].digit == (1 if row.id == "003-005" else 0.01)
    assert (row.crop, row.batch) == (it.protocol.crop, it.training.batch)
    wider = {"params_M": millions + found[0].digit}
    assert cost_verdict(printed_costs(wider, row)) == "differs"


def test_generated_pipeline_files_are_current() -> None:
    assert [str(path) for path, _ in drift(PROJECT)] == []


def test_every_experiment_has_its_stage() -> None:
    stages = read_yaml(ROOT / "dvc.yaml")["stages"]
    assert {name for name in stages if name.startswith("experiments/")} == {
        f"experiments/{n}" for n in names()
    }


@pytest.mark.parametrize("section", ["recipes", "protocols", "datasets"])
def test_no_shared_block_is_without_a_user(section: str) -> None:
    used = {
        "recipes": {experiment(name).recipe for name in names()},
        "protocols": {
            protocol
            for name in names()
            for protocol in (experiment(name).evaluation.protocol, *experiment(name).also)
        },
        # the first release of CamVid can be prepared, and no published row is measured on it
        "datasets": {experiment(name).dataset for name in names()} | {"camvid_original"},
    }
    assert set(root_params()[section]) == used[section]


@every("name", of_page_003)
def test_page_003_mixes_pads_and_learns_as_its_scripts_do(name: str) -> None:
    it = experiment(name)
    if TO_BE_TRAINED_ANEW & set(it.rows):
        assert it.note
        return
    numbers = {value: {f"003-{row:03d}" for row in padded} for value, padded in PADDED_WITH.items()}
    for row in it.rows:
        value = next((value for value, padded in numbers.items() if row in padded), 255)
        assert it.augmentation.pad_value == value
    assert it.augmentation.label_resize == "bilinear"
    assert it.augmentation.label_void == (11 if it.dataset == "camvid" else 255)
    assert (it.training.optimizer, it.training.eps, it.training.eps_rule) == ("adam", 2.5e-4, "tensorflow")


@every("row", [17, 18, 19, 20, 21, 23, 24, 25])
def test_the_first_camvid_rows_train_and_count_void_as_a_twelfth_class(row: int) -> None:
    """tensorpack/dataflow/dataset/camvid.py:52 said 12 until 21db489f; the mean over 11 is reported too."""
    it = experiment(next(name for name in published() if f"003-{row:03d}" in experiment(name).rows))
    assert (it.dataset, it.facts.classes, it.augmentation.pad_label) == ("camvid12", 12, 11)
    assert (it.protocol.mean_over, it.protocol.ignore_index) == ((), 255)
    (usual,) = it.also.values()
    assert usual.mean_over == DATASETS["camvid"].CLASSES
    assert usual.ignore_index == DATASETS["camvid12"].CLASSES.index("void")
    assert (usual.crop, usual.scales, usual.overlap) == (
        it.protocol.crop,
        it.protocol.scales,
        it.protocol.overlap,
    )


RESNETS = (*range(7, 12), *range(16, 20), 21, 53, *range(67, 72), *range(93, 102), 103)


@every("row", [*RESNETS, 6, 102])
def test_the_best_epoch_is_kept_where_the_script_evaluates_each(row: int) -> None:
    """evaluate_every_n_epoch is 1, max_epoch for 003-006 and -102; a printed epoch is the last one here."""
    it = experiment(next(name for name in published() if f"003-{row:03d}" in experiment(name).rows))
    assert it.training.keep == ("last" if row in (6, 9, 102) else "best")
    assert (it.training.validate_every == "epoch") == (row not in (6, 102))


@every(
    "row, weight, bias, scope",
    [
        *((row, 5.0, 10.0, "classifier") for row in (6, 11)),
        *((row, 5.0, 10.0, "head") for row in (93, 98, 99, 100, 101)),
        *((row, 1.0, 1.0, "classifier") for row in (7, 67, 68, 69)),
        *((row, 1.0, 1.0, "head") for row in (94, 95, 96)),
        (102, 10.0, 20.0, "classifier"),
        *((row, 10.0, 20.0, "head") for row in (97, 103)),
    ],
)
def test_gradients_are_multiplied_where_the_scripts_patterns_match(
    row: int, weight: float, bias: float, scope: str
) -> None:
    """lr_multi_schedule of each script; `nothing` (067) and slim's `aspp.*_conv` (094-096) match nothing."""
    t = experiment(next(name for name in published() if f"003-{row:03d}" in experiment(name).rows)).training
    assert (t.grad_weight, t.grad_bias, t.grad_scope) == (weight, bias, scope)


@every("row", [93, 94, 95, 96, 97, 98, 99, 100, 101, 103])
def test_slim_draws_its_classifier_from_glorot_outside_the_scope_of_its_initialiser(row: int) -> None:
    """deeplabv3.py:204, deeplabv2.py:78: `logits` is outside resnet_arg_scope; 5deddb2d put it inside."""
    it = experiment(next(name for name in published() if f"003-{row:03d}" in experiment(name).rows))
    assert it.model.head.glorot == (("classifier",) if row in (93, 94, 95, 96, 101) else ())


@every("row", [94, 95, 96, 97, 98, 99, 100, 103])
def test_slim_classifies_right_after_the_fusion(row: int) -> None:
    """Four branches, the pooled one, fusion, classifier; without ASPP only the classifier."""
    name = next(name for name in published() if f"003-{row:03d}" in experiment(name).rows)
    weights = weights_of(experiment(name).model, 21)
    kernels = [shape for name, shape in weights.items() if name.startswith("head") and len(shape) == 4]
    three = (256, 2048, 3, 3)
    pyramid = [(256, 2048, 1, 1), three, three, three, (256, 2048, 1, 1), (256, 512, 1, 1), (21, 256, 1, 1)]
    assert kernels == ([(21, 2048, 1, 1)] if row in (97, 103) else pyramid)


@every("name", of_category_crops)
def test_crops_are_drawn_as_often_as_the_page_draws_them(name: str) -> None:
    """sssegmentation draws ten crops; mmsegmentation one and up to ten more."""
    it = experiment(name)
    assert it.augmentation.category_tries == (11 if it.rows[0].startswith("004") else 10)
    distortion = it.augmentation.brightness, it.augmentation.contrast, it.augmentation.hue
    assert distortion == (32, 0.5, 18)


def test_experiments_differ_from_each_other() -> None:
    """Two folders with the same settings would be one experiment with two rows."""
    whole = Counter(
        json.dumps(
            {
                k: v
                for k, v in read_yaml(PROJECT.experiments / name / "params.yaml").items()
                if k not in ("rows", "expect")
            },
            sort_keys=True,
        )
        for name in names()
    )
    assert max(whole.values()) == 1


def _backbone(it: Experiment) -> str:
    dense = it.model.densenet
    layers = {(6, 8, 8, 8): 30, (6, 8, 16, 12): 42, (6, 12, 24, 16): 121}
    return f"densenet{layers[dense.blocks]}_k{dense.growth}" if dense else it.model.backbone


def _depth(backbone: str) -> tuple[str, ...]:
    """('50',) of resnet50_v1c, ('30', '48') of densenet30_k48, ('2',) of mobilenetv2."""
    return tuple(re.findall(r"\d+", backbone.split("_v")[0]))
