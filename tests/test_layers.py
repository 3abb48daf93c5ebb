"""Imports go down only, foreign libraries enter through one door, and what needs no torch starts without."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

from repro.cli.extras import EXTRA_OF
from tests.kit import every

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "repro"
LAYERS = [
    {"errors"},
    {"io"},
    {"published"},
    {"params"},
    {"records"},
    {"models", "datasets", "checkpoints"},
    {"training", "evaluation", "programs"},
    {"judgement"},
    {"scaffold", "reports", "tracking"},
    {"fleet"},
    {"stages"},
    {"cli", "zoo", "label_scores"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
DOORS = {"mlflow": {"tracking"}, "dvc": set(), "typer": {"cli"}, "rich": {"cli"}}
WITHOUT_TORCH = ("pipeline", "inputs_ready", "seeds", "summary", "reporter")  # of repro.stages
NAMES = {  # where not the package's own
    "markdown_it_py": "markdown_it",
    "opencv_python_headless": "cv2",
    "pillow": "PIL",
    "pyyaml": "yaml",
}
EXTRAS = ("train", "pipeline", "all")
OPTIONAL = {"submitit"}  # `repro run --launcher slurm` asks for it
RUN_AS_PROGRAMS = {"dvc", "ruamel.yaml.clib"}  # the second one speeds up the first
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or path.stem in LEVEL)


def part(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@cache
def imports(path: Path) -> set[str]:
    """Absolute names of all modules that a file imports, inside functions too."""
    return imported(ast.parse(path.read_text()))


def imported(code: ast.AST) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(code):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            found.add(node.module or "")
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@every("path", MODULES)
def test_imports_go_down_only(path: Path) -> None:
    mine = part(path)
    used = {name.split(".")[1] for name in imports(path) if name.startswith("repro.")} & set(LEVEL)
    wrong = {name for name in used - {mine} if LEVEL[name] >= LEVEL[mine]}
    assert not wrong, f"{path.relative_to(ROOT)} imports {sorted(wrong)}"


def test_no_module_imports_itself_through_others() -> None:
    """Of what is imported when a module is loaded; packages, which export what is below them, left out."""
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in MODULES}
    graph = {}
    for name, path in names.items():
        whole = ast.parse(path.read_text())
        loaded = [node for node in whole.body if isinstance(node, (ast.Import, ast.ImportFrom))]
        graph[name] = names.keys() & imported(ast.Module(body=list(loaded), type_ignores=[]))
    TopologicalSorter(graph).prepare()


@every("path", MODULES)
def test_foreign_libraries_enter_through_one_package(path: Path) -> None:
    used = {name.split(".")[0] for name in imports(path)}
    assert not {library for library in used & set(DOORS) if part(path) not in DOORS[library]}


def test_commands_share_no_code_but_through_helpers() -> None:
    """What one command does and another needs too stands in repro/stages, or in a helper of the CLI."""
    prefix = "repro.cli."
    table = {name for name in imports(PACKAGE / "cli" / "app.py") if name.startswith(prefix)}
    commands = {name.removeprefix(prefix) for name in table if not name.startswith(f"{prefix}console")}
    assert {"run.train", "run.run", "results.show"} <= commands
    for path in (PACKAGE / "cli").rglob("*.py"):
        mine = ".".join(path.relative_to(PACKAGE / "cli").with_suffix("").parts)
        used = {name.removeprefix(prefix) for name in imports(path) if name.startswith(prefix)}
        wrong = used & commands - {mine} if mine != "app" else set()
        assert not wrong, f"{path.relative_to(ROOT)} imports {sorted(wrong)}"


def test_dependencies_are_those_that_are_imported() -> None:
    """Every dependency of pyproject.toml is imported or run as a program, and every import is declared."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    declared = {
        _module(line)
        for line in (*project["dependencies"], *(one for extra in EXTRAS for one in extras[extra]))
    }
    imported = {name.split(".")[0] for path in PACKAGE.rglob("*.py") for name in imports(path)}
    foreign = imported - set(sys.stdlib_module_names) - {"repro", ""} - OPTIONAL
    assert declared - RUN_AS_PROGRAMS - {"deeplab_repro"} == foreign
    needed = {_module(line): extra for extra in EXTRAS for line in extras[extra]}
    assert {name: extra for name, extra in needed.items() if name in foreign | {"dvc"}} == EXTRA_OF


def _module(requirement: str) -> str:
    """The name that is imported, of a requirement."""
    name = re.split(r"[=<>\[]", requirement)[0].replace("-", "_")
    return NAMES.get(name, name)


def test_help_imports_nothing_heavy() -> None:
    heavy = ("torch", "mlflow", "pandas", "numpy", "yaml", "pydantic", "cv2", "requests")
    code = f"import sys, repro.cli.app; print(*(set({heavy}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_stages_that_need_no_torch_import_none() -> None:
    """`repro show`, a fleet's process, `repro run` under DVC: seconds, and memory for days."""
    wanted = ", ".join(f"repro.stages.{name}" for name in WITHOUT_TORCH)
    code = f"import sys, {wanted}; print(*({{'torch', 'mlflow', 'cv2'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
