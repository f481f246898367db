"""The check of model files: at each start, and in full."""

import io
import json
import os
import time
from pathlib import Path

import pytest
from rich.console import Console

from localvoice.catalog import (
    Catalog,
    ModelFilesError,
    list_models,
    load_catalog,
    models_folder,
    ready,
    verify_profile,
)
from localvoice.catalog import verify as verify_module
from localvoice.catalog.schema import Model, Profile
from localvoice.catalog.verify import CACHE_NAME
from tests.support.fake_hub import sha256

FILES = {
    "ears": ("stt", ["model.bin", "config.json", "tokenizer.json", "vocabulary.txt"]),
    "mind": ("llm", ["mind.gguf"]),
    "mouth": ("tts", ["mouth.onnx", "mouth.onnx.json"]),
    "gate": ("vad", ["gate.onnx"]),
    "pause": ("turn", ["pause.onnx"]),
}


def content(model: str, file: str) -> bytes:
    return f"the bytes of {model}/{file}".encode()


@pytest.fixture
def catalog() -> Catalog:
    models = {}
    for name, (role, files) in FILES.items():
        entries = [
            {"name": file, "size": len(content(name, file)), "sha256": sha256(content(name, file))}
            for file in files
        ]
        models[name] = Model.model_validate(
            {"name": name, "role": role, "description": "a model", "licence": "MIT", "files": entries}
        )
    profile = Profile(
        name="p", description="all", stt="ears", llm=("mind",), tts="mouth", vad="gate", turn="pause"
    )
    return Catalog(models=models, profiles={"p": profile})


