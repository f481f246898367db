"""Which profile and which models are taken: by name, by the machine, by what is here."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from localvoice.catalog import (
    CatalogError,
    DownloadError,
    ModelFilesError,
    choose,
    download_choice,
    here,
    load_catalog,
    ready,
)
from localvoice.catalog.catalogue import Catalog
from localvoice.catalog.schema import ROLES
from localvoice.config import Settings
from localvoice.machine import Machine
from tests.support.fake_hub import FakeHub
from tests.support.small_catalog import add_to_hub, put_models, small_catalog

TWO_CORES = Machine(cores=2, free_mb=8000)
GPU = Machine(cores=8, free_mb=32_000, gpu_mb=24_000)


@pytest.fixture
def catalog() -> Catalog:
    """Profiles small, middle, large, and one that is only for those who name it."""
    return small_catalog()


@pytest.mark.parametrize(
    ("machine", "profiles"),
    [
        (Machine(1, 900), ["tiny"]),
        (Machine(1, 32_000), ["tiny"]),
        (Machine(2, 2000), ["base", "tiny"]),
        (Machine(2, 4000), ["quality", "base", "tiny"]),
        (TWO_CORES, ["quality", "base", "tiny"]),
        (Machine(8, 32_000, 6000), ["quality", "base", "tiny"]),
        (GPU, ["gpu", "quality", "base", "tiny"]),
    ],
)
def test_the_best_for_a_machine(machine: Machine, profiles: list[str]) -> None:
    choice = choose(load_catalog(), Settings(), lambda: machine)
    assert [profile.name for profile in choice.profiles] == profiles
    larger = [name for name in load_catalog().profiles if name not in profiles]
    assert [profile.name for profile in choice.too_large] == larger


def test_what_is_chosen_is_said_with_the_reason_and_how_to_choose_otherwise() -> None:
    first, second = choose(load_catalog(), Settings(), lambda: TWO_CORES).reason().splitlines()
    assert "Profile quality" in first and str(TWO_CORES) in first
    assert "--profile NAME" in second and "PROFILE=NAME" in second and "(base, gpu, tiny)" in second


def test_a_gpu_that_is_not_to_be_used_is_not_counted() -> None:
    assert choose(load_catalog(), Settings(device="cpu"), lambda: GPU).profiles[0].name == "quality"


def test_a_named_profile_is_taken_without_a_look() -> None:
    choice = choose(load_catalog(), Settings(profile="gpu"), lambda: pytest.fail("it looked"))
    assert [profile.name for profile in choice.profiles] == ["gpu"] and choice.reason() == ""


def test_named_models_are_taken_in_place_of_every_profiles() -> None:
    settings = Settings(llm="smollm2-135m-instruct", stt="whisper-tiny.en", voice="en_US-joe-medium")
    choice = choose(load_catalog(), settings, lambda: TWO_CORES)
    for profile in (*choice.profiles, *choice.too_large):
        assert (profile.llms, profile.stt) == (("smollm2-135m-instruct",), "whisper-tiny.en")
    assert choice.profiles[0].tts == "en_US-joe-medium"


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (
            {"llm": "gpt"},
            "There is no language model 'gpt'. There are: smollm2-135m-instruct, qwen2.5-coder-0.5b",
        ),
        (
            {"stt": "ears"},
            "There is no speech to text model 'ears'. There are: whisper-tiny.en, whisper-base",
        ),
        ({"voice": "whisper-base"}, "There is no voice 'whisper-base'. There are: en_US-joe-medium."),
        ({"profile": "huge"}, "There is no profile 'huge'"),
    ],
)
def test_an_unknown_name_is_told_with_those_that_there_are(settings: dict[str, str], told: str) -> None:
    with pytest.raises(CatalogError) as caught:
        choose(load_catalog(), Settings.model_validate({"profile": "base", **settings}))
    assert str(caught.value).startswith(told) and "\n" not in str(caught.value)


def test_a_machine_for_which_nothing_is_offered_is_told(catalog: Catalog) -> None:
    with pytest.raises(
        CatalogError, match="No profile of the catalogue is for a machine like this one .1 core"
    ):
        choose(catalog, Settings(), lambda: Machine(1, 10))


def test_a_users_profile_can_be_the_best(tmp_path: Path) -> None:
    own = tmp_path / "mine.toml"
    own.write_text("[profiles.quality]\nneeds = { cores = 64 }\n")
    choice = choose(load_catalog(own), Settings(), lambda: TWO_CORES)
    assert choice.profiles[0].name == "base"
    own.write_text("[profiles.auto]\ndescription = 'mine'\n")
    with pytest.raises(CatalogError, match="profiles.auto"):
        load_catalog(own)


@pytest.mark.parametrize(
    ("present", "taken"),
    [
        ([], "large"),
        (["small"], "small"),
        (["small", "middle"], "middle"),
        (["small", "large"], "large"),
        (["huge"], "huge"),
        (["small", "huge"], "small"),
    ],
)
def test_of_those_that_are_here_the_best_is_taken(
    catalog: Catalog, folder: Path, present: list[str], taken: str
) -> None:
    """`huge` needs more than this machine has: better than nothing."""
    for name in present:
        put_models(catalog, name, folder)
    choice = choose(catalog, Settings(), lambda: TWO_CORES)
    assert here(catalog, choice, folder).name == taken
    assert here(catalog, choice, folder, without=ROLES).name == "large", "an application with its own engines"


def test_it_is_said_that_another_is_taken_because_it_is_here(catalog: Catalog) -> None:
    choice = choose(catalog, Settings(), lambda: TWO_CORES)
    first, second = choice.instead(catalog.profile("small")).splitlines()
    assert "small" in first and "is large" in second and "localvoice models download" in second


def test_the_command_that_repairs_names_what_was_chosen(catalog: Catalog, folder: Path) -> None:
    settings = Settings(profile="small", llm="large-llm")
    with pytest.raises(ModelFilesError) as told:
        ready(catalog, choose(catalog, settings).profiles[0], folder)
    assert str(told.value).endswith("localvoice models download --profile small --llm large-llm")


def download(catalog: Catalog, settings: Settings, folder: Path) -> tuple[str, str]:
    """The profile that was downloaded, and what was said."""
    shown = io.StringIO()
    choice = choose(catalog, settings, lambda: TWO_CORES)
    profile = download_choice(catalog, choice, folder, Console(file=shown, width=200))
    return profile.name, shown.getvalue()


def test_the_best_is_downloaded_with_its_reason_and_found_by_the_start(
    hub: FakeHub, catalog: Catalog, folder: Path
) -> None:
    add_to_hub(hub, catalog, "large")
    taken, said = download(catalog, Settings(), folder)
    assert taken == "large" and "Profile large, the best for this machine (2 cores" in said
    assert here(catalog, choose(catalog, Settings(), lambda: TWO_CORES), folder).name == "large"
    _, said = download(catalog, Settings(), folder)
    assert said.strip() == f"Profile large: all model files are in {folder}.", "the start says the reason"


def test_what_can_not_be_had_leaves_the_next(hub: FakeHub, catalog: Catalog, folder: Path) -> None:
    add_to_hub(hub, catalog, "middle")
    taken, said = download(catalog, Settings(), folder)
    assert taken == "middle" and "Profile large can't be had now." in said


def test_without_a_network_what_is_here_is_used(hub: FakeHub, catalog: Catalog, folder: Path) -> None:
    put_models(catalog, "small", folder)
    taken, said = download(catalog, Settings(), folder)
    assert taken == "small" and "Profile small: all model files are in" in said
    for file in (folder / "small-llm").iterdir():
        file.unlink()
    put_models(catalog, "huge", folder)
    taken, said = download(catalog, Settings(), folder)
    assert taken == "huge" and "though it is large for this machine" in said


def test_where_nothing_can_be_had_the_best_is_told(hub: FakeHub, catalog: Catalog, folder: Path) -> None:
    with pytest.raises(DownloadError, match="the-stt/"):
        download(catalog, Settings(), folder)


def test_a_named_profile_is_the_only_one(hub: FakeHub, catalog: Catalog, folder: Path) -> None:
    put_models(catalog, "small", folder)
    with pytest.raises(DownloadError, match="middle-llm/"):
        download(catalog, Settings(profile="middle"), folder)
