"""One module per data set: its facts as constants, and how its pairs are found and read."""
