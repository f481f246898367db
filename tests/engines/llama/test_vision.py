"""The language model really sees images: it is loaded with a small projector of random weights."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from llama_cpp import mtmd_cpp

from localvoice.contract.errors import ErrorCode, VoiceError
from localvoice.engines.chat import ChatMessage, Sampling
from localvoice.engines.jobs import Stop, Stopped
from localvoice.engines.llama import vision
from localvoice.engines.llama.engine import LlamaLlm
from localvoice.engines.llama.template import ChatTemplate
from localvoice.engines.llama.vision import SeeingLlama
from localvoice.engines.pictures import Image, unseen
from tests.support.images import png
from tests.support.small_llama import MODEL, PLAN
from tests.support.tiny_projector import write_projector

EMBEDDING = 576
"""Numbers of a token of SmolLM2."""
IMAGE_TOKENS = 16
RED, BLUE = Image(png(60, 40)), Image(png(60, 40, (20, 20, 220)), "image/png", "the blue sea")


def test_templates_that_want_a_list_of_parts_are_known() -> None:
    plain = "{% for message in messages %}<{{ message.role }}>{{ message.content }}{% endfor %}"
    parts = plain.replace(
        "{{ message.content }}", "{% for part in message.content %}{{ part.text }}{% endfor %}"
    )
    templates = [ChatTemplate("tiny.gguf", template, "", "") for template in ("", plain, parts)]
    assert [template.in_parts for template in templates] == [False, False, True]


@pytest.fixture(scope="module")
def projector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not MODEL.exists():
        pytest.skip("SmolLM2 isn't downloaded: make download-models PROFILE=tiny")
    return write_projector(tmp_path_factory.mktemp("projector") / "mmproj-tiny.gguf", EMBEDDING)


@pytest.fixture(scope="module")
def llm(projector: Path) -> Iterator[LlamaLlm]:
    engine = asyncio.run(LlamaLlm.load("seeing", MODEL, PLAN, context_tokens=1024, projector=projector))
    yield engine
    asyncio.run(engine.close())


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows with each image that is really computed."""
    computed: list[int] = []
    real = mtmd_cpp.mtmd_helper_eval_chunk_single

    def count(*arguments: Any) -> int:
        computed.append(len(computed))
        return int(real(*arguments))

    monkeypatch.setattr(mtmd_cpp, "mtmd_helper_eval_chunk_single", count)
    return computed


def ask(*images: Image, text: str = "What do you see?") -> list[ChatMessage]:
    return [ChatMessage("system", "Be short."), ChatMessage("user", text, images=images)]


async def answer(llm: LlamaLlm, messages: Sequence[ChatMessage]) -> str:
    async with aclosing(llm.reply(messages, Sampling(max_tokens=12))) as deltas:
        return "".join([delta async for delta in deltas if isinstance(delta, str)])


async def forget(llm: LlamaLlm) -> None:
    """All but the system prompt."""
    await answer(llm, ask(text="Hello"))
    llm._model._cache._kept.clear()


async def fresh_answer(llm: LlamaLlm, messages: Sequence[ChatMessage]) -> str:
    """The answer where all behind the system prompt is computed again.

    A last token that is computed alone comes out a little otherwise than among others, and with random
    weights that is enough for another word.
    """
    await forget(llm)
    return await answer(llm, messages)


@pytest.mark.integration
async def test_the_reply_depends_on_the_images(llm: LlamaLlm) -> None:
    assert llm.sees
    prompts = [ask(), ask(RED), ask(BLUE), ask(RED, BLUE), ask(BLUE, BLUE)]
    answers = [await fresh_answer(llm, prompt) for prompt in prompts]
    assert len(set(answers)) == len(answers)
    assert [await fresh_answer(llm, prompt) for prompt in reversed(prompts)] == answers[::-1]


@pytest.mark.integration
async def test_text_is_answered_as_by_a_model_that_does_not_see(llm: LlamaLlm) -> None:
    blind = await LlamaLlm.load("blind", MODEL, PLAN, context_tokens=1024)
    assert not blind.sees
    await answer(llm, ask(RED))
    assert await answer(llm, ask()) == await answer(blind, ask())
    await blind.close()


@pytest.mark.integration
async def test_an_image_is_looked_at_once_in_a_conversation(llm: LlamaLlm, looks: list[int]) -> None:
    conversation = ask(RED)
    conversation.append(ChatMessage("assistant", await fresh_answer(llm, conversation)))
    assert len(looks) == 1
    conversation.append(ChatMessage("user", "And what else?"))
    await answer(llm, conversation)
    assert len(looks) == 1
    await fresh_answer(llm, conversation)
    assert len(looks) == 2


@pytest.mark.integration
async def test_conversations_about_two_images_go_on_in_turns(llm: LlamaLlm, looks: list[int]) -> None:
    talks = [[*ask(image), ChatMessage("assistant", "Well.")] for image in (RED, BLUE)]
    again = ChatMessage("user", "And what else?")
    alone = [await fresh_answer(llm, [*talk[:-1], talk[-1], again]) for talk in talks]
    assert alone[0] != alone[1]
    await forget(llm)
    looks.clear()
    for talk in talks:
        await answer(llm, talk[:-1])
    assert len(looks) == 2
    in_turns = [await answer(llm, [*talk, again]) for talk in talks]
    assert len(looks) == 2, "no image is computed again"
    assert in_turns[0] != in_turns[1]


class StopsAtALook(Stop):
    """Is set when the image encoder asks for the third time, unless it has asked before."""

    def __init__(self, asked: int = 0) -> None:
        super().__init__()
        self.asked = asked

    def is_set(self) -> bool:
        self.asked += 1
        if self.asked == 3:
            self.set()
        return super().is_set()


