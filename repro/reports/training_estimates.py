"""What the training of an experiment takes, estimated from the counted cost of its network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from repro.errors import ReproError
from repro.params import TrainedExperiment
from repro.reports.costs import cost_of
from repro.reports.results import Results
from repro.training.estimate import Estimate, estimate, validations
from repro.training.schedule import length_of


class Network(NamedTuple):
    """The counted cost of a network, of one image of the training's crop."""

    params_M: float
    gmacs_conv: float
    activation_MiB: float


def estimates(results: Results, name: str) -> dict[str, str]:
    """Length, hours, memory and disk, as `repro plan` estimates them; {} if nothing is trained."""
    experiment = results.judge.experiment(name)
    if not isinstance(experiment, TrainedExperiment) or experiment.cost_only:
        return {}
    try:
        of = length_of(experiment)
    except ReproError:
        return {}
    params, (height, width) = experiment.training, experiment.augmentation.crop
    found = {"training": f"{of.iterations:,} iterations of {params.batch} images of {height}x{width}"}
    looks = validations(params, of.iterations, of.steps_per_epoch)
    found |= {"validations": str(looks)} if looks else {}
    network = network_of(cost_of(results, name), height * width)
    return found | (_shown(estimate(experiment, of.iterations, network)) if network else {})


def network_of(cost: Mapping[str, Any], pixels: int) -> Network | None:
    """The cost of an image of `pixels`, from one counted at another size: convolutions grow with the area."""
    size = cost.get("input_size")
    if not size or not {"params_M", "gmacs_conv", "activation_MiB"} <= cost.keys():
        return None
    share = pixels / (int(size[0]) * int(size[1]))
    return Network(cost["params_M"], cost["gmacs_conv"] * share, cost["activation_MiB"] * share)


def _shown(found: Estimate) -> dict[str, str]:
    hours = {gpu: value for gpu, value in found.hours.items() if gpu not in found.too_small}
    gpus = ", ".join(f"{gpu} {_hours(value)}" for gpu, value in hours.items())
    return {
        "hours on one GPU": gpus or "none is large enough",
        "memory": f"{found.memory_GiB:.1f} GiB",
        "disk": f"{found.weights_GB:.2f} GB weights, {found.checkpoints_GB:.2f} GB while training",
    }


def _hours(hours: float) -> str:
    return "<0.1" if hours < 0.1 else f"{hours:.1f}" if hours < 10 else f"{hours:.0f}"
