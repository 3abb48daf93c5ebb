"""From raw data to prepared splits."""
