"""Strict YAML reader: bounded size and depth, no tags, no duplicate keys, string keys only."""

from __future__ import annotations

from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from repro.errors import ParamsError
from repro.io import limits
from repro.io.git import has_conflict, merge_conflict

_Safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C loader is about 8 times faster


class _InvalidYaml(yaml.YAMLError):
    """Valid YAML that this reader rejects."""

    def __init__(self, what: str, hint: str | None = None, allowed: str | None = None) -> None:
        super().__init__(what)
        self.hint, self.allowed = hint, allowed


class _Loader(_Safe):  # type: ignore[misc]
    """SafeLoader with bounded numbers and without duplicate keys."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._flat: set[int] = set()

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Check the keys of a mapping once, before `<<` merges others into it."""
        if id(node) not in self._flat:
            self._flat.add(id(node))
            _check_keys(node)
        super().flatten_mapping(node)

    def construct_scalar(self, node: yaml.ScalarNode) -> str:
        """Bound the length of all non-string scalars: numbers in any base, dates, 1:20:30."""
        is_text = node.tag == "tag:yaml.org,2002:str"
        if not is_text and len(node.value) > limits.DIGITS:
            line = node.start_mark.line + 1
            raise _InvalidYaml(f"line {line}: a number has {len(node.value)} characters", allowed=_DIGITS)
        return str(super().construct_scalar(node))


_DIGITS = f"at most {limits.DIGITS}"


def _check_keys(node: yaml.MappingNode) -> None:
    lines: dict[str, int] = {}
    for key, _ in node.value:
        line, name = key.start_mark.line + 1, str(key.value)
        if not key.tag.endswith((":str", ":merge")):
            shown = f"the key {name[:40]}" if isinstance(key, yaml.ScalarNode) else "a key"
            raise _InvalidYaml(
                f"line {line}: {shown} is not a string", "put it in quotes", 'a string, e.g. "1":'
            )
        if name in lines:
            both = f"line {line}" if lines[name] == line else f"lines {lines[name]} and {line}"
            raise _InvalidYaml(f"duplicate key '{name}' in {both}", "keep one of them")
        lines[name] = line


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a mapping from a YAML file. Raises ParamsError if it is missing, invalid or not a mapping."""
    try:
        text = limits.read_text(path, limits.YAML_BYTES, error=ParamsError)
    except FileNotFoundError:
        hint = "`repro list` shows what exists"
        raise ParamsError("params file is missing", where=path, hint=hint) from None
    return load_yaml(text, path)


def load_yaml(text: str, where: object) -> dict[str, Any]:
    """Parse a mapping within `repro.io.limits`. Raises ParamsError, which names `where`, if it is invalid."""
    try:
        raw = deepcopy(_parsed(text))
    except _InvalidYaml as wrong:
        raise ParamsError(str(wrong), where=where, allowed=wrong.allowed, hint=wrong.hint) from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date such as 2001-99-99
        if has_conflict(text):
            raise merge_conflict(where) from None
        raise ParamsError(f"not valid YAML: {error}", where=where) from None
    if not isinstance(raw, dict):
        raise ParamsError("expected a mapping of keys to values", where=where, allowed="key: value lines")
    return raw


@lru_cache(maxsize=4)  # every experiment reads the root params.yaml: 14 ms to parse, 1 ms to copy
def _parsed(text: str) -> Any:
    _check_events(text)
    return yaml.load(text, Loader=_Loader)


def _check_events(text: str) -> None:
    """Check depth, size with all aliases expanded, and tags; costs a third of the loading time.

    The loader itself recurses per level: 100,000 levels end the process with SIGSEGV.
    """
    sizes: list[int] = [0]  # nodes inside each open collection, the document first
    open_anchors: list[str | None] = []
    known: dict[str, int] = {}  # anchor -> number of nodes
    for event in yaml.parse(text, Loader=_Safe):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.AliasEvent):
            sizes[-1] += _size_of(str(event.anchor), known, open_anchors, line)
        elif isinstance(event, yaml.NodeEvent):
            _check_tag(event, line)
            sizes[-1] += 1
            if isinstance(event, yaml.CollectionStartEvent):
                sizes.append(1)
                open_anchors.append(event.anchor)
            elif event.anchor:
                known[event.anchor] = 1
        elif isinstance(event, yaml.CollectionEndEvent):
            size, anchor = sizes.pop(), open_anchors.pop()
            sizes[-1] += size
            if anchor:
                known[anchor] = size
        if len(open_anchors) > limits.DEPTH:
            raise _InvalidYaml(
                f"line {line}: too many levels", allowed=f"at most {limits.DEPTH} nested levels"
            )
        if sum(sizes) > limits.YAML_NODES:
            allowed = f"at most {limits.YAML_NODES:,} values with aliases expanded"
            raise _InvalidYaml(f"line {line}: too many values", allowed=allowed)


def _size_of(name: str, known: dict[str, int], open_anchors: list[str | None], line: int) -> int:
    if name in open_anchors:
        raise _InvalidYaml(f"line {line}: the alias *{name} refers to itself", "use another anchor")
    return known.get(name, 1)  # the loader reports undefined aliases


def _check_tag(event: Any, line: int) -> None:
    if getattr(event, "tag", None):
        raise _InvalidYaml(f"line {line}: unsupported tag {event.tag}", "remove it", "values without tags")
