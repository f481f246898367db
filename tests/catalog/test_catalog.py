"""The catalogue: what it says, what it refuses, and what a user's own file adds."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from localvoice.catalog import CatalogError, ModelFiles, catalogue, load_catalog, models_folder
from localvoice.catalog.catalogue import builtin_catalog_path, checkout_root
from localvoice.catalog.schema import ROLES, HubSource, PackageSource
from localvoice.catalog.verify import sha256_of
from tests.support.folders import MODELS

VOICE = """
[models.my-voice]
role = "tts"
description = "A voice of mine"
licence = "CC0-1.0"
[[models.my-voice.files]]
name = "my.onnx"
sources = [{ hub = "me/voices", revision = "v1", path = "en/my.onnx" }]
[[models.my-voice.files]]
name = "my.onnx.json"
sources = [{ hub = "me/voices", revision = "v1", path = "en/my.onnx.json" }]
"""


def user_file(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text)
    return path


def test_profiles_have_a_model_for_every_role() -> None:
    catalog = load_catalog()
    assert list(catalog.profiles) == ["tiny", "base", "quality", "gpu"]
    for name in catalog.profiles:
        assert list(dict.fromkeys(model.role for model in catalog.models_of(name))) == list(ROLES)
        assert all(len(catalog.profile(name).models_for(role)) == 1 for role in ROLES if role != "llm")
    assert catalog.profile("base").stt == "whisper-base"
    assert (catalog.profile("gpu").device, catalog.profile("gpu").compute) == ("cuda", "float16")


def test_every_file_has_size_hash_and_source() -> None:
    for model in load_catalog().models.values():
        for file in model.files:
            assert file.sha256 and file.sources, f"{model.name}/{file.name}"
            assert file.size or not model.verified, f"{model.name}/{file.name}"


def test_a_list_of_language_models_ends_with_one_of_the_package_index() -> None:
    """So that a profile can be had where the hub is out of reach; all of the profile gpu is on the hub."""
    catalog = load_catalog()
    for profile in catalog.profiles.values():
        *preferred, last = [catalog.models[name] for name in profile.llms]
        assert last.verified or profile.name == "gpu"
        assert not any(model.verified for model in preferred)


def test_hub_comes_before_packages_and_is_pinned() -> None:
    for model in load_catalog().models.values():
        for file in model.files:
            kinds = [type(source) for source in file.sources]
            assert kinds in ([HubSource], [HubSource, PackageSource], [PackageSource])
            assert (PackageSource in kinds) == model.verified, "what was never downloaded is marked"
            for source in file.sources:
                if isinstance(source, HubSource):
                    pinned = re.fullmatch(r"[0-9a-f]{40}|v[\d.]+", source.revision)
                    assert pinned or (file.sha256 and not model.verified), "the sum pins it"


def test_catalogue_fits_the_files_that_are_here() -> None:
    root = checkout_root()
    assert root is not None
    here = [
        (file, path)
        for model in load_catalog().models.values()
        for file in model.files
        if (path := root / "models" / model.name / file.name).exists()
    ]
    if not here:
        pytest.skip("no model files are here")
    for file, path in here:
        assert path.stat().st_size == file.size, path
        # Hashing the large ones takes seconds, and every start does it.
        if path.stat().st_size < 10_000_000:
            assert sha256_of(path) == file.sha256, path


def test_unknown_profile_names_those_there_are() -> None:
    with pytest.raises(CatalogError, match="no profile 'huge'. Profiles: tiny, base, quality, gpu"):
        load_catalog().models_of("huge")


def test_one_entry_in_the_users_file_adds_a_model(tmp_path: Path) -> None:
    catalog = load_catalog(user_file(tmp_path, VOICE))
    assert catalog.models["my-voice"].role == "tts"
    assert catalog.profile("base").tts == "en_US-joe-medium"
    assert "whisper-base" in catalog.models


def test_example_of_the_readme(tmp_path: Path) -> None:
    readme = builtin_catalog_path().with_name("README.md").read_text()
    example = readme.partition("```toml\n")[2].partition("```")[0]
    catalog = load_catalog(user_file(tmp_path, example))
    assert catalog.profile("base").tts == "en_US-lessac-medium"
    assert catalog.models["en_US-lessac-medium"].file_ending(".onnx") == "en_US-lessac-medium.onnx"


MIND = """
[profiles.tiny]
llm = "mine"
[models.mine]
role = "llm"
description = "Sees"
licence = "MIT"
[[models.mine.files]]
name = "mine-Q8_0.gguf"
sources = [{ hub = "me/mine", revision = "v1", path = "mine-Q8_0.gguf" }]
"""
PROJECTOR = """
[[models.mine.files]]
name = "mmproj-mine-f16.gguf"
sources = [{ hub = "me/mine", revision = "v1", path = "mmproj-mine-f16.gguf" }]
"""


def test_a_language_model_may_have_a_projector(tmp_path: Path) -> None:
    for text, projector in ((MIND, None), (MIND + PROJECTOR, tmp_path / "mine" / "mmproj-mine-f16.gguf")):
        catalog = load_catalog(user_file(tmp_path, text))
        models = {model.name: model for model in catalog.models_of("tiny")}
        files = ModelFiles(tmp_path, catalog.profile("tiny"), models)
        assert files.llm_file == tmp_path / "mine" / "mine-Q8_0.gguf"
        assert files.projector_file == projector


def test_the_readmes_model_that_sees(tmp_path: Path) -> None:
    readme = builtin_catalog_path().with_name("README.md").read_text()
    example = (
        readme.partition("## A language model that sees")[2].partition("```toml\n")[2].partition("```")[0]
    )
    catalog = load_catalog(user_file(tmp_path, example))
    assert catalog.models[catalog.profile("base").llm].projector is not None


def test_users_profile_gives_only_what_differs(tmp_path: Path) -> None:
    catalog = load_catalog(user_file(tmp_path, VOICE + '[profiles.base]\ntts = "my-voice"\n'))
    assert catalog.profile("base").tts == "my-voice"
    assert catalog.profile("base").llms[-1] == "qwen2.5-coder-0.5b-instruct"
    assert catalog.profile("tiny").tts == "en_US-joe-medium"


def test_users_model_replaces_the_builtin_one(tmp_path: Path) -> None:
    text = VOICE.replace("models.my-voice", "models.en_US-joe-medium")
    assert load_catalog(user_file(tmp_path, text)).models["en_US-joe-medium"].description == "A voice of mine"


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (VOICE.replace('role = "tts"', 'role = "song"'), r"models\.my-voice: role: Input should be 'stt'"),
        (VOICE.replace('licence = "CC0-1.0"', ""), r"models\.my-voice: licence: Field required"),
        (VOICE.replace("licence", "license"), r"models\.my-voice: license: Extra inputs"),
        (
            VOICE.replace('revision = "v1", path = "en/my.onnx"', 'path = "x"'),
            r"my\.onnx\.sources\.0.*revision",
        ),
        (
            VOICE.replace('"my.onnx"', '"my.onnx"\nsize = 0'),
            r"files\.my\.onnx\.size: Input should be greater",
        ),
        (VOICE.replace('"my.onnx"', '"my.onnx"\nsha256 = "beef"'), r"files\.my\.onnx\.sha256: String should"),
        (
            re.sub(r"sources = .*", "", VOICE.replace('"my.onnx"', f'"my.onnx"\nsha256 = "{"a" * 64}"')),
            r"my\.onnx: give size",
        ),
        (re.sub(r"sources = .*", "", VOICE), r"my\.onnx: give sha256 .* or a hub source"),
        (VOICE.replace("my.onnx.json", "my.json"), r"a tts model is a Piper voice"),
        (
            MIND + PROJECTOR + PROJECTOR.replace("f16", "f32"),
            r"models\.mine: the entry: an llm model has at most one projector",
        ),
        (PROJECTOR + MIND.partition("[[")[0], r"a model for llm has exactly one file that ends in \.gguf"),
        ('[profiles.base]\ntts = "none"', r"profiles\.base: tts: there is no model 'none'"),
        ('[profiles.base]\ntts = "silero-vad-v6"', r"profiles\.base: tts: model 'silero-vad-v6' is for vad"),
        ('[profiles.mine]\ntts = "en_US-joe-medium"', r"profiles\.mine: description: Field required"),
        ("[models.x]\nname = 'y'", r"models\.x: must be a table without `name`"),
        ("[settings]\na = 1", r"settings: only the tables"),
        ("models = 1", r"models: only the tables"),
        ("[models", r"is not valid TOML"),
    ],
)
def test_errors_name_file_entry_and_field(tmp_path: Path, wrong: str, told: str) -> None:
    with pytest.raises(CatalogError, match=rf"mine\.toml: .*{told}"):
        load_catalog(user_file(tmp_path, wrong))


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    wrong = VOICE.replace('licence = "CC0-1.0"', "") + '[profiles.mine]\ntts = "en_US-joe-medium"\n'
    with pytest.raises(CatalogError) as told:
        load_catalog(user_file(tmp_path, wrong))
    lines = str(told.value).splitlines()
    assert all(line.startswith(f"{tmp_path / 'mine.toml'}: ") for line in lines)
    assert any("models.my-voice: licence: " in line for line in lines)
    assert any("profiles.mine: description: " in line for line in lines)


def test_users_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"gone\.toml: cannot be read: No such file"):
        load_catalog(tmp_path / "gone.toml")


@pytest.mark.parametrize(
    "name",
    [
        "../x.onnx",
        "a/b.onnx",
        "/etc/x.onnx",
        "..",
        ".hidden.onnx",
        "a\\\\b.onnx",
        "x.onnx.part",
        "",
        "x\\u0000y",
        "C:x.onnx",
        "nul",
        "Con.onnx",
        "lpt1.tar.gz",
    ],
)
def test_file_names_cannot_climb(tmp_path: Path, name: str) -> None:
    with pytest.raises(CatalogError, match=r"models\.my-voice: files\..*name: must"):
        load_catalog(user_file(tmp_path, VOICE.replace('name = "my.onnx"', f'name = "{name}"')))


@pytest.mark.parametrize("name", ["../up", "a/b", "..", ".verified.json", "C:", "aux"])
def test_model_names_cannot_climb(tmp_path: Path, name: str) -> None:
    with pytest.raises(CatalogError, match=r"name: must"):
        load_catalog(user_file(tmp_path, VOICE.replace("models.my-voice", f'models."{name}"')))


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "a//b", "a/../../b"])
def test_source_paths_cannot_climb(tmp_path: Path, path: str) -> None:
    with pytest.raises(CatalogError, match=r"path: must be a relative path"):
        load_catalog(user_file(tmp_path, VOICE.replace("en/my.onnx.json", path)))


def test_two_files_differ_in_more_than_capitals(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="two files have the same name"):
        load_catalog(user_file(tmp_path, VOICE.replace("my.onnx.json", "MY.onnx")))


def test_a_catalogue_is_read_to_a_limit(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="nested too deeply"):
        load_catalog(user_file(tmp_path, "a = " + "[" * 50_000))
    endless = tmp_path / "endless.toml"
    endless.symlink_to("/dev/zero")
    with pytest.raises(CatalogError, match="larger than 256 KiB"):
        load_catalog(endless)


def test_models_folder_is_the_setting_or_the_checkouts_or_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert models_folder(tmp_path / "m") == tmp_path / "m"
    assert models_folder() == MODELS
    monkeypatch.setattr(catalogue, "checkout_root", lambda: None)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert models_folder().parts[-2:] == ("localvoice", "models")


def test_installed_package_reads_its_own_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "catalog.toml"
    copy.write_bytes(builtin_catalog_path().read_bytes())
    monkeypatch.setattr(catalogue, "checkout_root", lambda: None)
    monkeypatch.setattr(catalogue, "_PACKAGE_COPY", copy)
    assert builtin_catalog_path() == copy
    assert "base" in load_catalog().profiles


def test_importing_the_catalogue_brings_in_no_network_client() -> None:
    code = (
        "import sys, localvoice.catalog; print([m for m in ('huggingface_hub', 'httpx') if m in sys.modules])"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"
