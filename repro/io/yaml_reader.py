"""The one reader of YAML: bounded before it is built, no tags, no key twice, every key a text."""

from __future__ import annotations

from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from repro.errors import ParamsError
from repro.io import limits
from repro.io.git import marked, unmerged

_Safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C loader is about 8 times faster


class _Wrong(yaml.YAMLError):
    """What YAML would take without a word, and what to do about it."""

    def __init__(self, what: str, hint: str | None = None, allowed: str | None = None) -> None:
        super().__init__(what)
        self.hint, self.allowed = hint, allowed


class _Loader(_Safe):  # type: ignore[misc]
    """YAML's safe types; a number has a bounded number of digits, and no key is given twice."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._flat: set[int] = set()

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Looked at once, before `<<` lays the keys of another mapping beside its own."""
        if id(node) not in self._flat:
            self._flat.add(id(node))
            _check_keys(node)
        super().flatten_mapping(node)

    def construct_scalar(self, node: yaml.ScalarNode) -> str:
        """Every number and date is made of what this returns; integers of other bases and 1:20:30 too."""
        is_text = node.tag == "tag:yaml.org,2002:str"
        if not is_text and len(node.value) > limits.DIGITS:
            line = node.start_mark.line + 1
            raise _Wrong(f"line {line}: a number of {len(node.value)} characters", allowed=_DIGITS)
        return str(super().construct_scalar(node))


_DIGITS = f"at most {limits.DIGITS}"


def _check_keys(node: yaml.MappingNode) -> None:
    lines: dict[str, int] = {}
    for key, _ in node.value:
        line, name = key.start_mark.line + 1, str(key.value)
        if not key.tag.endswith((":str", ":merge")):
            shown = f"the key {name[:40]}" if isinstance(key, yaml.ScalarNode) else "a key"
            raise _Wrong(f"line {line}: {shown} is no text", "write it in quotes", 'text, or "1":')
        if name in lines:
            both = f"line {line}" if lines[name] == line else f"lines {lines[name]} and {line}"
            raise _Wrong(f"key '{name}' stands twice, in {both}", "keep one of them")
        lines[name] = line


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; a missing, unreadable or non-mapping file is a ParamsError."""
    try:
        text = limits.read_text(path, limits.YAML_BYTES, error=ParamsError)
    except FileNotFoundError:
        hint = "`repro list` shows what exists"
        raise ParamsError("params file is missing", where=path, hint=hint) from None
    return load_yaml(text, path)


def load_yaml(text: str, where: object) -> dict[str, Any]:
    """The mapping in a YAML text, within `repro.io.limits`; a ParamsError that names `where` otherwise."""
    try:
        raw = deepcopy(_parsed(text))
    except _Wrong as wrong:
        raise ParamsError(str(wrong), where=where, allowed=wrong.allowed, hint=wrong.hint) from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date such as 2001-99-99
        if marked(text):
            raise unmerged(where) from None
        raise ParamsError(f"not valid YAML: {error}", where=where) from None
    if not isinstance(raw, dict):
        raise ParamsError("expected a mapping of keys to values", where=where, allowed="key: value lines")
    return raw


@lru_cache(
    maxsize=4
)  # the root params.yaml is asked for with each of 150 experiments: 14 ms to parse, 1 to copy
def _parsed(text: str) -> Any:
    _check_events(text)
    return yaml.load(text, Loader=_Loader)


def _check_events(text: str) -> None:
    """Depth, size with every alias written out, and tags; libyaml's events cost a third of the loading.

    The loader itself recurses once a level: 100,000 levels end the process with SIGSEGV.
    """
    sizes: list[int] = [0]  # nodes inside each open collection, the document first
    open_anchors: list[str | None] = []
    known: dict[str, int] = {}  # anchor -> nodes of what it names
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
            raise _Wrong(f"line {line}: too many levels", allowed=f"{limits.DEPTH} inside each other")
        if sum(sizes) > limits.YAML_NODES:
            allowed = f"{limits.YAML_NODES:,} values, those of an alias counted each time"
            raise _Wrong(f"line {line}: too many values", allowed=allowed)


def _size_of(name: str, known: dict[str, int], open_anchors: list[str | None], line: int) -> int:
    if name in open_anchors:
        raise _Wrong(f"line {line}: the alias *{name} stands inside what it names", "name another anchor")
    return known.get(name, 1)  # one that names nothing is an error of the loader's


def _check_tag(event: Any, line: int) -> None:
    if getattr(event, "tag", None):
        raise _Wrong(f"line {line}: a tag, {event.tag}", "write the value without it", "values without tags")
