"""The commands end to end on a tiny CamVid: evaluate, benchmark, score, compare, predict, verify."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from repro.checkpoints import convert_back, load_model, save_model
from repro.cli.app import app
from repro.cli.console import guarded
from repro.datasets.prepare.prepared_split import Split
from repro.evaluation.visualize import evenly
from repro.models import build
from repro.params import find_project, load_experiment
from repro.stages.model_setup import process_group
from tests.datasets import kit
from tests.kit import PUBLISHED, copy_pages

pytestmark = pytest.mark.slow
SIZE = (40, 56)
SIX = [0.5, 0.75, 1.0]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a prepared tiny CamVid and two experiments whose weights are random."""
    root = tmp_path_factory.mktemp("project")
    copy_pages(root)
    raw = kit.camvid(root / "data" / "camvid", per_split=3, size_HW=SIZE)
    splits = {"train": 3, "val": 3, "trainval": 6, "test": 3}
    kit.prepared("camvid", raw, root / "prepared" / "camvid", **splits)
    recipe = {
        "model": {"family": "deeplabv3plus"},
        "augmentation": {"pipeline": "scale_crop", "crop": [32, 32]},
        "training": {"split": "train", "epochs": 1, "batch": 2, "lr": 0.1},
    }
    write(
        root / "params.yaml",
        {
            "engine": {"data": 1, "training": 1, "evaluation": 1},
            "datasets": {"camvid": {"classes": 11, "splits": splits}},
            "recipes": {"r": recipe},
            "protocols": {
                "whole": {"mode": "whole", "ms_flip": {"scales": SIX}, "boundary_ratio": 0.02},
                "single": {"mode": "whole"},
                "tiles": {"mode": "slide", "crop": [32, 32], "stride": [16, 16]},
            },
        },
    )
    for seed, name in enumerate(("camvid_a", "camvid_b")):
        own = {"dataset": "camvid", "recipe": "r", "model": {"backbone": "mobilenetv2", "output_stride": 16}}
        own |= {"training": {"split": "train"}, "evaluation": {"split": "test", "protocol": "whole"}}
        write(root / "experiments" / name / "params.yaml", own)
        model = network(root, name, seed)
        save_model(root / "experiments" / name / "model.safetensors", model.state_dict(), {})
        (root / "experiments" / name / "curve.csv").write_text("step,loss,lr,val_mIoU\n1,0.5,0.1,\n")
    return root


@pytest.fixture
def project(template: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The working directory is a fresh copy of the project."""
    root = tmp_path / "project"
    shutil.copytree(template, root)
    monkeypatch.chdir(root)
    return root


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Exit code, standard output and standard error of a command line."""

    def call(*arguments: object) -> tuple[int, str, str]:
        def inner() -> None:
            app([str(one) for one in arguments], standalone_mode=False)

        code = guarded(inner)
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return call


Run = Callable[..., tuple[int, str, str]]


def write(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content))


def network(root: Path, name: str, seed: int) -> torch.nn.Module:
    """A network that gives every class somewhere: random weights with a livelier classifier."""
    experiment = load_experiment(find_project(root), name)
    torch.manual_seed(seed)
    model = build(experiment.model, num_classes=11)
    for key, weight in model.named_parameters():
        if key.endswith("weight") and weight.shape[0] == 11:
            torch.nn.init.normal_(weight, std=2.0)
    return model


def metrics_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    return found


def test_evaluate_writes_everything_deterministically(project: Path, run: Run) -> None:
    folder = project / "experiments" / "camvid_a"
    code, out, err = run("evaluate", "experiments/camvid_a/")
    assert (code, err) == (0, "")
    assert "mIoU" in out
    values = metrics_of(folder)
    assert {
        "mIoU",
        "aAcc",
        "mAcc",
        "fwIoU",
        "mIoU_ms_flip",
        "mIoU_low",
        "mIoU_high",
        "boundary_mIoU",
    } <= values.keys()
    assert (values["n_images"], values["split"], len(values["protocol"])) == (3, "test", 12)
    assert list(values["IoU"]) == list(Split.open(project / "prepared/camvid/test.zip").classes)
    assert values["mIoU_low"] <= values["mIoU"] <= values["mIoU_high"]
    header, *lines = (folder / "confusion.csv").read_text().splitlines()
    assert header == "actual,predicted,count,variant"
    assert [sum(line.endswith(end) for line in lines) for end in (",", ",_ms_flip")] == [121, 121]
    assert len(list((folder / "overlays").glob("*.png"))) == 3
    names = ("metrics.json", "confusion.npz", "confusion.csv")
    before = {name: (folder / name).read_bytes() for name in names}
    run("evaluate", "camvid_a")
    assert before == {name: (folder / name).read_bytes() for name in names}


