"""Parameters of an external experiment: programs of any framework that train and predict, as commands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Literal

from repro.errors import nearest
from repro.params.parse import Later, PlainName, Positive

PLACEHOLDERS = {
    "out": "folder of the training's results",
    "images": "folder of the split's images, <id>.<type>",
    "labels": "folder of the split's labels, <id>.png of train ids, 255 = ignored",
    "maps": "folder for the predicted label maps",
    "data": "raw data set",
    "seed": "the experiment's seed",
    "weights": "file of `external.weights`",
}
LogFormat = Literal["auto", "json_lines", "csv", "mmengine", "lightning"]
_BRACES = re.compile(r"\{\{(\w+)\}\}|\{(\w+)\}")  # {{word}} stands for the text {word}
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class TrainProgram:
    """The program that trains; its results are what it leaves in {out}."""

    command: str
    split: PlainName
    deps: tuple[str, ...] = ()  # files and folders of the project; an edit of one trains again
    timeout: Positive | None = None  # seconds
    log: str | None = None  # its log file, followed live; {out} and * are allowed
    log_format: LogFormat = "auto"

    def __post_init__(self) -> None:
        check_command(self.command, allowed=PLACEHOLDERS.keys() - {"maps"}, needs="out")
        check_deps(self.deps)
        names = [] if self.log is None else names_in(self.log)
        if set(names) - {"out"}:
            raise ValueError("log: a path with no placeholder but {out}")


@dataclass(frozen=True, kw_only=True)
class PredictProgram:
    """The program that predicts: it writes a label map of train ids for each image into {maps}."""

    command: str
    deps: tuple[str, ...] = ()  # an edit of one evaluates again, and does not train again
    timeout: Positive | None = None  # seconds

    def __post_init__(self) -> None:
        check_command(self.command, allowed=PLACEHOLDERS, needs="maps")
        check_deps(self.deps)


@dataclass(frozen=True, kw_only=True)
class ProgramWeights:
    """A file of released weights, for {weights}."""

    url: str
    sha256: str

    def __post_init__(self) -> None:
        if not _SHA256.fullmatch(self.sha256):
            raise ValueError("sha256: 64 hex digits")
        if not self.url.startswith(("https://", "http://")):
            raise ValueError("url: https://... or http://...")


@dataclass(frozen=True, kw_only=True)
class External:
    """The programs of an experiment. Without `train`, released weights or none are evaluated."""

    family: str  # what tables and metadata call the network
    train: TrainProgram | None = None
    predict: PredictProgram
    also: Later[Mapping[PlainName, PredictProgram]] = field(default_factory=dict)  # by further protocol
    weights: ProgramWeights | None = None
    smoke: bool = False  # may run in a smoke run; it then finds REPRO_SMOKE=1 in its environment

    def __post_init__(self) -> None:
        used = {name for program in self.programs.values() for name in names_in(program.command)}
        for name, given in {"weights": self.weights, "out": self.train}.items():
            if name in used and given is None:
                block = "train" if name == "out" else name
                raise ValueError(f"a `{block}:` block, because a command uses {{{name}}}")

    @property
    def programs(self) -> dict[str, TrainProgram | PredictProgram]:
        """All programs by their key in params.yaml: external.train, external.predict, external.also.NAME."""
        train = {"external.train": self.train} if self.train else {}
        also = {f"external.also.{name}": program for name, program in self.also.items()}
        return {**train, "external.predict": self.predict, **also}

    @property
    def deps(self) -> tuple[str, ...]:
        """Files and folders that any of the programs depends on."""
        return tuple(dict.fromkeys(dep for program in self.programs.values() for dep in program.deps))

    def deps_under(self, protocols: Collection[str]) -> tuple[str, ...]:
        """Those of what trains, what predicts, and what predicts under these further protocols."""
        return replace(self, also={key: one for key, one in self.also.items() if key in protocols}).deps

    def predicting(self, protocol: str | None = None) -> tuple[str, PredictProgram]:
        """(key, program) that predicts under the experiment's protocol (None) or one of its `also`."""
        if protocol is not None and protocol in self.also:
            return f"external.also.{protocol}", self.also[protocol]
        return "external.predict", self.predict

    def defining(self) -> External:
        """The same without what changes no number: time limits, log files, smoke runs, further protocols."""
        train = self.train and replace(self.train, timeout=None, log=None, log_format="auto")
        return replace(self, train=train, predict=replace(self.predict, timeout=None), also={}, smoke=False)


def names_in(command: str) -> list[str]:
    """The names of the placeholders in a command."""
    return [match[2] for match in _BRACES.finditer(command) if match[2]]


def check_command(command: str, *, allowed: Collection[str], needs: str) -> None:
    """Raise ValueError for an empty command, open quotes, and a wrong or missing placeholder."""
    try:
        parts = shlex.split(command)
    except ValueError as error:
        raise ValueError(f"a command that can be split into words ({error})") from None
    if not parts:
        raise ValueError("a command of at least one word")
    for name in names_in(command):
        if name not in allowed:
            near = nearest(name, allowed)
            listed = " ".join(f"{{{one}}}" for one in PLACEHOLDERS if one in allowed)
            raise ValueError(
                f"placeholders {listed}, not {{{name}}}" + (f" (did you mean {{{near}}}?)" if near else "")
            )
    if needs not in names_in(command):
        raise ValueError(f"{{{needs}}} in the command: the {PLACEHOLDERS[needs]}")


def check_deps(deps: Sequence[str]) -> None:
    """Raise ValueError for paths that lead out of the project, and for text that DVC would replace."""
    for dep in deps:
        path = PurePosixPath(dep)
        if not dep.strip() or path.is_absolute() or ".." in path.parts or "${" in dep or "\\" in dep:
            raise ValueError(f"deps: paths from the project's root, such as tools/train.py, not {dep!r}")


def arguments(command: str, values: Mapping[str, object]) -> list[str]:
    """Split a command into arguments, without a shell, and fill in its placeholders.

    >>> arguments("python 'my tool.py' --out={out}", {"out": "a b"})
    ['python', 'my tool.py', '--out=a b']
    """

    def value(match: re.Match[str]) -> str:
        return f"{{{match[1]}}}" if match[1] else str(values[match[2]])

    return [_BRACES.sub(value, word) for word in shlex.split(command)]