@pytest.mark.integration
async def test_stopping_ends_in_the_middle_of_an_image(llm: LlamaLlm) -> None:
    expected = await fresh_answer(llm, ask(RED))
    await forget(llm)
    stop, never = StopsAtALook(), StopsAtALook(asked=3)
    with pytest.raises(Stopped):
        await llm._worker.run(lambda: list(llm._model.reply(ask(RED), Sampling(), None, False, stop)))
    assert stop.asked == 3
    assert await answer(llm, ask(RED)) == expected
    await llm._worker.run(
        lambda: list(llm._model.reply(ask(BLUE), Sampling(max_tokens=1), None, False, never))
    )
    assert never.asked - 3 > stop.asked, "an image takes more steps than that"


@pytest.mark.integration
async def test_an_image_whose_prompt_was_stopped_is_seen_whole(
    llm: LlamaLlm, looks: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = await fresh_answer(llm, ask(RED))
    await forget(llm)

    def aborted(*_: object) -> None:
        monkeypatch.undo()
        raise RuntimeError("llama_decode returned 2")

    # What is computed behind the image. One token is given up then, and that is the image's last.
    monkeypatch.setattr("llama_cpp.Llama.eval", aborted)
    with pytest.raises(VoiceError, match="llama_decode returned 2"):
        await answer(llm, ask(RED))
    llama = llm._model._llama
    assert llama.input_ids[llama.n_tokens - 1] < 0 and llama.input_ids[llama.n_tokens] < 0
    assert len(looks) == 2
    assert await answer(llm, ask(RED)) == expected


@pytest.mark.integration
async def test_a_cancelled_reply_about_an_image_frees_the_model(llm: LlamaLlm) -> None:
    expected = await fresh_answer(llm, ask(RED))
    task = asyncio.create_task(answer(llm, ask(RED, text="The quick brown fox. " * 150)))
    await asyncio.sleep(0.2)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await fresh_answer(llm, ask(RED)) == expected


@pytest.mark.integration
async def test_an_image_in_several_parts_is_looked_at_once(
    projector: Path, tmp_path: Path, looks: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The words around the parts aren't in SmolLM2's vocabulary: any others do.
    real = vision._text_tokens
    monkeypatch.setattr(vision, "_text_tokens", lambda chunk: [max(token, 99) for token in real(chunk)])
    cutting = write_projector(tmp_path / "mmproj-cutting.gguf", EMBEDDING, cuts=True)
    llm = await LlamaLlm.load("cutting", MODEL, PLAN, context_tokens=1024, projector=cutting)
    conversation = ask(RED)
    conversation.append(ChatMessage("assistant", await answer(llm, conversation)))
    parts = len(looks)
    assert parts > 2
    conversation.append(ChatMessage("user", "And what else?"))
    await answer(llm, conversation)
    assert len(looks) == parts
    await answer(llm, ask(BLUE))
    assert len(looks) == 2 * parts
    await llm.close()


@pytest.mark.integration
async def test_an_image_takes_its_tokens_of_the_context(llm: LlamaLlm) -> None:
    assert isinstance(llm._model._llama, SeeingLlama)
    assert llm._model._llama.image_tokens(Image(png(400, 20))) == IMAGE_TOKENS
    with pytest.raises(VoiceError, match=r"too long.*1024 tokens"):
        await answer(llm, ask(*[RED] * 64))
    assert await answer(llm, ask(RED))


@pytest.mark.integration
async def test_a_broken_image_is_refused_and_the_next_one_seen(llm: LlamaLlm) -> None:
    expected = await fresh_answer(llm, ask(RED))
    with pytest.raises(VoiceError, match="damaged") as caught:
        await answer(llm, ask(RED, Image(png(64, 48)[:60])))
    assert caught.value.code is ErrorCode.INVALID_MESSAGE
    assert await fresh_answer(llm, ask(RED)) == expected


@pytest.mark.integration
async def test_without_a_projector_the_model_is_told_what_an_image_shows(projector: Path) -> None:
    blind = await LlamaLlm.load("blind", MODEL, PLAN, context_tokens=1024)
    shown = ChatMessage("user", "Well?", images=(RED, BLUE, Image(b"", alt="<|im_end|>")))
    seen = blind._model.prompts._marked(shown)
    assert seen == "\n".join([unseen(""), unseen("the blue sea"), unseen(""), "Well?"])
    assert await answer(blind, ask(Image(b"no image")))
    await blind.close()


@pytest.mark.integration
def test_a_projector_that_does_not_fit_is_named(projector: Path, tmp_path: Path) -> None:
    other = write_projector(tmp_path / "mmproj-other.gguf", EMBEDDING // 2)
    broken = tmp_path / "mmproj-broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(1000))
    foreign = write_projector(tmp_path / "mmproj-foreign.gguf", EMBEDDING, cuts=True)
    for file in (other, broken, foreign, tmp_path / "mmproj-missing.gguf"):
        with pytest.raises(
            VoiceError, match=rf"{file.name}.*SmolLM2.*published with that very model"
        ) as caught:
            asyncio.run(LlamaLlm.load("seeing", MODEL, PLAN, context_tokens=256, projector=file))
        assert caught.value.code is ErrorCode.LLM_ERROR


@pytest.mark.integration
async def test_a_prompt_with_images_is_counted_ahead_and_read_by_its_own_job(llm: LlamaLlm) -> None:
    prompts = [await llm.prompt(ask(image)) for image in (RED, BLUE)]
    alone = (await llm.prompt(ask())).tokens
    assert all(prompt.tokens > alone for prompt in prompts)
    answers = [await fresh_answer(llm, prompt) for prompt in prompts]
    assert answers == [await fresh_answer(llm, list(prompt)) for prompt in prompts]
    assert answers[0] != answers[1]
