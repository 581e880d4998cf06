"""Upload of an export to the Hugging Face hub."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from sdekit.errors import InputError, SdekitError

PREFIX = "hub:"


def hub_repository(target: str) -> str | None:
    """Return OWNER/NAME of a target hub:OWNER/NAME, or None for another target.

    Arguments:
        target: Target of an export.
    Returns:
        The repository, or None.
    Raises:
        InputError: If the target starts with "hub:", but names no repository.
    """
    if not target.startswith(PREFIX):
        return None
    repository = target.removeprefix(PREFIX)
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", repository):
        raise InputError(f"{target!r} names no repository of the hub: write hub:OWNER/NAME")
    return repository


def check_hub() -> Any:
    """Return an interface to the hub, before anything is exported.

    Returns:
        `huggingface_hub.HfApi()`.
    Raises:
        InputError: If huggingface_hub or a token is missing.
    """
    try:
        from huggingface_hub import HfApi, get_token
    except ImportError as error:
        raise InputError(f"{PREFIX}OWNER/NAME needs huggingface_hub ({error}): pip install 'sdekit[hub]'") from error
    if not get_token():
        raise InputError(
            "the hub needs a token to write: create one at huggingface.co/settings/tokens, then run `hf auth login`, "
            "or set HF_TOKEN"
        )
    return HfApi()


def upload(folder: Path, repository: str, *, public: bool = False) -> str:
    """Upload an export to a repository, which is created if it does not exist.

    Arguments:
        folder: Folder of the export.
        repository: OWNER/NAME.
        public: Whether a new repository is public.
    Returns:
        Address of the upload.
    Raises:
        InputError: If huggingface_hub or a token is missing, or the hub refuses the token or the repository.
        SdekitError: If the hub cannot be reached.
    """
    api = check_hub()
    from huggingface_hub.errors import HfHubHTTPError

    try:
        api.create_repo(repository, private=not public, exist_ok=True)
        return str(
            api.upload_folder(repo_id=repository, folder_path=folder, commit_message="Upload an export of sdekit")
        )
    except HfHubHTTPError as error:
        raise InputError(
            f"the hub refused {repository}: {_first_line(error)}. Check the name and the rights of the token"
        ) from error
    except OSError as error:  # no network: the errors of the HTTP libraries derive from OSError or Exception
        raise SdekitError(_unreachable(error)) from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] in ("httpx", "httpcore", "requests", "urllib3"):
            raise SdekitError(_unreachable(error)) from error
        raise


def _unreachable(error: Exception) -> str:
    return (
        f"the hub cannot be reached ({type(error).__name__}: {_first_line(error)}): check the network, or export to a "
        "folder and upload it later by `hf upload OWNER/NAME FOLDER`"
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
