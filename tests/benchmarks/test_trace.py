"""What one plain spoken turn runs through is counted, and counted the same each time."""

import io

import pytest
from rich.console import Console

from benchmarks.trace import CARRIERS, show, trace_turn


@pytest.mark.virtual_clock
async def test_the_turn_is_traced_from_the_users_sound_to_the_end_of_the_reply() -> None:
    trace = await trace_turn()
    conversation, all_of_it = trace.figures(CARRIERS), trace.figures()
    by_file = trace.by_file()
    assert "Listening.listen" in by_file["conversation/listening.py"]
    assert all_of_it.files == len(by_file)
    assert all_of_it.functions == sum(map(len, by_file.values()))
    assert conversation.files == sum(path.split("/")[0] not in CARRIERS for path in by_file)
    assert all_of_it.files - 1 <= all_of_it.hops <= all_of_it.passages
    assert conversation.hops < all_of_it.hops

    again = await trace_turn()
    assert (again.figures(CARRIERS), again.figures()) == (conversation, all_of_it)

    printed = Console(file=io.StringIO(), width=100)
    show(trace, True, printed)
    assert isinstance(printed.file, io.StringIO)
    lines = printed.file.getvalue()
    assert f"{conversation.files}" in lines and "conversation/session.py (" in lines
