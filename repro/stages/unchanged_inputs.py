"""A result whose inputs changed while it was made is refused: it would be of neither version.

DVC hashes a stage's dependencies and params after its command, so dvc.lock would name the edited ones as the
inputs of a result that was made from those before. A stage that fails leaves dvc.lock as it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from repro.datasets.prepare.prepared_split import Split
from repro.errors import ParamsError, ReproError
from repro.io.atomic import sha256_tree
from repro.params import Project, load_experiment, to_plain
from repro.records import canonical, sha256_text

# Parts of a resolved experiment that a stage reads, by dotted key.
TRAINING = (
    *("dataset", "seed", "start_from", "facts", "model", "augmentation", "training"),
    *("external.train", "external.weights", "engine.data", "engine.training"),
)
EVALUATION = (
    *("dataset", "facts", "model", "evaluation", "protocol", "also", "engine.evaluation"),
    *("external.predict", "external.also", "external.weights"),
)


@contextmanager
def unchanged_inputs(
    project: Project, name: str, parts: Iterable[str], paths: Iterable[Path | str]
) -> Iterator[None]:
    """Raise ParamsError at the end if an input changed since the start.

    Args:
        project: The project.
        name: The experiment; its params.yaml and the project's are read at both times.
        parts: TRAINING or EVALUATION.
        paths: Prepared splits, weights, files and folders of programs, from the project's root.
    """
    parts, inputs = tuple(parts), [project.root / path for path in paths]
    before = _state(project, name, parts, inputs)
    yield
    after = _state(project, name, parts, inputs)
    changed = [what for what, found in before.items() if after.get(what) != found]
    if changed:
        raise ParamsError(
            f"changed while this ran: {', '.join(changed)}; the result is of neither version",
            where=project.experiment_folder(name),
            hint="run it again; a training continues where it is if the edit is undone first",
        )


def _state(project: Project, name: str, parts: tuple[str, ...], paths: Iterable[Path]) -> dict[str, str]:
    state = {f"params.yaml ({key})": text for key, text in _params(project, name, parts).items()}
    return state | {path.relative_to(project.root).as_posix(): _content(path) for path in paths}


def _params(project: Project, name: str, parts: tuple[str, ...]) -> dict[str, str]:
    """The parts of the experiment as params.yaml is now; an unreadable one differs from every other."""
    try:
        plain: Any = to_plain(load_experiment(project, name))
    except ReproError as error:
        return dict.fromkeys(parts, str(error))
    return {key: sha256_text(canonical({key: _part(plain, key)})) for key in parts}


def _part(plain: Any, key: str) -> Any:
    for name in key.split("."):
        plain = plain.get(name) if isinstance(plain, Mapping) else None
    return plain


def _content(path: Path) -> str:
    """A digest of the content: of a prepared split the one it holds, of anything else the sha256."""
    if not path.exists():
        return "absent"
    try:
        return Split.open(path).fingerprint if path.suffix == ".zip" else sha256_tree(path)
    except ReproError as error:
        return str(error)
