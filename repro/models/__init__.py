"""Networks of the five pages: parameters in, logits out."""

from repro.models.build import SegmentationNet, build, build_on_meta
from repro.models.layers import normalise, resize_logits

__all__ = ["SegmentationNet", "build", "build_on_meta", "normalise", "resize_logits"]
