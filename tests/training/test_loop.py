"""The loop: optimisers against plain torch, groups, precision, divergence, validation, journal."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from repro.errors import ParamsError, TrainingDiverged
from repro.models import build, build_on_meta
from repro.params import Project, load_experiment
from repro.records import read_journal
from repro.records.curve import curve_csv
from repro.training import optimizers, runtime
from repro.training.loop import DEPTH, prefetch
from repro.training.losses import counted_pixels, only_classes
from repro.training.schedule import learning_rate
from repro.training.train_step import start, update
from tests.models.kit import TINY, dense, model_params
from tests.training.kit import (  # fmt: skip
    CLASSES,
    Cut,
    TinyNet,
    batches,
    normalise,
    numbers,
    run_tiny,
    same,
    some_params,
    tiny_task,
)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"lr_backbone": 0.1, "weight_decay_on": "kernels"},
        {"optimizer": "adam", "eps": 2.5e-4, "weight_decay_factor": 0.7, "weight_decay_steps": 3},
        {"grad_weight": 5.0, "grad_bias": 10.0, "optimizer": "adam", "eps": 2.5e-4},
        {"optimizer": "adam", "eps": 2.5e-4, "eps_rule": "tensorflow", "weight_decay_on": "kernels"},
        {"schedule": "step", "steps": ((1, 0.01),), "heads": "mean"},
        {"clip_norm": 0.1},
    ],
    ids=str,
)
def test_updates_are_those_of_a_plain_loop(changes: dict[str, Any]) -> None:
    """Ten updates against textbook optimisers, cross_entropy and penalties written out as losses."""
    p = some_params(**changes)
    run = start(tiny_task(Path(), None, p, model=TinyNet(dropout=0.0)))
    torch.manual_seed(0)
    peer = PlainLoop(TinyNet(dropout=0.0), run.task.of, p)
    run.model.load_state_dict(peer.model.state_dict())
    for batch in batches(0, 10):
        assert float(update(run, batch)) == pytest.approx(peer.step(batch, run.iteration), rel=1e-4)
        run.iteration += 1
    for name, ours in run.model.state_dict().items():
        torch.testing.assert_close(ours, peer.model.state_dict()[name], rtol=2e-4, atol=2e-6)


class PlainLoop:
    """The textbook loop: one group a parameter, weight decay as a term of the loss."""

    def __init__(self, model: nn.Module, of: Any, params: Any) -> None:
        self.model, self.of, self.p = model, of, params
        self.names = dict(model.named_parameters())
        groups = [{"params": [value], "name": name} for name, value in self.names.items()]
        if params.eps_rule == "tensorflow":
            self.optimizer: torch.optim.Optimizer = TensorFlowAdam(groups, {"lr": 1.0, "eps": params.eps})
        elif params.optimizer == "adam":
            self.optimizer = torch.optim.Adam(groups, lr=1.0, eps=params.eps, foreach=False)
        else:
            self.optimizer = torch.optim.SGD(groups, lr=1.0, momentum=params.momentum, foreach=False)

    def step(self, batch: Cut, i: int) -> float:
        for group in self.optimizer.param_groups:
            k = self.p.lr_backbone if group["name"].startswith("backbone.") else self.p.lr_head
            group["lr"] = learning_rate(self.p, iteration=i, of=self.of, multiplier=k)
        losses = []
        for head in self.model(normalise(batch.image_NCHW)):
            large = nn.functional.interpolate(head, size=batch.label_NHW.shape[1:], mode="bilinear")
            losses.append(nn.functional.cross_entropy(large, batch.label_NHW.long(), ignore_index=255))
        loss = sum(losses) / 2 if self.p.heads == "mean" else losses[0] + 0.4 * losses[1]
        c = self.p.weight_decay * self.p.weight_decay_factor ** (i // self.p.weight_decay_steps)
        self.optimizer.zero_grad()
        loss.backward()
        if self.p.clip_norm:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.p.clip_norm)
        for name, value in self.names.items():
            assert value.grad is not None
            if self.p.weight_decay_on == "all" or value.ndim == 4:
                half = (c / 2) * value.square().sum()
                value.grad += torch.autograd.grad(half, value)[0]
            if name.startswith(("head.1", "aux.0")):  # of the whole cost, as tensorpack's ScaleGradient
                value.grad *= self.p.grad_weight if name.endswith("weight") else self.p.grad_bias
        self.optimizer.step()
        return loss.item()


class TensorFlowAdam(torch.optim.Optimizer):
    """tf.train.AdamOptimizer as its documentation has it: lr_t m / (sqrt(v) + eps)."""

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for value in group["params"]:
                assert value.grad is not None
                state = self.state[value]
                state["t"] = t = state.get("t", 0) + 1
                state["m"] = 0.9 * state.get("m", 0.0) + 0.1 * value.grad
                state["v"] = 0.999 * state.get("v", 0.0) + 0.001 * value.grad.square()
                lr = group["lr"] * math.sqrt(1 - 0.999**t) / (1 - 0.9**t)
                with torch.no_grad():
                    value -= lr * state["m"] / (state["v"].sqrt() + group["eps"])


def test_groups_go_by_name_and_kind() -> None:
    groups = optimizers.parameter_groups(TinyNet(), some_params(lr_backbone=0.1, weight_decay_on="kernels"))
    found = {(g["multiplier"], g["decays"]): sum(p.numel() for p in g["params"]) for g in groups}
    # conv 8x3x3x3 | its bias and BN | two classifiers 3x8 | their biases
    assert found == {(0.1, True): 216, (0.1, False): 24, (1.0, True): 48, (1.0, False): 6}


def test_squeeze_and_excitation_does_not_decay() -> None:
    """Page 003: L2 on slim's convolutions; tf.layers.dense has none."""
    model = build(model_params(dense(TINY, 12, se=4)), num_classes=CLASSES)
    groups = optimizers.parameter_groups(model, some_params(weight_decay_on="kernels"))
    decaying = {id(parameter) for group in groups if group["decays"] for parameter in group["params"]}
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    assert linear
    assert not any(id(module.weight) in decaying for module in linear)


