"""Networks, ours and those that a zoo names: parameters in, logits out."""

from repro.models.build import SegmentationNet, build, build_on_meta
from repro.models.layers import normalise, pad_to_multiple, resize_logits
from repro.models.reference import Trial, try_reference, without_memory

__all__ = [
    "SegmentationNet",
    "Trial",
    "build",
    "build_on_meta",
    "normalise",
    "pad_to_multiple",
    "resize_logits",
    "try_reference",
    "without_memory",
]