def test_evaluate_json_is_metrics_json(project: Path, run: Run) -> None:
    _, out, _ = run("evaluate", "camvid_a", "--json")
    assert json.loads(out) == metrics_of(project / "experiments" / "camvid_a")


def test_another_protocol_goes_to_another_folder(project: Path, run: Run) -> None:
    code, _, err = run("evaluate", "camvid_a", "--protocol", "tiles")
    assert code == 2
    assert "--out" in err
    code, _, _ = run("evaluate", "camvid_a", "--protocol", "tiles", "--out", project / "tiles")
    assert code == 0
    assert not (project / "experiments/camvid_a/metrics.json").exists()
    code, _, err = run("evaluate", "camvid_a", "--protocol", "tile", "--out", project / "tiles")
    assert code == 2
    assert "did you mean 'tiles'?" in err


def test_evaluate_says_what_is_missing(project: Path, run: Run) -> None:
    (project / "experiments/camvid_a/model.safetensors").unlink()
    code, _, err = run("evaluate", "camvid_a")
    assert code == 2
    assert "weights are missing" in err
    assert "Traceback" not in err
    (project / "prepared/camvid/test.zip").unlink()
    code, _, err = run("evaluate", "camvid_b")
    assert code == 2
    assert "repro prepare camvid" in err


def test_weights_of_another_network(project: Path, run: Run) -> None:
    state, _ = load_model(project / "experiments/camvid_a/model.safetensors")
    state.pop(next(iter(state)))
    save_model(project / "experiments/camvid_a/model.safetensors", state, {})
    code, _, err = run("evaluate", "camvid_a")
    assert code == 2
    assert "weights of another network" in err


def test_half_written_weights(project: Path, run: Run) -> None:
    path = project / "experiments/camvid_a/model.safetensors"
    path.write_bytes(path.read_bytes()[:5000])
    code, _, err = run("evaluate", "camvid_a")
    assert code == 2
    assert "not a complete safetensors file" in err


def test_no_gpu_is_said(project: Path, run: Run) -> None:
    if torch.cuda.is_available():
        pytest.skip("THIS MACHINE HAS A GPU")
    code, _, err = run("evaluate", "camvid_a", "--device", "cuda")
    assert code == 2
    assert "--device cpu" in err


@pytest.mark.parametrize("device", ["cdua", "mps", "cuda:99", "cpu:x"])
@pytest.mark.parametrize("command", ["evaluate", "benchmark"])
def test_a_missing_device_is_an_error(project: Path, run: Run, command: str, device: str) -> None:
    if device == "mps" and torch.backends.mps.is_available():
        pytest.skip("THIS MACHINE HAS MPS")
    code, _, err = run(command, "camvid_a", "--device", device)
    assert code == 2
    assert f"device '{device}'" in err
    assert "--device cpu" in err


@pytest.mark.parametrize(("shown", "place"), [(1, "cuda:0"), (4, "cuda:3")])
def test_processes_that_see_one_gpu_each_take_it(
    shown: int, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("repro.stages.model_setup.chosen_device", lambda device: device)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: shown)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    for name in ("init_process_group", "destroy_process_group"):
        monkeypatch.setattr(torch.distributed, name, lambda *given: None)
    for name, value in (("RANK", "3"), ("WORLD_SIZE", "4"), ("LOCAL_RANK", "3")):
        monkeypatch.setenv(name, value)
    with process_group("cuda") as found:
        assert found == place


