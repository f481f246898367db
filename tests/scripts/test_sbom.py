"""The bill of materials: whole, valid against CycloneDX's schema, and true."""

import json
from pathlib import Path
from typing import Any

import locked
import pytest
import sbom
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from rfc3986_validator import validate_rfc3986

from localvoice.catalog import load_catalog


@pytest.fixture(scope="module")
def bill(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = sbom.write_bill("tiny", tmp_path_factory.mktemp("dist"))
    assert path.name == "sbom-tiny.cdx.json"
    text = path.read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    found: dict[str, Any] = json.loads(text)
    assert found["specVersion"] == "1.6"
    return found


def test_every_reference_is_an_address(bill: dict[str, Any]) -> None:
    """As the schema has it, which leaves that to a package of its own."""
    urls = [each["url"] for part in bill["components"] for each in part.get("externalReferences", ())]
    assert urls
    valid = [validate_rfc3986(url, rule="URI_reference") for url in urls]  # type: ignore[no-untyped-call]
    assert all(valid), [url for url, is_valid in zip(urls, valid, strict=True) if not is_valid]


def test_every_package_that_is_locked_for_here_is_named(bill: dict[str, Any]) -> None:
    named = {
        (each["name"], each["version"]): each for each in bill["components"] if each["type"] == "library"
    }
    wanted = locked.locked()
    assert named.keys() == {(package.name, package.version) for package in wanted}
    assert ("llama-cpp-python", "0.3.36") in named
    for package in wanted:
        component = named[package.name, package.version]
        assert component["purl"] == f"pkg:pypi/{package.name}@{package.version}"
        (files,) = component["externalReferences"]
        assert {each["content"] for each in files["hashes"]} == set(package.sha256)
        assert component["licenses"]


def test_every_model_file_is_named_with_its_hash_licence_and_source(bill: dict[str, Any]) -> None:
    named = {each["bom-ref"]: each for each in bill["components"] if each["type"] != "library"}
    models = load_catalog().models_of("tiny")
    files = {f"model:{model.name}/{file.name}": (model, file) for model in models for file in model.files}
    assert named.keys() == files.keys()
    for reference, (model, file) in files.items():
        component = named[reference]
        assert component["hashes"] == [{"alg": "SHA-256", "content": file.sha256}]
        assert component["licenses"] == [{"license": {"id": model.licence}}]
        assert len(component["externalReferences"]) >= len(file.sources)


def test_it_tells_what_needs_what(bill: dict[str, Any]) -> None:
    needs = {each["ref"].partition("@")[0]: each.get("dependsOn", []) for each in bill["dependencies"]}
    assert len(needs["localvoice-agent"]) == len(bill["components"])
    needed = {reference.partition("@")[0] for reference in needs["pkg:pypi/aiortc"]}
    assert {"pkg:pypi/aioice", "pkg:pypi/av", "pkg:pypi/pylibsrtp"} <= needed


def test_a_bill_that_breaks_the_schema_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sbom, "_sha256", lambda value: HashType(alg=HashAlgorithm.SHA_256, content="x"))
    with pytest.raises(sbom.Invalid, match="schema"):
        sbom.write_bill("tiny", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_lock_holds_for_this_machine_alone(tmp_path: Path) -> None:
    lock = tmp_path / "some.lock"
    lock.write_text(
        "# made by hand\n"
        "Some.Package==1.2 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n    # via other\n"
        "elsewhere==1.0 ; sys_platform == 'nowhere' \\\n    --hash=sha256:cc\n"
    )
    assert locked.locked([lock]) == (locked.Locked("some-package", "1.2", ("aa", "bb")),)
