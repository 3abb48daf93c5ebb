"""Journals, records, verdicts and provenance."""

from __future__ import annotations

import errno
import json
import math
import multiprocessing
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from repro.errors import RecordError, ReproError, UnknownNameError
from repro.io import atomic
from repro.io.redact import redact_command
from repro.params import Project
from repro.records import (
    Journal,
    collect,
    default_band,
    device_identity,
    follow_journal,
    read_journal,
    read_record,
    read_records,
    run_key,
    seed_band,
    source_diff,
    synchronize,
    truncate_journal,
    verdict,
    write_bytes,
    write_json,
    write_record,
)
from repro.records.device import gpu_driver
from repro.records.provenance import ENVIRONMENT
from repro.records.seeds import with_replicates
from tests.kit import PROJECT
from tests.reports.kit import a_record

NUMBERS = st.floats(allow_nan=False, allow_infinity=False, width=64)


# --- journal -----------------------------------------------------------------------------------------------


def test_a_journal_returns_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "work" / "journal.jsonl"
    with Journal(path) as journal:
        journal.metrics({"train/loss": 0.1, "train/lr": 1e-3}, step=7)
        journal.event("checkpoint", step=7)
    metrics, checkpoint = read_journal(path)
    assert (metrics["kind"], metrics["step"], metrics["values"]) == (
        "metrics",
        7,
        {"train/loss": 0.1, "train/lr": 1e-3},
    )
    assert (checkpoint["kind"], checkpoint["step"]) == ("checkpoint", 7)
    assert checkpoint["at"] >= metrics["at"] > 1.7e9


@settings(deadline=None, max_examples=30)
@given(values=st.dictionaries(st.text(min_size=1), NUMBERS, min_size=1), cut=st.integers(0, 400))
def test_a_torn_last_line_costs_that_line_alone(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, float], cut: int
) -> None:
    path = tmp_path_factory.mktemp("torn") / "journal.jsonl"
    with Journal(path) as journal:
        journal.metrics({"first": 1.0}, step=0)
        whole = journal.offset
        journal.metrics(values, step=1)
    full = path.read_bytes()
    assert read_journal(path)[1]["values"] == values
    path.write_bytes(full[: min(len(full) - 1, whole + cut)])
    assert [entry["values"] for entry in read_journal(path)] == [{"first": 1.0}]
    with Journal(path) as journal:  # writing on does not glue a line to the torn one
        journal.metrics({"next": 2.0}, step=1)
    assert [entry["values"] for entry in read_journal(path)] == [{"first": 1.0}, {"next": 2.0}]


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_an_event_and_never_a_metric(tmp_path: Path, wrong: float) -> None:
    with Journal(tmp_path / "j") as journal:
        journal.metrics({"train/loss": wrong, "train/lr": 0.1}, step=3)
    metrics, event = read_journal(tmp_path / "j")
    assert metrics["values"] == {"train/lr": 0.1}
    assert (event["kind"], event["step"], event["values"]) == ("not_finite", 3, {"train/loss": str(wrong)})


