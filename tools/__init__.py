"""Tools for those who keep this repository's facts; nothing of the package imports them."""
