"""A light installation: what reads needs neither torch nor DVC nor MLflow; what does names the extra."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from repro.cli.extras import EXTRA_OF, missing_extra
from tests.conftest import ROOT

# None in sys.modules is what Python takes for a module that is not installed.
LIGHT = """
import json, sys
sys.modules.update(dict.fromkeys(json.loads(sys.argv[1])))
sys.argv = ["repro", *sys.argv[2:]]
from repro.cli import main
main()
"""


def light(*command: str) -> subprocess.CompletedProcess[str]:
    """`repro` without the modules that extras bring."""
    arguments = [sys.executable, "-c", LIGHT, json.dumps(list(EXTRA_OF)), *command]
    return subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_what_reads_runs_without_the_extras() -> None:
    for command in (
        "list",
        "check",
        "table --check",
        "data list",
        "page lint published/004.md",
        "docs --check",
    ):
        done = light(*command.split())
        assert done.returncode in (0, 1), (command, done.stderr)
        assert "not installed" not in done.stderr, (command, done.stderr)
        assert "fault of the program" not in done.stderr, (command, done.stderr)


@pytest.mark.slow
def test_what_needs_an_extra_names_it() -> None:
    for command, extra in (("plan synthetic_mobilenetv2_os16", "train"), ("ui", "pipeline")):
        done = light(*command.split())
        assert done.returncode == 2, done.stderr
        assert f"pip install 'deeplab-repro[{extra}]'" in done.stderr
    assert "MLflow" in light("doctor").stdout


def test_other_modules_are_no_matter_of_extras() -> None:
    assert missing_extra(ModuleNotFoundError("no", name="torch.nn")) != ""
    assert missing_extra(ModuleNotFoundError("no", name="zoo_code")) == ""
    assert missing_extra(ImportError("libcudart.so.12", name="torch")) == ""
