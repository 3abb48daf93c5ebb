"""Weights: our files, other people's formats, downloads. Nothing here runs a network."""

from repro.checkpoints.files import load_model, save_model

__all__ = ["load_model", "save_model"]
