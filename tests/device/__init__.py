"""What must work on every device, run on one that every machine has: see `pretend.py`.

These tests change torch for the whole process, so they have one of their own:
`python -m pytest tests/device`.
"""
