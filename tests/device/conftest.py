"""The pretend device, and a note of every time a program waits for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from tests.device.pretend import NAME, Factories


@pytest.fixture(autouse=True)
def factories() -> Iterator[None]:
    """Tensors can be made on the device."""
    with Factories():
        yield


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows by one device whenever a program waits for the device to finish."""
    seen: list[str] = []
    monkeypatch.setattr(torch.accelerator, "synchronize", lambda device: seen.append(str(device)))
    return seen


def pytest_report_header() -> str:
    return f"device: {NAME}, whose tensors nothing can read without a copy"
