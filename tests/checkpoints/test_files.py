"""Files: own ones written atomically, third-party ones read safely and identified, downloads, the cache."""

from __future__ import annotations

import hashlib
import os
import pickle
import re
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from repro.checkpoints import (
    FORMATS,
    convert_back,
    guess_format,
    inspect,
    load_model,
    pretrained_backbone,
    read_checkpoint,
    save_model,
    weights_cache,
)
from repro.errors import CheckpointError, DownloadError, UnknownNameError
from repro.io.download import fetch
from repro.models import build_on_meta
from repro.params import ModelParams
from repro.records import sha256_file
from tests.models.kit import MM18, PLUS, S3, SLIM, SLIM_V2, SLIM_V3, filled, model_params, net

STATE = {"a.weight": torch.arange(6.0).view(2, 3), "a.num_batches_tracked": torch.tensor(7)}


# --- our own files


def test_weights_and_metadata_come_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "new" / "model.safetensors"
    save_model(path, STATE | {"b": STATE["a.weight"], "t": STATE["a.weight"].t()}, {"experiment": "x"})
    state, metadata = load_model(path)
    assert metadata == {"experiment": "x"}
    assert torch.equal(state["t"], STATE["a.weight"].t())
    assert torch.equal(state["b"], STATE["a.weight"])
    assert state["a.num_batches_tracked"].item() == 7
    assert [item.name for item in path.parent.iterdir()] == ["model.safetensors"]


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.safetensors"
    save_model(path, STATE, {"run": "old"})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save_model(path, STATE, {"run": "new"})
    assert load_model(path)[1] == {"run": "old"}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kept", [0, 4, 40, 90])
def test_a_file_cut_short_says_so(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "model.safetensors"
    save_model(path, STATE, {})
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match="not a complete safetensors file"):
        load_model(path)


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="weights are missing"):
        load_model(tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="checkpoint is missing"):
        read_checkpoint(tmp_path / "x.pth")


# --- foreign files


class Malicious:
    """A pickle that makes a folder when it is loaded carelessly."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.makedirs, ("pwned",)


def test_a_malicious_pickle_is_refused_and_nothing_runs(in_tmp: Path) -> None:
    bad = in_tmp / "bad.pth"
    torch.save({"state_dict": STATE, "extra": Malicious()}, bad)
    older = in_tmp / "older.pth"
    older.write_bytes(pickle.dumps(Malicious()))
    for path in (bad, older):
        with pytest.raises(CheckpointError, match="unsupported object in the checkpoint") as caught:
            read_checkpoint(path)
        assert str(path) in str(caught.value)
    assert not (in_tmp / "pwned").exists()
    with pytest.raises(CheckpointError, match=r"unsupported object in the checkpoint: os\.makedirs"):
        read_checkpoint(bad)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.99])
def test_a_truncated_pickle_says_so(tmp_path: Path, share: float) -> None:
    path = tmp_path / "cut.pth"
    torch.save(STATE, path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(CheckpointError, match="not a complete PyTorch file"):
        read_checkpoint(path)


@pytest.mark.parametrize("wrap", ["state_dict", "model_state", "model", None])
def test_weights_are_found_inside_what_sources_save_around_them(tmp_path: Path, wrap: str | None) -> None:
    path = tmp_path / "wrapped.pth"
    parallel = {f"module.{key}": value for key, value in STATE.items()}
    torch.save({wrap: parallel, "epoch": 3, "best_score": 0.7} if wrap else parallel, path)
    assert read_checkpoint(path).keys() == STATE.keys()


@pytest.mark.parametrize("content", [[1, 2], {}, {"epoch": 3}, "text"])
def test_a_file_without_weights_says_so(tmp_path: Path, content: object) -> None:
    path = tmp_path / "empty.pth"
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=r"no weights inside|is not a tensor"):
        read_checkpoint(path)


def foreign_file(path: Path, name: str, params: ModelParams, classes: int) -> Path:
    """A checkpoint as the source `name` saves it, for the network of `params`."""
    ours = filled(build_on_meta(params, num_classes=classes).state_dict())
    ours = {key: value.float() if value.is_floating_point() else value for key, value in ours.items()}
    foreign = convert_back(ours, format_name=name, params=params, where=path)
    torch.save({FORMATS[name].wrap: foreign, "meta": {"epoch": 1}}, path)
    return path


def test_inspection_names_format_network_classes_and_hash(tmp_path: Path) -> None:
    path = foreign_file(tmp_path / "r18.pth", "mmsegmentation", model_params(net(MM18, "resnet18", 8)), 6)
    found = inspect(path)
    assert (found.format, found.network) == ("mmsegmentation", "DeepLabV3+ R-18, deep stem, separable")
    assert (found.classes, found.entries, found.parameters) == (6, 226, 12466440)  # golden/models/pages.json
    assert found.auxiliary
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("name", "raw", "network"),
    [
        ("vainf", net(PLUS, "mobilenetv2", 16), "DeepLabV3+ MobileNetV2"),
        ("sssegmentation", net(S3, "resnet18", 8), "DeepLabV3 R-18, deep stem"),
    ],
)
def test_networks_are_distinguished(tmp_path: Path, name: str, raw: dict[str, Any], network: str) -> None:
    found = inspect(foreign_file(tmp_path / "x.pth", name, model_params(raw), 21))
    assert (found.format, found.network, found.classes) == (name, network, 21)


def test_an_unknown_format_says_what_is_known(tmp_path: Path) -> None:
    path = tmp_path / "strange.pth"
    torch.save({"encoder.x.weight": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match="unknown checkpoint format") as caught:
        inspect(path)
    assert "vainf" in str(caught.value)
    assert "encoder.x.weight" in str(caught.value)


# --- downloads

DATA = bytes(range(256)) * 2000
DIGEST = hashlib.sha256(DATA).hexdigest()


class Server(BaseHTTPRequestHandler):
    """Serves DATA; may ignore ranges, break off after some bytes, or answer with an error."""

    ranges: ClassVar[bool] = True
    breaks: ClassVar[list[int]] = []
    status: ClassVar[int] = 200
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        wanted = self.headers.get("Range", "")
        self.asked.append(wanted)
        if self.status != 200:
            self.send_error(self.status)
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.ranges else 0
        body = DATA[start:]
        if not body:
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        cut = self.breaks.pop(0) if self.breaks else None
        self.wfile.write(body[:cut])

    def log_message(self, *_: object) -> None:
        """Tests are silent."""


@pytest.fixture
def url() -> Iterator[str]:
    Server.ranges, Server.breaks, Server.status, Server.asked = True, [], 200, []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.01), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/weights.pth"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What breaks is tried again without a wait."""
    monkeypatch.setattr("repro.io.download.WAIT_S", 0.0)


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("ranges", [True, False])
def test_a_download_that_breaks_resumes_where_it_stopped(url: str, tmp_path: Path, ranges: bool) -> None:
    Server.ranges, Server.breaks = ranges, [100_000, 50_000]
    seen: list[tuple[int, int | None]] = []
    path = tmp_path / "weights.pth"
    found = fetch(url, path, checksum=f"sha256:{DIGEST[:8]}", progress=lambda *now: seen.append(now))
    assert found == DIGEST
    assert path.read_bytes() == DATA
    assert seen[-1] == (len(DATA), len(DATA))
    assert Server.asked[0] == ""
    assert Server.asked[1].startswith("bytes=")
    assert [item.name for item in tmp_path.iterdir()] == ["weights.pth"]


