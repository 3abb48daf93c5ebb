"""Evaluation: inference, metrics, confidence intervals, speed."""
