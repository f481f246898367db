"""The model files: which there are, where they come from, and that they are the right ones.

What downloads is imported only by `download_profile`: huggingface_hub reads HF_HUB_OFFLINE once, when it is
first imported, and the engines have to have set it by then.
"""

from pathlib import Path

from rich.console import Console

from localvoice.catalog.catalogue import Catalog, load_catalog, models_folder
from localvoice.catalog.errors import CatalogError, DownloadError, ModelFilesError
from localvoice.catalog.listing import list_models, verify_profile
from localvoice.catalog.schema import ROLES, Profile, Role
from localvoice.catalog.verify import ModelFiles, VerifiedCache, ready

__all__ = [
    "ROLES",
    "Catalog",
    "CatalogError",
    "DownloadError",
    "ModelFiles",
    "ModelFilesError",
    "Profile",
    "Role",
    "VerifiedCache",
    "download_profile",
    "list_models",
    "load_catalog",
    "models_folder",
    "ready",
    "verify_profile",
]


def download_profile(catalog: Catalog, profile: str, folder: Path, console: Console) -> int:
    """Download what the profile's models still lack; how many files that were.

    Raises CatalogError for an unknown profile, DownloadError with the reasons of every source that failed.
    An interrupt (Ctrl-C) leaves what has arrived for the next run.
    """
    from localvoice.catalog.download import download
    from localvoice.catalog.progress import Display

    models = catalog.models_of(profile)
    for model in models:
        if not model.verified:
            console.print(
                f"{model.name}: not yet verified by a download; its SHA-256 is checked all the same."
            )
    with Display(console) as display:
        count = download(models, folder, display)
    console.print(
        f"Profile {profile}: all model files are in {folder}.", markup=False, highlight=False, soft_wrap=True
    )
    return count
