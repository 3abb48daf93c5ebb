"""Two real processes over gloo: the same training as one process, whatever happens to one of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from repro.errors import ParamsError
from repro.records import read_journal
from repro.training.distributed import Ranks, first_node, join, pick_device
from repro.training.optimizers import prepare_norms
from tests.fleet import slurm_kit
from tests.training.kit import TinyNet, numbers, some_params

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """The folder in which all jobs ran, and their exit codes."""
    folder = tmp_path_factory.mktemp("ranks")
    done = subprocess.run(
        [sys.executable, "-m", "tests.training.ranks", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return folder, dict(line.split(" ", 1) for line in done.stdout.splitlines())


def difference(a: Path, b: Path) -> float:
    first, second = torch.load(a), torch.load(b)
    return max(float((first[name] - second[name]).abs().max()) for name in first)


@pytest.mark.slow
def test_two_processes_train_as_one_does(jobs: tuple[Path, dict[str, str]]) -> None:
    """Equal total batch, 10 steps; the ranks' images differ in how many pixels are labelled."""
    folder, codes = jobs
    assert codes["two"] == "[0, 0]"
    assert difference(folder / "two" / "weights-0.pt", folder / "one" / "weights-0.pt") < 1e-6
    assert difference(folder / "two" / "weights-0.pt", folder / "two" / "weights-1.pt") == 0
    two, one = numbers(folder / "two"), numbers(folder / "one")
    assert [step for step, _ in two] == list(range(1, 11))
    for (_, a), (_, b) in zip(two, one, strict=True):
        assert a == pytest.approx(b, abs=1e-6)


@pytest.mark.slow
def test_processes_decide_by_the_same_validation(jobs: tuple[Path, dict[str, str]]) -> None:
    """Ranks have separate batch statistics; separate learning rates would make them diverge."""
    folder, codes = jobs
    assert codes["watched"] == "[0, 0]"
    lowered = {values["train/lr"] for _, values in numbers(folder / "watched") if "train/lr" in values}
    assert len(lowered) > 1  # how often follows from the last bits of ten updates
    assert difference(folder / "watched" / "weights-0.pt", folder / "watched" / "weights-1.pt") == 0


@pytest.mark.slow
def test_a_killed_process_ends_the_job_with_a_message(jobs: tuple[Path, dict[str, str]]) -> None:
    folder, codes = jobs
    assert codes["killed"] == "[1, -9]"
    message = (folder / "killed.txt").read_text()
    assert message.startswith("RankLost\nprocess 0 of 2: another process of this job has died")
    assert "resume from the last checkpoint" in message


@pytest.mark.slow
def test_a_job_resumes_with_another_number_of_processes(jobs: tuple[Path, dict[str, str]]) -> None:
    """Documented tolerance: 1e-6 without dropout; the order of images is the same for any number."""
    folder, _ = jobs
    events = read_journal(folder / "killed" / "journal.jsonl")
    assert [e["step"] for e in events if e["kind"] == "resumed"] == [3]
    assert difference(folder / "killed" / "weights-0.pt", folder / "one" / "weights-0.pt") < 1e-6


@pytest.mark.slow
def test_a_signal_to_one_process_stops_all_of_them_saved(jobs: tuple[Path, dict[str, str]]) -> None:
    folder, codes = jobs
    assert codes["stopped"] == "[130, 130]"
    assert max(path.name[:14] for path in (folder / "stopped").glob("*.ckpt")) == "step-000000004"


@pytest.mark.slow
@pytest.mark.skipif(not slurm_kit.installed(), reason="NOT TESTED: no slurm-wlm and munge, or not root")
def test_srun_starts_processes_that_find_each_other(
    jobs: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    """A real slurmctld, slurmd and srun; the two processes get their rank from nothing else."""
    command = ["srun", "-n", "2", sys.executable, "-m", "tests.training.ranks", "--step", str(tmp_path)]
    with slurm_kit.slurm(tmp_path / "cluster") as variables:
        done = subprocess.run(
            command, cwd=ROOT, env=os.environ | variables, capture_output=True, text=True, timeout=300
        )
    assert done.returncode == 0, done.stderr
    assert difference(tmp_path / "srun" / "weights-0.pt", jobs[0] / "one" / "weights-0.pt") < 1e-6
    assert difference(tmp_path / "srun" / "weights-0.pt", tmp_path / "srun" / "weights-1.pt") == 0


def test_sync_bn_is_for_gpus() -> None:
    two = Ranks(device=torch.device("cpu"), world=2)
    with pytest.raises(ParamsError, match="sync needs GPUs"):
        prepare_norms(TinyNet(), some_params(batch_norm="sync"), ranks=two)
    alone = prepare_norms(TinyNet(), some_params(batch_norm="sync"), ranks=Ranks(device=torch.device("cpu")))
    assert not [m for m in alone.modules() if isinstance(m, torch.nn.SyncBatchNorm)]
    gpus = Ranks(device=torch.device("cuda", 0), world=2)
    converted = prepare_norms(TinyNet(), some_params(batch_norm="sync"), ranks=gpus)
    assert [m for m in converted.modules() if isinstance(m, torch.nn.SyncBatchNorm)]
    assert converted.state_dict().keys() == alone.state_dict().keys()


def test_devices_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert join("cpu") == Ranks(device=torch.device("cpu"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ParamsError, match="device 'cuda:1' is not available"):
        pick_device("cuda:1")
    with pytest.raises(ParamsError, match="device 'gpu' is not available"):
        pick_device("gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert pick_device("cuda:1") == torch.device("cuda", 1)
    for wrong in ("cuda:2", "cuda:x"):
        with pytest.raises(ParamsError, match="allowed: auto, cuda:0, cuda:1"):
            pick_device(wrong)


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("gpu[07-09,12],cpu1", "gpu07"),
        ("n1", "n1"),
        ("n1,n2", "n1"),
        ("a[3,5].cluster.org,b", "a3.cluster.org"),
        ("rack-[1-2]", "rack-1"),
    ],
)
def test_processes_of_srun_meet_on_its_first_node(nodes: str, first: str) -> None:
    assert first_node(nodes) == first


def test_a_batch_script_without_srun_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """SLURM's batch step has SLURM_NTASKS and SLURM_PROCID, but no step variables."""
    for name, value in {"SLURM_NTASKS": "4", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}.items():
        monkeypatch.setenv(name, value)
    assert join("cpu") == Ranks(device=torch.device("cpu"))
