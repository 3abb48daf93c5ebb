"""Killed, stopped, corrupt checkpoints: a resumed run equals an uninterrupted one, bit for bit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from repro.errors import CheckpointError, Interrupted
from repro.records import read_journal
from repro.training import checkpoint, loop, monitor
from repro.training.checkpoint import remove_checkpoints, rewind
from repro.training.monitor import Status
from tests.training.kit import Cut, batches, numbers, run_tiny, same, some_params


@pytest.mark.slow
def test_25_kills_at_random_moments_change_nothing(tmp_path: Path, root: Path) -> None:
    """kill -9, most often in the middle of writing a checkpoint: weights and journal as never killed."""
    command = [sys.executable, "-m", "tests.training.crash", str(tmp_path), "11", "25"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True, timeout=300)
    assert int(done.stdout) == 25
    whole, crashed = (torch.load(tmp_path / name / "done.pt") for name in ("whole", "crashed"))
    assert same(whole["weights"], crashed["weights"])
    assert whole["chosen"] == crashed["chosen"]
    assert numbers(tmp_path / "whole") == numbers(tmp_path / "crashed")
    # Losses at every 3rd of 150 iterations; validations at every 7th and the last.
    assert len(numbers(tmp_path / "whole")) == 50 + 22
    resumed = [e for e in read_journal(tmp_path / "crashed" / "journal.jsonl") if e["kind"] == "resumed"]
    assert resumed
    assert not list((tmp_path / "crashed").glob(".*.part"))


@pytest.mark.parametrize(
    "changes", [{"optimizer": "adam"}, {"precision": "bf16", "channels_last": True}], ids=str
)
def test_resume_is_exact_for(tmp_path: Path, changes: dict[str, Any]) -> None:
    p = some_params(checkpoint_minutes=0, **changes)
    whole = run_tiny(tmp_path / "whole", p)
    with pytest.raises(PowerCut):
        run_tiny(tmp_path / "cut", p, feed=cut_at(5))
    outcome = run_tiny(tmp_path / "cut", p)
    assert outcome.resumed_from == 5
    assert same(outcome.state_dict, whole.state_dict)
    assert numbers(tmp_path / "cut") == numbers(tmp_path / "whole")


class PowerCut(Exception):
    pass


def cut_at(iteration: int, then: type[Exception] = PowerCut) -> Any:
    def feed(start: int, stop: int) -> Iterator[Cut]:
        yield from batches(start, iteration)
        raise then

    return feed


def test_two_checkpoints_are_kept_and_named_by_their_content(tmp_path: Path) -> None:
    run_tiny(tmp_path, some_params(checkpoint_minutes=0))
    kept = checkpoint.checkpoints(tmp_path)
    assert [path.name[:14] for path in kept] == ["step-000000011", "step-000000012"]
    import hashlib

    for path in kept:
        assert hashlib.sha256(path.read_bytes()).hexdigest()[:16] == path.name[15:31]


@pytest.mark.parametrize("damage", ["flip", "cut", "empty"])
def test_a_damaged_newest_checkpoint_is_skipped(tmp_path: Path, damage: str) -> None:
    p = some_params(checkpoint_minutes=0)
    whole = run_tiny(tmp_path / "whole", p)
    with pytest.raises(PowerCut):
        run_tiny(tmp_path / "cut", p, feed=cut_at(8))
    newest = checkpoint.checkpoints(tmp_path / "cut")[-1]
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes({"flip": bytes(data), "cut": bytes(data[:-100]), "empty": b""}[damage])
    outcome = run_tiny(tmp_path / "cut", p)
    assert outcome.resumed_from == 7
    assert same(outcome.state_dict, whole.state_dict)
    assert numbers(tmp_path / "cut") == numbers(tmp_path / "whole")
    events = [
        e for e in read_journal(tmp_path / "cut" / "journal.jsonl") if e["kind"] == "damaged_checkpoint"
    ]
    assert [event["file"] for event in events] == [newest.name]


def test_the_best_weights_of_the_older_checkpoint_are_there_too(tmp_path: Path) -> None:
    p = some_params(checkpoint_minutes=0, keep="best", validate_every=2)
    values = iter(range(100))
    with pytest.raises(PowerCut):
        run_tiny(tmp_path, p, feed=cut_at(8), validate=lambda model: {"mIoU": float(next(values))})
    older, newest = (torch.load(path)["best"] for path in checkpoint.checkpoints(tmp_path))
    assert (older["iteration"], newest["iteration"]) == (6, 8)
    assert [path.name for path in sorted(tmp_path.glob("best-*.pt"))] == [older["name"], newest["name"]]


@pytest.mark.parametrize("damage", ["flip", "cut", "gone"])
def test_damaged_best_weights_are_no_result(tmp_path: Path, damage: str) -> None:
    """A checkpoint that refers to them is skipped, and the result is the same."""
    p = some_params(checkpoint_minutes=0, keep="best", validate_every=2)
    size = lambda model: {"mIoU": -float(sum(q.detach().abs().sum() for q in model.parameters()))}  # noqa: E731
    whole = run_tiny(tmp_path / "whole", p, validate=size)
    with pytest.raises(PowerCut):
        run_tiny(tmp_path / "cut", p, feed=cut_at(8), validate=size)
    newest = torch.load(checkpoint.checkpoints(tmp_path / "cut")[-1])["best"]
    path = tmp_path / "cut" / newest["name"]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data[:-100] if damage == "cut" else data))
    if damage == "gone":
        path.unlink()
    outcome = run_tiny(tmp_path / "cut", p, validate=size)
    assert outcome.resumed_from < 8
    assert outcome.chosen == whole.chosen
    assert same(outcome.state_dict, whole.state_dict)


def test_best_weights_damaged_while_training_end_it_clearly(tmp_path: Path) -> None:
    p = some_params(keep="best", validate_every=2)

    def progress(status: Status) -> None:
        if status.iteration == 11:
            (path,) = tmp_path.glob("best-*.pt")
            path.write_bytes(b"")

    falling = iter([1.0, *[0.0] * 10])
    with pytest.raises(CheckpointError, match="the best weights are corrupt"):
        run_tiny(tmp_path, p, validate=lambda model: {"mIoU": next(falling)}, progress=progress)


def test_a_damaged_checkpoint_takes_no_good_ones_place(tmp_path: Path) -> None:
    p = some_params(checkpoint_minutes=0)
    with pytest.raises(PowerCut):
        run_tiny(tmp_path, p, feed=cut_at(5))
    newest = checkpoint.checkpoints(tmp_path)[-1]
    newest.rename(newest.with_name("step-000000055-0123456789abcdef.ckpt"))
    with pytest.raises(PowerCut):
        run_tiny(tmp_path, p, feed=cut_at(6))
    assert [path.name[:14] for path in checkpoint.checkpoints(tmp_path)] == [
        "step-000000005",
        "step-000000006",
    ]


def test_training_continues_while_a_checkpoint_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk takes three updates' time; what it holds then is the run as it was when it was saved."""
    whole = run_tiny(tmp_path / "whole")
    later, real = threading.Event(), checkpoint.save_state

    def slow(*args: Any, **kwargs: Any) -> Path:
        assert later.wait(60), "the training waits for the disk"
        return real(*args, **kwargs)

    def progress(status: Status) -> None:
        if status.iteration == 7:
            later.set()

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_state", slow)
        patch.setattr(loop, "checkpoint_is_due", lambda run, stop, minutes: run.iteration == 4)
        with pytest.raises(PowerCut):
            run_tiny(tmp_path / "cut", feed=cut_at(9), progress=progress)
    outcome = run_tiny(tmp_path / "cut")
    assert outcome.resumed_from == 4
    assert same(outcome.state_dict, whole.state_dict)
    assert numbers(tmp_path / "cut") == numbers(tmp_path / "whole")


