"""GitHub's workflows: what a fork may do, and that a required check always runs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.reports.kit import a_project, a_record, add

FOLDER = Path(__file__).parents[1] / ".github" / "workflows"


def workflow(name: str) -> dict[Any, Any]:
    found: dict[Any, Any] = yaml.safe_load((FOLDER / name).read_text())
    return found


def scripts(found: dict[Any, Any]) -> str:
    return "\n".join(step.get("run", "") for job in found["jobs"].values() for step in job["steps"])


def test_the_gate_runs_for_every_pull_request_and_may_only_read() -> None:
    gate = workflow("results.yml")
    assert gate[True] == {"pull_request": None}  # YAML 1.1 reads `on` as true; a path filter would be in here
    assert gate["permissions"] == {"contents": "read"}
    assert "permissions" not in gate["jobs"]["gate"]
    assert "repro check --against" in scripts(gate)


def test_code_scanning_takes_nothing_from_a_fork() -> None:
    annotate = workflow("results.yml")["jobs"]["annotate"]
    assert annotate["permissions"]["security-events"] == "write"
    assert "head.repo.full_name == github.repository" in annotate["if"]
    assert not any("make" in step.get("run", "") for step in annotate["steps"])


def test_the_comment_is_written_by_a_workflow_that_runs_no_foreign_code() -> None:
    comment = workflow("comment.yml")
    assert comment[True]["workflow_run"]["workflows"] == [workflow("results.yml")["name"]]
    assert comment["permissions"] == {"actions": "read", "pull-requests": "write"}
    steps = comment["jobs"]["comment"]["steps"]
    assert not any("uses" in step for step in steps)
    assert "${{" not in scripts(comment)  # what a fork names reaches the shell by the environment alone


def test_released_weights_are_verified_on_a_schedule_by_a_workflow_that_may_only_read() -> None:
    """Here, and in the template of `repro init`: for no pull request, because it runs the project's code."""
    templates = FOLDER.parents[1] / "repro" / "templates" / "zoo" / "dot_github" / "workflows"
    for folder in (FOLDER, templates):
        verify = yaml.safe_load((folder / "verify.yml").read_text())
        assert verify[True].keys() == {"schedule", "workflow_dispatch"}, folder
        assert verify["permissions"] == {"contents": "read"}, folder
        assert "repro verify --all --stale 30d" in scripts(verify), folder
        assert "${{" not in scripts(verify), folder


@pytest.mark.slow
def test_the_action_fails_for_a_regression_and_says_so(tmp_path: Path) -> None:
    """Its scripts, as bash runs them, in a zoo with one good and then one bad result."""
    action = yaml.safe_load((FOLDER.parents[1] / "action.yml").read_text())
    steps = {step.get("name"): step for step in action["runs"]["steps"]}
    assert "${{" not in "".join(
        step.get("run", "") for step in steps.values()
    )  # texts of others by the environment
    (tmp_path / "zoo").mkdir()
    project = a_project(tmp_path / "zoo")
    for change, code, verdict in ({}, 0, "reproduced"), ({"metrics": {"mIoU": 20.0}}, 1, "regressed"):
        summary = tmp_path / f"summary{code}.md"
        add(project, a_record(**change))
        environment = {"AGAINST": "", "RUNNER_TEMP": str(tmp_path), "GITHUB_STEP_SUMMARY": str(summary)}
        script = ["bash", "-e", "-c", steps["Results hold"]["run"]]
        done = subprocess.run(script, cwd=project.root, env=os.environ | environment, check=False)
        assert done.returncode == code, summary.read_text()
        assert verdict in summary.read_text()