@pytest.mark.parametrize(
    ("name", "inside", "outside"),
    [
        ("voc2012_v3_r101v2_os16_513_x4", {"head.aspp", "head.classifier"}, {"backbone.stages.3"}),
        (
            "voc2012_v3_r101v2_os16_513_noaspp_x4",
            {"backbone.stages.4", "backbone.stages.6"},
            {"backbone.stages.3"},
        ),
    ],
)
def test_slim_multiplies_gradients_of_all_but_imagenet_weights(
    root: Path, name: str, inside: set[str], outside: set[str]
) -> None:
    """Its scope lr_multiply: the whole head, and blocks 5 to 7 where there is no ASPP (page 003)."""
    found = load_experiment(Project(root), name)
    model = build_on_meta(found.model, num_classes=21)
    multiplied = {id(parameter) for parameter, _ in optimizers.gradient_multipliers(model, found.training)}
    names = [name for name, parameter in model.named_parameters() if id(parameter) in multiplied]
    assert all(any(name.startswith(part) for name in names) for part in inside)
    assert not any(name.startswith(tuple(outside)) for name in names)
    assert not any("bn" in name or "norm" in name for name in names)


def test_classifiers_are_found_in_all_heads() -> None:
    assert [c.out_channels for c in optimizers.classifiers(TinyNet())] == [CLASSES, CLASSES]


def test_accumulated_micro_batches_are_one_update() -> None:
    """Without BN and dropout the gradient of 4 micro-batches is that of the batch, whatever is ignored."""
    torch.manual_seed(0)
    first = TinyNet(norm=False, dropout=0.0).state_dict()
    states = []
    for accumulate in (1, 4):
        p = some_params(batch=8, accumulate=accumulate)
        run = start(tiny_task(Path(), None, p, model=TinyNet(norm=False, dropout=0.0)))
        run.model.load_state_dict(first)
        for batch in batches(0, 3, batch=8):
            update(run, batch)
            run.iteration += 1
        states.append(run.model.state_dict())
    for name in states[0]:
        torch.testing.assert_close(states[0][name], states[1][name], rtol=1e-5, atol=1e-7)


def test_frozen_norms_keep_their_statistics_and_fixed_ones_their_scale(tmp_path: Path) -> None:
    torch.manual_seed(0)
    before = TinyNet().state_dict()
    frozen = run_tiny(tmp_path / "a", some_params(batch_norm="frozen")).state_dict
    assert torch.equal(frozen["backbone.1.running_mean"], before["backbone.1.running_mean"])
    assert not torch.equal(frozen["backbone.1.weight"], before["backbone.1.weight"])
    fixed = run_tiny(tmp_path / "b", some_params(norm_affine="fixed")).state_dict
    assert not torch.equal(fixed["backbone.1.running_mean"], before["backbone.1.running_mean"])
    assert torch.equal(fixed["backbone.1.weight"], before["backbone.1.weight"])


@pytest.mark.parametrize(
    "changes", [{"precision": "bf16", "channels_last": True}, {"precision": "tf32"}], ids=str
)
def test_other_precisions_train_alike(tmp_path: Path, changes: dict[str, Any]) -> None:
    exact = numbers_of(tmp_path / "fp32", some_params())
    other = numbers_of(tmp_path / "other", some_params(**changes))
    assert other == pytest.approx(exact, rel=0.02)


