"""Conversion of raw data to prepared splits, and checks of both."""
