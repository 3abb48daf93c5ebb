"""Networks by reference: built from a module of the project, in one form, with the names of their author."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from repro.errors import ParamsError
from repro.evaluation.evaluate import predictor
from repro.io import sources
from repro.models import Trial, build, build_on_meta, try_reference
from repro.models.cost import count
from repro.params import NetworkParams, ReferenceModel, TrainingParams
from repro.training import optimizers
from repro.training.distributed import Ranks
from tests.evaluation.kit import model_params, protocol

CLASSES = 3
CODE = '''
import torch
from torch import nn

NUMBER = 5


class Net(nn.Module):
    """An encoder of stride 4, a classifier, and a second head; `form` is what it returns."""

    def __init__(self, classes, form="one", start=None, needs_values=False):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 8, 3, 4, 1), nn.BatchNorm2d(8), nn.ReLU())
        self.head = nn.Sequential(nn.BatchNorm2d(8), nn.Conv2d(8, classes, 1))
        self.side = nn.Conv2d(8, classes, 1)
        self.form = form
        self.width = int(torch.tensor(2.0).item()) if needs_values else 2
        if start is not None:
            nn.init.constant_(self.side.bias, start)

    def forward(self, x):
        f = self.encoder(x)
        out, aux = self.head(f), self.side(f)
        return {
            "one": out, "tuple": (out, aux), "list": [out], "dict": {"out": out, "aux": aux},
            "alone": {"out": out, "aux": None}, "logits": {"logits": out, "loss": 1}, "text": "mask",
            "map": out.argmax(1), "empty": (), "ints": out.long(), "half": out[:1], "wide": (out, aux[:, :2]),
            "label": (out, aux.mean((2, 3))),
        }[self.form]


class Attention(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 8, 8)
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.classes = nn.Conv2d(16, classes, 1)

    def forward(self, x):
        f = self.patches(x)
        return self.classes(self.layer(f.flatten(2).transpose(1, 2)).transpose(1, 2).reshape(f.shape))


class Halves(nn.Module):
    """Like a U-Net, it accepts only multiples of 8."""

    def __init__(self, classes):
        super().__init__()
        self.net = nn.Conv2d(3, classes, 3, padding=1)

    def forward(self, x):
        if x.shape[2] % 8 or x.shape[3] % 8:
            raise RuntimeError("multiples of 8 only")
        return self.net(x)


def fails(classes):
    raise RuntimeError("no such\\nvariant")


def leaves(classes):
    raise SystemExit(3)


def number(classes):
    return 5


def identity(classes):
    return nn.Identity()
'''


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A trusted project with a module of networks."""
    root = tmp_path_factory.mktemp("zoo")
    (root / "zoo_nets.py").write_text(CODE)
    (root / "broken_nets.py").write_text("import torch\nraise OSError('no weights here')\n")
    (root / "invalid_nets.py").write_text("def f(:\n")
    before, path = list(sources._trusted), list(sys.path)
    sources.trust(root)
    yield root
    sources._trusted[:], sys.path[:] = before, path


def net(name: str = "Net", **more: Any) -> ReferenceModel:
    args = {"classes": CLASSES, **more.pop("args", {})}
    build = name if ":" in name else f"zoo_nets:{name}"
    return ReferenceModel(build=build, args=args, **more)


def forward(params: NetworkParams, *, training: bool = False, side: int = 16) -> tuple[torch.Tensor, ...]:
    model = build(params, num_classes=CLASSES).train(training)
    outputs: tuple[torch.Tensor, ...] = model(torch.zeros(2, 3, side, side))
    return outputs


def test_every_form_of_output_becomes_a_tuple_with_the_prediction_first(zoo: Path) -> None:
    for form, heads in {"one": 1, "tuple": 2, "list": 1, "dict": 2, "alone": 1}.items():
        outputs = forward(net(args={"form": form}))
        assert [tuple(one.shape) for one in outputs] == [(2, CLASSES, 4, 4)] * heads, form
    model = build(net(), num_classes=CLASSES)
    assert next(iter(model.state_dict())) == "encoder.0.weight"  # no prefix: the author's weights fit


def test_pretrained_args_are_for_the_start_of_a_training_alone(zoo: Path) -> None:
    params = net(pretrained_args={"start": 7.0})
    assert bool((build(params, num_classes=CLASSES, pretrained=True).get_parameter("side.bias") == 7).all())
    assert not bool((build(params, num_classes=CLASSES).get_parameter("side.bias") == 7).any())