def test_processes_of_srun_share_the_images(project: Path, run: Run) -> None:
    """Without torchrun: each would evaluate everything, and all would write into one folder."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    step = {"SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NODELIST": "localhost", "SLURM_JOB_ID": "1"}
    command = [
        sys.executable,
        "-m",
        "repro",
        "evaluate",
        "camvid_a",
        "--json",
        "--out",
        str(project / "srun"),
    ]
    job = [
        subprocess.Popen(
            command,
            cwd=project,
            env=os.environ | step | {"MASTER_PORT": str(port), "SLURM_PROCID": rank, "SLURM_LOCALID": rank},
            stdout=subprocess.PIPE,
        )
        for rank in "01"
    ]
    outputs = [process.communicate(timeout=120)[0] for process in job]
    assert [process.returncode for process in job] == [0, 0]
    assert json.loads(outputs[0])["n_images"] == 3
    assert outputs[1] == b""


def test_two_processes_are_bit_equal_to_one(project: Path, run: Run) -> None:
    run("evaluate", "camvid_a", "--out", project / "one")
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0"]
    command += ["--standalone", "-m", "repro", "evaluate", "camvid_a", "--out", str(project / "two")]
    subprocess.run(command, check=True, capture_output=True, cwd=project)
    for name in ("metrics.json", "confusion.npz", "confusion.csv"):
        assert (project / "one" / name).read_bytes() == (project / "two" / name).read_bytes()
    assert len(list((project / "two" / "overlays").glob("*.png"))) == 3


def test_benchmark(project: Path, run: Run) -> None:
    code, out, _ = run("benchmark", "camvid_a", "--seconds", "0", "--json")
    cost = json.loads(out)
    assert code == 0
    assert cost == json.loads((project / "experiments/camvid_a/cost.json").read_text())
    assert cost["params_M"] == pytest.approx(5.22, abs=0.01)
    assert cost["input_size"] == list(SIZE)
    assert 0 < cost["latency_ms_p50"] <= cost["latency_ms_p95"]
    assert cost["images_per_s"] == pytest.approx(1000 / cost["latency_ms_mean"], rel=0.01)
    assert cost["launch_ms_mean"] <= cost["latency_ms_mean"]
    assert cost["gmacs_conv"] < cost["gmacs_thop"]
    assert cost["device"]["threads"] == torch.get_num_threads()
    assert cost["peak_memory_MiB"] > 50


def test_further_protocols_end_in_the_record(project: Path, run: Run) -> None:
    """`also: [tiles]`: a folder, a place in the record, `repro show`, the table, and `repro compare`."""
    for name in ("camvid_a", "camvid_b"):
        path = project / "experiments" / name / "params.yaml"
        write(path, yaml.safe_load(path.read_text()) | {"also": ["tiles"]})
        assert run("evaluate", name)[0] == 0
        assert run("evaluate", name, "--protocol", "tiles")[0] == 0
    folder = project / "experiments/camvid_a"
    main, tiles = metrics_of(folder), metrics_of(folder / "also/tiles")
    assert main["protocol"] != tiles["protocol"]
    assert run("record", "camvid_a", "--no-mirror")[0] == 0
    record = json.loads((project / "reports/rows/camvid_a.json").read_text())
    assert record["metrics"]["mIoU"] == main["mIoU"]
    assert record["also"]["tiles"]["metrics"]["mIoU"] == tiles["mIoU"]
    assert record["also"]["tiles"]["intervals"]["mIoU"] == [tiles["mIoU_low"], tiles["mIoU_high"]]
    _, shown, _ = run("show", "camvid_a")
    assert "result, protocol tiles" in shown
    assert f"{tiles['mIoU']:.2f}  ({tiles['mIoU_low']:.2f} to {tiles['mIoU_high']:.2f})" in shown
    _, table, _ = run("table", "--dataset", "camvid")
    assert f"{tiles['mIoU']:.2f} {tiles['mIoU_low']:.2f}–{tiles['mIoU_high']:.2f} (i1) (2)" in table
    assert "(2) protocol: camvid test, 3 images, slide, tiles 32x32" in table
    _, out, _ = run("compare", "camvid_a", "camvid_b", "--protocol", "tiles", "--json")
    assert json.loads(out)["mIoU"]["a"] == pytest.approx(tiles["mIoU"], abs=1e-4)


def test_results_of_something_else_have_no_place_among_experiments(project: Path, run: Run) -> None:
    folder = "experiments/camvid_a"
    for command in (
        ["evaluate", "camvid_a", "--protocol", "single", "--out", folder],
        [
            "score",
            "--predictions",
            predictions(project, "maps"),
            "-d",
            "camvid",
            "-s",
            "test",
            "--out",
            folder,
        ],
    ):
        code, _, error = run(*command)
        assert code == 2
        assert "outside experiments/" in error
    assert not (project / folder / "metrics.json").exists()


def other_protocol(project: Path) -> None:
    path = project / "experiments/camvid_a/params.yaml"
    write(path, yaml.safe_load(path.read_text()) | {"evaluation": {"split": "test", "protocol": "tiles"}})


def other_data(project: Path) -> None:
    shutil.copy(project / "prepared/camvid/val.zip", project / "prepared/camvid/test.zip")


def other_number(project: Path) -> None:
    path = project / "experiments/camvid_a/metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"mIoU": 45.0}))


def fewer_images_in_a_further_protocol(project: Path) -> None:
    path = project / "experiments/camvid_a/also/single/metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"n_images": 2}))


def other_training(project: Path) -> None:
    path = project / "experiments/camvid_a/model.safetensors"
    save_model(path, load_model(path)[0], {"run_key": "0123456789abcdef"})


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        (other_protocol, "protocol and classes give"),
        (other_data, "dataset_fingerprint of the record and of metrics.json differ"),
        (other_number, "mIoU is 45.0000, but its matrices give"),
        (fewer_images_in_a_further_protocol, "2 images were counted, the split has 3"),
        (other_training, "model_sha256 of the record and of metrics.json differ"),
    ],
)
def test_a_record_is_made_of_what_belongs_together(
    project: Path, run: Run, change: Callable[[Path], None], wrong: str
) -> None:
    own = project / "experiments/camvid_a/params.yaml"
    write(own, yaml.safe_load(own.read_text()) | {"also": ["single"]})
    assert run("evaluate", "camvid_a")[0] == run("evaluate", "camvid_a", "--protocol", "single")[0] == 0
    assert run("record", "camvid_a", "--no-mirror")[0] == 0
    before = (project / "reports/rows/camvid_a.json").read_text()
    change(project)
    code, _, error = run("record", "camvid_a", "--no-mirror")
    assert code == 2
    assert wrong in error
    assert "next:" in error
    assert (project / "reports/rows/camvid_a.json").read_text() == before


def predictions(project: Path, folder: str, *, colour: bool = False) -> Path:
    """Perfect predictions of the test split but for one wrong row."""
    split = Split.open(project / "prepared/camvid/test.zip")
    out = project / folder
    out.mkdir()
    for i, image_id in enumerate(split.ids):
        label = split.label(i).copy()
        label[label == 255] = 0
        label[0] = (label[0] + 1) % 11
        pixels = np.array(split.palette, np.uint8)[label] if colour else label
        Image.fromarray(pixels).save(out / f"{image_id.replace('/', '_')}.png")
    return out


def score_of(project: Path, folder: Path) -> tuple[str, ...]:
    return ("score", "--predictions", str(folder), "--dataset", "camvid", "--split", "test", "--json")


def test_score_of_ids_and_of_colours_is_one_number(project: Path, run: Run) -> None:
    _, ids, _ = run(*score_of(project, predictions(project, "ids")))
    _, colours, _ = run(*score_of(project, predictions(project, "colours", colour=True)))
    assert json.loads(ids) == json.loads(colours)
    split = Split.open(project / "prepared/camvid/test.zip")
    wrong = sum(int((split.label(i)[0] != 255).sum()) for i in range(3))
    valid = sum(int((split.label(i) != 255).sum()) for i in range(3))
    assert json.loads(ids)["aAcc"] == pytest.approx(100 * (1 - wrong / valid), abs=1e-4)


def test_score_of_predictions_equals_evaluate(project: Path, run: Run) -> None:
    """repro predict on the split's images, then repro score: the numbers of repro evaluate."""
    split = Split.open(project / "prepared/camvid/test.zip")
    images = []
    for i, image_id in enumerate(split.ids):
        images.append(project / "images" / f"{image_id.replace('/', '_')}.png")
        images[-1].parent.mkdir(exist_ok=True)
        Image.fromarray(split.image(i)).save(images[-1])
    code, out, _ = run("predict", "camvid_a", *images, "-o", project / "maps")
    assert code == 0
    overlays = list((project / "maps").glob("*_overlay.png"))
    assert [cv2.imread(str(one)).shape for one in overlays] == [(SIZE[0], 2 * SIZE[1] + 4, 3)] * 3
    run("evaluate", "camvid_a")
    expected = metrics_of(project / "experiments/camvid_a")
    _, out, _ = run(*score_of(project, project / "maps"))
    scored = json.loads(out)
    assert all(scored[key] == expected[key] for key in ("mIoU", "aAcc", "mAcc", "fwIoU", "mIoU_low", "IoU"))


