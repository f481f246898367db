"""A named pipe, and a program that has its other end open."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


@pytest.fixture
def reader(pipe: Path) -> Iterator[int]:
    """A program that has the pipe open, and reads nothing by itself."""
    descriptor = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    yield descriptor
    os.close(descriptor)
