"""Checkpoints as training programs write them: each form gives bit-equal tensors, or one clear error."""

from __future__ import annotations

import argparse
import io
import itertools
import json
import pickle
import struct
import types
import warnings
import zipfile
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

from repro.checkpoints import (
    convert,
    convert_back,
    inspect,
    open_checkpoint,
    pretrained_backbone,
    pretrained_id,
    read_checkpoint,
    weights_cache,
)
from repro.checkpoints.pretrained import adapt_first_conv
from repro.cli.app import app
from repro.errors import CheckpointError, UnknownNameError
from repro.models import build, build_on_meta, normalise
from repro.params.model import InputParams
from repro.published.page import link_role
from repro.records import sha256_file
from tests.models.kit import PLUS, SLIM, filled, model_params, net

PARAMS = model_params(net(PLUS, "mobilenetv2", 16))
State = dict[str, Tensor]


class History:
    """A log buffer as MMEngine's: arrays, a bound method, and state set by BUILD."""

    def __init__(self) -> None:
        self.values, self.latest = np.arange(3.0), self.mean

    def mean(self) -> float:
        return float(self.values.mean())


class Settings(dict[str, Any]):
    """A configuration that is a dict by class, as yacs and OmegaConf have."""


@pytest.fixture(scope="module")
def theirs() -> State:
    """The weights of a small network under the names of page 000's program."""
    ours = filled(build_on_meta(PARAMS, num_classes=19).state_dict())
    ours = {key: value.float() if value.is_floating_point() else value for key, value in ours.items()}
    return convert_back(ours, format_name="vainf", params=PARAMS, where="a test")


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A module `trainer` that exists while a file is written and not when it is read."""
    module = types.ModuleType("trainer")
    for made in (History, Settings):
        monkeypatch.setattr(made, "__module__", "trainer")
        setattr(module, made.__name__, made)
    monkeypatch.setitem(__import__("sys").modules, "trainer", module)
    return module


def under(prefix: str, state: State) -> State:
    return {prefix + key: value for key, value in state.items()}


def counted(state: State) -> State:
    """With the counters that thop leaves in every module."""
    made = {f"{part}total_ops": torch.zeros(1) for part in ("", "backbone.", "classifier.aspp.")}
    return state | made | {"classifier.total_params": torch.ones(1)}


FORMS: dict[str, Callable[[State], Any]] = {
    "bare": lambda it: OrderedDict(it),
    "numpy scalar (000)": lambda it: {"model_state": under("module.", it), "best_score": np.float64(0.72)},
    "numpy array": lambda it: {"model_state": it, "confusion": np.zeros((19, 19), dtype=np.int64)},
    "namespace": lambda it: {"state_dict": it, "args": argparse.Namespace(lr=0.1, out=Path("runs"))},
    "mmengine": lambda it: {"state_dict": it, "message_hub": {"log_scalars": OrderedDict(loss=History())}},
    "configuration": lambda it: {"model": it, "cfg": Settings(lr=0.1, steps=[1, 2])},
    "collections": lambda it: {"net": it, "a": defaultdict(list, x=[1]), "b": Counter("ab"), "c": deque([1])},
    "set and slice": lambda it: {"model": it, "seen": {1, 2}, "part": slice(0, 3), "z": 1j},
    "thop": lambda it: {"model_state": counted(it)},
    "compiled": lambda it: {"model_state": under("_orig_mod.", it)},
    "parallel and compiled": lambda it: {"model_state": under("module._orig_mod.", it)},
    "lightning": lambda it: {"state_dict": under("model.", it), "epoch": 1, "loops": {"fit": {"x": 1}}},
    "only an average": lambda it: {"model_ema": it, "model": None},
    "averaged model": lambda it: {"model": under("module.", it) | {"n_averaged": torch.tensor(7)}},
    "averaged by MMEngine": lambda it: {"model": {"steps": torch.tensor(7)} | under("module.", it)},
    "with an optimizer": lambda it: {"model": it, "optimizer": {"state": {0: {"exp_avg": torch.ones(1)}}}},
    "with a loss scale": lambda it: {"model": it, "scaler": {"scale": torch.ones(1)}, "best": torch.ones(1)},
    "four levels": lambda it: {"state": {"model": {"net": {"weights": it}}}},
    "two levels": lambda it: {"teacher": {"state_dict": it}, "step": 3},
    "no counters in some norms": lambda it: {
        "model_state": {key: v for i, (key, v) in enumerate(it.items()) if i > 60 or "num_batches" not in key}
    },
    "parameters": lambda it: {"model": {key: as_parameter(value) for key, value in it.items()}},
}  # fmt: skip


def as_parameter(value: Tensor) -> Tensor:
    return nn.Parameter(value) if value.is_floating_point() else value


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.usefixtures("program")
@pytest.mark.slow
def test_a_form_gives_the_same_tensors(
    tmp_path: Path, theirs: State, form: str, zipped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "saved.pth"
    torch.save(FORMS[form](theirs), path, _use_new_zipfile_serialization=zipped)
    monkeypatch.delitem(__import__("sys").modules, "trainer")  # its program is not installed here
    found, ours = read_checkpoint(path), build_on_meta(PARAMS, num_classes=19).state_dict()
    for key, value in found.items():
        assert torch.equal(value, theirs[key])
    settings: dict[str, Any] = {"format_name": "vainf", "params": PARAMS, "where": path}
    expected, converted = convert(theirs, ours, **settings), convert(found, ours, **settings)
    for key, value in converted.items():
        assert torch.equal(value, expected[key]) or key.endswith("num_batches_tracked")


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_pickle_protocol_is_read(tmp_path: Path, theirs: State, protocol: int) -> None:
    path = tmp_path / "saved.pth"
    torch.save({"model": theirs, "best": np.float32(1)}, path, pickle_protocol=protocol)
    assert open_checkpoint(path).state.keys() == theirs.keys()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_becomes_the_networks_precision(
    tmp_path: Path, theirs: State, dtype: torch.dtype
) -> None:
    path = tmp_path / "half.pth"
    half = {key: value.to(dtype) if value.is_floating_point() else value for key, value in theirs.items()}
    torch.save({"model": half}, path)
    opened, ours = open_checkpoint(path), build_on_meta(PARAMS, num_classes=19).state_dict()
    assert opened.remarks == (f"stored as {str(dtype).removeprefix('torch.')}",)
    settings: dict[str, Any] = {"format_name": "vainf", "params": PARAMS, "where": path}
    found = convert(opened.state, ours, **settings)
    assert {value.dtype for value in found.values()} == {torch.float32, torch.int64}
    rounded = convert({key: value.to(theirs[key].dtype) for key, value in half.items()}, ours, **settings)
    assert all(torch.equal(found[key], rounded[key]) for key in found)


def test_several_networks_are_chosen_by_key(tmp_path: Path, theirs: State) -> None:
    path = tmp_path / "two.pth"
    average = {key: value + 1 for key, value in theirs.items()}
    torch.save({"model": theirs, "model_ema": average}, path)
    with pytest.raises(CheckpointError, match="2 networks in one file") as caught:
        read_checkpoint(path)
    assert caught.value.allowed == "model, model_ema"
    key = "classifier.classifier.3.weight"
    assert torch.equal(read_checkpoint(path, key="model_ema")[key], average[key])
    assert torch.equal(read_checkpoint(path, key="model")[key], theirs[key])
    with pytest.raises(UnknownNameError, match="unknown key with weights 'ema'"):
        read_checkpoint(path, key="ema")


def test_what_was_skipped_dropped_and_cut_is_said(tmp_path: Path, theirs: State) -> None:
    path = tmp_path / "remarks.pth"
    torch.save({"model_state": under("module.", counted(theirs)), "args": argparse.Namespace()}, path)
    remarks = inspect(path).remarks
    assert remarks == (
        "skipped non-tensor objects: argparse.Namespace",
        "dropped 4 counters of a profiler or weight averaging",
        "removed the prefix 'module.' from every name",
    )


def test_the_content_decides_what_a_file_is(tmp_path: Path, theirs: State) -> None:
    path = tmp_path / "really_safetensors.pth"
    path.write_bytes(safetensors.torch.save({key: value.clone() for key, value in theirs.items()}))
    assert inspect(path).format == "vainf"
    text = tmp_path / "README.md"
    text.write_text("# Results\n\nmIoU 79.1\n")
    with pytest.raises(CheckpointError, match="not a checkpoint: neither"):
        inspect(text)


def test_a_whole_module_names_what_to_save(tmp_path: Path) -> None:
    path = tmp_path / "module.pth"
    torch.save({"model": nn.Conv2d(1, 1, 1)}, path)
    with pytest.raises(
        CheckpointError, match=r"no weights inside, but unsupported objects: torch\.nn.*Conv2d"
    ) as caught:
        read_checkpoint(path)
    assert "state_dict()" in str(caught.value.hint)


STEM = "backbone.low_level_features.0.0.weight"
ODD: dict[str, Callable[[Tensor], Tensor]] = {
    "sparse_coo": lambda it: it.to_sparse(),
    r"quantised \(qint8\)": lambda it: torch.quantize_per_tensor(it, 0.1, 0, torch.qint8),
    "float8_e4m3fn": lambda it: it.to(torch.float8_e4m3fn),
    "complex64": lambda it: it.to(torch.complex64),
    r"meta \(without values\)": lambda it: it.to("meta"),
}  # fmt: skip


@pytest.mark.parametrize("kind", ODD)
def test_a_tensor_that_is_not_a_plain_weight_is_named(tmp_path: Path, theirs: State, kind: str) -> None:
    """Sparse, quantised and meta ones were tracebacks; scales and imaginary parts were lost in silence."""
    path = tmp_path / "odd.pth"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch announces that its quantised tensors will move
        torch.save({"model": theirs | {STEM: ODD[kind](theirs[STEM])}}, path)
    with pytest.raises(CheckpointError, match=f"'{STEM}' is a {kind} tensor"):
        read_checkpoint(path)


def test_whole_numbers_do_not_become_weights(tmp_path: Path, theirs: State) -> None:
    """Weights stored as int8 have a scale elsewhere; they were converted to wrong ones in silence."""
    ours = build_on_meta(PARAMS, num_classes=19).state_dict()
    small = theirs | {STEM: (theirs[STEM] * 100).to(torch.int8)}
    with pytest.raises(CheckpointError, match=f"the file's '{STEM}' has torch.int8, the network's"):
        convert(small, ours, format_name="vainf", params=PARAMS, where="x")


def test_networks_under_prefixes_are_chosen_by_key(tmp_path: Path, theirs: State) -> None:
    """As self-training programs save: `ema_model.` beside `model.` in one state dict."""
    path = tmp_path / "prefixes.pth"
    average = {key: value + 1 for key, value in theirs.items()}
    torch.save({"state_dict": under("model.", theirs) | under("ema_model.", average)}, path)
    for key, wanted in (("model", theirs), ("ema_model", average)):
        found = read_checkpoint(path, key=key)
        assert found.keys() == wanted.keys()
        assert all(torch.equal(found[name], wanted[name]) for name in found)


def test_files_of_other_kinds_say_what_they_are(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    np.savez(tmp_path / "x.npz", **{"conv.weight": np.zeros(3)})
    (tmp_path / "x.npz").rename(path)
    with pytest.raises(
        CheckpointError, match=r"a zip that torch\.save did not write, with conv\.weight\.npy"
    ):
        read_checkpoint(path)
    path.write_bytes(pickle.dumps({"conv.weight": np.zeros(3)}))
    with pytest.raises(CheckpointError, match=r"a pickle that torch\.save did not write"):
        read_checkpoint(path)
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("data.pkl", "constants.pkl", "code/__torch__.py"):
            archive.writestr(f"x/{name}", b"")
    with pytest.raises(CheckpointError, match="a TorchScript program, not weights") as caught:
        read_checkpoint(path)
    assert "state_dict()" in str(caught.value.hint)


# --- pickles that were made to harm


class Runs:
    """Unpickled carelessly, this calls `function`."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


