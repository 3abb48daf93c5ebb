"""A project's own Python modules: their files, found without running them, and leave to run them.

A module is the project's own if its file is below the project's folder or below `src/` there. Modules that
are named only while the program runs (`importlib.import_module(name)`) and files that are not Python are not
found.
"""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from repro.errors import ParamsError, ReproError
from repro.io import limits
from repro.io.atomic import sha256_file

FOLDERS = ("", "src")  # of a project, in the order in which modules are looked up
OUR_PACKAGE = "repro"  # versioned by `engine:`
SOURCE_BYTES = limits.MiB


_trusted: list[Path] = []  # the project whose code this process may run, if any


def trust(root: Path) -> None:
    """Allow this process to run the code that the project at `root` names; its modules become importable.

    Commands that train, evaluate or count a network call it. Commands that only read files do not.
    """
    _trusted[:] = [root.resolve()]
    folders = [str(folder) for folder in import_folders(root.resolve())]
    sys.path[:] = [*folders, *(path for path in sys.path if path not in folders)]


def trusted() -> Path | None:
    """The project whose code this process may run."""
    return _trusted[0] if _trusted else None


def import_folders(root: Path) -> list[Path]:
    """The folders of a project whose modules can be imported without installing them."""
    return [folder for name in FOLDERS if (folder := root / name).is_dir()]


def source_hashes(root: Path, module: str) -> dict[str, str]:
    """Return the sha256 of every project file that `module` consists of, by path relative to `root`."""
    return {name: sha256_file(root / name) for name in source_files(root, module)}


def source_files(root: Path, module: str) -> list[str]:
    """Return the project's files that define `module`, sorted; none for an installed module.

    These are the file of the module, the `__init__.py` of its packages, and what they import from the
    project.

    Example: source_files(root, "zoo.nets") -> ["zoo/blocks.py", "zoo/nets.py"]
    """
    folders, found = import_folders(root), set[Path]()
    waiting = list(_files(folders, module))
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += [file for name in _imported(folders, path) for file in _files(folders, name)]
    return sorted(path.relative_to(root).as_posix() for path in found)


def own_file(root: Path, module: str) -> Path | None:
    """Return the project's file that defines `module`; None for an installed or missing module."""
    found = [name for name in source_files(root, module) if module_name(name) == module]
    return root / found[0] if found else None


def import_own(root: Path, module: str) -> ModuleType:
    """Import a module that the project at `root` names. This runs its code; it can raise anything."""
    trust(root)
    for file in source_files(root, module):
        name, path = module_name(file), (root / file).resolve()
        loaded = getattr(sys.modules.get(name), "__file__", None)
        if loaded and Path(loaded).resolve() != path:  # of another project
            del sys.modules[name]
    return importlib.import_module(module)


def module_name(file: str) -> str:
    """Dotted name of a file that `source_files` returned: "src/zoo/nets.py" -> "zoo.nets"."""
    parts = Path(file).with_suffix("").parts
    parts = parts[1:] if parts[0] in FOLDERS else parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _files(folders: list[Path], module: str) -> Iterator[Path]:
    """The files that importing `module` runs, as far as they are in one of the folders."""
    first, *_ = parts = module.split(".")
    if first == OUR_PACKAGE or not all(part.isidentifier() for part in parts):
        return
    for folder in folders:
        found = list(_files_below(folder, parts))
        if found:
            yield from found
            return


def _files_below(folder: Path, parts: list[str]) -> Iterator[Path]:
    for part in parts:
        package, module = folder / part / "__init__.py", folder / f"{part}.py"
        if package.is_file():
            yield package
        elif module.is_file():
            yield module
            return
        folder = folder / part


def _imported(folders: list[Path], path: Path) -> Iterator[str]:
    """Names of modules, and of attributes, that a file imports; none if it is not valid Python."""
    try:
        tree = ast.parse(limits.read_text(path, SOURCE_BYTES, error=ParamsError))
    except (SyntaxError, ValueError, RecursionError, MemoryError, ReproError):
        return  # the import itself reports it
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _package(folders, path, node.level) + (node.module.split(".") if node.module else [])
            yield from (".".join([*base, alias.name]) for alias in node.names)


def _package(folders: list[Path], path: Path, level: int) -> list[str]:
    """The package that a relative import of this level starts from; [] for an absolute import."""
    if level == 0:
        return []
    folder = next(one for one in reversed(folders) if path.is_relative_to(one))
    parts = path.relative_to(folder).parts[:-1]
    return list(parts[: len(parts) - level + 1])
