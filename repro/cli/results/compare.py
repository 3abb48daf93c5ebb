"""`repro compare`: two results image by image."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from repro.cli import completion
from repro.cli.arguments import Device, ProtocolName
from repro.cli.console import Json, console, emit_json
from repro.cli.output_path import output_folder
from repro.cli.reporter import renamed

if TYPE_CHECKING:
    from repro.evaluation.paired_test import Comparison, Difference
    from repro.params import Experiment, Project

SHOWN = 10  # changed images in the printed list
HELP = "Experiment, folder, or confusion.npz."
A = Annotated[str, typer.Argument(metavar="A", help=HELP, autocompletion=completion.experiments)]
B = Annotated[str, typer.Argument(metavar="B", help=HELP, autocompletion=completion.experiments)]


def compare(
    a: A,
    b: B,
    ms_flip: Annotated[bool, typer.Option("--ms-flip", help="The multi-scale and flip results.")] = False,
    protocol: ProtocolName = None,
    force: Annotated[bool, typer.Option("--force", help="Also under different protocols or data.")] = False,
    images: Annotated[
        Path | None,
        typer.Option(
            help="Folder for image | truth | A | B of the most changed images.", callback=output_folder
        ),
    ] = None,
    pictures: Annotated[
        Path | None, typer.Option(hidden=True, callback=output_folder, help="Former name of --images.")
    ] = None,
    number: Annotated[int, typer.Option(min=1, help="Number of images.")] = 6,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Compare B with A on the same images: paired bootstrap, 95 % intervals, p-values, changed images.

    Per-class p-values are corrected for their number (Holm). --images needs the weights of both experiments.
    With --protocol the results of both under one of the protocols that they list under `also:`.

    Example: repro compare camvid_dense30k36_os16_321_x32_b32 camvid_dense30k36_os16_321_x32_b45
    """
    from repro.evaluation.outputs import read_confusions
    from repro.evaluation.paired_test import compare as run
    from repro.params import find_project

    project = find_project()
    stored = [read_confusions(matrices(project, side, protocol)) for side in (a, b)]
    variant, words = "_ms_flip" if ms_flip else "", protocols_in_words(project, a, b, protocol)
    found = run(stored[0], stored[1], variant=variant, force=force, in_words=words)
    if pictures is not None:
        renamed("--pictures", "--images")
    if (folder := images or pictures) is not None:
        draw(project, (a, b), found, folder, number, device, protocol)
    if json:
        emit_json(without_nan(as_json(found, a, b)))
    else:
        show(found, a, b)


def as_json(found: Comparison, a: str, b: str) -> dict[str, Any]:
    """What --json prints, with the keys of docs/json.md and the former ones."""
    from dataclasses import asdict

    overall, classes = _difference(found.mIoU), list(map(_difference, found.classes))
    return {
        "a": a,
        "b": b,
        "metric": "mIoU" + found.variant,
        "overall": overall,
        "classes": classes,
        "changed": [asdict(one) | {"gap": round(one.b - one.a, 4)} for one in found.changed],
        "n_images": found.n_images,
        "interval_kind": found.interval,
        "variant": found.variant,
        "warnings": list(found.warnings),
        "mIoU": overall,
        "interval": found.interval,
    }


def _difference(one: Difference) -> dict[str, Any]:
    from dataclasses import asdict

    ends = {"interval_low": one.low, "interval_high": one.high}
    return {"gap": one.difference, **ends, "p_value": one.p, **asdict(one)}


def matrices(project: Project, side: str, protocol: str | None) -> Path:
    """The confusion.npz that `side` means."""
    path = Path(side)
    if path.suffix == ".npz":
        return path
    if protocol is None and (path / "confusion.npz").is_file():
        return path / "confusion.npz"
    from repro.errors import DataError
    from repro.params import load_experiment
    from repro.stages.evaluate import result_folder

    if path.exists() or path.is_absolute():
        raise DataError("no result", where=side, allowed="NAME, a folder with confusion.npz, or an .npz file")
    experiment = load_experiment(project, side)
    if protocol is not None:
        require_measured(project, experiment, protocol)
    return result_folder(project, experiment, protocol) / "confusion.npz"


