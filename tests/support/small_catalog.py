"""A catalogue of small files: each profile has language models of its own, and shares all else."""

from collections.abc import Collection, Mapping
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


def small_catalog(llms: Mapping[str, list[str]] = {}, verified: Collection[str] = ()) -> Catalog:
    """Profiles small, middle, large, huge, and one that has to be named.

    `llms` are lists of models, all on the hub; those that are verified are in a package, too. A profile
    without a list has one model, which is verified.
    """
    names = {profile: llms.get(profile, [f"{profile}-llm"]) for profile in _NEEDS}
    shared = {role: f"the-{role}" for role in _FILES if role != "llm"}
    models = {}
    for profile, several in names.items():
        for name in several:
            models[name] = model("llm", name)
            if profile in llms and name not in verified:
                models[name]["verified"] = False
    models |= {name: model(role, name) for role, name in shared.items()}
    profiles = {
        name: {"name": name, "description": name, **shared, "llm": names[name], "needs": needs}
        for name, needs in _NEEDS.items()
    }
    return Catalog.model_validate({"models": models, "profiles": profiles})


def model(role: Role, name: str) -> dict[str, Any]:
    """An entry whose files are on the hub, in a repository of its name, and in a package."""
    files = [
        {
            "name": file,
            "size": len(content(name, file)),
            "sha256": sha256(content(name, file)),
            "sources": [
                {"hub": f"me/{name}", "revision": "main", "path": file},
                {"parts": [{"package": f"{name}==1", "member": file}]},
            ],
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


def add_to_index(hub: FakeHub, catalog: Catalog, profile: str) -> None:
    """A package for each verified model of a profile."""
    for each in catalog.models_of(profile):
        if each.verified:
            members = {file.name: content(each.name, file.name) for file in each.files}
            hub.add_wheel(f"{each.name}==1", members)
