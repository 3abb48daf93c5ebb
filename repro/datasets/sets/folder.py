"""A data set that params.yaml declares with `folder:`, as a `DatasetModule`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import Literal

import numpy as np

from repro.datasets.formats.label_maps import Table, value_table
from repro.datasets.prepare.convert import grid
from repro.datasets.raw.files import lower_extension
from repro.datasets.raw.match_files import ONE, match_pairs, read_values, unlabelled_pairs
from repro.datasets.raw.source import Source
from repro.datasets.raw.split_lists import Entry, read_ids
from repro.datasets.sets.palettes import voc_colours
from repro.datasets.sets.spec import IGNORE, Colour, Download, Pair, Pixels, SplitAbsent, Window
from repro.errors import DataError
from repro.params.dataset import PLACEHOLDER, DatasetFacts, Folder, patterns

IMAGES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".ppm", ".pgm", ".jp2")
_PART = re.compile(r"(\{id\}|\{split\}|\*)")
Windows = Callable[[int, int, str], list[Window]]


@dataclass(frozen=True, kw_only=True)
class FolderDataset:
    """The attributes of `DatasetModule`, from the declaration of a data set."""

    name: str
    facts: DatasetFacts
    DOWNLOADS: tuple[Download, ...] = ()

    @property
    def TITLE(self) -> str:  # noqa: N802 - named as in modules of data sets
        return self.facts.title or self.name

    @property
    def CLASSES(self) -> tuple[str, ...]:  # noqa: N802
        return self.facts.class_names

    @property
    def PALETTE(self) -> tuple[Colour, ...]:  # noqa: N802
        return self.facts.palette or voc_colours(self.facts.num_classes)

    @property
    def SPLITS(self) -> Mapping[str, int]:  # noqa: N802
        return self.facts.splits

    @property
    def LICENCE(self) -> str:  # noqa: N802
        return self.facts.licence or "not stated"

    @property
    def PAGE(self) -> str:  # noqa: N802
        return self.facts.page or "not stated"

    @property
    def folder(self) -> Folder:
        assert self.facts.folder is not None
        return self.facts.folder

    @property
    def LAYOUT(self) -> str:  # noqa: N802
        """The declared patterns."""
        if self.facts.module is not None:
            return f"the files that {self.facts.module} reads"
        parts = {"images": self.folder.images, "labels": self.folder.labels, "lists": self.folder.lists}
        return "; ".join(f"{what} {' or '.join(patterns(form))}" for what, form in parts.items() if form)

    @property
    def MARKERS(self) -> tuple[str, ...]:  # noqa: N802
        """The first folder of the images, by which the data is found inside an archive."""
        if self.facts.module is not None:
            return ()
        first, *rest = patterns(self.folder.images)[0].split("/")
        return (first,) if rest and not _PART.search(first) else ()

    @property
    def windows(self) -> Windows | None:
        """The tiles of an image, if the declaration has `tile`."""
        tile = self.facts.tile
        if tile is None:
            return None
        return lambda height, width, split: grid(height, width, size=tile.size, step=tile.size - tile.overlap)

    def file(self, kind: Literal["images", "labels"], name: str, split: str) -> str:
        """Return the file of an image or label by the first pattern, with "x" and ".png" for `*`."""
        pattern = patterns(getattr(self.folder, kind))[0].replace("{id}", name).replace("{split}", split)
        return (pattern.removesuffix(".*") + ".png" * pattern.endswith(".*")).replace("*", "x")

    @property
    def label_values(self) -> list[int]:
        """The values that label files can have."""
        return [int(value) for value in np.flatnonzero(self._table >= 0)]

    def pairs(self, source: Source, split: str) -> list[Pair]:
        """Return the pairs of a split: in the order of its list, or all files sorted by id."""
        images = _files(source, self.folder.images, split)
        labels = _files(source, self.folder.labels, split)
        if _literals(self.folder.labels) >= _literals(self.folder.images):
            images = _without(images, labels)  # x_mask.png is no image, although {id}.png matches it
        else:
            labels = _without(labels, images)
        labelled = split not in self.folder.unlabelled
        if self.folder.lists is None:
            return match_pairs(source, images, labels) if labelled else unlabelled_pairs(images)
        name = self.folder.lists.replace("{split}", split)
        if not source.has(name):
            raise SplitAbsent(f"no list of split {split}", where=source.place(name), allowed=self.LAYOUT)
        entries = read_ids(source, name, known=_known(images, labels))
        return [self._listed(source, entry, images, labels if labelled else None) for entry in entries]

    def _listed(
        self, source: Source, entry: Entry, images: Mapping[str, str], labels: Mapping[str, str] | None
    ) -> Pair:
        for what, files in (("image", images), ("label", labels)):
            if files is not None and entry.id not in files:
                hint = "correct the list or the pattern under datasets: in params.yaml, or complete the data"
                raise DataError(
                    f"no {what} for '{entry.id}'", where=entry.place, allowed=self.LAYOUT, hint=hint
                )
        return Pair(id=entry.id, image=images[entry.id], label=None if labels is None else labels[entry.id])

    def read_label(self, source: Source, pair: Pair) -> Pixels:
        """Read label_HW: values and colours by the declaration."""
        return read_values(source, pair, self._table, self._colours, ignored=self._ignored)

    @cached_property
    def _table(self) -> Table:
        ignored = {value: IGNORE for value in self.facts.ignore if isinstance(value, int)}
        return value_table(ignored | self.facts.label_values)

    @cached_property
    def _colours(self) -> dict[int, Colour]:
        """The colour of each label value; none without a declared palette."""
        palette = self.facts.palette
        return {value: palette[k] for value, k in self.facts.label_values.items()} if palette else {}

    @cached_property
    def _ignored(self) -> tuple[Colour, ...]:
        return tuple(colour for colour in self.facts.ignore if not isinstance(colour, int))


def _files(source: Source, given: str | tuple[str, ...], split: str) -> dict[str, str]:
    """Files by id; a file that matches several patterns belongs to the first."""
    found: dict[str, str] = {}
    names = source.names()
    for pattern in patterns(given):
        wanted, taken = _regex(pattern, split), set(found.values())
        for name in names:
            match = wanted.fullmatch(lower_extension(name))
            if match is None or name in taken or not name.lower().endswith(IMAGES):
                continue
            if match["id"] in found:
                hint = f"remove one of the two; the other one is {source.place(found[match['id']])}"
                raise DataError(
                    f"duplicate id '{match['id']}'", where=source.place(name), allowed=ONE, hint=hint
                )
            found[match["id"]] = name
    return found


def _regex(pattern: str, split: str) -> re.Pattern[str]:
    """A pattern as a regular expression with the group `id`; a second {id} is equal to the first."""
    forms = {"{id}": "(?P=id)", "{split}": re.escape(split), "*": "[^/]*"}
    parts = [forms.get(part, re.escape(part)) for part in _PART.split(lower_extension(pattern))]
    return re.compile("".join(parts).replace("(?P=id)", "(?P<id>.+)", 1))


def _literals(given: str | tuple[str, ...]) -> int:
    """Number of characters that the shortest pattern prescribes."""
    return min(len(PLACEHOLDER.sub("", pattern).replace("*", "")) for pattern in patterns(given))


def _without(files: Mapping[str, str], others: Mapping[str, str]) -> dict[str, str]:
    taken = set(others.values())
    return {key: name for key, name in files.items() if name not in taken}


def _known(images: Mapping[str, str], labels: Mapping[str, str]) -> Callable[[str], str | None]:
    """Return a function that finds the id of an entry of a list: an id, or a path of image or label.

    Leading folders of a path need not exist here: /SegNet/CamVid/train/x.png is train/x.png.
    """
    by_file = {lower_extension(name): key for files in (labels, images) for key, name in files.items()}

    def find(entry: str) -> str | None:
        for tail in _tails(entry.replace("\\", "/")):
            stem = str(PurePosixPath(tail).with_suffix("")) if tail.lower().endswith(IMAGES) else tail
            for key in (by_file.get(lower_extension(tail)), tail, stem):
                if key in images:
                    return key
        return None

    return find


def _tails(path: str) -> Iterator[str]:
    """The path, then without its first folder, and so on."""
    parts: Sequence[str] = path.split("/")
    yield from ("/".join(parts[start:]) for start in range(len(parts)))
