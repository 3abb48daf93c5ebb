"""The augmentation pipeline of each page."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from repro.datasets.augment import photometric
from repro.datasets.augment import transforms as t
from repro.datasets.sets.spec import IGNORE
from repro.params import Augmentation

Steps = tuple[t.Crop, list[t.Step]]


def steps(augmentation: Augmentation, *, classes: int) -> Steps:
    """Return the crop of a training sample (size `augmentation.crop`), and the steps that follow in order."""
    return PIPELINES[augmentation.pipeline](augmentation, classes)


def _scale_crop(a: Augmentation, classes: int) -> Steps:
    colour = [partial(photometric.brighten, strength=a.brightness)] if a.brightness else []
    return _crop(a), [*_rotate90(a), _flip(a), *colour, _pad(a, centred=False)]


def _sssegmentation(a: Augmentation, classes: int) -> Steps:
    return _crop(a), [_flip(a), _distort(a), _pad(a, centred=True)]


def _mmsegmentation(a: Augmentation, classes: int) -> Steps:
    return _crop(a), [_flip(a), _distort(a), _pad(a, centred=False)]


def _rsi(a: Augmentation, classes: int) -> Steps:
    return _crop(a), [*_rotate90(a), _flip(a), _distort(a), _pad(a, centred=False)]


def _vainf(a: Augmentation, classes: int) -> Steps:
    return _crop(a), [_jitter(a, shuffled=True), _flip(a), _pad(a, centred=False)]


def _keras(a: Augmentation, classes: int) -> Steps:
    return _crop(a), [_jitter(a, shuffled=False), _flip(a), _pad(a, centred=False)]


def _tensorpack(a: Augmentation, classes: int) -> Steps:
    """Its padding writes the ignore id into the first BGR channel, and 0 into the others."""
    crop = partial(
        t.scale_axes,
        scale=a.scale,
        aspect=a.aspect,
        crop_HW=a.crop,
        bilinear_label=a.label_resize == "bilinear",
        void=a.label_void,
        classes=classes,
    )
    return crop, [_pad(a, centred=True, colour=(0, 0, a.pad_value), label=a.pad_label), _flip(a)]


PIPELINES: dict[str, Callable[[Augmentation, int], Steps]] = {
    "scale_crop": _scale_crop,
    "sssegmentation": _sssegmentation,
    "mmsegmentation": _mmsegmentation,
    "rsi": _rsi,
    "vainf": _vainf,
    "keras": _keras,
    "tensorpack": _tensorpack,
}


def _crop(a: Augmentation) -> t.Crop:
    return partial(
        t.scale_and_crop,
        scale=a.scale,
        base_WH=a.base,
        crop_HW=a.crop,
        category_share=a.category_share,
        category_tries=a.category_tries,
    )


def _flip(a: Augmentation) -> t.Step:
    return partial(t.flip, horizontal=a.flip, vertical=a.vertical_flip)


def _rotate90(a: Augmentation) -> list[t.Step]:
    return [partial(t.rotate90, probability=a.rotate90)] if a.rotate90 else []


def _distort(a: Augmentation) -> t.Step:
    return partial(
        photometric.distort, brightness=a.brightness, contrast=a.contrast, saturation=a.saturation, hue=a.hue
    )


def _jitter(a: Augmentation, **kind: Any) -> t.Step:
    return partial(
        photometric.jitter, brightness=a.brightness, contrast=a.contrast, saturation=a.saturation, **kind
    )


def _pad(
    a: Augmentation, *, centred: bool, colour: tuple[int, int, int] = t.MEAN_COLOUR, label: int = IGNORE
) -> t.Step:
    return partial(t.pad, crop_HW=a.crop, centred=centred, colour=colour, label=label)
