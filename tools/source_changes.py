"""Which published rows have other settings at their page's commit than when their number was recorded?

    python -m tools.source_changes dongzhuoyao/tensorpack=PATH SegmentationBLWX/sssegmentation=PATH

PATH is a local clone or a bare mirror; nothing is fetched. For every row of that repository each setting that
`published/sources.json` names is read at both commits, and every file it names is compared as a whole:
code that rows share (class lists, networks, evaluation) changes there. A row that is listed must be read at
the commit of its number, not at its page's.
"""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Mapping
from functools import cache
from itertools import pairwise
from pathlib import Path, PurePosixPath

from repro.errors import ReproError
from repro.io.git import git, run_git
from repro.published import Published
from repro.published.sources import Source

PUBLISHED = Published(Path(__file__).parents[1] / "published")
# `dict(type='Resize'`, `('Resize'`, `'batch_size'`, or what stands before the first of = : (
NAME = re.compile(r"dict\(type='\w+'|\(?'\w+'|[^=:(]+")
Mirrors = Mapping[str, Path]  # owner/name -> clone


def main(arguments: list[str]) -> int:
    """Print what changed; the exit status is 0, or 2 where an argument or a mirror is of no use."""
    try:
        mirrors = dict(mirror(argument) for argument in arguments)
        changed = changes(mirrors, PUBLISHED.sources)
    except ReproError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for what, listed in changed.items():
        print(f"{' '.join(listed)}\n    {what}")
    print(f"{len({row for listed in changed.values() for row in listed})} rows changed after their number")
    return 0


def mirror(argument: str) -> tuple[str, Path]:
    """OWNER/NAME=PATH as a pair; ReproError where PATH is no git repository."""
    name, _, path = argument.partition("=")
    folder = Path(path)
    if not path or not folder.is_dir():
        raise ReproError(f"not a mirror: '{argument}'", allowed="OWNER/NAME=FOLDER of a local clone")
    git(folder, "rev-parse", "--git-dir")
    return name, folder


def changes(
    mirrors: Mirrors, known: Mapping[str, Source], pages: Mapping[str, str] | None = None
) -> dict[str, list[str]]:
    """Each setting and file that differs -> its rows; `pages`: page -> its commit (default: its own)."""
    found: dict[str, list[str]] = {}
    for row, source in known.items():
        folder = mirrors.get(source.repository)
        if folder is None:
            continue
        page = row.rpartition("-")[0]
        last = source.page or (pages[page] if pages else PUBLISHED.page(page).source.commit)
        for file, lines in source.files.items():
            for text in file_changes(folder, source.commit, last, file, tuple(lines.items())):
                what = f"{PurePosixPath(file).name}, {source.commit[:8]} to {last[:8]}: {text}"
                found.setdefault(what, []).append(row)
    return found


@cache
def file_changes(
    folder: Path, then: str, now: str, file: str, lines: tuple[tuple[str, int], ...]
) -> tuple[str, ...]:
    """What became of a file's settings and of its other lines."""
    before = read(folder, then, file)
    if before is None:
        raise ReproError(f"no '{file}' at {then}", where=folder, hint="fetch all branches of the repository")
    after = read(folder, now, file) or read(folder, now, renamed(folder, then, now).get(file, file))
    if after is None:
        return ("the file is gone",)
    found = [
        f"{setting}: '{old}' became '{new}'"
        for setting, number in lines
        for old, new in [(bare(before[number - 1]), bare(statement(before, number, after)))]
        if old != new
    ]
    if found or before == after:
        return tuple(found)
    differing = [line for line in difflib.ndiff(before, after) if line[:1] in "+-"]
    return (f"{len(differing)} other lines differ",)


def statement(lines: list[str], number: int, others: list[str]) -> str:
    """What `others` have for line `number` (1-based) of `lines`: the same, or what sets the same name.

    A `return` is known by the line above it.
    """
    wanted = lines[number - 1].strip()
    if bare(wanted) in map(bare, others):
        return wanted
    if wanted.startswith("return"):
        above = lines[number - 2].strip()
        after = (one.strip() for line, one in pairwise(others) if line.strip() == above)
        return next(after, "not there")
    return next((line.strip() for line in others if name_of(line) == name_of(wanted)), "not there")


def bare(line: str) -> str:
    """A line without indent, trailing comma and comment."""
    return line.partition("#")[0].strip().rstrip(",")


def name_of(line: str) -> str:
    """What a line sets: `x` of "x = 1", of "'x': 1" and of "dict(type='x', ...)"."""
    found = NAME.match(line.strip())
    return found[0].strip() if found else line.strip()


@cache
def renamed(folder: Path, then: str, now: str) -> Mapping[str, str]:
    """Files that were moved between two commits, as git sees it: a third of the lines are the same."""
    listed = git(folder, "diff", "-M30%", "-l0", "--diff-filter=R", "--name-status", "-z", then, now).decode()
    parts = listed.split("\0")
    return dict(zip(parts[1::3], parts[2::3], strict=False))


@cache
def read(folder: Path, commit: str, file: str) -> list[str] | None:
    """The lines of a file at a commit, None where it has no such file; ReproError without the commit."""
    git(folder, "rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}")
    done = run_git(folder, "show", f"{commit}:{file}")
    return done.stdout.decode(errors="replace").splitlines() if done.returncode == 0 else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
