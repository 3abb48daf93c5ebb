"""Networks of the five pages: parameters in, logits out."""

from repro.models.build import SegmentationNet, build, build_on_meta
from repro.models.input import normalise
from repro.models.resize import resize_logits

__all__ = ["SegmentationNet", "build", "build_on_meta", "normalise", "resize_logits"]
