"""One run of a network by reference on black images: its mistakes show before a training begins."""

from __future__ import annotations

from collections.abc import Iterator

from repro.io.sources import trust
from repro.models import Trial, try_reference, without_memory
from repro.models.layers import multiple_of
from repro.params import Project, Protocol, ReferenceModel, TrainedExperiment
from repro.params.protocol import scaled_size
from repro.stages.lookup import open_split
from repro.training.optimizers import check_parts

Sizes = Iterator[tuple[int, int]]


def check_network(project: Project, experiment: TrainedExperiment) -> None:
    """Build a network by reference and run it on the sizes that training and evaluation will give it.

    Raises:
        ParamsError: what `build` names cannot be imported, called or run, or returns an unknown form; or a
            prefix of `model.parts`, `training.lr_of` or `training.grad_of` matches none of its parameters.
    """
    model, classes = experiment.model, experiment.facts.num_classes
    if not isinstance(model, ReferenceModel):
        return
    trust(project.root)
    try_reference(model, num_classes=classes, batches=list(trials(project, experiment)))
    without_memory(
        model,
        num_classes=classes,
        run=lambda net: check_parts(net, experiment.training, model.parts),
    )


def trials(project: Project, experiment: TrainedExperiment) -> Iterator[Trial]:
    """A small batch of the training crop, and an image of each size of the evaluation."""
    params = experiment.training
    images = min(2, max(1, params.batch // params.accumulate))
    yield Trial(images=images, size_HW=experiment.augmentation.crop, training=True)
    protocols = (experiment.protocol, *experiment.also.values())
    for size in dict.fromkeys(one for protocol in protocols for one in sizes(project, experiment, protocol)):
        yield Trial(images=1, size_HW=size, training=False)


def sizes(project: Project, experiment: TrainedExperiment, protocol: Protocol) -> Sizes:
    """Sizes of the network's input: a tile, or the first image at every scale if the data are prepared."""
    divisor = experiment.model.size_divisor
    for height, width in _before_padding(project, experiment, protocol):
        yield multiple_of(height, divisor), multiple_of(width, divisor)


def _before_padding(project: Project, experiment: TrainedExperiment, protocol: Protocol) -> Sizes:
    if protocol.crop is not None:
        yield protocol.crop
    elif project.prepared_split(experiment.dataset, experiment.evaluation.split).is_file():
        first = open_split(project, experiment).samples[0]
        for variant in protocol.variants().values():
            yield from (scaled_size((first.height, first.width), one, protocol) for one in variant.scales)
