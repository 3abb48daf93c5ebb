"""Parameters of data sets: the blocks under `datasets:` in the root params.yaml.

A block either has the name of a built-in data set, or declares one: `folder:` names the files of images and
labels by patterns, `module:` a Python module of the zoo with the functions of `DatasetModule`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, Gt, Le

from repro.errors import ParamsError, UnknownNameError
from repro.io.limits import YAML_BYTES, read_text
from repro.io.sources import own_file
from repro.io.yaml_reader import read_yaml
from repro.params.parse import Byte, Count, Later, PlainName, parse
from repro.params.project import Project

MAX_CLASSES = 254
Colour = tuple[Byte, Byte, Byte]
_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
PLACEHOLDER = re.compile(r"\{(\w*)\}")


@dataclass(frozen=True, kw_only=True)
class Folder:
    """Where the files of a data set are, relative to data/NAME.

    `{id}` is the id of an image, which may contain folders (`city/frame`), `{split}` the name of the split,
    `*` any part of a file name. With several patterns, an image has a file of exactly one of them.
    """

    images: str | tuple[str, ...]  # "images/{id}.jpg"
    labels: str | tuple[str, ...]  # "masks/{id}.png"
    lists: str | None = None  # "{split}.txt": a line per image, as id or path; else every file is an image
    unlabelled: tuple[PlainName, ...] = ()  # splits without labels

    def __post_init__(self) -> None:
        """Raise ValueError for invalid patterns; `parse` converts it to a ParamsError."""
        for pattern in (*patterns(self.images), *patterns(self.labels)):
            if "{id}" not in pattern:
                raise ValueError(f"{{id}} in '{pattern}'")
        for pattern in (*patterns(self.images), *patterns(self.labels), self.lists or "{split}"):
            if set(PLACEHOLDER.findall(pattern)) - {"id", "split"} or pattern.startswith(("/", "..")):
                raise ValueError(f"a path below data/NAME with {{id}} and {{split}}, not '{pattern}'")
        if self.lists is not None and "{split}" not in self.lists:
            raise ValueError(f"{{split}} in '{self.lists}'")


def patterns(given: str | tuple[str, ...]) -> tuple[str, ...]:
    """Return one or several patterns as a tuple."""
    return (given,) if isinstance(given, str) else given


@dataclass(frozen=True, kw_only=True)
class Tile:
    """Size and overlap in pixels of the tiles that large images are cut into."""

    size: Count
    overlap: Annotated[int, Ge(0)] = 0

    def __post_init__(self) -> None:
        """Raise ValueError for an invalid overlap; `parse` converts it to a ParamsError."""
        if self.overlap >= self.size:
            raise ValueError("an overlap smaller than the size")


@dataclass(frozen=True, kw_only=True)
class DatasetFacts:
    """Classes and image counts of a data set, and where its files are unless it is built in.

    `splits` maps each prepared split to its number of images (of tiles, with `tile`). `repro prepare` stops
    if the files on disk differ; users with a part of the data write that part's numbers here.
    """

    classes: Annotated[int, Gt(1), Le(MAX_CLASSES)] | tuple[str, ...]  # their number or names, without void
    splits: Mapping[PlainName, Count]
    folder: Later[Folder | None] = None
    module: Later[str | None] = None  # "zoo/other.py", or the name of an importable module
    palette: Later[tuple[Colour, ...]] = ()  # an RGB colour per class, in tables and in coloured label files
    values: Later[Byte | Mapping[str, Byte | tuple[Byte, ...]]] = 0  # of the first class, or of each class
    ignore: Later[tuple[Byte | Colour, ...]] = (255,)  # label values and colours that belong to no class
    tile: Later[Tile | None] = None
    title: Later[str] = ""
    licence: Later[str] = ""
    page: Later[str] = ""  # where to get the data

    @property
    def num_classes(self) -> int:
        return self.classes if isinstance(self.classes, int) else len(self.classes)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes; `class_0`, `class_1`, ... if only their number is given."""
        if isinstance(self.classes, int):
            return tuple(f"class_{number}" for number in range(self.classes))
        return self.classes

    @property
    def is_declared(self) -> bool:
        """Whether the zoo brings this data set; else it is built in."""
        return self.folder is not None or self.module is not None

    @property
    def module_name(self) -> str:
        """The dotted name of `module`: "zoo.other" for "zoo/other.py"."""
        return dotted(self.module or "")

    @property
    def label_values(self) -> dict[int, int]:
        """The train id of each value in label files, without ignored values."""
        if isinstance(self.values, int):
            return {self.values + number: number for number in range(self.num_classes)}
        order = {name: number for number, name in enumerate(self.class_names)}
        return {value: order[name] for name, value in _pairs(self.values)}

    def __post_init__(self) -> None:
        """Raise ValueError for invalid combinations; `parse` converts it to a ParamsError."""
        for wrong, allowed in self._problems():
            if wrong:
                raise ValueError(allowed)

    def _problems(self) -> tuple[tuple[bool, str], ...]:
        names, folder = self.class_names, self.folder
        of_folder = (self.palette, self.values, self.tile, self.ignore != (255,))
        everything = "".join((*patterns(folder.images), folder.lists or "")) if folder else "{split}"
        given = dict.fromkeys(names, 0) if isinstance(self.values, int) else self.values
        values = [value for value in self.ignore if isinstance(value, int)]
        values += (
            self.label_values if isinstance(self.values, int) else [one for _, one in _pairs(self.values)]
        )
        return (
            (not 1 < len(names) <= MAX_CLASSES, f"2 to {MAX_CLASSES} classes"),
            (len(set(names)) < len(names), "class names that differ from each other"),
            (bool(folder and self.module), "one of folder and module"),
            (not _MODULE.fullmatch(self.module_name or "x"), "a module as zoo/other.py or zoo.other"),
            (folder is None and any(of_folder), "palette, values, ignore and tile together with folder"),
            (len(self.palette) not in (0, len(names)), f"a colour for each of the {len(names)} classes"),
            (given.keys() != set(names), f"values of exactly these classes: {', '.join(names)}"),
            (len(set(values)) < len(values), "each label value once in values and ignore"),
            (max(values, default=0) > 255, "label values up to 255"),
            ("{split}" not in everything and len(self.splits) > 1, "{split} in images or lists"),
        )


