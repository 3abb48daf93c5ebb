"""`repro.log` in a training program: a line in the stage's journal, and nothing that could stop it."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import repro
from repro.live_log import JOURNAL
from repro.records import Journal, read_journal


def test_metrics_go_to_the_journal_of_the_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "journal.jsonl"
    Journal(path).close()
    monkeypatch.setenv(JOURNAL, str(path))
    repro.log({"loss": 0.25, "lr": float("nan")}, step=3)
    monkeypatch.setenv("RANK", "1")
    repro.log({"loss": 9.0}, step=4)
    entries = [{key: value for key, value in entry.items() if key != "at"} for entry in read_journal(path)]
    assert entries == [
        {"kind": "metrics", "step": 3, "values": {"loss": 0.25}},
        {"kind": "not_finite", "step": 3, "values": {"lr": "nan"}},
    ]


def test_outside_a_stage_nothing_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(JOURNAL, raising=False)
    monkeypatch.chdir(tmp_path)
    repro.log({"loss": 0.25}, step=3)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_logged_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "journal.jsonl"
    for place, metrics, step in (
        (path, {"loss": "high"}, 1),
        (path, {"loss": 1.0}, -1),
        (tmp_path, {"loss": 1.0}, 1),
    ):
        monkeypatch.setenv(JOURNAL, str(place))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            repro.log(metrics, step=step)  # type: ignore[arg-type]
        assert "was not logged" in str(caught[0].message), (place, metrics, step)
    assert not path.exists()


def test_a_program_pays_nothing_for_it() -> None:
    code = (
        "import sys; from repro import log; print(*sorted(n for n in sys.modules if n.startswith('repro')))"
    )
    heavy = "; print(*({'numpy', 'yaml', 'pydantic', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code + heavy], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["repro repro.live_log", ""]