CALLS = [(exec, "open('pwned', 'w')"), (eval, "open('pwned', 'w')"), (__import__, "antigravity")]


@pytest.mark.parametrize("inside", [True, False], ids=["beside weights", "as weights"])
@pytest.mark.parametrize("call", CALLS, ids=["exec", "eval", "import"])
def test_what_runs_commands_is_refused_and_not_run(
    in_tmp: Path, theirs: State, call: tuple[Any, ...], inside: bool
) -> None:
    bad = in_tmp / "bad.pth"
    torch.save({"model": theirs, "extra": Runs(*call)} if inside else Runs(*call), bad)
    with pytest.raises(CheckpointError, match=r"unsupported object in the checkpoint: \w+\.\w+"):
        read_checkpoint(bad)
    assert list(in_tmp.iterdir()) == [bad]


def test_no_function_is_imported_or_called(in_tmp: Path, theirs: State) -> None:
    """`Path.touch` is in no list of dangers: safety cannot depend on a list."""
    path = in_tmp / "touch.pth"
    torch.save({"model": theirs, "extra": Runs(Path.touch, Path("pwned"))}, path, pickle_protocol=4)
    assert open_checkpoint(path).state.keys() == theirs.keys()
    assert list(in_tmp.iterdir()) == [path]


def test_a_file_cannot_change_what_rebuilds_tensors(tmp_path: Path, theirs: State) -> None:
    """BUILD on a function sets its attributes: it must not reach torch's own."""
    before = dict(vars(torch._utils._rebuild_tensor_v2))
    path = tmp_path / "build.pth"
    torch.save({"model": theirs, "s": np.float64(1)}, path)
    attack = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}X\x01\x00\x00\x00xK\x01sb."
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "new.pth", "w") as new:
        for item in old.infolist():
            new.writestr(item.filename, attack if item.filename.endswith("data.pkl") else old.read(item))
    with pytest.raises(CheckpointError):
        read_checkpoint(tmp_path / "new.pth")
    assert vars(torch._utils._rebuild_tensor_v2) == before