def numbers_of(work: Path, p: Any) -> list[float]:
    run_tiny(work, p)
    return [values["train/loss"] for _, values in numbers(work)]


def test_fp16_on_a_cpu_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="fp16 needs a GPU"):
        run_tiny(tmp_path, some_params(precision="fp16"))


def test_the_machine_is_left_as_it_was() -> None:
    before = (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled())
    with runtime.runtime_settings(some_params(threads=1, precision="tf32"), seed=3):
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.get_float32_matmul_precision() == "high"
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before
    assert torch.get_float32_matmul_precision() == "highest"


def test_operations_without_a_deterministic_kernel_are_listed() -> None:
    import warnings

    message = (
        "upsample_bilinear2d_backward_out_cuda does not have a deterministic implementation, but you set"
    )
    with runtime.runtime_settings(some_params(), seed=0) as found:
        for _ in range(2):
            warnings.warn(message, stacklevel=1)
    assert found == ["upsample_bilinear2d_backward_out_cuda"]


def test_compile_with_wrong_gradients_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    net = TinyNet()
    image = torch.rand(2, 3, 8, 8)

    def step(runner: nn.Module) -> None:
        torch.stack([head.square().mean() for head in runner(image)]).sum().backward()

    class Broken(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, ...]:
            return tuple(head * 0.0 for head in net(x))

    buffers = {name: value.clone() for name, value in net.named_buffers()}
    monkeypatch.setattr(torch, "compile", lambda model: Broken())
    assert runtime.compiled(net, step) == (net, 1.0)
    monkeypatch.setattr(torch, "compile", lambda model: nn.Sequential(model))
    fast, difference = runtime.compiled(net, step)
    assert difference is None
    assert isinstance(fast, nn.Sequential)
    assert all(torch.equal(value, buffers[name]) for name, value in net.named_buffers())
    assert all(p.grad is None for p in net.parameters())


def test_nan_stops_the_run_and_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    def feed(start: int, stop: int) -> Iterator[Cut]:
        for i, cut in enumerate(batches(start, stop), start=start):
            yield cut if i < 7 else Cut(cut.image_NCHW.float() * math.inf, cut.label_NHW)

    with pytest.raises(TrainingDiverged, match="the loss is nan after 8 iterations") as caught:
        run_tiny(tmp_path, some_params(checkpoint_minutes=0), feed=feed)
    assert caught.value.exit_code == 1
    kept = sorted(path.name[:14] for path in tmp_path.glob("*.ckpt"))
    assert kept == ["step-000000006", "step-000000007"]
    # Resuming continues before the bad batch and fails in the same way.
    with pytest.raises(TrainingDiverged):
        run_tiny(tmp_path, some_params(checkpoint_minutes=0), feed=feed)


def test_a_loss_above_the_bound_for_long_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(TrainingDiverged, match=r"stayed above training.diverge_loss 0.01 for 6 iter"):
        run_tiny(tmp_path, some_params(diverge_loss=0.01, diverge_after=6))


def test_best_weights_are_kept_and_validation_changes_nothing(tmp_path: Path) -> None:
    scores = iter([10.0, 30.0, 20.0, 25.0])
    seen: list[dict[str, Tensor]] = []

    def validate(model: nn.Module) -> Mapping[str, float]:
        assert not model.training
        torch.rand(3)  # draws that must not reach the training
        model.to(memory_format=torch.channels_last)
        seen.append({name: value.clone() for name, value in model.state_dict().items()})
        return {"mIoU": next(scores)}

    p = some_params(keep="best", validate_every=3)
    outcome = run_tiny(tmp_path / "a", p, validate=validate)
    assert (outcome.chosen, outcome.iterations) == (6, 12)
    assert same(outcome.state_dict, seen[1])
    assert same(seen[-1], run_tiny(tmp_path / "b").state_dict)
    assert [v["val/mIoU"] for _, v in numbers(tmp_path / "a") if "val/mIoU" in v] == [10, 30, 20, 25]
    curve = curve_csv(tmp_path / "a" / "journal.jsonl").splitlines()
    assert curve[0] == "step,loss,lr,val_mIoU"
    assert [line.split(",")[3] for line in curve if line.startswith("6,")] == ["30"]


