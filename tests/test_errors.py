"""Errors say what, where, what is allowed and what to do next; each has its exit code."""

from __future__ import annotations

import errno
import sys
from pathlib import Path

import pytest

from repro import errors
from repro.cli.common import guarded
from repro.cli.places import unusable
from repro.errors import CheckFailed, DataError, ParamsError, ReproError, TrainingDiverged, UnknownNameError


def test_message_has_every_part() -> None:
    text = str(DataError("label out of range", where="a.png", allowed="0..10, 255", hint="fix the file"))
    assert text.splitlines() == [
        "label out of range",
        "  where: a.png",
        "  allowed: 0..10, 255",
        "  next: fix the file",
    ]


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


def test_a_bug_of_ours_keeps_its_traceback() -> None:
    def fail() -> None:
        raise OSError(errno.ENOTCONN, "not a user's mistake")

    with pytest.raises(OSError, match="not a user"):
        guarded(fail)


@pytest.mark.parametrize(
    ("code", "typed", "failed", "told"),
    [
        (errno.ENOENT, "nope/x", "nope/x", True),
        (errno.ENOENT, "--out=nope/x", "nope/x", True),
        (errno.ENOENT, "-onope/x", "nope/.x.12.part", True),
        (errno.ENOTDIR, "a.txt", "a.txt/metrics.json", True),
        (errno.EEXIST, "a.txt/under", "a.txt", True),
        (errno.ENOENT, "folder", "folder/ours.json", False),
        (errno.ENOENT, "camvid_x", "experiments/camvid_x", False),
        (errno.ENOENT, "nope/x", "prepared/camvid/test.zip", False),
        (errno.ENOENT, "--data", "data/camvid", False),
    ],
)
def test_only_a_typed_path_is_the_persons_mistake(
    code: int, typed: str, failed: str, told: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "a.txt").touch()
    monkeypatch.setattr(sys, "argv", ["repro", typed])

    def fail() -> None:
        raise OSError(code, "why", str(tmp_path / failed))

    if told:
        assert guarded(fail) == 2
    else:
        with pytest.raises(OSError, match="why"):
            guarded(fail)


@pytest.mark.parametrize(
    ("words", "failed", "where"),
    [
        (["report", "--out", ".."], "..", ".."),
        (["metadata", "csv", "-o", ""], ".", "."),
        (["check", "--junit="], ".", "."),
        (["report", "--out", "report.html"], "report.html", "report.html"),
    ],
)
def test_the_word_of_a_command_is_no_path(
    words: list[str], failed: str, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would lie in the working folder, and so below every folder above that."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["repro", *words])
    error = unusable(IsADirectoryError(errno.EISDIR, "why", failed))
    assert error is not None
    assert error.where == str((tmp_path / where).resolve())
