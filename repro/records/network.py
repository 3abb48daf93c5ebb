"""What a record says of its network: ours by family and backbone, another by what was called."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from typing import Any

from repro.params.reference import network_kind

NETWORK = ("model", "external")  # blocks of params.yaml that say what the network is


def described_network(params: Mapping[str, Any]) -> dict[str, Any]:
    """Family, backbone and output stride from an experiment's params.

    Of a network by reference `build` stands for the family; of a program it is what its params declare.
    """
    keys = ("family", "backbone", "output_stride")
    external, model = params.get("external"), params.get("model")
    if isinstance(external, Mapping) and external:
        return dict.fromkeys(keys) | {"family": external.get("family")}
    if not isinstance(model, Mapping):
        return dict.fromkeys(keys)
    if network_kind(model) == "ReferenceModel":
        return {"family": str(model["build"]), "backbone": None, "output_stride": None}
    return {key: model.get(key) for key in keys}


def network_origin(model: object) -> dict[str, str]:
    """Where a network by reference comes from, for the provenance; {} for ours.

    Example: {"build": "torchvision.models...:fcn_resnet50", "package": "torchvision 0.25.0"}
    """
    if not isinstance(model, Mapping) or network_kind(model) != "ReferenceModel":
        return {}
    build = str(model["build"])
    return {"build": build, "package": "this project" if model.get("sources") else _distribution(build)}


def own_code(params: Mapping[str, Any]) -> tuple[str, ...]:
    """The project's files that define a network by reference, and the files and folders of programs."""
    model, external = params.get("model"), params.get("external")
    sources = model.get("sources") if isinstance(model, Mapping) else None
    programs = _programs(external) if isinstance(external, Mapping) else []
    deps = [str(dep) for program in programs for dep in program.get("deps") or ()]
    return (*(sources if isinstance(sources, Mapping) else ()), *dict.fromkeys(deps))


def _programs(external: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    also = external.get("also")
    found = [
        external.get("train"),
        external.get("predict"),
        *(also.values() if isinstance(also, Mapping) else ()),
    ]
    return [program for program in found if isinstance(program, Mapping)]


def _distribution(build: str) -> str:
    """Name and version of the installed distribution that has the module of `build`; "" if none has it."""
    top = build.partition(":")[0].partition(".")[0]
    names = importlib.metadata.packages_distributions().get(top, [])
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in dict.fromkeys(names))


def network_package(provenance: Mapping[str, Any]) -> str:
    """The package of a network by reference when it was trained, from a record's provenance; "" for ours."""
    for found in (provenance.get("training"), provenance):
        network = found.get("network") if isinstance(found, Mapping) else None
        if isinstance(network, Mapping) and network.get("package"):
            return str(network["package"])
    return ""
