"""`repro init`: the files of a new zoo, in an empty folder or in a git repository.

The package holds them in templates/zoo; `dot_` there stands for a leading dot. A file that exists is kept,
only .gitignore gets the lines that it lacks.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from repro.errors import ParamsError, ReproError
from repro.io.git import run_git
from repro.params import Project, read_yaml
from repro.published.columns import read_map
from repro.published.import_page import import_page
from repro.published.imported_files import page_files
from repro.records import write_text
from repro.reports import generated_files
from repro.reports.results import load_results
from repro.scaffold.dvc_files import sync
from repro.scaffold.pipelines import HEADER, TEMPLATES

ZOO = TEMPLATES / "zoo"
EXAMPLE, EXPERIMENT = "example", "synthetic_mobilenetv2_os16"
CHECKOUT = Path(__file__).parents[2]  # of the package, where it is not installed from a wheel
# What an existing zoo has its own of.
OF_EXAMPLE = ("params.yaml", "published/", f"experiments/{EXPERIMENT}/")
WORKFLOWS, IGNORE, DVC = ".github/workflows/", ".gitignore", ".dvc/config"  # the first is a folder
NO_GIT = "    no_scm = true\n"


def init_zoo(root: Path) -> list[Path]:
    """Make `root` a zoo: built-in data, one experiment, a page of one row, and what DVC and git need.

    In an existing zoo, only what is missing of DVC's and git's files is written.

    Returns:
        The paths that were written.

    Raises:
        ParamsError: `root` has a params.yaml or a dvc.yaml of something else.
    """
    root = root.resolve()
    require_free(root)
    root.mkdir(parents=True, exist_ok=True)
    top, project = repository(root), Project(root)
    texts = zoo_texts(root, top, is_new=not project.params.exists())
    written = [path for path, text in texts.items() if write_missing(path, text)]
    written += add_ignored(root / IGNORE) + sync(project)
    return written + generated_files.write(generated_files.generated_files(load_results(project)))


def require_free(root: Path) -> None:
    """Raise ParamsError where files of another program have the names of a zoo's files."""
    hint = "`repro init DIR` makes a zoo in another folder"
    if root.exists() and not root.is_dir():
        raise ParamsError("a file, not a folder", where=root, hint=hint)
    if (root / "params.yaml").exists() and not (root / "experiments").is_dir():
        raise ParamsError("a params.yaml that is none of a zoo: no experiments/", where=root, hint=hint)
    pipeline = root / "dvc.yaml"
    if pipeline.exists() and not pipeline.read_text(encoding="utf-8").startswith(HEADER):
        what = "a dvc.yaml that is none of a zoo: `repro sync` did not generate it"
        raise ParamsError(what, where=pipeline, hint=hint)


def repository(root: Path) -> Path | None:
    """The git repository that `root` is part of, a new one if there is none.

    None where git ignores `root`, or is not installed: DVC then runs without git.
    """
    try:
        if not run_git(root.parent, "check-ignore", "--quiet", f"{root.name}/").returncode:
            return None
        found = run_git(root, "rev-parse", "--show-toplevel")
        if found.returncode:
            run_git(root, "init", "--quiet")
        return Path(found.stdout.decode().strip()) if not found.returncode else root
    except ReproError:
        return None


def without_git(root: Path) -> bool:
    """Whether DVC runs without git in this zoo."""
    return NO_GIT in (root / DVC).read_text(encoding="utf-8")


def zoo_texts(root: Path, top: Path | None, *, is_new: bool) -> dict[Path, str]:
    """Path -> content of the files of a zoo in `root`, which is part of the repository `top`."""
    found = {target(path): path.read_text(encoding="utf-8") for path in ZOO.rglob("*") if path.is_file()}
    texts = {root / name: text for name, text in found.items() if is_new or not name.startswith(OF_EXAMPLE)}
    del texts[root / IGNORE]
    workflows = {name: texts.pop(root / name) for name in found if name.startswith(WORKFLOWS)}
    if top is None:
        texts[root / DVC] += NO_GIT
    else:
        folder = root.resolve().relative_to(top.resolve()).as_posix()
        texts |= {
            top / name: text.replace("FOLDER", folder).replace("REQUIREMENT", requirement(top))
            for name, text in workflows.items()
        }
    return {**texts, **example_page(root, found)} if is_new else texts


def requirement(top: Path) -> str:
    """What the gate of the repository `top` installs: this version, or the checkout that has the zoo."""
    if top.resolve() == CHECKOUT.resolve():
        return '--editable "$GITHUB_WORKSPACE"'
    return f'"deeplab-repro=={version("deeplab-repro")}"'


def example_page(root: Path, found: Mapping[str, str]) -> dict[Path, str]:
    """params.yaml with an id of the project, and the typed rows of the example's page."""
    name = re.sub(r"[^\w-]+", "-", root.resolve().name, flags=re.ASCII)[:40]
    params = found["params.yaml"].replace("PROJECT", f"{name}-{uuid.uuid4().hex[:6]}")
    path = ZOO / "published" / f"{EXAMPLE}.yaml"
    text, chosen = found[f"published/{EXAMPLE}.md"], read_map(read_yaml(path), path)
    page = import_page(text, source=EXAMPLE, origin=f"{EXAMPLE}.md", column_map=chosen)
    return {root / "params.yaml": params, **page_files(Project(root).published, page.raw, text=text)}


def target(path: Path) -> str:
    """The name of a template's file in a zoo: ".dvc/config" for dot_dvc/config."""
    parts = path.relative_to(ZOO).parts
    return "/".join(re.sub("^dot_", ".", part) for part in parts)


def write_missing(path: Path, text: str) -> bool:
    """Write a file unless it exists; whether it was written."""
    if path.exists():
        return False
    write_text(path, text)
    return True


def add_ignored(path: Path) -> list[Path]:
    """Append to .gitignore what it lacks; the path if that was anything."""
    kept = path.read_text(encoding="utf-8") if path.exists() else ""
    wanted = (ZOO / "dot_gitignore").read_text(encoding="utf-8").splitlines()
    lacking = [line for line in wanted if line not in kept.splitlines()]
    if not lacking:
        return []
    start = kept if not kept or kept.endswith("\n") else f"{kept}\n"
    write_text(path, start + "\n".join(lacking) + "\n")
    return [path]
