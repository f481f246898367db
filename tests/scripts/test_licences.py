"""Licences: found in what is installed, and held against those that are agreed to."""

import io
from email.message import Message
from types import SimpleNamespace

import licences
import pytest
from licences import Licensed, NotInstalled, model_licences, package_licence
from locked import Locked, locked
from rich.console import Console


def test_all_that_runs_has_a_licence_that_is_agreed_to() -> None:
    found = [package_licence(package) for package in locked()] + model_licences("base")
    assert [each for each in found if not each.agreed] == []
    by_name = {each.name: each.licence for each in found}
    assert by_name["piper-tts"] == "GPL-3.0-or-later"
    assert by_name["onnxruntime"] == "MIT", "by another name in its metadata"
    assert by_name["jinja2"] == "BSD-3-Clause", "not told in its metadata"


@pytest.mark.parametrize(
    ("name", "licence", "agreed"),
    [
        ("new", "MIT", True),
        ("new", "GPL-3.0-or-later", False),
        ("piper-tts", "GPL-3.0-or-later", True),
        ("piper-tts", "AGPL-3.0-only", False),
        ("new", "MIT AND GPL-3.0-or-later", False),
        ("new", "MIT OR GPL-3.0-or-later", True),
        ("new", "Apache-2.0 AND (GPL-2.0-only OR BSD-3-Clause)", True),
        ("new", "Apache-2.0 WITH LLVM-exception", False),
        ("new", None, False),
    ],
)
def test_what_is_agreed_to(name: str, licence: str | None, agreed: bool) -> None:
    assert Licensed(name, "1.0", licence).agreed is agreed


@pytest.mark.parametrize(
    ("fields", "licence"),
    [
        ({"License-Expression": "MIT"}, "MIT"),
        ({"License": "Apache License, Version 2.0"}, "Apache-2.0"),
        ({"License": "see the file", "Classifier": "License :: OSI Approved :: ISC License (ISCL)"}, None),
        ({"Classifier": "License :: OSI Approved :: MIT License"}, "MIT"),
        ({"License": "All rights reserved"}, None),
        ({}, None),
    ],
)
def test_where_it_is_found(
    fields: dict[str, str], licence: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    metadata = Message()
    for field, value in fields.items():
        metadata[field] = value
    fake = SimpleNamespace(version="1.0", metadata=metadata)
    monkeypatch.setattr(licences, "distribution", lambda name: fake)
    assert package_licence(Locked("new", "1.0", ())).licence == licence


def test_what_is_not_installed_as_locked_is_told() -> None:
    with pytest.raises(NotInstalled, match="nowhere is not installed.*make install"):
        package_licence(Locked("nowhere", "1.0", ()))
    with pytest.raises(NotInstalled, match="rich is installed as .*, locked as 0.1"):
        package_licence(Locked("rich", "0.1", ()))


def test_the_one_that_is_refused_is_named() -> None:
    text = io.StringIO()
    found = [Licensed("good", "1.0", "MIT"), Licensed("bad", "2.0", "SSPL-1.0"), Licensed("odd", "", None)]
    assert not licences.show(found, Console(file=text, width=200))
    assert "not agreed to: bad" in text.getvalue() and "not agreed to: odd" in text.getvalue()
