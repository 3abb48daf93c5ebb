"""Image and label file formats."""