def test_score_lists_every_wrong_file(project: Path, run: Run) -> None:
    folder = predictions(project, "maps")
    files = sorted(folder.glob("*.png"))
    files[0].rename(folder / "stray.png")
    code, _, err = run(*score_of(project, folder))
    assert code == 2
    assert files[0].stem in err
    assert "stray" in err
    (folder / "stray.png").rename(files[0])
    Image.fromarray(np.zeros((5, 7), np.uint8)).save(files[0])
    Image.fromarray(np.full(SIZE, 77, np.uint8)).save(files[1])
    files[2].write_bytes(b"no image")
    code, _, err = run(*score_of(project, folder))
    assert code == 2
    assert "3 of 3" in err
    assert "7x5 pixels, the image has 56x40" in err
    assert "values of no class: 77" in err
    assert "not a readable image" in err


@pytest.mark.parametrize(("flag", "word"), [("--dataset", "camvd"), ("--split", "tset")])
def test_score_suggests_the_nearest_name(project: Path, run: Run, flag: str, word: str) -> None:
    code, _, err = run(*score_of(project, project), flag, word)
    assert code == 2
    assert f"did you mean '{'camvid' if flag == '--dataset' else 'test'}'?" in err


def test_score_names_strange_colours(project: Path, run: Run) -> None:
    folder = predictions(project, "maps", colour=True)
    Image.fromarray(np.full((*SIZE, 3), (1, 2, 3), np.uint8)).save(sorted(folder.glob("*.png"))[0])
    code, _, err = run(*score_of(project, folder))
    assert code == 2
    assert "colour (1, 2, 3)" in err


