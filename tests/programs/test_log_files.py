"""Log files of training programs become entries of the journal, each value once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from repro.programs.log_files import LogFiles, parse
from repro.records import Journal, read_journal

MMENGINE = """\
{"lr": 0.01, "data_time": 0.1, "loss": 1.5, "time": 0.5, "iter": 10, "memory": 0, "step": 10}
{"aAcc": 50.0, "mIoU": 25.0, "step": 10}
not JSON
{"lr": 0.005, "loss": 1.0, "iter": 20, "step": 20}
"""
LIGHTNING = """\
epoch,step,train_loss,val_mIoU
0,4,0.75,
0,9,,0.3
"""


def points(journal: Path) -> list[tuple[int, str, float]]:
    lines = [entry for entry in read_journal(journal) if entry["kind"] == "metrics"]
    return [(line["step"], name, value) for line in lines for name, value in line["values"].items()]


@pytest.mark.parametrize(
    ("text", "name", "log_format", "wanted"),
    [
        (MMENGINE, "scalars.json", "auto", [(10, "loss", 1.5), (10, "mIoU", 25.0), (20, "lr", 0.005)]),
        (MMENGINE, "x.txt", "mmengine", [(20, "loss", 1.0)]),
        (LIGHTNING, "metrics.csv", "auto", [(4, "train_loss", 0.75), (9, "val_mIoU", 0.3)]),
        (LIGHTNING, "x.log", "lightning", [(4, "train_loss", 0.75)]),
        ('{"iter": 3, "a@b": 1, "flag": true, "note": "x"}', "x.json", "auto", [(3, "a_b", 1.0)]),
    ],
)
def test_formats(text: str, name: str, log_format: str, wanted: list[tuple[int, str, float]]) -> None:
    found = [(step, key, v) for step, values in parse(text, name, log_format) for key, v in values.items()]
    assert set(wanted) <= set(found)
    assert not {"step", "iter", "epoch", "flag", "note"} & {key for _, key, _ in found}


def test_lines_without_a_step_are_no_metrics() -> None:
    for text in ('{"loss": 1}', '{"step": -1, "loss": 1}', '{"step": 1e99, "loss": 1}', "[1]", '{"step": 3}'):
        assert list(parse(text, "x.json", "auto")) == [], text


def test_a_growing_file_is_read_live_and_each_value_once(tmp_path: Path) -> None:
    log, journal = tmp_path / "run" / "log.json", tmp_path / "journal.jsonl"
    Journal(journal).close()
    files = LogFiles(str(tmp_path / "*" / "log.json"), "auto", journal)
    files.read()
    assert not files.found
    log.parent.mkdir()
    with log.open("w") as file:
        for step in range(3):
            file.write(json.dumps({"step": step, "loss": step / 2}) + "\n" + '{"step": 9, "lo')
            file.flush()
            files.read()
            assert points(journal)[-1] == (step, "loss", step / 2)
            file.seek(file.tell() - len('{"step": 9, "lo'))
            file.truncate()
    again = LogFiles(str(log), "auto", journal)  # a second start
    log.write_text(log.read_text() + '{"step": 3, "loss": NaN}\n{"step": 4, "loss": 7}')  # no last line end
    again.read()
    again.read(final=True)
    again.read(final=True)
    assert points(journal) == [(0, "loss", 0.0), (1, "loss", 0.5), (2, "loss", 1.0), (4, "loss", 7.0)]
    assert [entry["kind"] for entry in read_journal(journal)].count("not_finite") == 1


def test_a_table_that_is_written_again_with_more_columns(tmp_path: Path) -> None:
    log, journal = tmp_path / "metrics.csv", tmp_path / "journal.jsonl"
    Journal(journal).close()
    files = LogFiles(str(log), "auto", journal)
    log.write_text("step,loss\n1,0.5\n")
    files.read()
    log.write_text("step,loss,val\n1,0.5,\n2,0.25,0.1\n")
    files.read()
    assert points(journal) == [(1, "loss", 0.5), (2, "loss", 0.25), (2, "val", 0.1)]