HEADS = [
    b"\x80\x02",
    b"\x80\x02.",
    b"\x80\x02....",
    b"\x80\x02}",
    b"PK\x03\x04",
    b"\x80\x05" + b"(" * 5000,
    b"",
]


@pytest.mark.parametrize("content", HEADS, ids=repr)
def test_damaged_heads_are_one_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    assert len(str(caught.value)) < 600


def test_a_memo_of_any_number_costs_nothing(tmp_path: Path) -> None:
    """LONG_BINPUT of 2**31: C's unpickler would take 32 GiB for its memo."""
    path = tmp_path / "memo.pth"
    body = b"\x80\x02cx\ny\nr" + struct.pack("<I", 2**31) + b"."
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", body)
        archive.writestr("a/version", "3")
        archive.writestr("a/byteorder", "little")
    with pytest.raises(CheckpointError, match="no weights inside"):
        read_checkpoint(path)


def test_random_pickles_are_answered(tmp_path: Path) -> None:
    """Three hundred one-byte changes of a real pickle: weights, or one CheckpointError."""
    saved, path = io.BytesIO(), tmp_path / "x.pth"
    torch.save({"model": {"a.weight": torch.arange(4.0)}, "s": np.float64(1)}, saved)
    with zipfile.ZipFile(saved) as archive:
        members = {item.filename: archive.read(item) for item in archive.infolist()}
    name = next(name for name in members if name.endswith("data.pkl"))
    body, generator = members[name], np.random.default_rng(0)
    for _ in range(300):
        changed = bytearray(body)
        changed[generator.integers(len(body))] = generator.integers(256)
        with zipfile.ZipFile(path, "w") as archive:
            for member, content in members.items():
                archive.writestr(member, bytes(changed) if member == name else content)
        with suppress(CheckpointError):
            read_checkpoint(path)