def test_compare(project: Path, run: Run) -> None:
    for name in ("camvid_a", "camvid_b"):
        run("evaluate", name)
    code, out, _ = run(
        "compare", "camvid_a", "camvid_b", "--json", "--images", project / "pictures", "--number", 2
    )
    assert code == 0
    found = json.loads(out)
    a, b = (metrics_of(project / "experiments" / name) for name in ("camvid_a", "camvid_b"))
    assert found["mIoU"]["difference"] == pytest.approx(b["mIoU"] - a["mIoU"], abs=2e-4)
    assert found["mIoU"]["low"] <= found["mIoU"]["difference"] <= found["mIoU"]["high"]
    assert found["warnings"] == []
    pictures = sorted((project / "pictures").glob("*.png"))
    assert len(pictures) == 2
    assert cv2.imread(str(pictures[0])).shape == (SIZE[0], 4 * SIZE[1] + 3 * 4, 3)
    code, out, _ = run("compare", "camvid_a", "camvid_a")
    assert "p 1.0000" in out


def test_compare_names_the_protocols_that_there_are(project: Path, run: Run) -> None:
    code, _, err = run("compare", "camvid_a", "camvid_b", "--protocol", "tile")
    assert (code, "unknown protocol 'tile'" in err, "did you mean 'tiles'?" in err) == (2, True, True)
    code, _, err = run("compare", "camvid_a", "camvid_b", "--protocol", "tiles")
    assert code == 2
    assert "'camvid_a' is not evaluated under the protocol 'tiles'" in err
    assert "--out" not in err


def test_compare_refuses_other_protocols_unless_forced(project: Path, run: Run) -> None:
    run("evaluate", "camvid_a")
    run("evaluate", "camvid_b", "--protocol", "tiles", "--out", project / "tiles")
    code, _, err = run("compare", "camvid_a", project / "tiles")
    assert code == 2
    assert "different protocols" in err
    code, out, _ = run("compare", "camvid_a", project / "tiles", "--force")
    assert code == 0
    assert "NOT COMPARABLE, forced: different protocols" in out


def test_compare_without_matrices(project: Path, run: Run) -> None:
    code, _, err = run("compare", "camvid_a", "camvid_b")
    assert code == 2
    assert "repro evaluate camvid_a" in err


def test_predict_refuses_what_it_cannot_read(project: Path, run: Run) -> None:
    broken = project / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff nothing")
    code, _, err = run("predict", "camvid_a", broken, "-o", project / "maps")
    assert code == 2
    assert "broken.jpg" in err
    code, _, err = run("predict", "camvid_a", "x/a.png", "y/a.png", "-o", project / "maps")
    assert code == 2
    assert "several images are named a" in err


