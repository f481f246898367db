"""A model that reasons, whatever it is told: what it writes is given by a script, and llama.cpp is real."""

from collections.abc import AsyncIterator, Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import pytest

from localvoice.engines.chat import CutOff, ReplyItem, Retracted, Sampling, Thinking, ToolOffer
from localvoice.engines.reasoning import Patience
from tests.support.family_talks import LIGHT, SYSTEM, Counted, loaded, user
from tests.support.random_gguf import CHATML, FAMILIES, Family

pytestmark = pytest.mark.integration

TALK = [SYSTEM, user("Hello there.")]
Scripted = Callable[..., list[list[int]]]


def family(name: str) -> Family:
    return next(family for family in FAMILIES if family.name == name)


@pytest.fixture(params=["qwen3", "qwen35"])
async def model(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Counted]:
    """One that can take back tokens, and one that can't."""
    async with loaded(family(request.param), CHATML, tmp_path, monkeypatch) as counted:
        yield counted


@pytest.fixture
def writes(model: Counted, monkeypatch: pytest.MonkeyPatch) -> Scripted:
    """Has the model write these texts, one each time that it begins to; gives the prompts of those times."""
    llama = model.llm._model._llama

    def writes(*texts: str) -> list[list[int]]:
        script, prompts = list(texts), list[list[int]]()

        def generate(prompt: Sequence[int], **_: Any) -> Generator[int, None, None]:
            prompts.append(list(prompt))
            llama.eval(prompt[llama.n_tokens :])
            for token in llama.tokenize(script.pop(0).encode(), add_bos=False, special=True):
                yield token
                llama.eval([token])
            yield llama.token_eos()

        monkeypatch.setattr(llama, "generate", generate)
        return prompts

    return writes


async def items(model: Counted, max_tokens: int = 200) -> list[ReplyItem]:
    return [item async for item in model.llm.reply(TALK, Sampling(max_tokens=max_tokens))]


def text(items: Sequence[ReplyItem]) -> str:
    return "".join(item for item in items if isinstance(item, str))


async def test_reasoning_is_written_and_not_given(model: Counted, writes: Scripted) -> None:
    writes("<think>\nThey greet me.\n</think>\n\nHello to you.")
    assert text(await items(model)) == "Hello to you."


async def test_reasoning_takes_nothing_of_the_answers_tokens(model: Counted, writes: Scripted) -> None:
    writes("<think>They greet me, and I greet them.</think>Hello to you.")
    opener = 3  # tokens that are taken for an answer until the mark is whole
    given = await items(model, max_tokens=opener + len("Hello "))
    assert text(given) == "Hello " and given[-1] == CutOff()


async def test_a_control_token_ends_the_reply_also_where_the_binding_hides_it(
    model: Counted, writes: Scripted
) -> None:
    writes("Hello.<|im_start|>user\nAnd you?")
    assert text(await items(model)) == "Hello."
    writes("<|im_start|>assistant\nHello.")
    assert text(await items(model)) == "Hello."
    writes("My role is a role.")
    assert text(await items(model)) == "My role is a role.", "a control token that is a word is one"


async def test_reasoning_that_lasts_is_told_and_then_the_answer_is_begun(
    model: Counted, writes: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = 0

    def a_second_a_token(_: Patience, reasoning: bool) -> float:
        nonlocal steps
        steps = steps + 1 if reasoning else 0
        return steps

    monkeypatch.setattr(Patience, "seconds", a_second_a_token)
    prompts = writes(f"<think>{'They greet me, ' * 10}", "Hello to you.")
    given = await items(model)
    assert text(given) == "Hello to you." and given.count(Thinking()) == 1
    llama = model.llm._model._llama
    behind = llama.detokenize(prompts[1][len(prompts[0]) :]).decode()
    assert prompts[1][: len(prompts[0])] == prompts[0] and behind == "<think>They greet me</think>\n\n"


async def test_reasoning_without_an_answer_is_followed_by_one(model: Counted, writes: Scripted) -> None:
    writes("<think>They greet me.", "Hello to you.")
    assert text(await items(model)) == "Hello to you."
    writes("<think>They greet me.", "<think>They greet me again.")
    assert text(await items(model)) == "", "it is asked no more than twice"


async def test_a_model_that_reasons_without_a_beginning_does_so_once(
    model: Counted, writes: Scripted
) -> None:
    prompts = writes("They greet me.\n</think>\n\nHello.", "Hello again.")
    given = await items(model)
    assert given.index(Retracted()) == len("They greet me.\n") and text(given).endswith("Hello.")
    assert await items(model) == list("Hello again.")
    ends = [model.llm._model._llama.detokenize(each).decode()[-20:] for each in prompts]
    assert "<think>" not in ends[0] and ends[1].endswith("<think>\n\n</think>\n\n")


async def test_a_reply_with_tools_is_filtered_as_well(model: Counted, writes: Scripted) -> None:
    offer = ToolOffer((LIGHT,), "none")
    writes("<think>Tool: none</think>Hello.\nTool: talk\nNo.")
    given = [item async for item in model.llm.reply(TALK, Sampling(), offer)]
    assert text(given) == "Hello."