def test_a_checkpoint_that_cannot_be_written_ends_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*args: Any, **kwargs: Any) -> Path:
        raise OSError("the disk went away")

    monkeypatch.setattr(checkpoint, "save_state", failing)
    with pytest.raises(OSError, match="the disk went away"):
        run_tiny(tmp_path, some_params(checkpoint_minutes=0, iterations=1000))
    kinds = [entry["kind"] for entry in read_journal(tmp_path / "journal.jsonl")]
    assert "checkpoint" not in kinds


def test_with_all_checkpoints_damaged_the_run_starts_again(tmp_path: Path) -> None:
    p = some_params(checkpoint_minutes=0)
    whole = run_tiny(tmp_path, p)
    before = numbers(tmp_path)
    for path in checkpoint.checkpoints(tmp_path):
        path.write_bytes(b"not a checkpoint")
    outcome = run_tiny(tmp_path, p)
    assert outcome.resumed_from == 0
    assert same(outcome.state_dict, whole.state_dict)
    assert numbers(tmp_path) == before


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    p = some_params(checkpoint_minutes=0)
    real, calls = os.fsync, []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) > 30:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        run_tiny(tmp_path / "a", p)
    monkeypatch.undo()
    assert not list((tmp_path / "a").glob(".*.part"))
    assert checkpoint.load_state(tmp_path / "a").state is not None
    assert same(run_tiny(tmp_path / "a", p).state_dict, run_tiny(tmp_path / "b", p).state_dict)


