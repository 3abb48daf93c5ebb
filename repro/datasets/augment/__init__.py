"""Augmentation: transforms, and each page's pipeline of them."""