def protocols_in_words(project: Project, a: str, b: str, protocol: str | None) -> str:
    """How the protocols of two recorded results differ; "" where one of them has no record."""
    from repro.errors import ReproError
    from repro.params.names import experiment_name
    from repro.params.protocol_words import protocol_differences
    from repro.records import read_record

    try:
        records = [read_record(project.record(experiment_name(side))) for side in (a, b)]
    except ReproError:
        return ""
    first, second = (one.also.get(protocol or "", one) for one in records)
    return ", ".join(protocol_differences(first.protocol, second.protocol))


def require_measured(project: Project, experiment: Experiment, protocol: str) -> None:
    """An error for a protocol that there is not, or under which the experiment is not evaluated."""
    from repro.errors import ParamsError
    from repro.stages.lookup import protocol_named

    protocol_named(project, protocol)
    measured = (experiment.evaluation.protocol, *experiment.also)
    if protocol not in measured:
        what = f"'{experiment.name}' is not evaluated under the protocol '{protocol}'"
        hint = f"list it under `also:` in the experiment's params.yaml, then `repro run {experiment.name}`"
        raise ParamsError(what, allowed=", ".join(measured), hint=hint)


def show(found: Comparison, a: str, b: str) -> None:
    """The comparison as text."""
    out = console()
    for warning in found.warnings:
        out.print(f"NOT COMPARABLE, forced: {warning}")
    out.print(f"A = {a}, B = {b}: {found.n_images} images{', ms+flip' if found.variant else ''}")
    for one in (found.mIoU, *found.classes):
        out.print(line(one))
    out.print("p: two-sided, by class corrected after Holm")
    out.print(f"interval of the difference, paired: {found.interval}")
    changed = [image for image in found.changed if image.a != image.b]
    out.print("most changed images (their own mIoU):" if changed else "no image changed")
    for image in changed[:SHOWN]:
        out.print(f"  {image.id}  {image.a:.2f} -> {image.b:.2f}")


def line(one: Difference) -> str:
    if one.name == "mIoU" and one.difference is None:
        return f"{one.name:16} undefined: no class of the mean is in truth or prediction of one of the two"
    if one.difference is None or one.low is None or one.high is None or one.p is None:
        return f"{one.name:16} in neither truth nor prediction of one of the two"
    return (
        f"{one.name:16} {one.a:6.2f} -> {one.b:6.2f}  {one.difference:+6.2f} "
        f"[{one.low:+z.2f}, {one.high:+z.2f}]  p {one.p:.4f}{' *' if one.p < 0.05 else ''}"
    )


def draw(
    project: Project,
    sides: tuple[str, str],
    found: Comparison,
    folder: Path,
    number: int,
    device: str,
    protocol: str | None,
) -> None:
    """Predict the most changed images again with both networks and write them side by side."""
    from repro.errors import IncomparableError
    from repro.evaluation.visualize import colours, file_name, png, side_by_side
    from repro.params import load_trained
    from repro.records import write_bytes
    from repro.stages.lookup import open_split, protocol_named
    from repro.stages.model_setup import chosen_device, trained_predictor

    experiments = [load_trained(project, side) for side in sides]
    splits = [open_split(project, experiment) for experiment in experiments]
    if splits[0].fingerprint != splits[1].fingerprint:
        raise IncomparableError("--images needs one split for both experiments")
    place = chosen_device(device)
    predicts = [
        trained_predictor(
            project,
            one,
            protocol=one.protocol if protocol is None else protocol_named(project, protocol),
            device=place,
        )
        for one in experiments
    ]
    split, palette = splits[0], splits[0].palette
    for rank, image_id in enumerate([image.id for image in found.changed[:number]], start=1):
        i = split.ids.index(image_id)
        maps = [split.label(i), *(predict([split.image(i)])[0][found.variant] for predict in predicts)]
        row = side_by_side([split.image(i), *(colours(one, palette) for one in maps)])
        write_bytes(folder / f"{rank:02d}_{file_name(image_id)}.png", png(row))


def without_nan(value: Any) -> Any:
    """JSON has no NaN."""
    if isinstance(value, dict):
        return {key: without_nan(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(one) for one in value]
    return None if isinstance(value, float) and math.isnan(value) else value