def test_offset_and_truncate_undo_what_came_after(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with Journal(path) as journal:
        journal.metrics({"x": 1.0}, step=1)
        offset = journal.offset
        journal.metrics({"x": 2.0}, step=2)
        truncate_journal(path, offset)
        journal.metrics({"x": 3.0}, step=2)
    assert [entry["values"]["x"] for entry in read_journal(path)] == [1.0, 3.0]
    assert offset == len(path.read_bytes().split(b"\n")[0]) + 1


def test_a_journal_is_followed_through_torn_lines_and_a_cut(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with Journal(path) as journal:
        journal.metrics({"x": 1.0}, step=1)
        offset = journal.offset
        batches = follow_journal(path)
        assert [entry["step"] for entry in next(batches)] == [1]
        assert next(batches) == []
        with path.open("ab") as file:
            file.write(b'{"kind": "metrics", ')  # a line on its way
        assert next(batches) == []
        with path.open("ab") as file:
            file.write(b'"step": 2, "values": {"x": 2.0}}\nnot JSON\n')
        assert [(e["kind"], e.get("step"), e.get("line")) for e in next(batches)] == [
            ("metrics", 2, None),
            ("damaged", None, 3),
        ]
        truncate_journal(path, offset)
        assert next(batches) == []
        journal.metrics({"x": 3.0}, step=2)
        assert [entry["values"]["x"] for entry in next(batches)] == [3.0]


def test_a_damaged_line_is_reported_in_its_place(tmp_path: Path) -> None:
    path = tmp_path / "j"
    path.write_bytes(b'{"kind": "a", "at": 1}\n\xff\xfe{"ki\n[1]\n{"kind": "b", "at": 2}\n{"at": 3}\n')
    assert [(e["kind"], e.get("line")) for e in read_journal(path)] == [
        ("a", None),
        ("damaged", 2),
        ("damaged", 3),
        ("b", None),
        ("damaged", 5),
    ]


def _write_lines(path: Path, name: str) -> None:
    with Journal(path) as journal:
        for step in range(200):
            journal.metrics({name: float(step)}, step=step)


def test_processes_that_append_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "j"
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write_lines, args=(path, name)) for name in "abcd"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    entries = read_journal(path)
    for name in "abcd":
        assert [e["step"] for e in entries if name in e["values"]] == list(range(200))


def test_a_line_written_while_opening_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process may append between the check for an incomplete line and the truncation."""
    path = tmp_path / "j"
    with Journal(path) as first:
        first.metrics({"loss": 0.5}, step=0)
        looked = path.read_bytes()

        def read_bytes(_: Path) -> bytes:
            monkeypatch.undo()
            first.metrics({"loss": 0.5}, step=1)
            return looked

        monkeypatch.setattr(Path, "read_bytes", read_bytes)
        with Journal(path) as second:
            second.metrics({"loss": 0.5}, step=2)
    assert [entry["step"] for entry in read_journal(path)] == [0, 1, 2]


def test_a_full_disk_leaves_whole_lines(tmp_path: Path) -> None:
    """A limit on the file size simulates a full disk: write() fails in the middle of a line."""
    code = f"""
import resource, signal, sys
from pathlib import Path
from types import SimpleNamespace
from repro.records import Journal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
with Journal(Path({str(tmp_path / "j")!r})) as journal:
    try:
        for step in range(100):
            journal.metrics({{"loss": 0.5}}, step=step)
    except OSError as error:
        print(error.errno, step)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    number, failed_at = map(int, done.stdout.split())
    assert number == errno.EFBIG
    entries = read_journal(tmp_path / "j")
    assert [entry["step"] for entry in entries] == list(range(failed_at))
    assert (tmp_path / "j").read_bytes().endswith(b"\n")


# --- files -------------------------------------------------------------------------------------------------


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out.json"
    write_json(path, {"old": 1})

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"\.out\.json\..*\.part"):
        write_bytes(path, b"new")
    assert json.loads(path.read_text()) == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["out.json"]
    with pytest.raises(ValueError):
        write_json(path, {"x": math.nan})


@settings(deadline=None, max_examples=30)
@given(st.dictionaries(st.text(), st.one_of(st.integers(), st.text(), NUMBERS), min_size=2))
def test_run_key_ignores_order_and_sees_every_value(params: dict[str, Any]) -> None:
    backwards = dict(reversed(params.items()))
    assert run_key(params) == run_key(backwards)
    assert len(run_key(params)) == 16
    name = next(iter(params))
    assert run_key({**params, name: "something else"}) != run_key(params) or params[name] == "something else"


# --- records -----------------------------------------------------------------------------------------------


def test_a_record_survives_its_file(tmp_path: Path) -> None:
    path = tmp_path / "rows" / "camvid_x.json"
    written = write_record(path, a_record())
    assert read_record(path) == written
    assert len(written.content_hash) == 64
    assert read_records(path.parent) == ({path.stem: written}, {})
    assert read_records(tmp_path / "nowhere") == ({}, {})


