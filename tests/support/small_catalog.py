"""A catalogue of small files: each profile has a language model of its own, and shares all else."""

from pathlib import Path
from typing import Any

from localvoice.catalog.catalogue import Catalog
from localvoice.catalog.schema import Role
from tests.support.fake_hub import FakeHub, sha256

_FILES: dict[Role, list[str]] = {
    "stt": ["model.bin", "config.json", "tokenizer.json", "vocabulary.txt"],
    "llm": ["mind.gguf"],
    "tts": ["voice.onnx", "voice.onnx.json"],
    "vad": ["gate.onnx"],
    "turn": ["pause.onnx"],
}
_NEEDS = {
    "small": {"free_mb": 100},
    "middle": {"cores": 2},
    "large": {"cores": 2, "free_mb": 4000},
    "huge": {"cores": 64},
    "named": None,
}


def content(model: str, file: str) -> bytes:
    return f"the bytes of {model}/{file}".encode()


def small_catalog(**llms: list[str]) -> Catalog:
    """Profiles small, middle, large, huge, and one that has to be named; `llms` are lists of models."""
    names = {profile: llms.get(profile, [f"{profile}-llm"]) for profile in _NEEDS}
    shared = {role: f"the-{role}" for role in _FILES if role != "llm"}
    models = {name: model("llm", name) for several in names.values() for name in several}
    models |= {name: model(role, name) for role, name in shared.items()}
    profiles = {
        name: {"name": name, "description": name, **shared, "llm": names[name], "needs": needs}
        for name, needs in _NEEDS.items()
    }
    return Catalog.model_validate({"models": models, "profiles": profiles})


def model(role: Role, name: str) -> dict[str, Any]:
    """An entry whose files are on the hub, in a repository of its name."""
    files = [
        {
            "name": file,
            "size": len(content(name, file)),
            "sha256": sha256(content(name, file)),
            "sources": [{"hub": f"me/{name}", "revision": "main", "path": file}],
        }
        for file in _FILES[role]
    ]
    return {"name": name, "role": role, "description": "a model", "licence": "MIT", "files": files}


def put_models(catalog: Catalog, profile: str, folder: Path) -> None:
    """All files of a profile, as if they had been downloaded."""
    for each in catalog.models_of(profile):
        (folder / each.name).mkdir(parents=True, exist_ok=True)
        for file in each.files:
            (folder / each.name / file.name).write_bytes(content(each.name, file.name))


def add_to_hub(hub: FakeHub, catalog: Catalog, profile: str) -> None:
    """All files of a profile, to be downloaded."""
    for each in catalog.models_of(profile):
        for file in each.files:
            hub.add_file(f"me/{each.name}", file.name, content(each.name, file.name), large=False)