MISTAKES: dict[str, tuple[ReferenceModel, str]] = {
    "no module": (net("missing_nets:f"), "cannot be imported: ModuleNotFoundError"),
    "no attribute": (net("Nte"), "cannot be imported: AttributeError"),
    "not Python": (net("invalid_nets:f"), "cannot be imported: SyntaxError"),
    "import fails": (net("broken_nets:f"), "cannot be imported: OSError: no weights here"),
    "not callable": (net("NUMBER"), "zoo_nets:NUMBER is an int"),
    "unknown argument": (net(args={"clases": 3}), "unexpected keyword argument 'clases'"),
    "missing argument": (ReferenceModel(build="zoo_nets:Net"), "missing a required argument: 'classes'"),
    "raises": (net("fails"), "failed: RuntimeError: no such variant"),
    "exits": (net("leaves"), "failed: SystemExit: 3"),
    "no module returned": (net("number"), "returned an int"),
    "no parameters": (net("identity"), "without trainable parameters"),
    "another mapping": (net(args={"form": "logits"}), "returned a mapping with the keys logits, loss"),
    "text": (net(args={"form": "text"}), "returned output 1 of 1: a str"),
    "label map": (net(args={"form": "map"}), "an int64 tensor of shape [2, 4, 4]"),
    "empty": (net(args={"form": "empty"}), "returned an empty tuple"),
    "integers": (net(args={"form": "ints"}), "an int64 tensor of shape [2, 3, 4, 4]"),
    "batch": (net(args={"form": "half"}), "a batch of 1 for one of 2 images"),
    "classes": (net(args={"classes": 21}), "output 1 of 1 with 21 classes; the data set has 3"),
    "classes of a head": (net(args={"form": "wide"}), "output 2 of 2 with 2 classes; the data set has 3"),
    "second output": (net(args={"form": "label"}), "output 2 of 2: a float32 tensor of shape [2, 3]"),
    "size": (net("Halves"), "failed on 2 images of 20 x 20 in training: RuntimeError: multiples of 8 only"),
}


def test_every_mistake_is_one_clear_error(zoo: Path) -> None:
    for name, (params, expected) in MISTAKES.items():
        trials = [Trial(images=2, size_HW=(16, 16) if name != "size" else (20, 20), training=True)]
        with pytest.raises(ParamsError) as error:
            try_reference(params, num_classes=CLASSES, batches=trials)
        assert expected in str(error.value), (name, str(error.value))
        assert error.value.what.startswith(params.build), name


def test_a_batch_of_one_image_fails_where_training_would(zoo: Path) -> None:
    build = "torchvision.models.segmentation:deeplabv3_mobilenet_v3_large"
    params = ReferenceModel(build=build, args={"num_classes": CLASSES, "weights_backbone": None})
    try_reference(params, num_classes=CLASSES, batches=[Trial(images=2, size_HW=(64, 64), training=True)])
    with pytest.raises(
        ParamsError, match="1 images of 64 x 64 in training: ValueError: Expected more than 1"
    ):
        try_reference(params, num_classes=CLASSES, batches=[Trial(images=1, size_HW=(64, 64), training=True)])