def test_of_many_records_the_damaged_ones_say_why(tmp_path: Path) -> None:
    written = write_record(tmp_path / f"{a_record().experiment}.json", a_record())
    write_record(tmp_path / "of_another.json", a_record())
    (tmp_path / "half.json").write_text("{")
    (tmp_path / "folder.json").mkdir()
    records, damaged = read_records(tmp_path)
    assert records == {written.experiment: written}
    assert {name: error.what.partition(":")[0] for name, error in damaged.items()} == {
        "folder": "cannot be read",
        "half": "not JSON",
        "of_another": f"the record of '{written.experiment}' is named 'of_another'",
    }


def test_an_edited_record_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_record(path, a_record(metrics={"mIoU": 81.25}))
    path.write_text(path.read_text().replace("81.25", "91.25"))
    with pytest.raises(RecordError, match="edited after it was written"):
        read_record(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        ('{"schema": 99}', "record of schema 99"),
        ('{"schema": 1, "experiment": "x"}', "missing key"),
    ],
)
def test_what_is_not_a_record_says_so(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(RecordError, match=message):
        read_record(path)


def test_a_missing_record_names_its_neighbour(tmp_path: Path) -> None:
    write_record(tmp_path / "camvid_r18.json", a_record())
    with pytest.raises(UnknownNameError, match="did you mean 'camvid_r18'"):
        read_record(tmp_path / "camvid_r19.json")


def test_nan_never_enters_a_record(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        write_record(tmp_path / "x.json", a_record(metrics={"mIoU": math.nan}))
    assert not (tmp_path / "x.json").exists()


def test_a_record_with_nan_is_not_a_record(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_record(path, a_record(metrics={"mIoU": 81.25}))
    path.write_text(path.read_text().replace("81.25", "NaN"))
    with pytest.raises(RecordError, match="NaN is not a finite number"):
        read_record(path)


def test_seeds_of_one_experiment_are_one_family() -> None:
    first = a_record()
    second = a_record(params={**first.params, "seed": 1, "name": "other", "note": "x"})
    wider = a_record(params={**first.params, "model": {"backbone": "resnet"}})
    assert first.family_key == second.family_key != wider.family_key


# --- verdicts ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("measured", "reference", "comparable", "expected"),
    [
        (50.5, 50.0, True, "reproduced"),
        (49.5, 50.0, True, "reproduced"),
        (50.51, 50.0, True, "improved"),
        (49.49, 50.0, True, "regressed"),
        (None, 50.0, True, "unmeasured"),
        (math.nan, 50.0, True, "unmeasured"),
        (50.0, None, True, "incomparable"),
        (50.0, 50.0, False, "incomparable"),
    ],
)
def test_verdicts(measured: float | None, reference: float | None, comparable: bool, expected: str) -> None:
    assert verdict(measured=measured, reference=reference, band=0.5, comparable=comparable) == expected


def test_three_seeds_represent_the_measurement() -> None:
    seeds = [49.0, 50.0, 51.0]
    assert verdict(measured=60.0, reference=50.0, band=0.01, seeds=seeds) == "reproduced"
    assert verdict(measured=50.0, reference=60.0, band=0.01, seeds=seeds) == "regressed"
    assert seed_band(seeds[:2]) is None


@pytest.mark.parametrize("count", [3, 4, 10, 11, 20, 200])
def test_the_seed_interval_is_the_prediction_interval_of_scipy(count: int) -> None:
    """For any number of seeds: with 9 degrees of freedom the interval is 8 % too wide for 20 seeds."""
    values = [77.0 + k % 7 / 4 for k in range(count)]
    band = seed_band(values)
    assert band is not None
    spread = scipy.stats.tstd(values) * math.sqrt(1 + 1 / count)
    assert band.value == pytest.approx(scipy.stats.t.ppf(0.975, count - 1) * spread, abs=6e-4)
    assert band.source == f"95 % prediction interval of one more run, from {count} seeds"


def test_bands_say_where_they_come_from() -> None:
    bands = PROJECT.bands
    assert default_band(bands, "released", "ade20k").value == 0.05
    assert default_band(bands, "trained", "voc2012").value == 0.5
    assert default_band(bands, "trained", "ade20k").value > default_band(bands, "trained", "cityscapes").value
    assert "54.0 and 54.8" in default_band(bands, "trained", "camvid").source


def test_a_band_that_is_none_is_an_error(tmp_path: Path) -> None:
    """With the file and the key; a project without bands has the default everywhere."""
    project = Project(tmp_path)
    for text, words in {
        "bands: 3": "bands: 3",
        "bands: {a: 3}": "bands.a: 3",
        "bands: {a: {value: -1, source: x}}": "value",
        "bands: {a: {value: 1}}": "source",
        "bands: {a/b: {value: 1, source: x}}": "a/b",
    }.items():
        project.params.write_text(text)
        with pytest.raises(ReproError, match=re.escape(words)):
            _ = Project(tmp_path).bands
    project.params.write_text("{}")
    assert project.bands == {}


# --- provenance --------------------------------------------------------------------------------------------


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A git repository with one commit: repro/code.py and the pipeline's reports/row.json."""
    for name, text in (("repro/code.py", "x = 1\n"), ("reports/row.json", "{}\n")):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text)
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        _git(tmp_path, *command)
    return tmp_path


def _git(root: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    return subprocess.check_output(["git", *identity, *arguments], cwd=root, text=True)


def test_provenance_separates_code_and_results(repository: Path) -> None:
    git = collect(repository)["git"]
    assert git == {
        "commit": _git(repository, "rev-parse", "HEAD").strip(),
        "dirty": False,
        "diff_sha256": None,
    }
    (repository / "reports" / "row.json").write_text('{"mIoU": 50}\n')  # what the pipeline writes itself
    assert collect(repository)["git"]["dirty"] is False
    (repository / "repro" / "code.py").write_text("x = 2\n")
    assert collect(repository)["git"]["dirty"] is True


def test_the_difference_can_be_applied_to_a_clean_checkout(repository: Path, tmp_path: Path) -> None:
    _git(repository, "config", "diff.noprefix", "true")
    (repository / "repro" / "code.py").write_text("x = 2\n")
    (repository / "experiments" / "neu ü").mkdir(parents=True)
    (repository / "experiments" / "neu ü" / "params.yaml").write_bytes("note: grün\n".encode("latin-1"))
    (repository / "Makefile").write_bytes(b"all:\r\n\ttrue")
    patch = source_diff(repository)
    clean = repository / ".clean"
    _git(repository, "worktree", "add", "-q", "--detach", str(clean), "HEAD")
    subprocess.run(["git", "apply", "-"], cwd=clean, input=patch, check=True)
    for name in ("repro/code.py", "experiments/neu ü/params.yaml", "Makefile"):
        assert (clean / name).read_bytes() == (repository / name).read_bytes()


def test_no_secret_gets_into_provenance(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planted = "ghp_planted0123456789"
    for name in ("GITHUB_TOKEN", "MLFLOW_TRACKING_PASSWORD", "AWS_SECRET_ACCESS_KEY", "OMP_FAKE"):
        monkeypatch.setenv(name, planted)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    command = ["/opt/bin/repro", "train", f"--api-key={planted}", "--token", planted]
    command += [f"https://user:{planted}@example.org/x", f"MY_PASSWORD={planted}"]
    _git(repository, "remote", "add", "origin", f"https://user:{planted}@example.org/x.git")
    for name in (".env", "deploy/.env.local", "API_TOKEN.txt", "deploy/server.key"):
        (repository / name).parent.mkdir(exist_ok=True)
        (repository / name).write_text(planted)
    (repository / "repro" / "tokens.py").write_text("x = 1\n")
    _git(repository, "add", "-f", ".env", "deploy/server.key")  # what git knows of is no better
    found = collect(repository, command=command)
    assert planted not in json.dumps(found)
    assert planted.encode() not in source_diff(repository)
    assert b"tokens.py" in source_diff(repository)
    assert found["command"][:2] == ["repro", "train"]
    assert found["environment"]["OMP_NUM_THREADS"] == "1"
    assert not [name for name in ENVIRONMENT if "TOKEN" in name or "KEY" in name or "PASS" in name]


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://u:pa/ss7@h/db",
        "postgresql://u:p@ss7@h/db",
        "mysql://h/db?password=ss7",
        "x://h?odbc=PWD=ss7",
        "--uri=https://u:p ss7@h/db",
        "https://h/file?sig=ss7",
        "u:ss7@h",
    ],
)
def test_scrub_hides_the_whole_password_of_an_address(address: str) -> None:
    assert "ss7" not in " ".join(redact_command(["mlflow", "ui", address]))


def test_scrub_keeps_ordinary_commands() -> None:
    for command in (["repro", "train", "x", "--workers", "4"], ["dvc", "repro", "prepare@camvid"]):
        assert redact_command(command) == command


def test_device_identity_names_processor_and_threads() -> None:
    identity = device_identity("cpu")
    assert identity["type"] == "cpu"
    assert identity["threads"] >= 1
    assert identity["cores"] >= 1
    assert identity["memory_GiB"] > 0


def test_an_nvidia_gpu_is_recorded_with_driver_and_libraries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its properties and nvidia-smi are simulated; the rest is torch."""
    card = SimpleNamespace(name="H100", total_memory=80 * 2**30, major=9, minor=0)
    asked: list[int] = []
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: asked.append(number) or card)
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 580.65.06\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    gpu_driver.cache_clear()
    identity = device_identity("cuda:1")
    gpu_driver.cache_clear()
    assert asked == [1]
    assert (identity["type"], identity["gpu"], identity["gpu_memory_GiB"]) == ("cuda", "H100", 80.0)
    assert (identity["capability"], identity["driver"]) == ("9.0", "580.65.06")
    assert identity["cuda"] == torch.version.cuda
    assert identity["cudnn"] == torch.backends.cudnn.version()


def test_an_apple_gpu_is_not_its_processor() -> None:
    """Otherwise the speeds of both would be in one column."""
    gpu, cpu = device_identity("mps"), device_identity("cpu")
    assert gpu["type"] == "mps"
    assert cpu["cpu"] in gpu["gpu"] != cpu["cpu"]


def test_only_a_device_with_a_queue_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[str] = []
    monkeypatch.setattr("torch.accelerator.synchronize", waited.append)
    for device in ("cpu", "mps", "cuda:1"):
        synchronize(device)
    assert waited == ["mps", "cuda:1"]


def test_a_killed_write_leaves_nothing_beside_the_file(tmp_path: Path) -> None:
    """A partial file in an output of DVC would be a change, next to README a new file."""
    (tmp_path / "experiments" / "a" / "overlays").mkdir(parents=True)
    (tmp_path / "params.yaml").write_text("{}\n")
    path = tmp_path / "experiments" / "a" / "overlays" / "one.png"
    code = f"""
import os, signal
from pathlib import Path
from repro.io import atomic
atomic.os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
atomic.write_bytes(Path({str(path)!r}), b"half")
"""
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == -9
    assert list(path.parent.iterdir()) == []
    left = tmp_path / ".repro" / "tmp"
    assert len(list(left.iterdir())) == 1
    write_bytes(path, b"whole")  # the next run removes it
    assert path.read_bytes() == b"whole"
    assert list(left.iterdir()) == []


def test_outside_a_project_the_half_is_beside_the_file(tmp_path: Path) -> None:
    assert atomic.temporary_path(tmp_path / "a.json").parent == tmp_path


def test_a_record_names_what_another_machine_measured() -> None:
    first = replace(a_record("a"), model_sha256="1" * 64, content_hash="11")
    second = replace(a_record("a"), model_sha256="2" * 64, content_hash="22")
    both = with_replicates(second, [first])
    assert [one.content_hash for one in both.replicates] == ["11"]
    assert both.replicates[0].metrics == first.metrics
    again = with_replicates(replace(first, content_hash="33"), [replace(both, content_hash="44")])
    assert [one.content_hash for one in again.replicates] == ["44"]
    assert with_replicates(replace(both, replicates=()), [both]).replicates == both.replicates
    other_run = replace(second, run_key="f" * 16)
    assert with_replicates(other_run, [first]).replicates == ()
