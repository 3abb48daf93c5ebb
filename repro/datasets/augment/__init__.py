"""Augmentation: transforms, and the pipeline of each page."""