def test_a_disk_that_really_ends_names_the_file(tmp_path: Path) -> None:
    """No file may grow beyond a megabyte: torch's writer would say "unexpected pos" and nothing else."""
    import errno
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        with pytest.raises(OSError, match=r"\.part") as caught:
            checkpoint.save_state(tmp_path, {"a": torch.zeros(1 << 20)}, iteration=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.errno == errno.EFBIG
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_stops(tmp_path: Path, number: signal.Signals) -> None:
    def feed(start: int, stop: int) -> Iterator[Cut]:
        for i, cut in enumerate(batches(start, stop), start=start):
            if i == 6:
                os.kill(os.getpid(), number)
            yield cut

    before = signal.getsignal(number)
    with pytest.raises(Interrupted, match="of 12 iterations") as caught:
        run_tiny(tmp_path / "a", feed=feed)
    assert caught.value.exit_code == 130
    assert signal.getsignal(number) is before
    done = rewind(tmp_path / "a", tmp_path / "a" / "journal.jsonl")
    assert 0 < done < 12
    outcome = run_tiny(tmp_path / "a")
    assert outcome.resumed_from == done
    assert same(outcome.state_dict, run_tiny(tmp_path / "b").state_dict)


def test_a_finished_run_is_not_trained_again_until_it_is_forgotten(tmp_path: Path) -> None:
    first = run_tiny(tmp_path)
    again = run_tiny(tmp_path, feed=lambda start, stop: iter(()))
    assert again.resumed_from == 12
    assert same(first.state_dict, again.state_dict)
    remove_checkpoints(tmp_path)
    assert not checkpoint.checkpoints(tmp_path)
    assert run_tiny(tmp_path).resumed_from == 0


def test_validation_does_not_depend_on_when_a_checkpoint_was_written(tmp_path: Path) -> None:
    p = some_params(keep="best", validate_every=2)

    def validate(model: torch.nn.Module) -> dict[str, float]:
        return {"mIoU": -abs(float(sum(q.sum() for q in model.parameters())))}

    seldom = run_tiny(tmp_path / "a", p, validate=validate)
    often = run_tiny(
        tmp_path / "b", some_params(keep="best", validate_every=2, checkpoint_minutes=0), validate=validate
    )
    assert seldom.chosen == often.chosen
    assert same(seldom.state_dict, often.state_dict)
    referred = {torch.load(path)["best"]["name"] for path in checkpoint.checkpoints(tmp_path / "b")}
    assert {path.name for path in (tmp_path / "b").glob("best-*.pt")} == referred


@pytest.mark.parametrize("stopped_at", [2, 6, 12])
def test_a_signal_during_a_validation_saves_and_the_resumed_run_equals_one_never_stopped(
    tmp_path: Path, stopped_at: int
) -> None:
    """Also at the last iteration: the validation that did not end comes first."""
    p = some_params(iterations=12, keep="best", validate_every=2, checkpoint_minutes=100)
    seen: list[int] = []

    def size(model: torch.nn.Module) -> dict[str, float]:
        return {"mIoU": -float(sum(q.detach().abs().sum() for q in model.parameters()))}

    def interrupted(model: torch.nn.Module) -> dict[str, float] | None:
        seen.append(2 * len(seen) + 2)
        if seen[-1] != stopped_at:
            return size(model)
        os.kill(os.getpid(), signal.SIGTERM)
        assert monitor.signalled()
        return None

    whole = run_tiny(tmp_path / "whole", p, validate=size)
    with pytest.raises(Interrupted, match=f"after {stopped_at} of 12"):
        run_tiny(tmp_path / "cut", p, validate=interrupted)
    assert not monitor.signalled()
    assert torch.load(checkpoint.checkpoints(tmp_path / "cut")[-1])["iteration"] == stopped_at
    outcome = run_tiny(tmp_path / "cut", p, validate=size)
    assert outcome.resumed_from == stopped_at
    assert outcome.chosen == whole.chosen
    assert same(outcome.state_dict, whole.state_dict)
    assert numbers(tmp_path / "cut") == numbers(tmp_path / "whole")
