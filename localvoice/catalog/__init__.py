"""The model files: which there are, where they come from, and that they are the right ones.

What downloads is imported only by `download_profile`: huggingface_hub reads HF_HUB_OFFLINE once, when it is
first imported, and the engines have to have set it by then.
"""

from localvoice.catalog.catalogue import Catalog, load_catalog, models_folder
from localvoice.catalog.commands import download_profile, list_models, verify_profile
from localvoice.catalog.errors import CatalogError, DownloadError, ModelFilesError
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