def test_plateau_lowers_the_rate_and_survives_a_resume(tmp_path: Path) -> None:
    p = some_params(
        schedule="plateau", monitor="loss", validate_every=2, plateau_patience=1, checkpoint_minutes=0
    )  # fmt: skip

    def rates(work: Path, stop_at: int | None) -> list[float]:
        def feed(start: int, stop: int) -> Iterator[Cut]:
            yield from batches(start, stop if stop_at is None else min(stop, stop_at))
            if stop_at is not None and start < stop_at:
                raise RuntimeError("power cut")

        run_tiny(work, p, feed=feed, validate=lambda model: {"loss": 1.0})
        return [values["train/lr"] for _, values in numbers(work) if "train/lr" in values]

    whole = rates(tmp_path / "a", None)
    assert whole == pytest.approx([0.05 * 0.5 ** max(k - 1, 0) for k in range(6)])
    with pytest.raises(RuntimeError):
        rates(tmp_path / "b", 7)
    assert rates(tmp_path / "b", None) == whole


def test_the_journal_reports_losses_rates_and_checkpoints(tmp_path: Path) -> None:
    run_tiny(tmp_path, some_params(iterations=5))
    assert [step for step, _ in numbers(tmp_path)] == [2, 4, 5]
    kinds = [entry["kind"] for entry in read_journal(tmp_path / "journal.jsonl")]
    assert kinds[-2:] == ["checkpoint", "nondeterministic"]


def test_progress_hears_of_every_update(tmp_path: Path) -> None:
    heard: list[Any] = []
    run_tiny(tmp_path, progress=heard.append)
    assert [status.iteration for status in heard] == list(range(1, 13))
    assert heard[-1].eta_s == 0
    assert 0 <= heard[-1].data_wait <= 1
    assert heard[-1].images_per_s > 0
    assert heard[-1].loss == pytest.approx(numbers(tmp_path)[-1][1]["train/loss"])


def test_an_error_while_making_a_batch_is_raised_in_the_loop() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise ValueError("bad image")

    taken = prefetch(broken())
    assert next(taken)[0] == 1
    with pytest.raises(ValueError, match="bad image"):
        next(taken)


def test_prefetching_ends_with_the_loop() -> None:
    made: list[int] = []
    before = set(threading.enumerate())

    def endless() -> Iterator[int]:
        try:
            while True:
                made.append(0)
                yield 0
        finally:
            made.append(-1)

    taken = prefetch(endless())
    next(taken)
    assert set(threading.enumerate()) > before
    taken.close()
    assert set(threading.enumerate()) == before
    assert made.count(-1) == 1, "the loader is closed, too"
    assert len(made) <= 1 + DEPTH + 1


def test_both_tensors_of_every_batch_are_pinned_where_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pinning needs a GPU, so a fake value shows which batches are pinned."""
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor + 1)
    plain, pinned = ([batch for batch, _ in prefetch(batches(0, 6), pin=pin)] for pin in (False, True))
    assert len(plain) == len(pinned) == 6
    for one, other in zip(plain, pinned, strict=True):
        assert torch.equal(other.image_NCHW, one.image_NCHW + 1)
        assert torch.equal(other.label_NHW, one.label_NHW + 1)


def test_the_wait_for_a_batch_is_measured() -> None:
    """All of it where the loop does nothing else; none where the batch was made during the step."""
    all_made = threading.Event()

    def slow() -> Iterator[int]:
        for i in range(4):
            time.sleep(0.1)
            yield i
        all_made.set()

    assert sum(waited for _, waited in prefetch(slow())) > 0.2
    all_made.clear()
    after_the_first = []
    for i, waited in prefetch(slow()):
        after_the_first += [waited] if i else []
        assert all_made.wait(10)
    assert sum(after_the_first) < 0.1


def test_pixels_are_counted_over_the_whole_update() -> None:
    label = only_classes(next(batches(0, 1)).label_NHW, classes=CLASSES)
    assert counted_pixels(label, some_params()) == int((label < CLASSES).sum())
    assert counted_pixels(label, some_params(loss_average="all")) == label.numel()


def test_an_overflow_in_the_first_update_leaves_no_garbage() -> None:
    """fp16: the scaler skips an update whose gradients overflow, the very first ones too."""
    torch.manual_seed(0)
    net = nn.Linear(4, 4)
    optimizer = optimizers.optimizer_for(net, some_params(precision="fp16"))
    scaler = torch.amp.GradScaler("cpu")
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = True  # type: ignore[attr-defined]
    try:
        for value in (math.inf, 1.0):
            for parameter in net.parameters():
                parameter.grad = torch.full_like(parameter, value)
            scaler.scale(torch.zeros(()))  # the scale exists after its first use
            scaler.unscale_(optimizer)
            scaler.step(optimizer)
            scaler.update()
    finally:
        torch.use_deterministic_algorithms(False)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    assert all(torch.isfinite(parameter).all() for parameter in net.parameters())