# --- the input that weights were made for

CAFFE = InputParams(order="bgr", mean=(104.0, 116.0, 122.0), std=(1.0, 1.0, 1.0))
INPUTS = {
    "bgr, 0 to 255": CAFFE,
    "-1 to 1": InputParams(mean=(127.5,) * 3, std=(127.5,) * 3),
    "0 to 1": InputParams(mean=(0.0,) * 3, std=(255.0,) * 3),
    "imagenet": InputParams(),
}


@pytest.mark.parametrize("network", ["resnet18", "mobilenetv2", "slim"])
@pytest.mark.slow
def test_the_same_image_gives_the_same_features(network: str) -> None:
    """Except at the border, where zero padding represents another mean."""
    slim = SLIM | {"family": "deeplabv3", "head": {"fuse": "sum", "decoder_convs": 0}}
    raw = net(slim, "resnet50", 16) if network == "slim" else net(PLUS, network, 16)
    torch.manual_seed(0)
    model = build(model_params(raw), num_classes=2).eval().double()
    image_NCHW = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    first = {key: value for key, value in model.state_dict().items() if key.startswith("backbone.")}
    first = {key: value.clone() for key, value in first.items()}
    for made_for, given in itertools.product(("imagenet", "-1 to 1"), INPUTS):
        model.load_state_dict(first, strict=False)
        before = stem(model, normalise(image_NCHW, INPUTS[made_for]).double())
        adapted = adapt_first_conv(first, made_for=INPUTS[made_for], given=INPUTS[given])
        model.load_state_dict(adapted, strict=False)
        after = stem(model, normalise(image_NCHW, INPUTS[given]).double())
        inside = (..., slice(4, -4), slice(4, -4))
        torch.testing.assert_close(after[inside], before[inside], rtol=1e-5, atol=1e-5)
        assert after[inside].abs().max() > 0.1


