"""The files of a project's own modules are found without running them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from repro.io.sources import import_own, module_name, source_files, source_hashes, trust

FILES = {
    "zoo/__init__.py": "",
    "zoo/nets.py": "import torch\nfrom .blocks import block\nfrom . import heads\nimport zoo.deep.parts\n",
    "zoo/blocks.py": "from ..zoo import nets\ndef later():\n    from zoo import late\n",
    "zoo/heads.py": "raise SystemExit('never run')\n",
    "zoo/late.py": "import repro.models\nimport importlib\nimportlib.import_module('zoo.hidden')\n",
    "zoo/hidden.py": "",
    "zoo/deep/parts.py": "this is not Python",
    "src/packed/__init__.py": "from packed.inner import x\n",
    "src/packed/inner.py": "x = 1\n",
    "alone.py": "import json, os.path\n",
    "repro/models/__init__.py": "",
}


@pytest.fixture
def zoo(tmp_path: Path) -> Iterator[Path]:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    path, modules = list(sys.path), set(sys.modules)
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def test_what_a_module_imports_from_the_project_belongs_to_it(zoo: Path) -> None:
    names = ("__init__", "blocks", "deep/parts", "heads", "late", "nets")
    whole = [f"zoo/{name}.py" for name in names]
    packed = ["src/packed/__init__.py", "src/packed/inner.py"]
    expected = {"zoo.nets": whole, "alone": ["alone.py"], "packed": packed, "packed.inner": packed}
    others = ("torch.nn", "repro.models", "missing", "../alone", "", "/etc/passwd")
    expected |= {module: [] for module in others}
    assert {module: source_files(zoo, module) for module in expected} == expected
    assert "torch" in sys.modules or "zoo" not in sys.modules  # nothing was imported
    assert [module_name(name) for name in (*packed, "alone.py")] == ["packed", "packed.inner", "alone"]


def test_an_edit_of_an_imported_file_changes_its_hash_alone(zoo: Path) -> None:
    before = source_hashes(zoo, "zoo.nets")
    (zoo / "zoo" / "blocks.py").write_text("# edited\n" + FILES["zoo/blocks.py"])
    after = source_hashes(zoo, "zoo.nets")
    assert {name for name in before if before[name] != after[name]} == {"zoo/blocks.py"}


def test_two_projects_may_have_modules_of_one_name(zoo: Path) -> None:
    other = zoo / "other"
    other.mkdir()
    (other / "alone.py").write_text("here = 2\n")
    (zoo / "alone.py").write_text("here = 1\n")
    for root, here in ((zoo, 1), (other, 2), (zoo, 1)):
        assert import_own(root, "alone").here == here
        assert sys.path[0] == str(root.resolve())
    trust(zoo)
    trust(zoo)
    assert sys.path.count(str(zoo.resolve())) == 1
