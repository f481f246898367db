"""How tokens are picked: the settings say it, or the catalogue for the model in use, or it is as usual."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path

import pytest

from localvoice.catalog import CatalogError, ModelFiles, load_catalog
from localvoice.config import AgentSettings
from localvoice.conversation.agent import sampling_of
from localvoice.engines.chat import ChatMessage, ReplyItem, Sampling, ToolOffer
from localvoice.engines.fallback import LlmSource, ResilientLlm, load_with_fallback
from localvoice.engines.types import Llm
from localvoice.startup import _engine_files
from tests.support.failing_minds import FAILED, FINE, PATIENCE, QUESTION, Mind, Script, Spare

UNSAID = sampling_of(AgentSettings())
OWN = """
[profiles.base]
llm = "mine"

[models.mine]
role = "{role}"
description = "A model of mine"
licence = "Apache-2.0"
{table}
[[models.mine.files]]
name = "mine.gguf"
sources = [{{ hub = "me/mine", revision = "v1", path = "mine.gguf" }}]
"""


class Picking(Mind):
    """Notes with which numbers it is asked."""

    def __init__(self, *script: Script, name: str = "big") -> None:
        super().__init__(*script, name=name)
        self.numbers: list[Sampling] = []

    def reply(
        self,
        messages: Sequence[ChatMessage],
        sampling: Sampling,
        offer: ToolOffer | None = None,
        aside: bool = False,
    ) -> AsyncGenerator[ReplyItem, None]:
        self.numbers.append(sampling)
        return super().reply(messages, sampling, offer, aside)


async def ask(llm: Llm, sampling: Sampling) -> None:
    async with aclosing(llm.reply(QUESTION, sampling)) as reply:
        assert "".join([str(item) async for item in reply]) == "".join(FINE)


def test_settings_that_say_nothing_leave_it_to_the_model() -> None:
    assert UNSAID == Sampling(None, None, None, 256, (), None, None)
    assert UNSAID.filled(Sampling(0.7, 0.8, 1.05, 9, ("x",), 20, 0.0)) == Sampling(
        0.7, 0.8, 1.05, 256, (), 20, 0.0
    )
    settings = AgentSettings(temperature=0.0, repeat_penalty=1.3)
    assert sampling_of(settings).filled(Sampling(0.7)) == Sampling(0.0, repeat_penalty=1.3)


@pytest.mark.virtual_clock
async def test_a_model_is_given_its_own_numbers_and_the_fallback_those_of_the_fallback() -> None:
    first, second = Picking(FINE, [FAILED]), Picking(FINE, name="small")
    fallback = LlmSource("small", Spare(second).load, Sampling(0.2, min_p=0.1))

    async def load() -> Llm:
        return first

    llm = await load_with_fallback(LlmSource("big", load, Sampling(1.0, top_k=64)), fallback, PATIENCE)
    await ask(llm, UNSAID)
    assert first.numbers == [Sampling(1.0, top_k=64)]
    await ask(llm, UNSAID)
    assert second.numbers == [Sampling(0.2, min_p=0.1)]
    await ask(llm, Sampling(0.5))
    assert second.numbers[-1] == Sampling(0.5), "what a request says holds for any model"
    await llm.close()


@pytest.mark.virtual_clock
async def test_a_fallback_that_is_there_from_the_start_has_its_own_numbers() -> None:
    mind = Picking(FINE, name="small")

    async def fail() -> Llm:
        raise FAILED

    fallback = LlmSource("small", Spare(mind).load, Sampling(0.2))
    llm = await load_with_fallback(LlmSource("big", fail, Sampling(1.0)), fallback, PATIENCE)
    await ask(llm, UNSAID)
    assert mind.numbers == [Sampling(0.2)]


@pytest.mark.virtual_clock
async def test_an_llm_of_the_applications_own_is_never_given_none() -> None:
    mind = Picking(FINE)
    await ask(ResilientLlm(mind, PATIENCE), UNSAID)
    assert mind.numbers == [Sampling()]


def files_of(folder: Path, table: str = "", role: str = "llm") -> ModelFiles:
    path = folder / "mine.toml"
    path.write_text(OWN.format(role=role, table=table))
    catalog = load_catalog(path)
    models = {model.name: model for model in catalog.models_of("base")}
    return ModelFiles(folder, catalog.profile("base"), models)


def test_the_catalogue_says_what_differs_from_the_usual(tmp_path: Path) -> None:
    table = "sampling = { temperature = 1.0, top_k = 64, min_p = 0.0 }"
    found = files_of(tmp_path, table)
    assert _engine_files(found, ()).sampling == Sampling(1.0, top_k=64, min_p=0.0)
    assert _engine_files(found, ["llm"]).sampling == Sampling(), "the application brings its own"
    assert _engine_files(files_of(tmp_path), ()).sampling == Sampling()


@pytest.mark.parametrize(
    ("table", "role", "told"),
    [
        ("sampling = { temperature = 3 }", "llm", "sampling.temperature"),
        ("sampling = { top_p = 0 }", "llm", "sampling.top_p"),
        ("sampling = { typical_p = 0.5 }", "llm", "sampling.typical_p"),
        ("sampling = { temperature = 1 }", "stt", "only an llm model has a sampling table"),
    ],
)
def test_a_wrong_table_is_refused_by_name(tmp_path: Path, table: str, role: str, told: str) -> None:
    with pytest.raises(CatalogError, match=told):
        files_of(tmp_path, table, role)
