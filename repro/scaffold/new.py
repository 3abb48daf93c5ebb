"""`repro new`: an experiment from another one."""

from __future__ import annotations

import re
from itertools import takewhile
from pathlib import Path

import yaml

from repro.errors import ParamsError, UnknownNameError
from repro.params import Project, experiment_name, experiment_names, read_yaml
from repro.records import write_text
from repro.scaffold.dvc_files import sync

CLAIMS = ("rows", "expect", "note")  # keys that describe an experiment but not how to run it
HEADING = """\
# Copied from {like}, without its published rows and its expected number. Not a published row.
# Describe this experiment here. `rows: [...]` lists the published row that it reproduces; `expect:` is an
# earlier measurement to compare with.
"""
NAME = re.compile(r"[a-z0-9][a-z0-9_]*")


def new_experiment(project: Project, name: str, like: str) -> Path:
    """Create experiments/<name>/ with the settings of the experiment `like`.

    Returns:
        The path of its params.yaml.

    Raises:
        ParamsError: the name is invalid or exists, or the params.yaml of `like` is invalid.
        UnknownNameError: `like` does not exist.
    """
    name, like = experiment_name(name), experiment_name(like)
    if not NAME.fullmatch(name):
        raise ParamsError(f"not a valid name: '{name}'", allowed="lower-case letters, digits, underscores")
    source, target = (project.params_of(n) for n in (like, name))
    if not source.is_file():
        raise UnknownNameError("experiment", like, experiment_names(project))
    if target.exists():
        raise ParamsError(f"experiment '{name}' exists", where=target, hint="choose another name, or edit it")
    _ = read_yaml(source), project.published.rows  # raises ParamsError, before anything is written
    target.parent.mkdir(exist_ok=True)
    write_text(target, HEADING.format(like=like) + settings_text(source.read_text(encoding="utf-8")))
    sync(project)
    return target


def settings_text(text: str) -> str:
    """The text of a params.yaml without its heading and the keys CLAIMS."""
    lines = text.splitlines(keepends=True)
    heading = takewhile(lambda line: not line.strip() or line.startswith("#"), lines)
    dropped = set(range(len(list(heading))))
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    for key, value in root.value if isinstance(root, yaml.MappingNode) else ():
        if key.value in CLAIMS:
            dropped |= set(range(key.start_mark.line, _last_line(value) + 1))
    return "".join(line for number, line in enumerate(lines) if number not in dropped)


def _last_line(node: yaml.Node) -> int:
    """Last line of a value; the end mark of a block would include comments that follow it."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _last_line(last[1] if isinstance(last, tuple) else last)
    literal = isinstance(node, yaml.ScalarNode) and node.style in ("|", ">")
    return int(node.end_mark.line) - literal  # a literal ends at the start of the next line
