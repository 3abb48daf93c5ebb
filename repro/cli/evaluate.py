"""`repro evaluate`: how good a network is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from repro.cli.common import Json, Name, console, emit_json
from repro.cli.measure import (
    Device,
    Out,
    ProtocolName,
    bar,
    num_classes,
    open_split,
    protocol_named,
    ranks,
    trained_model,
)

if TYPE_CHECKING:
    from repro.datasets.archive import Split
    from repro.evaluation.summary import EvaluationResult
    from repro.params import Experiment, Project
    from repro.params.protocol import Protocol


def evaluate(
    name: Name,
    device: Device = "auto",
    protocol: ProtocolName = None,
    out: Out = None,
    json: Json = False,
) -> None:
    """Measure NAME's weights on its split, under its protocol or another one.

    A protocol listed under `also:` in NAME's params.yaml has its folder, NAME/also/PROTOCOL, and a place in
    the record; any other one needs --out. Writes metrics.json, confusion.npz, confusion.csv and overlays/.
    On several GPUs: torchrun --nproc-per-node 4 -m repro evaluate NAME; the same result, bit for bit. On
    CPUs that needs the same number of threads a process too: OMP_NUM_THREADS.

    Example: repro evaluate camvid_mobilenetv2_os16
    """
    from repro.params import find_project, load_experiment

    project = find_project()
    experiment = load_experiment(project, name)
    chosen = experiment.protocol if protocol is None else protocol_named(project, protocol)
    folder = own_folder(project, experiment, protocol) if out is None else elsewhere(project, out)
    with ranks(device) as place:
        result = evaluate_experiment(project, experiment, chosen, folder, device=place)
    if result is not None:
        report(result, experiment.evaluation.split, as_json=json)


def elsewhere(project: Project, out: Path) -> Path:
    """`out`; ParamsError within experiments/, where files are results and `repro record` believes them."""
    from repro.errors import ParamsError

    if out.resolve().is_relative_to(project.experiments.resolve()):
        raise ParamsError("not a place for other results", where=out, allowed="a folder outside experiments/")
    return out


def own_folder(project: Project, experiment: Experiment, protocol: str | None) -> Path:
    """Where results under `protocol` belong; ParamsError for one that the experiment does not name."""
    from repro.errors import ParamsError
    from repro.records.make import ALSO

    folder = project.root / experiment.folder
    if protocol in (None, experiment.evaluation.protocol):
        return folder
    if protocol not in experiment.also:
        hint = "add --out FOLDER, or list it under `also:` in the experiment's params.yaml"
        raise ParamsError("another protocol needs a folder of its own", hint=hint)
    return folder / ALSO / protocol


def evaluate_all(project: Project, experiment: Experiment, *, device: str) -> None:
    """Evaluate under the experiment's protocol and every further one, each in its own folder."""
    protocols = {experiment.evaluation.protocol: experiment.protocol, **experiment.also}
    for name, protocol in protocols.items():
        folder = own_folder(project, experiment, name)
        evaluate_experiment(project, experiment, protocol, folder, device=device)


def evaluate_experiment(
    project: Project, experiment: Experiment, protocol: Protocol, folder: Path, *, device: str
) -> EvaluationResult | None:
    """Evaluate and write; None on all processes of a job but the first."""
    import torch.distributed as dist

    from repro.evaluation.evaluate import evaluate as run
    from repro.evaluation.files import write_result

    split = open_split(project, experiment)
    model = trained_model(project.root / experiment.folder / "model.safetensors", experiment, device)
    with pictures(folder / "overlays", split, protocol) as keep, bar("evaluate") as progress:
        result = run(
            model,
            split,
            protocol=protocol,
            model_params=experiment.model,
            num_classes=num_classes(experiment, protocol),
            device=device,
            progress=progress,
            keep=keep,
        )
    if dist.is_initialized() and dist.get_rank() > 0:
        return None
    write_result(result, folder, split=experiment.evaluation.split)
    return result


@contextmanager
def pictures(folder: Path, split: Split, protocol: Protocol) -> Iterator[Callable[..., None]]:
    """Writes overlays into `folder`, in place of those of an earlier run."""
    import torch.distributed as dist

    from repro.evaluation.overlays import keeper

    number = min(len(split), protocol.first or len(split))
    wanted = keeper(folder, split.ids[:number], split.palette)
    if not dist.is_initialized() or dist.get_rank() == 0:
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("*.png"):
            old.unlink()
    if dist.is_initialized():
        dist.barrier()  # no process writes before the old pictures are gone
    yield wanted


def report(result: EvaluationResult, split: str, *, as_json: bool) -> None:
    """The numbers, or all of metrics.json."""
    from repro.evaluation.files import metrics_json

    values = metrics_json(result, split=split)
    if as_json:
        emit_json(values)
        return
    console().print(f"{values['n_images']} images of {split}, protocol {values['protocol']}")
    for suffix in result.confusions:
        names = [key for key in ("mIoU", "aAcc", "mAcc", "fwIoU") if key + suffix in values]
        shown = "  ".join(f"{key} {values[key + suffix]:.2f}" for key in names)
        between = f"mIoU 95 % [{values[f'mIoU{suffix}_low']:.2f}, {values[f'mIoU{suffix}_high']:.2f}]"
        console().print(f"{suffix.strip('_') or 'main':8} {shown}  {between}", markup=False)
