"""A module per data set: its facts as constants, and functions that find and read its pairs."""
