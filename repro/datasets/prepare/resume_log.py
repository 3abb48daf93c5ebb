"""A partially written split and the log of its samples, to resume an interrupted preparation."""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from repro.datasets.formats.label_maps import LabelFacts
from repro.datasets.prepare.prepared_split import Sample, member
from repro.io.json_reader import parse_json


@dataclass(frozen=True, kw_only=True)
class Converted:
    """A converted sample: its line of the index, the bytes to store, and their hash."""

    sample: Sample
    image: bytes
    label: bytes | None
    digest: str
    notes: list[str]
    label_facts: LabelFacts | None  # of the whole image if it is cut


class ResumeLog:
    """A partial zip with a log: a line for each pair that is completely written."""

    def __init__(self, path: Path, lines: Path) -> None:
        self.samples: list[Sample] = []
        self.digests: list[str] = []
        self.notes: list[str] = []
        self.label_facts: list[LabelFacts] = []
        self.pairs = 0
        self._ids: set[str] = set()
        kept = self._replay(path, lines)
        self._file = path.open("r+b" if path.exists() else "w+b")
        self._file.truncate(kept[-1].header_offset + _length(kept[-1]) if kept else 0)
        self._zip = zipfile.ZipFile(self._file, "a" if kept else "w", zipfile.ZIP_STORED)
        for info in kept:  # register existing members for the central directory
            self._zip.filelist.append(info)
            self._zip.NameToInfo[info.filename] = info
        self._lines = lines.open("a", encoding="utf-8")

    def __enter__(self) -> ResumeLog:
        return self

    def __exit__(self, *error: object) -> None:
        self._lines.close()
        if error[0] is None:
            self._zip.close()
        self._zip.fp = None  # an interrupted zip gets no directory; the next run resumes from the log
        self._file.close()

    def add(self, made: list[Converted]) -> None:
        """Store the samples of a pair, then log them."""
        stored = []
        for one in made:
            stored.append(self.store(one.sample.image, one.image))
            if one.label is not None and one.sample.label is not None:
                stored.append(self.store(one.sample.label, one.label))
        self._file.flush()
        line = {
            "samples": [asdict(one.sample) for one in made],
            "digests": [one.digest for one in made],
            "notes": made[0].notes,
            "label": made[0].label_facts and asdict(made[0].label_facts),
            "members": [[i.filename, i.header_offset, i.file_size, i.CRC] for i in stored],
        }
        self._note(line)
        self._lines.write(json.dumps(line) + "\n")
        self._lines.flush()

    def store(self, name: str, data: bytes) -> zipfile.ZipInfo:
        """Write a member to the zip."""
        info = member(name)
        self._zip.writestr(info, data)
        return info

    def _note(self, line: dict[str, Any]) -> None:
        self.samples += [Sample(**sample) for sample in line["samples"]]
        self._ids |= {sample["id"] for sample in line["samples"]}
        self.digests += line["digests"]
        self.notes += line["notes"]
        self.label_facts += _label_facts(line)
        self.pairs += 1

    def _replay(self, path: Path, lines: Path) -> list[zipfile.ZipInfo]:
        """Members that an interrupted run finished; the log is truncated at the first invalid line."""
        kept: list[zipfile.ZipInfo] = []
        if not (path.exists() and lines.exists()):
            lines.unlink(missing_ok=True)
            return kept
        valid = 0
        with path.open("rb") as stored:
            for text in lines.read_bytes().splitlines(keepends=True):
                line = _parse(text)
                infos = self._members_of(line, stored) if line else []
                if line is None or not infos:
                    break
                self._note(line)
                kept += infos
                valid += len(text)
        os.truncate(lines, valid)
        return kept

    def _members_of(self, line: dict[str, Any], stored: BinaryIO) -> list[zipfile.ZipInfo]:
        """The members of a line if the zip contains them at its current position, else []."""
        try:
            infos = [_restored(*entry) for entry in line["members"]]
            _label_facts(line)
            ids = [sample["id"] for sample in line["samples"]]
            are_new = len({*ids} - self._ids) == len(ids)
            return infos if are_new and all(_follows(stored, info) for info in infos) else []
        except (TypeError, ValueError, LookupError, AttributeError):  # written by another version
            return []


def _parse(text: bytes) -> dict[str, Any] | None:
    try:
        line = parse_json(text)
    except ValueError:
        return None
    return line if text.endswith(b"\n") and isinstance(line, dict) and line.keys() >= _KEYS else None


def _label_facts(line: dict[str, Any]) -> list[LabelFacts]:
    """The label facts of a line, if it has a label; raises an error handled by `_members_of` if invalid."""
    label = line["label"]
    return [LabelFacts(**label | {"classes": tuple(label["classes"])})] if label is not None else []


_KEYS = {"samples", "digests", "notes", "label", "members"}


def _restored(name: str, offset: int, size: int, crc: int) -> zipfile.ZipInfo:
    info = member(name)
    info.header_offset, info.file_size, info.compress_size, info.CRC = offset, size, size, crc
    return info


def _follows(stored: BinaryIO, info: zipfile.ZipInfo) -> bool:
    """Whether the next bytes of the file are this member; a crash of the machine can lose some."""
    name = info.filename.encode()
    if stored.tell() != info.header_offset:
        return False
    data = memoryview(stored.read(_length(info)))
    return bytes(data[30 : 30 + len(name)]) == name and zlib.crc32(data[30 + len(name) :]) == info.CRC


def _length(info: zipfile.ZipInfo) -> int:
    return 30 + len(info.filename.encode()) + info.file_size
