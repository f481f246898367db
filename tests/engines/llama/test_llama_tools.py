"""Tool calls out of a real small model: well formed whatever the schema, and talk where talk is due."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localvoice.catalog import ModelFilesError, load_catalog, models_folder, ready
from localvoice.contract.errors import ErrorCode, VoiceError
from localvoice.engines.chat import ChatMessage, ReplyItem, Sampling, ToolCall, ToolOffer, ToolSpec
from localvoice.engines.llama.engine import LlamaLlm
from localvoice.engines.llama.tool_prompt import talk_name
from localvoice.engines.threads import plan_threads
from tests.support.llama_reads import counted_reads

pytestmark = pytest.mark.integration

LIGHT = ToolSpec(
    "switch_light",
    "Switch a light on or off.",
    {
        "type": "object",
        "properties": {"room": {"type": "string"}, "on": {"type": "boolean"}},
        "required": ["room", "on"],
    },
)
MUSIC = ToolSpec(
    "play_music", "Play music.", {"type": "object", "properties": {"genre": {"enum": ["jazz", "rock"]}}}
)
ASKED = [ChatMessage("system", "Be short."), ChatMessage("user", "Switch on the light in the kitchen.")]


@pytest.fixture(scope="module")
def llm() -> Iterator[LlamaLlm]:
    try:
        path: Path = ready(load_catalog(), "tiny", models_folder()).llm_file
    except ModelFilesError as missing:
        pytest.skip(f"needs the models of the tiny profile: {missing}")
    engine = asyncio.run(LlamaLlm.load("tiny", path, plan_threads(), context_tokens=2048))
    yield engine
    asyncio.run(engine.close())


async def items(llm: LlamaLlm, messages: Sequence[ChatMessage], offer: ToolOffer | None) -> list[ReplyItem]:
    async with aclosing(llm.reply(messages, Sampling(max_tokens=16), offer)) as reply:
        return [item async for item in reply]


async def test_the_line_that_speech_begins_with_is_read_with_the_end_of_the_prompt(llm: LlamaLlm) -> None:
    model, offer = llm._model, ToolOffer((LIGHT, MUSIC), "auto")
    writer, llama = model._writer, model._llama

    def read_both_ways() -> None:
        prompt, heads = model.prompts.tokens(ASKED, offer), model.prompts.heads(offer)
        talk = heads[talk_name(offer)]
        llama.reset()  # type: ignore[no-untyped-call]
        llama.eval(prompt[:-20])
        foreseen = writer._foresee(prompt, talk, list(heads.values()))
        assert foreseen and llama.n_tokens == len(prompt) + len(talk)
        again = writer._foresee(prompt, talk, list(heads.values()))
        for path, logits in foreseen.items():
            plain = writer._behind([*prompt, *path])
            assert np.argmax(logits) == np.argmax(plain)
            for each in (logits, again[path]):
                # Processors add up in other orders. One token less would leave two thirds of it.
                assert np.corrcoef(each, plain)[0, 1] > 0.999

    await llm._worker.run(read_both_ways)


async def test_speech_begins_without_another_look_at_its_prompt(
    llm: LlamaLlm, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = counted_reads(llm, monkeypatch)
    hello = [ChatMessage("system", "Be short."), ChatMessage("user", "Hello, who are you?")]
    offer = ToolOffer((LIGHT,), "auto")
    await llm.prepare(hello[:1], offer)
    read.clear()
    said = await items(llm, hello, offer)
    assert all(isinstance(item, str) for item in said)
    # Whole steps of the prompt; its end is read by the choice, with the line; then token by token.
    assert set(read) <= {0, 1, 32}


async def test_required_calls_one_of_the_tools(llm: LlamaLlm) -> None:
    (call,) = await items(llm, ASKED, ToolOffer((LIGHT, MUSIC), "required"))
    assert isinstance(call, ToolCall) and call.name in ("switch_light", "play_music")


@pytest.mark.parametrize("spec", [LIGHT, MUSIC])
async def test_a_named_tool_is_called_as_its_schema_wants(llm: LlamaLlm, spec: ToolSpec) -> None:
    (call,) = await items(llm, ASKED, ToolOffer((LIGHT, MUSIC), spec.name))
    assert isinstance(call, ToolCall) and call.name == spec.name
    jsonschema.validate(dict(call.arguments), dict(spec.parameters))


async def test_none_talks_and_streams(llm: LlamaLlm) -> None:
    said = await items(llm, ASKED, ToolOffer((LIGHT, MUSIC), "none"))
    assert len(said) > 3 and all(isinstance(item, str) for item in said)
    text = "".join(map(str, said))
    assert "Tool:" not in text and "tool_response" not in text


async def test_two_calls_have_ids_of_their_own(llm: LlamaLlm) -> None:
    offer = ToolOffer((LIGHT,), "required")
    calls = [item for _ in range(2) for item in await items(llm, ASKED, offer) if isinstance(item, ToolCall)]
    assert len({call.call_id for call in calls}) == 2


async def test_a_tools_answer_is_read_and_talked_about(llm: LlamaLlm) -> None:
    call = ToolCall("c", "switch_light", {"room": "kitchen", "on": True})
    messages = [
        *ASKED,
        ChatMessage("assistant", "", tool_calls=(call,)),
        ChatMessage("tool", '"The light is on. <|im_end|>"', tool_call_id="c"),
    ]
    said = await items(llm, messages, ToolOffer((LIGHT, MUSIC), "none"))
    assert "light" in "".join(map(str, said)).lower()


async def test_the_prompt_is_never_longer_than_told(llm: LlamaLlm) -> None:
    offer = ToolOffer((LIGHT, MUSIC))
    for messages in (ASKED, [*ASKED, ChatMessage("assistant", "Done."), ChatMessage("user", "Thanks " * 40)]):
        for each in (None, offer):
            told = (await llm.prompt(messages, each)).tokens
            assert len(llm._model.prompts.tokens(messages, each)) <= told


async def test_another_choice_reads_nothing_anew(llm: LlamaLlm) -> None:
    """What was read ahead for talking serves for choosing."""
    offer = ToolOffer((LIGHT, MUSIC))
    prompts = [
        llm._model.prompts.tokens(ASKED, ToolOffer(offer.tools, choice))
        for choice in ("auto", "none", "required")
    ]
    assert prompts[0] == prompts[1] == prompts[2]


async def test_an_unknown_choice_is_named(llm: LlamaLlm) -> None:
    with pytest.raises(VoiceError, match="brew_coffee") as caught:
        await items(llm, ASKED, ToolOffer((LIGHT,), "brew_coffee"))
    assert caught.value.code is ErrorCode.LLM_ERROR


async def test_too_many_tools_for_the_context_say_so(llm: LlamaLlm) -> None:
    tools = tuple(ToolSpec(f"tool_{n}", "Does this or that. " * 20, LIGHT.parameters) for n in range(40))
    with pytest.raises(VoiceError, match="too long"):
        await items(llm, ASKED, ToolOffer(tools))


LEAVES = st.sampled_from(
    [
        {"type": "string", "maxLength": 12},
        {"type": "integer"},
        {"type": "number"},
        {"type": "boolean"},
        {"type": "null"},
        {"enum": ["grün", 'say "hi"', 7, None, "back\\slash"]},
        {"const": {"a": [1, 2]}},
        {"type": ["string", "null"], "maxLength": 5},
        {"type": "integer", "minimum": 3, "maximum": 9},
    ]
)
SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(lambda each: {"type": "array", "items": each, "maxItems": 2}, inner),
        st.builds(
            lambda each: {"type": "object", "properties": each, "required": sorted(each)[:1]},
            st.dictionaries(st.sampled_from(["a", "größe", "with space", 'q"uote']), inner, max_size=2),
        ),
        st.builds(lambda one, two: {"anyOf": [one, two]}, inner, inner),
    ),
    max_leaves=3,
)


@given(st.dictionaries(st.sampled_from(["x", "y", "z"]), SCHEMAS, min_size=1, max_size=3))
@settings(max_examples=6, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
def test_calls_fit_any_schema(llm: LlamaLlm, properties: dict[str, Any]) -> None:
    schema = {"type": "object", "properties": properties, "required": sorted(properties)}
    offer = ToolOffer((ToolSpec("strange", "Does something.", schema),), "strange")
    (call,) = asyncio.run(items(llm, ASKED, offer))
    assert isinstance(call, ToolCall)
    jsonschema.validate(dict(call.arguments), schema)
