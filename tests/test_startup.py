"""What is found out before the models are loaded."""

import asyncio

import pytest
from rich.console import Console

from localvoice.catalog import ModelFilesError, load_catalog, models_folder, ready
from localvoice.config import ConfigError, Settings
from localvoice.contract.errors import ErrorCode, VoiceError
from localvoice.startup import _engine_options, loaded_engines, ready_agent


@pytest.mark.integration
async def test_a_fallback_that_is_the_same_model_is_refused() -> None:
    try:
        await asyncio.to_thread(ready, load_catalog(), "tiny", models_folder())  # it may read all of them
    except ModelFilesError as missing:
        pytest.skip(f"needs the models of the tiny profile: {missing}")
    settings = Settings.model_validate({"profile": "tiny", "agent": {"fallback_profile": "tiny"}})
    with pytest.raises(ConfigError, match="same language model"):
        async with loaded_engines(settings, Console(quiet=True)):
            pass


def test_a_profile_says_where_and_how_it_computes_unless_the_settings_do() -> None:
    profiles = load_catalog().profiles
    options = _engine_options(Settings(), profiles["gpu"])
    assert (options.device, options.compute) == ("cuda", "float16")
    assert _engine_options(Settings(device="cpu"), profiles["gpu"]).device == "cpu"
    options = _engine_options(Settings(), profiles["tiny"])
    assert (options.device, options.compute) == ("auto", None)
    assert (options.context_tokens, options.key_bits, options.kept_mb) == (1536, 8, 12)
    settings = Settings.model_validate({"agent": {"context_tokens": 1024}})
    assert _engine_options(settings, profiles["tiny"]).context_tokens == 1024
    assert _engine_options(Settings(), profiles["base"]).context_tokens == 4096


async def test_a_playbook_without_its_tools_stops_the_start() -> None:
    settings = Settings.model_validate({"agent": {"playbook": "examples/support_desk.yaml"}})
    with pytest.raises(VoiceError, match="look_up_order") as caught:
        async with ready_agent(settings, Console(quiet=True)):
            pass
    assert caught.value.code is ErrorCode.PLAYBOOK_ERROR