def stem(model: nn.Module, x_NCHW: Tensor) -> Tensor:
    """What the first convolution and the norm behind it (slim: none) give."""
    backbone = model.backbone
    if hasattr(backbone, "conv1"):
        return backbone.conv1(x_NCHW)
    first = backbone.stem
    return first(x_NCHW) if not isinstance(first, nn.Sequential) else first[1](first[0](x_NCHW))


def test_pretrained_weights_are_adapted_and_the_run_key_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPRO_HOME", str(tmp_path / "home"))
    raw = net(PLUS, "resnet18", 16) | {"pretrained": "mine"}
    same = model_params(raw)
    other = model_params(raw | {"input": {"order": "bgr", "mean": [104, 116, 122], "std": [1, 1, 1]}})
    fresh = filled(build_on_meta(same, num_classes=2).state_dict())
    file = tmp_path / "resnet18.pth"
    torch.save(classifier(fresh), file)
    entry = weights_cache.add(file, name="mine", sha256=sha256_file(file))
    plain, digest = pretrained_backbone(same, fresh)
    adapted, adapted_id = pretrained_backbone(other, fresh)
    assert digest == pretrained_id(same) == entry.sha256
    assert adapted_id == pretrained_id(other) != digest
    first = "backbone.stem.0.weight"
    expected = plain[first].flip(1) / torch.tensor([57.375, 57.12, 58.395]).view(1, 3, 1, 1)
    torch.testing.assert_close(adapted[first], expected.to(adapted[first].dtype))


def classifier(fresh: State) -> State:
    """Torchvision's names of a ResNet-18 backbone."""
    names = {"stem.0.": "conv1.", "stem.1.": "bn1."}
    found = {}
    for key, value in fresh.items():
        if key.startswith("backbone."):
            name = key.removeprefix("backbone.")
            found[
                next((new + name[len(old) :] for old, new in names.items() if name.startswith(old)), name)
            ] = value
    return found  # fmt: skip


# --- commands and links


def test_inspect_takes_a_key(in_tmp: Path, theirs: State) -> None:
    torch.save({"model": theirs, "model_ema": theirs}, in_tmp / "two.pth")
    answer = CliRunner().invoke(app, ["weights", "inspect", "two.pth", "--key", "model_ema", "--json"])
    assert answer.exit_code == 0, answer.exception
    assert json.loads(answer.output)["format"] == "vainf"


@pytest.mark.parametrize(
    ("text", "url", "role"),
    [
        ("model", "https://x/y.pth", "model"),
        ("Github", "https://x/releases/deeplab_r50.pth?raw=1", "model"),
        ("here", "https://x/r50.safetensors", "model"),
        ("Download", "https://drive.google.com/file/d/1", "model"),
        ("test:72.67", "https://x/evaluation-results/?submissionID=984", "evaluation"),
        ("cfg", "https://x/y.txt", "config"),
        ("curve", "https://x/train.log.json", "log"),
    ],
)
def test_a_link_is_known_by_its_text_or_its_file(text: str, url: str, role: str) -> None:
    assert link_role(text, url) == role


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named(tmp_path: Path, theirs: State, value: float) -> None:
    key = "classifier.classifier.3.bias"
    ours = build_on_meta(PARAMS, num_classes=19).state_dict()
    with pytest.raises(CheckpointError, match=r"NaN or inf in 'head\.classifier\.bias'"):
        convert(theirs | {key: theirs[key] + value}, ours, format_name="vainf", params=PARAMS, where=tmp_path)
