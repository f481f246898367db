"""The same playbook, led by LLMRTC's own code and by this package's: the same stages in the same turns."""

import json
import random
import shutil
import subprocess
from typing import Any, Final

import pytest
from llmrtc_desk import DESK, Spoken, call, decide, stages_of
from stock_packages import bundled

CONVERSATIONS: Final = 12
SAID: Final = (
    "Hello, how can I help?",
    "What is your e-mail address?",
    "I found you. Where is the trouble?",
    "It was delivered.",
    "Shall I refund it?",
    "I can't say.",
    "You are welcome, goodbye.",
)
CALLED: Final = (
    call("find_customer", email="a@b.example"),
    call("order_status", orderId="A-100"),
    call("refund", amount=5, reason="broken"),
    call("open_case", summary="broken", priority="low"),
    decide("goodbye"),
)


def conversation(chance: random.Random) -> list[list[Spoken]]:
    """Turns as chance has them; most of them without a call."""
    return [
        [*chance.sample(CALLED, chance.choice([0, 0, 1])), chance.choice(SAID)]
        for _ in range(chance.randint(4, 12))
    ]


@pytest.fixture(scope="module")
def originals() -> list[dict[str, Any]]:
    """Conversations in LLMRTC: the `turns` without calls that its LLM isn't offered, and where they `led`."""
    chance = random.Random(1)
    conversations = [conversation(chance) for _ in range(CONVERSATIONS)]
    script, node = bundled() / "playbook.mjs", shutil.which("node")
    if node is None:
        pytest.skip("needs node for LLMRTC's own code: install it (Debian: apt install nodejs)")
    given = json.dumps({"playbook": DESK, "conversations": conversations})
    done = subprocess.run([node, script], input=given, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    led: list[dict[str, Any]] = json.loads(done.stdout)
    return led


@pytest.mark.virtual_clock
async def test_the_support_desk_goes_where_llmrtc_leads_it(originals: list[dict[str, Any]]) -> None:
    for each in originals:
        assert await stages_of(DESK, each["turns"]) == each["led"], each["turns"]
    reached = {stage for each in originals for turn in each["led"] for stage in turn}
    assert reached == {"identification", "triage", "solution", "goodbye"}, "chance leads everywhere"
