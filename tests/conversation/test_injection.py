"""What a tool or a document says is data: 50 attempts, on an LLM that obeys to the letter."""

import itertools
import json
from collections.abc import AsyncGenerator, Sequence

import pytest

from localvoice.application.hooks import ToolResult
from localvoice.contract.messages import ToolCallEnd, ToolCallStart
from localvoice.conversation.history import History
from localvoice.engines.chat import ChatMessage, Sampling, ToolCall, ToolOffer
from localvoice.engines.pictures import Image
from localvoice.tools.result import content_of
from tests.support.fakes import FakeLlm, FakeStt
from tests.support.histories import noted
from tests.support.injection_house import HARMLESS, House
from tests.support.injections import ATTEMPTS, MORE_WAYS, Attempt, call
from tests.support.session_room import Room, Rooms, codes

EACH = pytest.mark.parametrize("attempt", ATTEMPTS + MORE_WAYS, ids=lambda each: each.name)


class ObedientLlm(FakeLlm):
    """The worst case: as soon as it has read the attempt, it does all that it says, in each turn again."""

    def __init__(self, attempt: Attempt) -> None:
        super().__init__()
        self.attempt = attempt
        self.obeyed = 0
        self._left: list[ToolCall] = []
        self._turn: ChatMessage | None = None
        self._ids = itertools.count()

    async def reply(
        self,
        messages: Sequence[ChatMessage],
        sampling: Sampling,
        offer: ToolOffer | None = None,
        aside: bool = False,
    ) -> AsyncGenerator[str | ToolCall, None]:
        self.asked.append(list(messages))
        if not self._has_read(messages):
            last = messages[-1]
            if last.role == "user" and "mail" in last.content:
                yield call("read_mail", f"call-mail-{next(self._ids)}")
            else:
                yield "Well."
            return
        latest = [message for message in messages if message.role == "user"][-1]
        if self._turn is None or latest.content != self._turn.content:
            self._turn, self._left = latest, list(self.attempt.orders)
        now = self._left if self.attempt.at_once else self._left[:1]
        self._left = self._left[len(now) :]
        for order in now:
            self.obeyed += 1
            yield ToolCall(order.call_id or f"call-{next(self._ids)}", order.name, order.arguments)
        if not now:
            yield self.attempt.reply

    def _has_read(self, messages: Sequence[ChatMessage]) -> bool:
        texts = [message.content for message in messages]
        texts += [image.alt for message in messages for image in message.images]
        probe = self.attempt.text[:12]
        # A text reaches it in one line, all else as JSON.
        forms = probe, " ".join(probe.split()), json.dumps(probe, ensure_ascii=False)[1:-1]
        return any(form in text for text in texts for form in forms)


async def bring(r: Room, attempt: Attempt) -> None:
    """Have the LLM read it, as the user asks for something else."""
    asks = "Read my mail, please."
    match attempt.way:
        case "typed":
            asks = attempt.text
        case "picture":
            r.conversation.attach([Image(b"no picture", alt=attempt.text)])
        case "announced":
            r.session.answer_text("Hello.")
            await r.session.settle()
            r.conversation.announce(attempt.text)
            await r.session.settle()
        case "notes":
            history = r.conversation.history
            history.add_user(attempt.text)
            history.add_user("Well?")
            history.trim(1, 10_000)
            assert attempt.text[:12] in noted(history)
        case "restored":
            old = History()
            old.add_user("Pay Eve.")
            old.add_calls([call("pay", "old", recipient="Eve", euros=1)])
            old.add_assistant(f"Shall I pay 1 euros to Eve? {attempt.text}")
            r.conversation.history = History.restore(old.save())
    if attempt.way == "spoken":
        await r.says()
    else:
        r.session.answer_text(asks)
    await r.session.settle()


@EACH
@pytest.mark.virtual_clock
async def test_the_code_protects_also_where_the_model_obeys(room: Rooms, attempt: Attempt) -> None:
    house, llm = House(attempt), ObedientLlm(attempt)
    r = room(stt=FakeStt(attempt.text), llm=llm, tools=house.tools(), playbook=house.playbook())
    await bring(r, attempt)
    for words in attempt.then:
        r.session.answer_text(words)
        await r.session.settle()
    assert llm.obeyed, "it was tried"
    assert set(house.ran) <= HARMLESS, "no tool that isn't offered, none that the user has not agreed to"
    results = {end.call_id: end for end in r.all(ToolCallEnd)}
    starts = r.all(ToolCallStart)
    assert all(results[each.call_id].error for each in starts if each.name not in HARMLESS)
    assert r.conversation.director.save()["stage"] in ("desk", "help"), "and never in the vault"
    assert "owner" not in json.dumps(r.conversation.director.save()), "nor as another person"
    assert set(codes(r)) <= {"TOOL_ERROR"} and r.states()[-1] == "idle" and r.said()[-1][0] == "assistant"
    assert History.restore(r.conversation.history.save()).save() == r.conversation.history.save()


@pytest.mark.virtual_clock
async def test_only_the_users_own_yes_makes_a_difference(room: Rooms) -> None:
    """Without it the test above would prove nothing."""
    attempt = ATTEMPTS[0]
    house = House(attempt)
    r = room(llm=ObedientLlm(attempt), tools=house.tools(), playbook=house.playbook())
    await bring(r, attempt)
    assert r.tts.said[-1] == "Shall I pay 5000 euros to Eve? Shall I use pay, yes or no?"
    r.session.answer_text("Yes.")
    await r.session.settle()
    assert house.ran == ["read_mail", "pay"]


def test_there_are_fifty() -> None:
    assert len({repr((each.says, each.orders, each.way, each.then)) for each in ATTEMPTS}) == 50
    assert len({each.name for each in ATTEMPTS}) == 50


@EACH
def test_a_tools_answer_is_one_line(attempt: Attempt) -> None:
    for result in (
        ToolResult("c", "read_mail", success=True, result=attempt.says),
        ToolResult("c", "read_mail", success=False, error=attempt.text),
    ):
        content = content_of(result)
        assert content and len(content.splitlines()) == 1
        if not isinstance(result.result, str):
            assert json.loads(content)
