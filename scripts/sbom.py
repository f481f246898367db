"""A bill of materials (CycloneDX 1.6, JSON): each locked Python package and each model file of a profile."""

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Final

import typer
from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import ExternalReference, HashAlgorithm, HashType, Property, XsUri
from cyclonedx.model import ExternalReferenceType as Reference
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from licences import NotInstalled, installed, package_licence
from locked import Locked, locked
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from rich.console import Console

from localvoice.catalog import CatalogError, load_catalog, models_folder, with_llm_here
from localvoice.catalog.schema import HubSource, Model, ModelFile, PackageSource
from localvoice.catalog.verify import pinned_files
from localvoice.files import local_path
from localvoice.version import DISTRIBUTION, __version__

DIST: Final = Path("dist")
LICENCES: Final = LicenseFactory()


class Invalid(RuntimeError):
    """The bill is not what CycloneDX's schema asks for."""


def bill(profile: str) -> str:
    """The bill of what runs with this profile, as JSON that was checked against the schema.

    Raises `NotInstalled`, `CatalogError` or `Invalid`.
    """
    bom = Bom()
    bom.metadata.component = root = Component(
        type=ComponentType.APPLICATION,
        name=DISTRIBUTION,
        version=__version__,
        bom_ref=DISTRIBUTION,
        purl=_pypi(f"{DISTRIBUTION}=={__version__}"),
        licenses=[LICENCES.make_from_string("Apache-2.0")],
    )
    packages = locked()
    components = {package.name: _package(package) for package in packages}
    folder, catalog = models_folder(), load_catalog()
    taken = with_llm_here(catalog, catalog.profile(profile), folder)
    files = [
        _model_file(model, file)
        for model in catalog.models_of(taken)
        for file in pinned_files([model], folder).values()
    ]
    bom.components.update([*components.values(), *files])
    bom.register_dependency(root, bom.components)
    for package in packages:
        needed = _needs(package) & components.keys()
        bom.register_dependency(components[package.name], [components[each] for each in sorted(needed)])
    text = str(JsonV1Dot6(bom).output_as_string(indent=1))
    if faults := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        raise Invalid(f"The bill of materials breaks the schema: {faults}")
    return text


def write_bill(profile: str, folder: Path) -> Path:
    """Write the bill into a folder, as sbom-PROFILE.cdx.json. Raises as `bill` does."""
    path = folder / f"sbom-{profile}.cdx.json"
    text = bill(profile)
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n", "utf-8")
    return path


def _package(package: Locked) -> Component:
    licence = package_licence(package).licence
    purl = _pypi(f"{package.name}=={package.version}")
    # Which of a release's files pip takes depends on the machine, so none of the sums is the package's own.
    files = ExternalReference(
        type=Reference.DISTRIBUTION,
        url=XsUri(str(purl)),
        comment="SHA-256 of each file of this release that may be installed",
        hashes=[_sha256(value) for value in package.sha256],
    )
    return Component(
        type=ComponentType.LIBRARY,
        name=package.name,
        version=package.version,
        bom_ref=str(purl),
        purl=purl,
        licenses=[LICENCES.make_from_string(licence)] if licence else [],
        external_references=[files],
    )


def _model_file(model: Model, file: ModelFile) -> Component:
    holds_weights = file.name.endswith((".bin", ".gguf", ".onnx"))
    origins = [purl for source in file.sources for purl in _origins(source)]
    return Component(
        type=ComponentType.MACHINE_LEARNING_MODEL if holds_weights else ComponentType.DATA,
        group=model.name,
        name=file.name,
        bom_ref=f"model:{model.name}/{file.name}",
        description=model.description,
        licenses=[LICENCES.make_from_string(model.licence)],
        hashes=[_sha256(file.sha256)] if file.sha256 else [],
        external_references=[
            ExternalReference(type=Reference.DISTRIBUTION, url=XsUri(str(purl))) for purl in origins
        ],
        properties=[
            Property(name="localvoice:role", value=model.role),
            Property(name="localvoice:bytes", value=str(file.size)),
        ],
    )


def _origins(source: HubSource | PackageSource) -> list[PackageURL]:
    """Where a model file is from: one repository's file, or the packages whose members are its parts."""
    if isinstance(source, HubSource):
        owner, name = source.hub.split("/")
        return [PackageURL("huggingface", owner, name, source.revision, subpath=source.path)]
    return [_pypi(part.package, part.member) for part in source.parts]


def _pypi(package: str, member: str | None = None) -> PackageURL:
    """Of `name==version`."""
    name, _, version = package.partition("==")
    return PackageURL(type="pypi", name=name, version=version, subpath=member)


def _sha256(value: str) -> HashType:
    return HashType(alg=HashAlgorithm.SHA_256, content=value)


def _needs(package: Locked) -> set[str]:
    """Names of the packages that an installed one asks for here, without its extras."""
    asked = [Requirement(text) for text in installed(package).requires or ()]
    return {
        canonicalize_name(each.name)
        for each in asked
        if each.marker is None or each.marker.evaluate({"extra": ""})
    }


def main(
    profile: Annotated[str, typer.Option(help="Set of models.")] = "base",
    out: Annotated[Path, typer.Option(help="Folder of the file.", parser=local_path)] = DIST,
) -> None:
    """Write the bill of materials of what is installed to run with a profile."""
    console = Console()
    try:
        path = write_bill(profile, out)
    except (NotInstalled, CatalogError, Invalid) as reason:
        console.print(str(reason), style="red", markup=False)
        sys.exit(1)
    console.print(
        f"{len(locked())} packages and the models of profile {profile}: {path} "
        f"(CycloneDX 1.6, checked by cyclonedx-python-lib {version('cyclonedx-python-lib')}).",
        markup=False,
        highlight=False,
    )


if __name__ == "__main__":
    typer.run(main)
