"""A program is run without a shell, its output is kept, and nothing of it outlives it."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from repro.errors import CheckFailed, Interrupted, ParamsError
from repro.programs import process
from repro.programs.process import Command


def command(folder: Path, code: str, *words: str, timeout: float | None = None) -> Command:
    return Command(
        arguments=[sys.executable, "-c", code, *words],
        folder=folder,
        environment={"ONE": "1"},
        log=folder / "log",
        timeout=timeout,
        what="params.yaml: external.train",
    )


def test_output_is_shown_and_kept_and_words_are_no_shell(tmp_path: Path) -> None:
    shown: list[str] = []
    code = "import os, sys; print(sys.argv[1:], os.environ['ONE'], os.getcwd()); print('e', file=sys.stderr)"
    for _ in range(2):
        process.run(command(tmp_path, code, "$HOME; true", "a b"), show=shown.append)
    wanted = f"['$HOME; true', 'a b'] 1 {tmp_path}"
    assert [line for line in "".join(shown).splitlines() if line != "e"] == [wanted] * 2
    assert sorted((tmp_path / "log").read_text().split("\n")) == sorted(["", wanted, "e", wanted, "e"])


@pytest.mark.parametrize(
    ("code", "timeout", "words"),
    [
        ("print('no memory'); raise SystemExit(3)", None, ("exit code 3", "it said: no memory")),
        ("raise SystemExit(4)", None, ("exit code 4", "it said nothing")),
        ("import os; os.kill(os.getpid(), 9)", None, ("SIGKILL", "out of memory")),
        ("import time; print('on', flush=True); time.sleep(60)", 0.5, ("within 0.5 s", "it said: on")),
    ],
)
def test_a_failure_is_one_clear_error(
    tmp_path: Path, code: str, timeout: float | None, words: tuple[str, ...]
) -> None:
    with pytest.raises(CheckFailed) as caught:
        process.run(command(tmp_path, code, timeout=timeout))
    assert all(word in caught.value.what for word in words), caught.value.what
    assert caught.value.where == str(tmp_path / "log")
    assert caught.value.exit_code == 1


def test_a_missing_program(tmp_path: Path) -> None:
    (tmp_path / "data.txt").write_text("")
    for name, words in {"no_such_program": "no program", "./data.txt": "cannot be run: Permission"}.items():
        with pytest.raises(ParamsError, match=words) as caught:
            process.run(Command(arguments=[name], folder=tmp_path, log=tmp_path / "log", what="train"))
        assert caught.value.allowed is not None, name


def test_a_signal_is_forwarded_and_the_program_can_save(tmp_path: Path) -> None:
    """Its child, which ignores the signal, does not outlive it."""
    code = """
import signal, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c",
    "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(60)"])
open("child", "w").write(str(child.pid))
try:
    time.sleep(60)
except KeyboardInterrupt:
    open("saved", "w").close()
"""
    ready = tmp_path / "child"

    def interrupt() -> None:
        while not (ready.is_file() and ready.read_text()):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(Interrupted, match="SIGINT") as caught:
        process.run(command(tmp_path, code))
    thread.join()
    assert caught.value.exit_code == 130
    assert (tmp_path / "saved").is_file()
    assert has_ended(int(ready.read_text()))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def has_ended(pid: int) -> bool:
    """Whether a process ends soon: SIGKILL takes effect when it is scheduled."""
    for _ in range(500):
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.01)
    return False
