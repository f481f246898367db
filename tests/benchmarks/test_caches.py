"""`make bench WHAT=caches`: what it says of a family of each kind of memory."""

from pathlib import Path

import pytest

from benchmarks.caches import COLUMNS, rows
from tests.support.random_gguf import FAMILIES


@pytest.mark.integration
@pytest.mark.parametrize("name", ["llama", "gemma3", "lfm2"])
async def test_it_counts_what_is_read_again(name: str, tmp_path: Path) -> None:
    family = next(family for family in FAMILIES if family.name == name)
    plain, thinks = await rows(family, tmp_path)
    assert (plain[0], thinks[0]) == (name, f"{name}, thinks")
    for row in (plain, thinks):
        told = dict(zip(COLUMNS, map(int, row[1:]), strict=True))
        for point in ("next", "between", "draft", "cut", "other"):
            assert 0 < told[point] < told["all"] / 4, point
        assert told["state"] > 0
