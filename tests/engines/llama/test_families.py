"""Every family of language models, with memories of every kind: each says hot what it says cold, and reads
little again. The models are small and random, and llama.cpp is real.
"""

import asyncio
from contextlib import aclosing
from pathlib import Path

import llama_cpp
import pytest

from localvoice.engines import jobs as job_module
from localvoice.engines.chat import ChatMessage, Sampling, ToolCall, ToolOffer
from localvoice.engines.llama.marks import MOST_MARKS
from localvoice.engines.pictures import Image
from tests.support.family_talks import KINDS, LIGHT, RECURRENT, SYSTEM, assistant, loaded, user
from tests.support.images import png
from tests.support.random_gguf import CHATML, FAMILIES, Family

pytestmark = pytest.mark.integration

WORDS = 20
"""Tokens of a reply here; it writes all of them, and computes one less."""
REFUSES = "{% if CASE %}{{ raise_exception('Not so.') }}{% endif %}"
TEMPLATES = {
    "no system": REFUSES.replace("CASE", "messages[0].role == 'system'") + CHATML,
    "drops system": CHATML.replace("messages %}", "messages if m.role != 'system' %}"),
    "strict": "{% for m in messages if m.role != 'system' %}"
    + REFUSES.replace("CASE", "(m.role == 'user') != (loop.index0 % 2 == 0)")
    + "{% endfor %}"
    + CHATML,
    "needs a user": REFUSES.replace("CASE", "not messages | selectattr('role', 'equalto', 'user') | list")
    + CHATML,
    "thinks": CHATML.replace("assistant\n' }}{% endif", "assistant\n<think>\n' }}{% endif"),
    "broken": "{{- if .System }}{{ .System }}{{ end }}",
}
FEW = 80
"""Tokens of a question, with what a template puts around it."""


def test_the_families_have_memories_of_all_kinds() -> None:
    assert len(FAMILIES) == 10
    assert {family.name for family in FAMILIES if family.recurrent} == {"lfm2", "granitehybrid", "qwen35"}


