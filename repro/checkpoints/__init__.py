"""Weights: our files, other people's formats, downloads. Nothing here builds or runs a network."""

from repro.checkpoints.convert import check_same_network, convert, convert_back
from repro.checkpoints.files import load_model, save_model
from repro.checkpoints.foreign import inspect, read_checkpoint
from repro.checkpoints.formats import FORMATS, guess_format
from repro.checkpoints.pretrained import pretrained_backbone

__all__ = [
    "FORMATS",
    "check_same_network",
    "convert",
    "convert_back",
    "guess_format",
    "inspect",
    "load_model",
    "pretrained_backbone",
    "read_checkpoint",
    "save_model",
]
