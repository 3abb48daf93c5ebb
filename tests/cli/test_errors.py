"""Errors say what, where, what is allowed and what to do next; each has its exit code."""

from __future__ import annotations

import errno
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from repro import errors
from repro.cli.console import guarded
from repro.errors import CheckFailed, DataError, ParamsError, ReproError, TrainingDiverged, UnknownNameError
from repro.records.dvc_files import is_project_file


def test_message_has_every_part() -> None:
    text = str(DataError("label out of range", where="a.png", allowed="0..10, 255", hint="fix the file"))
    assert text.splitlines() == [
        "label out of range",
        "  where: a.png",
        "  allowed: 0..10, 255",
        "  next: fix the file",
    ]


def test_a_message_never_quotes_a_whole_file() -> None:
    error = DataError("columns " + "[" * 100_000, where="x" * 5000, allowed="a\n" + "b" * 2000)
    assert max(map(len, str(error).splitlines())) < 600
    assert "(100,008 characters)" in str(error)
    assert len(error.what) < 600  # the reason of a verdict


def test_unknown_name_suggests_the_nearest() -> None:
    error = UnknownNameError("experiment", "camvid_r50", ["camvid_r18", "ade20k_r50_os16"])
    assert "did you mean 'camvid_r18'?" in str(error)


def test_every_error_is_in_the_tree_that_the_docstring_draws() -> None:
    drawn = errors.__doc__ or ""
    for value in vars(errors).values():
        if isinstance(value, type) and issubclass(value, ReproError):
            assert value.__name__ in drawn


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ParamsError("x"), 2),
        (CheckFailed("x"), 1),
        (TrainingDiverged("x"), 1),
        (KeyboardInterrupt(), 130),
        (SystemExit(130), 130),
        (SystemExit(3), 3),
        (OSError(errno.ENOSPC, "No space left on device", "/data/x"), 2),
        (PermissionError(errno.EACCES, "Permission denied", "/data/x"), 2),
    ],
    ids=repr,
)
def test_exit_codes_without_traceback(
    error: BaseException, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise error

    assert guarded(fail) == code
    assert "Traceback" not in capsys.readouterr().err


def test_a_full_disk_names_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "model.safetensors")

    guarded(fail)
    assert "the disk is full" in (text := capsys.readouterr().err)
    assert "model.safetensors" in text


ITSELF = "import sys; from repro.cli import main; sys.argv[0] = 'repro'; main()"
FAULTY = "from repro.cli import _unless_ours; import sys; sys.exit(_unless_ours(lambda: 1 / 0))"


def shell(command: str, folder: Path, code: str = ITSELF) -> subprocess.CompletedProcess[str]:
    """A line of bash in which `repro` is this program."""
    text = f'set -o pipefail; repro() {{ {shlex.join([sys.executable, "-c", code])} "$@"; }}; {command}'
    return subprocess.run(["bash", "-c", text], cwd=folder, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("repro list | head -1", 0),
        ("repro plan synthetic_mobilenetv2_os16 | true", 0),
        ("repro page links | head -1", 0),
        ("repro list >&-", 0),
        ("repro list >&- 2>&-", 0),
        ("repro check | head -1", 0),
        ("repro check nosuch | head -1", 2),
        ("repro check nosuch 2>&-", 2),
        ("repro list > /dev/full", 2),
    ],
)
@pytest.mark.slow
def test_who_reads_the_output_does_not_change_the_answer(root: Path, command: str, code: int) -> None:
    done = shell(command, root)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr


def test_a_fault_of_the_program_is_not_a_failed_check(root: Path) -> None:
    """Python's own exit code for it, 1, says of `repro check` that something regressed."""
    done = shell("repro", root, code=FAULTY)
    assert done.returncode == 3
    assert "ZeroDivisionError" in done.stderr


@pytest.mark.parametrize(
    "error", [MemoryError(), ImportError("x.so: failed to map segment"), OSError(errno.EMFILE, "why")]
)
def test_small_limits_are_a_message(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise error

    assert guarded(fail) == 2
    assert "ulimit" in capsys.readouterr().err


def test_a_link_to_itself_is_a_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """pathlib raises RuntimeError for it before Python 3.13, OSError after."""
    link = tmp_path / "loop"
    link.symlink_to("loop")
    assert guarded(lambda: link.resolve(strict=True)) == 2
    assert guarded(lambda: link.read_bytes()) == 2
    message = capsys.readouterr().err
    assert message.count("a symbolic link leads to itself") == message.count("next: remove the link") == 2
    assert not is_project_file(tmp_path, link)


@pytest.mark.parametrize(
    ("name", "next_"), [("a" * 300, "use a shorter name"), ("file/x", "name another path")]
)
def test_a_path_that_cannot_be_is_a_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, next_: str
) -> None:
    """A name longer than the file system's, and a folder, REPRO_HOME for example, that is a file."""
    (tmp_path / "file").touch()
    assert guarded(lambda: (tmp_path / name).write_bytes(b"")) == 2
    assert f"next: {next_}" in capsys.readouterr().err


def test_of_many_names_those_are_listed_that_look_alike() -> None:
    known = [f"ade20k_{number}" for number in range(30)] + ["camvid_r18", "camvid_r50", "CamVid_x"]
    assert UnknownNameError("experiment", "Camvid_R19", known).allowed == (
        "CamVid_x, camvid_r18, camvid_r50, ... (33 in total)"
    )


def test_a_bug_of_ours_keeps_its_traceback() -> None:
    def fail() -> None:
        raise OSError(errno.ENOTCONN, "not a user's mistake")

    with pytest.raises(OSError, match="not a user"):
        guarded(fail)