@pytest.mark.parametrize(("family", "template"), KINDS)
async def test_a_talk_reads_only_what_is_new(
    family: Family, template: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with loaded(family, template, tmp_path, monkeypatch) as model:
        assert model.llm._model._cache.cuts is not bool(family.recurrent)
        await model.llm.prepare([SYSTEM])
        assert model.taken > 300
        talk = [SYSTEM, user("Hello there, how are you?")]
        talk.append(assistant(await model.says(talk)))
        assert model.taken <= FEW + WORDS, "the first turn"
        await model.llm.prepare(talk)
        assert model.taken <= FEW + WORDS, "read ahead between two turns"

        await model.says([*talk, user("Tell me of")], up_to=5)
        model.taken  # noqa: B018
        talk.append(user("Tell me of the sea."))
        said = await model.says(talk, up_to=12)
        assert model.taken <= FEW + WORDS, "a draft was dropped"
        talk += [assistant(said[:6]), user("No, stop.")]
        interrupted = await model.says(talk)
        assert model.taken <= 2 * FEW + WORDS, "a reply was interrupted"
        assert interrupted == await model.says_cold(talk)
        assert model.taken > 400


@pytest.mark.parametrize(("family", "template"), KINDS)
async def test_other_talks_in_between_change_nothing(
    family: Family, template: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with loaded(family, template, tmp_path, monkeypatch) as model:
        first, second = [SYSTEM, user("Hello there.")], [SYSTEM, user("Where is it?")]
        aside = [user("Name a colour. " * 10)]
        await model.llm.prepare([SYSTEM])
        first.append(assistant(await model.says(first)))
        second.append(assistant(await model.says(second)))
        await model.says(aside, aside=True)
        model.taken  # noqa: B018
        hot = []
        for talk in (first, second):
            talk.append(user("And then?"))
            hot.append(await model.says(talk))
            assert model.taken <= 2 * FEW + WORDS
        assert hot == [await model.says_cold(talk) for talk in (first, second)]


@pytest.mark.parametrize(("family", "template"), KINDS)
async def test_talks_that_change_at_each_token(
    family: Family, template: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with loaded(family, template, tmp_path, monkeypatch) as model:
        talks = [[SYSTEM, user(words)] for words in ("Hello there.", "Where is it?")]
        cold = [await model.says_cold(talk) for talk in talks]
        await model.llm.forget()
        monkeypatch.setattr(job_module, "TURN_SECONDS", 1e-6)
        assert await asyncio.gather(*(model.says(talk) for talk in talks)) == cold


@pytest.mark.parametrize(("family", "template"), KINDS)
async def test_one_that_is_stopped_anywhere_goes_on_as_if_nothing_was(
    family: Family, template: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with loaded(family, template, tmp_path, monkeypatch) as model:
        talk = [SYSTEM, user("Hello there.")]
        cold = await model.says_cold(talk)
        long = [SYSTEM, user("The quick brown fox jumps. " * 60)]
        for seconds in (0.0, 0.001, 0.003, 0.01, 0.02):
            task = asyncio.create_task(model.says(long))
            await asyncio.sleep(seconds)
            task.cancel()
            await asyncio.wait([task])
            assert await model.says(talk) == cold


@pytest.mark.parametrize(("family", "template"), KINDS[::2])
async def test_one_that_sees_looks_again_at_little(
    family: Family, template: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with loaded(family, template, tmp_path, monkeypatch, sees=True) as model:
        await model.llm.prepare([SYSTEM])
        shown = ChatMessage("user", "What is it?", images=(Image(png(60, 40)),))
        talk = [SYSTEM, shown]
        talk.append(assistant(await model.says(talk)))
        await model.says([*talk, user("And what")], up_to=4)
        talk.append(user("And what colour?"))
        said = await model.says(talk)
        await model.says([SYSTEM, user("Hello.")])
        model.taken  # noqa: B018
        talk += [assistant(said[:6]), user("No.")]
        hot = await model.says(talk)
        assert model.taken <= 2 * FEW + WORDS
        assert hot == await model.says_cold(talk)


@pytest.mark.parametrize("choice", ["auto", "required", "none"])
@pytest.mark.parametrize(("family", "template"), KINDS)
async def test_tools_are_chosen_alike(
    family: Family, template: str, choice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with loaded(family, template, tmp_path, monkeypatch) as model:
        offer = ToolOffer((LIGHT,), choice)
        talk = [SYSTEM, user("Switch it on.")]
        await model.llm.prepare([SYSTEM], offer)
        await model.items([SYSTEM, user("Switch")], offer)
        hot = await model.items(talk, offer)
        await model.llm.forget()
        cold = await model.items(talk, offer)
        assert [_plain(item) for item in hot] == [_plain(item) for item in cold]
        assert choice != "required" or isinstance(hot[0], ToolCall)


def _plain(item: object) -> object:
    return dict(item.arguments) if isinstance(item, ToolCall) else item


@pytest.mark.parametrize("kept_mb", [0, 1])
@pytest.mark.parametrize(("family", "template"), RECURRENT)
async def test_states_stay_within_their_memory(
    family: Family, template: str, kept_mb: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with loaded(family, template, tmp_path, monkeypatch, kept_mb) as model:
        cache = model.llm._model._cache
        talks = [[SYSTEM, user(f"{word}, I say.")] for word in ("One", "Two", "Three")]
        for _ in range(3):
            for talk in talks:
                talk.append(assistant(await model.says(talk)))
                await model.llm.prepare(talk)
                talk.append(user("And then?"))
                assert sum(kept.nbytes for kept in cache._kept) <= kept_mb * 2**20
                assert len(cache._marks.each) <= (MOST_MARKS if kept_mb else 1)
        hot = await model.says(talks[0])
        assert hot == await model.says_cold(talks[0])


@pytest.mark.parametrize(("family", "template"), RECURRENT)
async def test_what_is_forgotten_is_in_no_state(
    family: Family, template: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with loaded(family, template, tmp_path, monkeypatch) as model:
        await model.says([SYSTEM, user("My secret is a plum.")])
        cache, llama = model.llm._model._cache, model.llm._model._llama
        assert cache._marks.each
        await model.llm.forget()
        assert not cache._marks.each and not cache._kept
        assert llama_cpp.llama_state_seq_get_size(llama.ctx, 0) < 1000


async def test_numbers_that_no_one_says_are_the_usual_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with loaded(FAMILIES[0], CHATML, tmp_path, monkeypatch) as model:
        talk, unsaid = [SYSTEM, user("Hello there.")], Sampling(None, None, None, WORDS, (), None, None)
        usual = await model.says(talk)
        assert "".join([str(item) async for item in model.llm.reply(talk, unsaid)]).startswith(usual)


async def test_what_was_read_ahead_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for family in FAMILIES:
        async with loaded(family, CHATML, tmp_path, monkeypatch) as model:
            await model.llm.prepare([SYSTEM])
            model.taken  # noqa: B018
            await model.llm.prepare([SYSTEM])
            assert model.taken == 0
            words = "I would like to know, please, where"
            await model.llm.prepare([SYSTEM, user(words)])
            assert model.taken > len(words) / 2
            await model.says([SYSTEM, user(f"{words} it is.")])
            assert model.taken <= 24 + WORDS, "the user has said more, in the same words"


async def test_a_reply_that_is_left_at_once_spoils_no_mark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    family = next(family for family in FAMILIES if family.name == "qwen35")
    async with loaded(family, CHATML, tmp_path, monkeypatch) as model:
        talk = [SYSTEM, user("Hello there.")]
        cold = await model.says_cold(talk)
        for _ in range(5):
            async with aclosing(model.llm.reply([SYSTEM, user("Hello")], Sampling(max_tokens=20))) as reply:
                await anext(reply)
            assert await model.says(talk) == cold


@pytest.mark.parametrize("template", [*TEMPLATES.values()], ids=TEMPLATES)
@pytest.mark.parametrize("name", ["llama", "gemma3", "qwen35"])
async def test_a_talk_goes_its_way_with_any_template(
    name: str,
    template: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    family = next(family for family in FAMILIES if family.name == name)
    async with loaded(family, template, tmp_path, monkeypatch) as model:
        broken = [text for text in caplog.messages if "chat template" in text]
        assert len(broken) == (template == TEMPLATES["broken"]) and all(
            f"{name}.gguf" in text for text in broken
        )
        await model.llm.warm_up()
        await model.llm.prepare([SYSTEM])
        await model.llm.prepare([SYSTEM, assistant("Hello, I am here.")])
        talk = [SYSTEM, assistant("Hello, I am here."), user("Where is that?")]
        said = await model.says(talk)
        talk += [assistant(said), user("Say that again.")]
        model.taken  # noqa: B018
        hot = await model.says(talk)
        assert model.taken <= 2 * FEW + WORDS
        assert hot == await model.says_cold(talk)