@pytest.mark.parametrize(
    "command",
    [
        ("evaluate", "camvid_a", "--out"),
        ("predict", "camvid_a", "a.png", "--out"),
        ("compare", "camvid_a", "camvid_b", "--images"),
        ("verify", "camvid_a", "--weights", "released.pth", "--out", "experiments"),
    ],
    ids=lambda words: words[0],
)
def test_a_file_in_place_of_a_folder_is_said(
    project: Path, run: Run, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(kit.photo(1, (33, 47))).save(project / "a.png")
    (project / "README.md").touch()
    released(project, "000-01")
    for name in ("camvid_a", "camvid_b") if command[0] == "compare" else ():
        run("evaluate", name)
    words = command if command[0] == "verify" else (*command, "README.md")
    monkeypatch.setattr(sys, "argv", ["repro", *words])
    code, _, err = run(*words)
    assert code == 2
    assert "cannot write there" in err
    assert str(project / words[-1]) in err


@pytest.mark.parametrize("damage", ["NaN", "overflow", "cut", "none"])
def test_predict_with_unusable_weights_writes_nothing(project: Path, run: Run, damage: str) -> None:
    Image.fromarray(kit.photo(1, (33, 47))).save(project / "a.png")
    path = project / "experiments/camvid_a/model.safetensors"
    state, _ = load_model(path)
    state |= {
        key: value * float("nan") for key, value in state.items() if damage == "NaN" and value.ndim == 4
    }
    state |= {
        key: -value for key, value in state.items() if damage == "overflow" and key.endswith("running_var")
    }
    save_model(path, state, {})
    if damage in ("cut", "none"):
        path.write_bytes(path.read_bytes()[: 1000 if damage == "cut" else 0])
    code, out, err = run("predict", "camvid_a", "a.png", "-o", "maps")
    assert code == 2, (out, err)
    assert not (project / "maps").exists()


def test_predict_never_replaces_an_image(project: Path, run: Run) -> None:
    image_file = project / "street.png"
    Image.fromarray(np.full((40, 60, 3), 99, np.uint8)).save(image_file)
    before = image_file.read_bytes()
    code, _, err = run("predict", "camvid_a", image_file, "-o", project)
    assert code == 2
    assert "would overwrite the image" in err
    assert "-o maps/" in err
    assert image_file.read_bytes() == before


@pytest.mark.parametrize(
    ("size", "words"), [((1, 1), "1x1 pixels is too small"), (None, "not a readable image")], ids=str
)
def test_predict_says_which_image_is_too_small(
    project: Path, run: Run, size: tuple[int, int] | None, words: str
) -> None:
    image_file = project / "tiny.png"
    if size is None:
        image_file.touch()
    else:
        Image.fromarray(np.zeros((*size, 3), np.uint8)).save(image_file)
    code, _, err = run("predict", "camvid_a", image_file, "-o", project / "maps")
    assert code == 2
    assert words in err
    assert "tiny.png" in err


def test_compare_says_what_it_takes(project: Path, run: Run) -> None:
    run("evaluate", "camvid_a")
    for side in ("/nowhere", "params.yaml"):
        code, _, err = run("compare", "camvid_a", side)
        assert code == 2
        assert "an .npz file" in err


def test_predict_multi_scale(project: Path, run: Run) -> None:
    image_file = project / "a.png"
    Image.fromarray(kit.photo(1, (33, 47))).save(image_file)
    code, out, _ = run("predict", "camvid_a", image_file, "-o", project / "maps", "--ms-flip", "--json")
    assert code == 0
    label = np.asarray(Image.open(project / "maps" / "a.png"))
    assert label.shape == (33, 47)
    assert len(json.loads(out)[0]["classes"]) == len(np.unique(label))


def released(project: Path, row: str) -> Path:
    """camvid_b's weights as a page's checkpoint file, and camvid_a as the experiment of that row."""
    experiment = load_experiment(find_project(project), "camvid_b")
    state, _ = load_model(project / "experiments/camvid_b/model.safetensors")
    foreign = convert_back(state, format_name="vainf", params=experiment.model, where="test")
    file = project / "released.pth"
    torch.save({"model_state": foreign, "cur_itrs": 7}, file)
    path = project / "experiments/camvid_a/params.yaml"
    write(path, yaml.safe_load(path.read_text()) | {"rows": [row]})
    return file


def test_verify_says_why_a_number_differs(project: Path, run: Run) -> None:
    file = released(project, "000-01")
    code, out, err = run("verify", "camvid_a", "--weights", file)
    assert code == 1
    assert "row 000-01: differs" in out
    assert "protocol" in err
    assert "data" in err
    assert "torch" in err
    assert "cityscapes/val" in err


def test_verify_measures_once_and_passes(project: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a row that prints what the weights give, the answer is yes, and the second time from the store."""
    import dataclasses

    file = released(project, "000-01")
    run("evaluate", "camvid_b")
    expected = metrics_of(project / "experiments/camvid_b")
    row = PUBLISHED.rows["000-01"]
    row = dataclasses.replace(
        row, metrics={"mIoU": round(expected["mIoU"], 1), "aAcc": expected["aAcc"] + 0.04}
    )
    monkeypatch.setattr("repro.published.Published.rows", {"000-01": row})
    code, out, _ = run("verify", "camvid_a", "--weights", file, "--json")
    assert code == 0
    found = json.loads(out)
    assert found["verdict"] == "reproduced"
    del expected["model_sha256"]  # of the experiment's own file, not of the released one
    assert found["metrics"] == expected
    monkeypatch.setattr("repro.stages.verify.evaluate", None)  # a second evaluation would fail
    assert run("verify", "camvid_a", "--weights", file)[0] == 0


@pytest.mark.parametrize("weights", [(), ("--weights", "released.pth")])
def test_verify_without_a_row_says_so(project: Path, run: Run, weights: tuple[str, ...]) -> None:
    """The advice to name a file, given to a person who named one, led nowhere."""
    released(project, "000-01")
    code, _, err = run("verify", "camvid_b", *weights)
    assert code == 2
    assert "'camvid_b' has no published row to compare with" in err


def test_verify_wants_the_right_file(project: Path, run: Run) -> None:
    file = released(project, "000-01")
    code, _, err = run("verify", "camvid_a", "--weights", file, "--sha256", "0" * 64)
    assert code == 2
    assert "sha256" in err


def test_verify_takes_the_file_from_the_store(
    project: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPRO_HOME", str(project / "home"))
    file = released(project, "000-01")
    code, _, _ = run("weights", "add", file, "--name", "released/000-01", "--sha256", sha256(file))
    assert code == 0
    assert run("verify", "camvid_a")[0] == 1


def sha256(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_verify_leaves_the_users_file_alone(project: Path, run: Run) -> None:
    file = released(project, "000-01")
    run("verify", "camvid_a", "--weights", file, "--sha256", "0" * 64)
    assert file.is_file()
    code, _, err = run("verify", "camvid_a", "--weights", project / "no.pth")
    assert code == 2
    assert "no such file" in err


def test_verify_writes_what_it_found_also_when_it_differs(project: Path, run: Run) -> None:
    file = released(project, "000-01")
    code, out, _ = run("verify", "camvid_a", "--weights", file, "--out", "released.json", "--json")
    assert code == 1
    document = json.loads((project / "released.json").read_text())
    assert document == json.loads(out)
    assert (document["verdict"], document["row"], document["weights_sha256"]) == (
        "differs",
        "000-01",
        sha256(file),
    )
    assert any("cityscapes/val" in line for line in document["may_differ"])


def test_verify_does_not_take_a_web_page_for_weights(
    project: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link to a log-in page leaves nothing in the cache, and the manual download is explained."""
    monkeypatch.setenv("REPRO_HOME", str(project / "home"))
    released(project, "000-01")

    def fetch(url: str, path: Path, **_: object) -> str:
        assert url.endswith("?dl=1")
        path.parent.mkdir(parents=True)
        path.write_text("\n<!DOCTYPE html>")
        return "0" * 64

    monkeypatch.setattr("repro.io.download.fetch", fetch)
    code, _, err = run("verify", "camvid_a")
    assert code == 2
    assert "a web page" in err
    assert "repro weights add FILE --name released/000-01" in err
    assert not list((project / "home").rglob("*000-01*"))


def test_verify_needs_a_row_with_weights(project: Path, run: Run) -> None:
    code, _, err = run("verify", "camvid_b")
    assert code == 2
    assert "no published row to compare with" in err


def test_images_are_spread() -> None:
    assert evenly(6, 233) == [0, 46, 93, 139, 186, 232]
    assert evenly(6, 2) == [0, 1]
    assert evenly(6, 0) == []
