"""From a network or from label maps to numbers: protocols, inference, metrics, intervals, speed."""
