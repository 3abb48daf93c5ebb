"""The statistic that a page prints is compared with the same one of ours."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from repro.errors import ParamsError
from repro.judgement import Judge, Judgement, from_project
from repro.params import Project
from repro.published.selection import Selection, read_selections
from repro.records import read_records
from tests.reports.kit import a_project, a_record, seeded


def judged(project: Project, name: str = "camvid_x", **selection: Any) -> Judgement:
    """The judgement of an experiment when its page says how its numbers were chosen."""
    row = read_records(project.rows)[0][name].rows[0]
    path = project.root / "published" / f"{row.rpartition('-')[0]}.yaml"
    path.write_text(yaml.safe_dump({"selection": {"rows": {row: selection}}} if selection else {}))
    project = Project(project.root)
    return Judge(
        project=project, records=read_records(project.rows)[0], experiment=from_project(project)
    ).judge(name)


def test_a_checkpoint_is_compared_with_the_same_choice(tmp_path: Path) -> None:
    project = a_project(tmp_path, a_record())
    keep = read_records(project.rows)[0]["camvid_x"].params["training"]["keep"]
    other = {"best": "last", "last": "best"}[keep]
    assert judged(project).verdict == judged(project, statistic=keep).verdict == "reproduced"
    refused = judged(project, statistic=other)
    assert refused.verdict == "incomparable"
    assert f"the page prints the {other} checkpoint of a run, ours is the {keep}" in refused.reason


def test_too_few_runs_are_not_the_median_of_five(tmp_path: Path) -> None:
    found = judged(a_project(tmp_path, a_record()), statistic="median", of=5)
    assert found.verdict == "incomparable"
    assert "median of 5 runs, 1 of ours ran: `repro run camvid_x --seeds 5`" in found.reason


def test_as_many_runs_give_the_same_statistic(tmp_path: Path) -> None:
    """A run that was recorded while there were too few counts too."""
    numbers = {0: 49.9, 1: 50.9, 2: 49.6}
    runs = [seeded(seed, metrics={"mIoU": value, "aAcc": value}) for seed, value in numbers.items()]
    early = replace(runs[0], verdict="incomparable", notes=("the page prints the median of 3 runs, ...",))
    project = a_project(tmp_path, early, *runs[1:])
    found = {name: judged(project, "camvid_s0", statistic=name, of=3) for name in ("median", "mean", "best")}
    assert {name: one.verdict for name, one in found.items()} == {
        "median": "reproduced",
        "mean": "reproduced",
        "best": "improved",
    }, found
    assert "the best of 3 runs, ours 50.90" in found["best"].reason
    assert judged(project, "camvid_s0", statistic="median", of=4).verdict == "incomparable"


def test_a_block_is_checked() -> None:
    found = read_selections({"statistic": "last", "rows": {"a-1": {"statistic": "best", "of": 5}}}, "x.yaml")
    assert found == {"": Selection(statistic="last"), "a-1": Selection(statistic="best", of=5)}
    wrong: list[Any] = [3, {"statistic": "top"}, {"statistic": "median"}, {"statistic": "last", "of": 3}]
    wrong += [{"of": 5}, {"statistic": "best", "of": 0}, {"rows": {"a-1": 5}}, {"statistic": "best", "n": 2}]
    for block in wrong:
        with pytest.raises(ParamsError, match="selection:") as caught:
            read_selections(block, "x.yaml")
        assert "x.yaml" in str(caught.value), block
