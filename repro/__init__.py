"""Does a published segmentation number still come out? Experiments, records, tables, a gate for a model zoo.

import repro

zoo = repro.open(".")                 # a folder with params.yaml and experiments/
zoo.results()                         # a data frame: a row per result, published and measured
zoo["camvid_mobilenetv2_os16"].curve()
repro.score(maps, labels, classes=11) # metrics of label maps, without a project
repro.log({"loss": 0.3}, step=12)     # from a training program that an experiment runs
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from repro.label_scores import score as score
    from repro.live_log import log as log
    from repro.zoo import Result as Result
    from repro.zoo import Zoo as Zoo
    from repro.zoo import open_zoo as open

__version__ = "0.2.0"
__all__ = ["Result", "Zoo", "log", "open", "score"]

_PUBLIC = {
    "open": ("repro.zoo", "open_zoo"),
    "Zoo": ("repro.zoo", "Zoo"),
    "Result": ("repro.zoo", "Result"),
    "score": ("repro.label_scores", "score"),
    "log": ("repro.live_log", "log"),
}


def __getattr__(name: str) -> Any:
    """Import a name when it is first used: `import repro` alone takes milliseconds."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'repro' has no attribute '{name}'")
    from importlib import import_module

    module, attribute = _PUBLIC[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
