"""The `external:` block of params.yaml: what is refused, and what a command becomes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from repro.errors import ParamsError
from repro.params.experiment import ExternalExperiment, resolve
from repro.params.program import arguments
from tests.programs.kit import ROOT_PARAMS

WHERE = Path("experiments/x/params.yaml")


def resolved(protocols: Any = None, **changes: Any) -> ExternalExperiment:
    """An experiment with keys of its params replaced, `a__b` for a.b."""
    own: dict[str, Any] = {
        "dataset": "camvid",
        "external": {
            "family": "SegFormer",
            "train": {"command": "train {images} {out}", "split": "train", "deps": ["tools"]},
            "predict": {"command": "predict {out} {images} {maps}"},
        },
        "evaluation": {"split": "val", "protocol": "external"},
    }
    for key, value in changes.items():
        *path, last = key.split("__")
        block = own
        for part in path:
            block = block.setdefault(part, {})
        block[last] = value
    root = {**ROOT_PARAMS, **({} if protocols is None else {"protocols": protocols})}
    found = resolve("x", own, root, WHERE)
    assert isinstance(found, ExternalExperiment)
    return found


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"external__train__command": "train {outt}"}, ("{outt}", "did you mean {out}?")),
        ({"external__train__command": "train {maps} {out}"}, ("not {maps}",)),
        ({"external__train__command": "train {images}"}, ("{out} in the command",)),
        ({"external__train__command": "train 'x {out}"}, ("split into words", "quotation")),
        ({"external__train__command": "  "}, ("at least one word",)),
        ({"external__train__log": "{images}/log"}, ("no placeholder but {out}",)),
        ({"external__train__split": "trian"}, ("external.train.split", "did you mean 'train'?")),
        ({"external__train__timeout": 0}, ("external.train.timeout",)),
        ({"external__predict__command": "predict {out}"}, ("{maps} in the command",)),
        ({"external__predict__command": "predict {weights} {maps}"}, ("`weights:` block",)),
        ({"external__predict__deps": ["../x.py"]}, ("deps", "../x.py")),
        ({"external__predict__deps": ["/x.py"]}, ("deps", "/x.py")),
        ({"external__predict__deps": ["${x}"]}, ("deps", "${x}")),
        ({"external__weights": {"url": "https://x.org/a", "sha256": "12"}}, ("64 hex digits",)),
        ({"external__weights": {"url": "/x/a", "sha256": "0" * 64}}, ("https://",)),
        ({"external__timeout": 3}, ("unknown key 'external.timeout'", "family")),
        ({"model": {}}, ("unknown key 'model'",)),
        ({"also": ["whole"]}, ("has mode whole",)),
        ({"also": ["flip"]}, ("'flip' needs other predictions than 'external'", "external.also.flip")),
        ({"external__also": {"flip": {"command": "x {maps}"}}}, ("'flip' is not listed in `also:`",)),
        ({"external__also": {"flip": {"command": "x"}}, "also": ["flip"]}, ("{maps} in the command",)),
        ({"evaluation__protocol": "whole"}, ("has mode whole", "built in")),
        ({"evaluation__protocol": "ms"}, ("mode external without ms_flip",)),
    ],
)
def test_a_mistake_is_one_clear_error(changes: dict[str, Any], words: tuple[str, ...]) -> None:
    protocols = {
        "whole": {"mode": "whole"},
        "ms": {"mode": "external", "ms_flip": {"scales": [1.0]}},
        "flip": {"mode": "external", "flip": True},
    }
    with pytest.raises(ParamsError) as caught:
        resolved(protocols, **changes)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_without_training_nothing_is_trained() -> None:
    external = {"family": "x", "predict": {"command": "predict {images} {maps}"}}
    found = resolved(external=external)
    assert found.training_split is None
    assert found.external.train is None
    external["predict"] = {"command": "predict {out} {maps}"}
    with pytest.raises(ParamsError, match="external") as caught:
        resolved(external=external)
    assert "`train:` block" in str(caught.value)


def test_a_declared_protocol_is_hashed_like_ours() -> None:
    from repro.params.protocol import protocol_hash

    declared = {
        "mode": "external",
        "scales": [0.5, 1.0],
        "flip": True,
        "crop": [512, 512],
        "base": [2048, 512],
    }
    protocols = {
        "ms": declared,
        "words": declared | {"words": "resize: keep ratio, cubic"},
        "slide": declared | {"mode": "slide", "stride": [341, 341]},
    }
    blocks = {**protocols, "none": {"mode": "external"}}
    found = {name: resolved(blocks, evaluation__protocol=name) for name in blocks if name != "slide"}
    codes = [protocol_hash(one.protocol, classes=["a"]) for one in (*found.values(), resolved())]
    assert len(set(codes)) == 3
    assert codes[-1] == codes[-2]  # the built-in one declares nothing


def test_a_command_is_split_without_a_shell() -> None:
    text = "python 'my tool.py' --out={out} {{seed}} $HOME ; {images}"
    wanted = ["python", "my tool.py", "--out=a b; c", "{seed}", "$HOME", ";", "{out}"]
    assert arguments(text, {"out": "a b; c", "images": "{out}"}) == wanted