@pytest.fixture
def folder(tmp_path: Path, catalog: Catalog) -> Path:
    """A models folder in which all is well."""
    folder = tmp_path / "models"
    for model in catalog.models.values():
        (folder / model.name).mkdir(parents=True)
        for file in model.files:
            (folder / model.name / file.name).write_bytes(content(model.name, file.name))
    return folder


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are hashed."""
    names: list[str] = []
    original = verify_module.sha256_of

    def counting(path: Path) -> str:
        names.append(path.name)
        return original(path)

    monkeypatch.setattr(verify_module, "sha256_of", counting)
    return names


def test_ready_gives_the_files(catalog: Catalog, folder: Path) -> None:
    files = ready(catalog, "p", folder)
    assert files.stt_dir == folder / "ears"
    assert files.llm_file == folder / "mind" / "mind.gguf"
    assert files.voice_file == folder / "mouth" / "mouth.onnx"
    assert files.voice_config_file == folder / "mouth" / "mouth.onnx.json"
    assert files.vad_file == folder / "gate" / "gate.onnx"
    assert files.turn_file == folder / "pause" / "pause.onnx"
    assert files.profile.llm == "mind"
    assert files.path("ears", "config.json") == folder / "ears" / "config.json"


@pytest.mark.parametrize(
    ("model", "file"), [("ears", "../mind/mind.gguf"), ("..", "x"), ("ears", "other.bin")]
)
def test_only_catalogue_names_are_opened(catalog: Catalog, folder: Path, model: str, file: str) -> None:
    with pytest.raises(ModelFilesError, match="is not a file of profile p"):
        ready(catalog, "p", folder).path(model, file)


def test_missing_file_is_named_with_the_command_that_repairs_it(
    catalog: Catalog, folder: Path, hashed: list[str]
) -> None:
    (folder / "mind" / "mind.gguf").unlink()
    with pytest.raises(ModelFilesError) as told:
        ready(catalog, "p", folder)
    assert "mind/mind.gguf: is missing" in str(told.value)
    assert str(folder) in str(told.value)
    assert str(told.value).endswith("localvoice models download --profile p")
    assert hashed == [], "nothing has to be hashed to know it"


def test_no_folder_at_all(catalog: Catalog, tmp_path: Path) -> None:
    with pytest.raises(ModelFilesError) as told:
        ready(catalog, "p", tmp_path / "none")
    assert str(told.value).count("is missing") == 9


def test_partial_file_is_no_model(catalog: Catalog, folder: Path) -> None:
    (folder / "mind" / "mind.gguf").rename(folder / "mind" / "mind.gguf.part")
    with pytest.raises(ModelFilesError, match=r"mind/mind\.gguf: is missing"):
        ready(catalog, "p", folder)


def test_shortened_file_is_told_by_its_size(catalog: Catalog, folder: Path, hashed: list[str]) -> None:
    os.truncate(folder / "ears" / "model.bin", 3)
    with pytest.raises(ModelFilesError, match=r"ears/model\.bin: has 3 bytes, must have 27"):
        ready(catalog, "p", folder)
    assert hashed == []


def test_damaged_file_of_the_right_size_is_found(catalog: Catalog, folder: Path) -> None:
    path = folder / "gate" / "gate.onnx"
    path.write_bytes(b"X" + path.read_bytes()[1:])
    with pytest.raises(
        ModelFilesError, match=r"gate/gate\.onnx: is damaged: its SHA-256 is [0-9a-f]{64}, must be"
    ):
        ready(catalog, "p", folder)


def test_folder_in_place_of_a_file(catalog: Catalog, folder: Path) -> None:
    (folder / "gate" / "gate.onnx").unlink()
    (folder / "gate" / "gate.onnx").mkdir()
    with pytest.raises(ModelFilesError, match="is not a regular file"):
        ready(catalog, "p", folder)


def test_unreadable_file(catalog: Catalog, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(verify_module, "sha256_of", refuse)
    with pytest.raises(ModelFilesError, match=r"gate\.onnx: cannot be read: Permission denied"):
        ready(catalog, "p", folder)


def test_warm_start_hashes_nothing(catalog: Catalog, folder: Path, hashed: list[str]) -> None:
    ready(catalog, "p", folder)
    assert len(hashed) == 9
    hashed.clear()
    ready(catalog, "p", folder)
    assert hashed == []


def test_changed_file_is_hashed_again_even_with_its_old_time(
    catalog: Catalog, folder: Path, hashed: list[str]
) -> None:
    ready(catalog, "p", folder)
    hashed.clear()
    path = folder / "gate" / "gate.onnx"
    before = path.stat()
    time.sleep(0.02)  # the clock that stamps files is coarse
    path.write_bytes(b"X" + path.read_bytes()[1:])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(ModelFilesError, match=r"gate\.onnx: is damaged"):
        ready(catalog, "p", folder)
    assert hashed == ["gate.onnx"]


def test_replaced_file_is_hashed_again(catalog: Catalog, folder: Path, hashed: list[str]) -> None:
    ready(catalog, "p", folder)
    hashed.clear()
    path = folder / "gate" / "gate.onnx"
    copy = path.with_name("copy")
    copy.write_bytes(path.read_bytes())
    copy.replace(path)
    ready(catalog, "p", folder)
    assert hashed == ["gate.onnx"]


@pytest.mark.parametrize("text", ["", "[1, 2]", '{"gate/gate.onnx": 7}', '{"cut": '])
def test_spoilt_cache_only_costs_time(catalog: Catalog, folder: Path, hashed: list[str], text: str) -> None:
    (folder / CACHE_NAME).write_text(text)
    ready(catalog, "p", folder)
    assert len(hashed) == 9


def test_cache_that_cannot_be_written_is_no_error(
    catalog: Catalog, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr(os, "replace", refuse)
    assert ready(catalog, "p", folder).llm_file.exists()
    assert not (folder / CACHE_NAME).exists()


def test_link_within_the_folder_is_followed_and_one_that_leads_out_is_refused(
    catalog: Catalog, folder: Path, tmp_path: Path
) -> None:
    inside = folder / "mind" / "mind.gguf"
    inside.rename(folder / "mind" / "real.gguf")
    inside.symlink_to("real.gguf")
    ready(catalog, "p", folder)
    outside = tmp_path / "outside.gguf"
    (folder / "mind" / "real.gguf").rename(outside)
    inside.unlink()
    inside.symlink_to(outside)
    with pytest.raises(ModelFilesError, match="leads out of the models folder"):
        ready(catalog, "p", folder)


def test_linked_models_folder_is_fine(catalog: Catalog, folder: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(folder)
    assert ready(catalog, "p", link).llm_file.exists()


def test_verify_reads_everything_whatever_the_cache_says(catalog: Catalog, folder: Path) -> None:
    ready(catalog, "p", folder)
    path = folder / "gate" / "gate.onnx"
    path.write_bytes(b"X" + path.read_bytes()[1:])
    status = path.stat()
    cache = json.loads((folder / CACHE_NAME).read_text())
    forged = [
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_ino,
        cache["gate/gate.onnx"][-1],
    ]
    (folder / CACHE_NAME).write_text(json.dumps(cache | {"gate/gate.onnx": forged}))
    ready(catalog, "p", folder)  # the forged cache is believed, as its docstring says
    shown = io.StringIO()
    with pytest.raises(ModelFilesError, match=r"gate/gate\.onnx: is damaged(.|\n)*download --profile p"):
        verify_profile(catalog, "p", folder, Console(file=shown, width=200))
    assert "ears: 4 file(s) right" in shown.getvalue()
    assert "gate:" not in shown.getvalue()


def test_verify_all_takes_the_models_that_are_here(catalog: Catalog, folder: Path) -> None:
    (folder / "mind" / "mind.gguf").unlink()
    (folder / "mind").rmdir()
    shown = io.StringIO()
    verify_profile(catalog, "all", folder, Console(file=shown, width=200))
    assert "gate: 1 file(s) right" in shown.getvalue()
    assert "mind" not in shown.getvalue()


def test_list_shows_what_is_here(catalog: Catalog, folder: Path) -> None:
    (folder / "mind" / "mind.gguf").unlink()
    (folder / "mind").rmdir()
    (folder / "mouth" / "mouth.onnx").unlink()
    shown = io.StringIO()
    list_models(catalog, folder, Console(file=shown, width=200))
    rows = {
        line.split("│")[3].strip(): line for line in shown.getvalue().splitlines() if line.startswith("│")
    }
    assert [rows[name].split("│")[6].strip() for name in ("ears", "mind", "mouth")] == [
        "yes",
        "no",
        "not whole",
    ]
    assert "MIT" in rows["ears"] and "by hand" in rows["ears"]


def test_list_marks_what_was_never_downloaded(tmp_path: Path) -> None:
    shown = io.StringIO()
    list_models(load_catalog(), tmp_path, Console(file=shown, width=250))
    row = next(line for line in shown.getvalue().splitlines() if "qwen2.5-7b-instruct" in line)
    assert "not yet verified by a download" in row and "gpu" in row and "4.7 GB" in row


@pytest.mark.integration
def test_real_files_of_tiny_start_in_time() -> None:
    folder = models_folder()
    if not (folder / "whisper-tiny.en").is_dir():
        pytest.skip("the models of profile tiny are not here: make download-models PROFILE=tiny")
    began = time.monotonic()
    files = ready(load_catalog(), "tiny", folder)
    assert files.llm_file.read_bytes()[:4] == b"GGUF"
    assert time.monotonic() - began < 5