def test_a_download_that_was_stopped_is_finished_by_the_next_one(url: str, tmp_path: Path) -> None:
    (tmp_path / "weights.pth.part").write_bytes(DATA[:1234])
    fetch(url, tmp_path / "weights.pth", checksum=f"sha256:{DIGEST}")
    assert Server.asked == ["bytes=1234-"]
    (tmp_path / "again.pth.part").write_bytes(DATA)
    assert fetch(url, tmp_path / "again.pth", checksum=None) == DIGEST


MD5 = hashlib.md5(DATA, usedforsecurity=False).hexdigest()


@pytest.mark.parametrize(
    ("checksum", "found"),
    [("sha256:" + "0" * 64, DIGEST), ("sha256:" + DIGEST[:7], DIGEST), ("md5:" + MD5[:8], MD5)],
)
def test_another_content_is_deleted_and_named(url: str, tmp_path: Path, checksum: str, found: str) -> None:
    """Seven digits of a sha256 prove nothing, and of an md5 all are known."""
    kind, _, wanted = checksum.partition(":")
    with pytest.raises(DownloadError, match=f"wrong {kind}: {found}") as caught:
        fetch(url, tmp_path / "weights.pth", checksum=checksum)
    assert (caught.value.allowed, caught.value.where) == (wanted, url)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("at_once")
def test_errors_of_the_server_and_of_the_network_are_reported(url: str, tmp_path: Path) -> None:
    Server.status = 404
    with pytest.raises(DownloadError, match="404"):
        fetch(url, tmp_path / "weights.pth", checksum=None)
    with pytest.raises(DownloadError, match=r"cannot fetch x\.pth: could not reach the server"):
        fetch("http://127.0.0.1:9/x.pth", tmp_path / "x.pth", checksum=None)
    with pytest.raises(DownloadError, match=r"cannot fetch x\.pth: No connection adapters"):
        fetch("file:///x.pth", tmp_path / "x.pth", checksum=None)


# --- the store


@pytest.fixture
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REPRO_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "weights"


