"""Reproduce published DeepLab segmentation results: rows become experiments, experiments become records."""

__version__ = "0.1.0"