def _pairs(values: Mapping[str, int | tuple[int, ...]]) -> Iterator[tuple[str, int]]:
    """Yield (class, label value)."""
    for name, given in values.items():
        yield from ((name, value) for value in ([given] if isinstance(given, int) else given))


def dataset_names(project: Project) -> list[str]:
    """Return the names of the data sets in params.yaml."""
    return [str(name) for name in read_yaml(project.params).get("datasets") or {}]


def declared_words(project: Project) -> dict[str, str]:
    """Return the words by which pages name the data sets that the zoo brings: name or title -> name."""
    blocks = read_yaml(project.params).get("datasets")
    known = blocks.items() if isinstance(blocks, Mapping) else ()
    own = {
        str(name): block for name, block in known if name and isinstance(block, Mapping) and _is_own(block)
    }
    titles = {str(block["title"]): name for name, block in own.items() if block.get("title")}
    return {**titles, **{name: name for name in own}}


def _is_own(block: Mapping[str, Any]) -> bool:
    return "folder" in block or "module" in block


def dataset_facts(project: Project, name: str) -> DatasetFacts:
    """Return the block `datasets.NAME` of params.yaml. Raises UnknownNameError or ParamsError."""
    blocks = read_yaml(project.params).get("datasets") or {}
    if not blocks.get(name):
        hint = f"add datasets.{name} to params.yaml"
        raise UnknownNameError("data set in params.yaml", name, blocks, hint=hint)
    return parse_facts(blocks[name], name, project.root)


def parse_facts(block: Mapping[str, Any], name: str, root: Path) -> DatasetFacts:
    """Parse the block `datasets.NAME` of root/params.yaml. Raises ParamsError.

    `classes` of a module of the zoo may be left out where the module assigns a literal to CLASSES.
    """
    where = f"params.yaml: datasets.{name}"
    if isinstance(block.get("module"), str) and "classes" not in block:
        block = {**block, "classes": _literal_classes(root, block["module"], where)}
    return parse(DatasetFacts, block, where)


def dotted(module: str) -> str:
    """Return the name by which a module is imported: "zoo.other" for "zoo/other.py" and for "zoo.other"."""
    return module.removesuffix(".py").replace("/", ".") if module.endswith(".py") else module


def _literal_classes(root: Path, module: str, where: str) -> list[str]:
    """Read CLASSES from the source of a module, without running it."""
    path = own_file(root, dotted(module))
    try:
        tree = ast.parse(read_text(path, YAML_BYTES, error=ParamsError)) if path else ast.Module([], [])
        for node in tree.body:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            if any(isinstance(one, ast.Name) and one.id == "CLASSES" for one in targets):
                return [str(one) for one in ast.literal_eval(node.value)]  # type: ignore[attr-defined]
    except (SyntaxError, ValueError, TypeError, AttributeError):
        pass  # the commands that run the module report what is wrong in it
    hint = f"write the number of classes or a list of names, or the list as CLASSES in {module}"
    raise ParamsError("missing key 'classes'", where=where, hint=hint)
