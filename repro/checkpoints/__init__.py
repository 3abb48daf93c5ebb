"""Weights: own files, third-party formats, downloads. This package never builds or runs a network."""

from repro.checkpoints.convert import check_finite, check_same_network, convert, convert_back, fit
from repro.checkpoints.files import load_model, save_model
from repro.checkpoints.formats import FORMATS, guess_format
from repro.checkpoints.pretrained import adapt_first_conv, pretrained_backbone, pretrained_id
from repro.checkpoints.readers import inspect, open_checkpoint, read_checkpoint

__all__ = [
    "FORMATS",
    "adapt_first_conv",
    "check_finite",
    "check_same_network",
    "convert",
    "convert_back",
    "fit",
    "guess_format",
    "inspect",
    "load_model",
    "open_checkpoint",
    "pretrained_backbone",
    "pretrained_id",
    "read_checkpoint",
    "save_model",
]