def test_a_file_is_added_verified_and_found_again(own_store: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.pth"
    file.write_bytes(DATA)
    entry = weights_cache.add(file, name="mine", sha256=DIGEST)
    assert entry.path == own_store / "mine"
    assert weights_cache.find("mine").read_bytes() == DATA
    assert list(weights_cache.stored()) == [entry]
    with pytest.raises(DownloadError, match="wrong sha256"):
        weights_cache.add(file, name="torchvision_resnet50")  # a known name must have its known hash
    with pytest.raises(DownloadError, match="wrong sha256"):
        weights_cache.add(file, name="mine", sha256="ab")  # two digits prove nothing


def test_names_that_are_missing_or_leave_the_store(own_store: Path) -> None:
    with pytest.raises(CheckpointError, match="are not downloaded") as caught:
        weights_cache.find("torchvision_resnet50")
    assert "repro weights get torchvision_resnet50" in str(caught.value)
    with pytest.raises(UnknownNameError) as unknown:
        weights_cache.find("torchvision_resnet5")
    assert "did you mean 'torchvision_resnet50'?" in str(unknown.value)
    with pytest.raises(CheckpointError, match="invalid name"):
        weights_cache.path_of("../outside")


def test_weights_are_fetched_once(own_store: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    known = weights_cache.Weights(url=url, sha256=DIGEST[:8])
    monkeypatch.setitem(weights_cache.KNOWN, "local", known)
    assert weights_cache.get("local") == weights_cache.get("local") == own_store / "local"
    assert len(Server.asked) == 1
    assert next(weights_cache.stored()).sha256 == DIGEST


def test_without_a_network_the_manual_way_is_named(own_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody_there = weights_cache.Weights(url="http://127.0.0.1:9/resnet.pth", sha256=DIGEST)
    monkeypatch.setitem(weights_cache.KNOWN, "local", nobody_there)
    monkeypatch.setattr("repro.io.download.ATTEMPTS", 1)
    with pytest.raises(DownloadError) as caught:
        weights_cache.get("local")
    assert "repro weights add FILE --name local" in str(caught.value.hint)


@pytest.mark.parametrize("name", weights_cache.KNOWN)
def test_known_weights_carry_the_first_digits_of_their_hash(name: str) -> None:
    known = weights_cache.KNOWN[name]
    assert known.url.startswith("https://")
    assert f"-{known.sha256[:8]}.pth" in known.url
    assert re.fullmatch("[0-9a-f]{8}|[0-9a-f]{64}", known.sha256)


# --- backbones


@pytest.mark.parametrize("counters", [True, False])
def test_an_openmmlab_backbone_out_of_the_store(own_store: Path, tmp_path: Path, counters: bool) -> None:
    """V1c ImageNet weights fill `backbone.` and nothing else; files older than 2018 have no counters."""
    params = model_params(net(MM18, "resnet18", 8) | {"pretrained": "mine"})
    fresh = filled(build_on_meta(params, num_classes=6).state_dict())
    theirs = {
        key.removeprefix("backbone."): value + 1
        for key, value in fresh.items()
        if key.startswith("backbone.") and (counters or "num_batches" not in key)
    }
    file = tmp_path / "v1c.pth"
    torch.save({"state_dict": theirs | {"fc.weight": torch.zeros(2, 2), "fc.bias": torch.zeros(2)}}, file)
    assert guess_format(theirs, file) == "openmmlab-imagenet"
    entry = weights_cache.add(file, name="mine", sha256=sha256_file(file))
    state, digest = pretrained_backbone(params, fresh)
    assert digest == entry.sha256
    assert state.keys() == {key for key in fresh if key.startswith("backbone.")}
    assert torch.equal(state["backbone.layer4.1.bn2.weight"], fresh["backbone.layer4.1.bn2.weight"] + 1)
    other = model_params(net(PLUS, "resnet18", 8) | {"pretrained": "mine"})
    with pytest.raises(CheckpointError, match=r"left over stem\.3\.weight"):
        pretrained_backbone(other, build_on_meta(other, num_classes=6).state_dict())


@pytest.mark.parametrize("choices", [SLIM_V2 | {"dilations": [1, 1, 2, 4]}, SLIM_V3])
@pytest.mark.slow
def test_a_near_relative_leaves_first_values_where_it_has_none(
    own_store: Path, tmp_path: Path, choices: dict[str, Any]
) -> None:
    """timm's ResNet-v2 in slim's: biases, and what slim deeplabv3 adds behind stage 3, stay as drawn."""
    raw = net(SLIM | {"resnet": choices, "family": "deeplabv3"}, "resnet50", 16)
    params = model_params(raw | {"head": {"fuse": "sum", "decoder_convs": 0}, "pretrained": "relative"})
    fresh = filled(build_on_meta(params, num_classes=2).state_dict())
    table = FORMATS["timm-resnetv2"].table(params)
    theirs: dict[str, torch.Tensor] = {"head.fc.weight": torch.zeros(1)}
    for key, value in fresh.items():
        prefix = key.rpartition(".")[0]
        if prefix in table and not (
            value.ndim == 1 and key.endswith(("conv1.bias", "conv3.bias", "shortcut.bias"))
        ):
            theirs[table[prefix] + key[len(prefix) :]] = value + 1
    file = tmp_path / "timm.pth"
    torch.save(theirs, file)
    weights_cache.add(file, name="relative", sha256=sha256_file(file))
    state, _ = pretrained_backbone(params, fresh)
    assert state.keys() == {key for key in fresh if key.startswith("backbone.")}
    taken = {key for key in state if not torch.equal(state[key], fresh[key])}
    assert {"backbone.conv1.weight", "backbone.stages.3.2.conv2.weight"} <= taken
    assert not any(key.endswith(("conv3.bias", "shortcut.bias")) or ".bn3." in key for key in taken)