def test_no_code_runs_in_a_process_that_did_not_trust_it(zoo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_trusted", [])
    with pytest.raises(ParamsError, match="does not run code that a project names: os:abort"):
        build(ReferenceModel(build="os:abort"), num_classes=CLASSES)


def test_code_that_needs_values_is_built_on_the_cpu(zoo: Path) -> None:
    assert next(build_on_meta(net(), num_classes=CLASSES).parameters()).is_meta
    assert not next(build_on_meta(net(args={"needs_values": True}), num_classes=CLASSES).parameters()).is_meta
    same = (count(net(args={"needs_values": value}), CLASSES, (32, 32)) for value in (False, True))
    assert len(set(same)) == 1


def test_the_cost_of_convolutions_is_ours_and_attention_counts(zoo: Path) -> None:
    ours = model_params(backbone="resnet18", family="deeplabv3")
    by_hand = ReferenceModel(build="tests.models.test_reference:ours")
    found, wanted = (count(params, CLASSES, (64, 96)) for params in (by_hand, ours))
    assert found.params_M == wanted.params_M
    assert found.gmacs_conv == pytest.approx(wanted.gmacs_conv, rel=1e-9)
    assert found.gmacs_thop == pytest.approx(wanted.gmacs_thop, rel=1e-9)
    assert found.activation_MiB == pytest.approx(wanted.activation_MiB, rel=0.05)

    tokens, width, hidden = 64, 16, 32  # of an image of 64 x 64
    linear = tokens * (4 * width * width + 2 * width * hidden)
    convolutions = tokens * (3 * 64 * width + width * CLASSES)
    attention = 2 * tokens * tokens * width
    macs = count(net("Attention"), CLASSES, (64, 64)).gmacs_conv * 1e9
    assert macs == pytest.approx(linear + convolutions + attention, rel=1e-9)


def ours() -> nn.Module:
    return build(model_params(backbone="resnet18", family="deeplabv3"), num_classes=CLASSES)


def test_images_are_padded_to_multiples_and_the_maps_cropped(zoo: Path) -> None:
    params = net("Halves", size_divisor=8)
    torch.manual_seed(0)
    model = build(params, num_classes=CLASSES).eval()
    image = torch.randint(0, 256, (21, 30, 3), dtype=torch.uint8).numpy()
    predict = predictor(model, protocol=protocol(mode="whole"), model_params=params)
    assert predict([image])[0][""].shape == (21, 30)
    assert count(params, CLASSES, (21, 30)) == count(params, CLASSES, (24, 32))
    with pytest.raises(RuntimeError, match="multiples of 8"):
        predictor(model, protocol=protocol(mode="whole"), model_params=net("Halves"))([image])


def training(**fields: Any) -> TrainingParams:
    return TrainingParams(split="train", batch=2, iterations=1, lr=0.1, **fields)


def test_parts_are_named_by_prefixes(zoo: Path) -> None:
    model = build(net(), num_classes=CLASSES)
    parts = optimizers.PartNames(backbone="encoder.", classifier="*1", norms="encoder.")
    groups = optimizers.parameter_groups(model, training(lr_backbone=0.1), parts)
    sizes = {group["multiplier"]: len(group["params"]) for group in groups}
    assert sizes == {0.1: 4, 1.0: 6}

    multiplied = optimizers.gradient_multipliers(model, training(grad_weight=5.0, grad_bias=10.0), parts)
    assert [(id(tensor), factor) for tensor, factor in multiplied] == [
        (id(model.get_parameter("head.1.weight")), 5.0),
        (id(model.get_parameter("head.1.bias")), 10.0),
    ]

    optimizers.training_mode(model, training(batch_norm="frozen"), parts)
    norms = ("encoder.1", "head.0")
    assert [model.get_submodule(name).training for name in norms] == [False, True]
    ranks = Ranks(device=torch.device("cpu"))
    optimizers.prepare_norms(model, training(norm_affine="fixed"), ranks=ranks, parts=parts)
    assert [model.get_parameter(f"{name}.weight").requires_grad for name in norms] == [False, True]


def test_any_parameters_have_their_own_rate_and_gradient(zoo: Path) -> None:
    """The first prefix that matches counts, before the parts; a gradient's factor goes with its decay."""
    model = build(net(), num_classes=CLASSES)
    parts = optimizers.PartNames(backbone="encoder.", classifier="head.1")
    params = training(
        lr_backbone=0.1,
        lr_of={"head.1.bias": 20, "*.1.": 10, "encoder.": 0.5},
        grad_weight=5.0,
        grad_of={"head.1.weight": 2.0, "encoder.1": 3.0},
    )
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = optimizers.parameter_groups(model, params, parts)
    found = {names[id(one)]: group for group in groups for one in group["params"]}
    rates = {name: group["multiplier"] for name, group in found.items()}
    assert rates["head.1.bias"] == 20
    assert {rates[name] for name in ("head.1.weight", "encoder.1.weight")} == {10}
    assert (rates["encoder.0.weight"], rates["head.0.weight"]) == (0.5, 1.0)
    factors = {
        names[id(tensor)]: factor for tensor, factor in optimizers.gradient_multipliers(model, params, parts)
    }
    assert factors == {"head.1.weight": 2.0, "encoder.1.weight": 3.0, "encoder.1.bias": 3.0}
    assert found["head.1.weight"]["factor"] == 2.0


def test_a_part_that_matches_nothing_is_an_error_with_what_there_is(zoo: Path) -> None:
    model = build(net(), num_classes=CLASSES)
    cases: list[tuple[str, dict[str, str], dict[str, Any]]] = [
        ("backbone", {}, {"lr_backbone": 0.1}),
        ("classifier", {"backbone": "encoder."}, {"grad_weight": 5.0}),
        ("classifier", {"classifier": "decoder."}, {"grad_bias": 5.0}),
        ("norms", {"norms": "side."}, {}),
    ]
    for key, parts, fields in cases:
        with pytest.raises(ParamsError, match=rf"model\.parts\.{key}") as error:
            optimizers.check_parts(model, training(**fields), optimizers.PartNames(**parts))
        assert "encoder." in str(error.value.allowed), key
    for key in ("lr_of", "grad_of"):
        with pytest.raises(ParamsError, match=rf"key 'training\.{key}': nothing .* begins with 'aux\.'"):
            optimizers.check_parts(model, training(**{key: {"aux.": 10.0}}), optimizers.PartNames())
    optimizers.check_parts(model, training(), optimizers.PartNames())  # nothing needs a name
