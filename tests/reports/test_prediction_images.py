"""Images of predictions: parts of an overlay, errors, legends, and the small copies that git keeps."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from repro.datasets.sets.camvid import PALETTE
from repro.params import Project
from repro.records import Record
from repro.records.overlays import thumbnail
from repro.reports.prediction_images import (
    RIGHT,
    VOID,
    WRONG,
    Classes,
    Pixels,
    classes_of,
    error_map,
    gallery,
    split,
)
from repro.reports.thumbnails import BYTES, write_thumbnails
from tests.reports.kit import a_project, a_record, add

SKY, ROAD = PALETTE[0], PALETTE[3]
NAMED = Classes(names=("sky", "road"), colours=(SKY, ROAD))


def mask(*rows: tuple[tuple[int, int, int], ...]) -> Pixels:
    return np.array(rows, np.uint8)


def overlay(side: int = 40) -> Pixels:
    """Noise, a truth of sky and road with void above, and a prediction of sky alone."""
    image = np.random.default_rng(0).integers(0, 255, (side, side, 3)).astype(np.uint8)
    truth = np.full_like(image, SKY)
    truth[side // 2 :], truth[: side // 4] = ROAD, 0
    gap = np.full((side, 4, 3), 255, np.uint8)
    return np.concatenate([image, gap, truth, gap, np.full_like(image, SKY)], axis=1)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return a_project(tmp_path)


def evaluated(project: Project, dataset: str, *, count: int = 3, side: int = 40) -> Record:
    """A record on a data set, with the overlays of its evaluation."""
    own = None if dataset == "synthetic" else "003-028"
    record = add(project, a_record(f"{dataset}_x", own, dataset=dataset))
    folder = project.experiments / record.experiment / "overlays"
    folder.mkdir()
    for number in range(count):
        Image.fromarray(overlay(side)).save(folder / f"{number}.png")
    return record


def test_an_overlay_is_split_where_the_gaps_are() -> None:
    found = split(overlay())
    assert found is not None
    assert [part.shape for part in found] == [(40, 40, 3)] * 3
    assert (found[2] == SKY).all()
    assert split(np.zeros((40, 128, 3), np.uint8)) is None, "no white gaps"
    assert split(np.zeros((40, 127, 3), np.uint8)) is None


def test_void_is_no_error_unless_a_class_is_black() -> None:
    truth, predicted = mask((SKY, ROAD, (0, 0, 0))), mask((SKY, SKY, SKY))
    assert error_map(truth, predicted, NAMED).tolist() == [[list(RIGHT), list(WRONG), list(VOID)]]
    black = Classes(names=("background",), colours=((0, 0, 0),))
    assert error_map(truth, predicted, black)[0, 2].tolist() == list(WRONG)


def test_the_gallery_shows_four_parts_and_the_classes_in_them(project: Project) -> None:
    record = evaluated(project, "camvid")
    found, broken = gallery(project, record)
    assert broken == []
    assert [title for title, _ in found[0]["parts"]] == ["image", "truth", "prediction", "errors"]
    assert [kind[:15] for _, kind in found[0]["parts"]] == ["data:image/jpeg", *["data:image/png;"] * 3]
    assert [name for name, _ in found[0]["legend"]] == ["sky", "road"]


def test_thumbnails_hold_images_of_the_built_in_data_alone(project: Project) -> None:
    own, other = evaluated(project, "synthetic", side=160), evaluated(project, "camvid", side=160)
    written = write_thumbnails(project, [own, other])
    assert [path.suffix for path in written] == [".jpg", ".png"]
    for path in written:
        assert path.stat().st_size <= BYTES, path.name
    masks = Image.open(io.BytesIO(written[1].read_bytes())).convert("RGB")
    colours = {colour for _, colour in masks.getcolors() or ()}
    assert colours == {SKY, (255, 255, 255)}, "neither pixels of the image nor the truth"
    assert write_thumbnails(project, [own, other]) == [], "the second run changes nothing"


def test_a_fresh_clone_shows_the_thumbnails_of_the_same_weights(project: Project) -> None:
    record = evaluated(project, "camvid")
    write_thumbnails(project, [record])
    for path in (project.experiments / record.experiment / "overlays").glob("*"):
        path.unlink()
    found, _ = gallery(project, record)
    assert [title for title, _ in found[0]["parts"]] == ["predictions"]
    (project.root / "reports" / "thumbnails" / f"{record.experiment}-cdcdcdcd.png").rename(
        project.root / "reports" / "thumbnails" / f"{record.experiment}-00000000.png"
    )
    assert thumbnail(project, record) is None
    assert gallery(project, record) == ([], [])


def test_classes_of_a_module_of_the_zoo_are_not_asked_for(project: Project) -> None:
    text = project.params.read_text()
    project.params.write_text(
        text.replace("datasets:\n", "datasets:\n  own: {module: zoo/own.py, splits: {val: 1}}\n", 1)
    )
    assert classes_of(project, "own") == Classes()
    assert classes_of(project, "camvid").colours == tuple(PALETTE)
