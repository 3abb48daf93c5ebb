"""torchvision's registry of weights: what we take of it, and that nothing else imports it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torchvision.models import get_model
from typer.testing import CliRunner

from repro.checkpoints import convert, guess_format, torchvision_weights, weights_cache
from repro.checkpoints.torchvision_weights import BUILDERS, registry, registry_weights
from repro.cli.app import app
from repro.errors import CheckpointError, DownloadError, UnknownNameError
from repro.models import build_on_meta
from repro.params.model import InputParams, ModelParams

RUN = CliRunner()
V2 = "ResNet50_Weights.IMAGENET1K_V2"


def test_entries_have_what_a_download_and_a_training_need() -> None:
    found = {entry.name: entry for entry in registry()}
    assert {entry.backbone for entry in found.values()} == set(BUILDERS.values())
    for entry in found.values():
        assert f"-{entry.sha256}.pth" in entry.url
        assert entry.input == InputParams(), "else the first convolution would have to be adapted"
        assert 60 < entry.accuracy < 90
    assert found[V2].url == "https://download.pytorch.org/models/resnet50-11ad3fa6.pth"
    assert (found[V2].accuracy, found[V2].resize, found[V2].crop) == (80.858, 232, 224)


def test_our_names_are_the_registrys_files_or_older_ones() -> None:
    """The pages started from the files of their time: the registry has replaced two of them since."""
    first = {f"torchvision_{entry.backbone}": entry for entry in registry() if entry.name.endswith("V1")}
    same = {name: weights_cache.KNOWN[name].url == entry.url for name, entry in first.items()}
    assert same == {
        "torchvision_mobilenetv2": True,
        "torchvision_resnet18": True,
        "torchvision_resnet50": False,
        "torchvision_resnet101": False,
    }


@pytest.mark.parametrize("builder", BUILDERS)
def test_their_network_fills_our_backbone(builder: str) -> None:
    params = ModelParams(family="deeplabv3plus", backbone=BUILDERS[builder], output_stride=16)  # type: ignore[arg-type]
    theirs = get_model(builder, weights=None).state_dict()
    ours = build_on_meta(params, num_classes=4).state_dict()
    name = guess_format(theirs, Path("x.pth"))
    found = convert(theirs, ours, format_name=name, params=params, where=Path("x.pth"))
    backbone = {key for key in ours if key.startswith("backbone.")}
    assert {key for key in found if key.startswith("backbone.")} == backbone


def test_a_registry_name_is_fetched_and_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPRO_HOME", str(tmp_path / "home"))
    with pytest.raises(CheckpointError, match="not downloaded") as caught:
        weights_cache.find(V2)
    assert f"repro weights get {V2}" in str(caught.value)
    file = tmp_path / "resnet50-11ad3fa6.pth"
    torch.save({}, file)
    with pytest.raises(DownloadError, match="wrong sha256"):
        weights_cache.add(file, name=V2)
    entry = registry_weights(V2)
    digest = weights_cache.checked(file, None)
    mine = replace(entry, url=file.as_uri(), sha256=digest[:8])
    monkeypatch.setattr(torchvision_weights, "registry", lambda: iter([mine]))
    asked: list[str] = []

    def fetch(url: str, path: Path, *, checksum: str, **_: object) -> str:
        asked.append(f"{url} {checksum}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.read_bytes())
        return digest

    monkeypatch.setattr(weights_cache.download, "fetch", fetch)
    assert weights_cache.get(V2).read_bytes() == file.read_bytes()
    assert asked == [f"{file.as_uri()} sha256:{digest[:8]}"]
    weights_cache.path_of(V2).unlink()
    assert weights_cache.add(file, name=V2).sha256 == digest
    assert weights_cache.find(V2).read_bytes() == file.read_bytes()


def test_an_entry_that_does_not_exist_names_those_that_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPRO_HOME", str(tmp_path))
    with pytest.raises(UnknownNameError, match=V2):
        weights_cache.get("ResNet50_Weights.IMAGENET1K_V3")


def test_the_list_offers_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPRO_HOME", str(tmp_path))
    listed = json.loads(RUN.invoke(app, ["weights", "list", "--torchvision", "--json"]).stdout)
    known = {row["name"]: row["known_as"] for row in listed["torchvision"]}
    assert known[V2] is None
    assert known["ResNet18_Weights.IMAGENET1K_V1"] == "torchvision_resnet18"
    text = RUN.invoke(app, ["weights", "list", "--torchvision"]).stdout
    assert "80.858" in next(line for line in text.splitlines() if line.startswith(V2))


def test_torchvision_is_imported_by_nothing_else() -> None:
    code = (
        "import sys, repro.evaluation.visualize, repro.stages.train, repro.stages.evaluate;"
        "from typer.testing import CliRunner; from repro.cli.app import app;"
        "assert CliRunner().invoke(app, ['weights', 'list']).exit_code == 0;"
        "print('torchvision' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]
