"""The model files: which there are, where they come from, and that they are the right ones.

What downloads is imported only where a profile is downloaded: huggingface_hub reads HF_HUB_OFFLINE once, when
it is first imported, and the engines have to have set it by then.
"""

from localvoice.catalog.catalogue import Catalog, load_catalog, models_folder
from localvoice.catalog.choice import Choice, choose, here, unexamined, with_llm_here
from localvoice.catalog.commands import ALL, list_models, verify_profile
from localvoice.catalog.errors import CatalogError, DownloadError, ModelFilesError
from localvoice.catalog.exams import Exam
from localvoice.catalog.obtain import download_choice, download_profile
from localvoice.catalog.ready import ModelFiles, ready
from localvoice.catalog.schema import ROLES, Model, Profile, Role
from localvoice.catalog.verify import VerifiedCache

__all__ = [
    "ALL",
    "ROLES",
    "Catalog",
    "CatalogError",
    "Choice",
    "DownloadError",
    "Exam",
    "Model",
    "ModelFiles",
    "ModelFilesError",
    "Profile",
    "Role",
    "VerifiedCache",
    "choose",
    "download_choice",
    "download_profile",
    "here",
    "list_models",
    "load_catalog",
    "models_folder",
    "ready",
    "unexamined",
    "verify_profile",
    "with_llm_here",
]
