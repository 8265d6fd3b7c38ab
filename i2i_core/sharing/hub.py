"""Exchange folders with the Hugging Face hub.

Credentials come from the hub's own places alone: the environment (HF_TOKEN) or what `hf auth login` has stored.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from i2i_core.credentials import redacted
from i2i_core.errors import ConfigError, ResourceError, RunError
from i2i_core.runs.folder import CheckpointFolder
from i2i_core.storage.leftovers import TemporaryFolder

PREFIX = "hub:"
NEEDED = CheckpointFolder.SHARED_WHOLE
"""Files of a repository that a generator is loaded from."""
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)


def repository(place: str) -> str:
    """Give the name of the hub repository that a place names, `OWNER/NAME` or `hub:OWNER/NAME`; empty for a folder.

    What is there as a folder is one, and so is what begins with `.` or `/`, or has a protocol.

    Raises:
        ConfigError: `hub:` before what is no name of a repository, or a name below a folder that is here.
    """
    name = place.removeprefix(PREFIX)
    if place.startswith(PREFIX):
        if not _REPOSITORY.fullmatch(name):
            raise ConfigError("REPO", place, "hub:OWNER/NAME", "Write it as its page on the hub has it.")
        return name
    if not _REPOSITORY.fullmatch(name) or os.path.isdir(name):
        return ""
    if os.path.isdir(name.partition("/")[0]):
        expected = "a repository of the hub, or a folder"
        fix = f"Write ./{name} for the folder, or {PREFIX}{name} for the repository."
        raise ConfigError("REPO", f"{name}, which may be either", expected, fix)
    return name


def check_package() -> None:
    """Check that the hub's package is there. Raises ResourceError."""
    try:
        import huggingface_hub  # noqa: F401
    except ImportError as error:
        fix = "Install it: pip install 'i2i[share]'; folders need no package."
        raise ResourceError("REPO", f"no package huggingface_hub ({error})", "it, for the hub", fix) from None


def upload(name: str, files: Mapping[str, bytes], private: bool, message: str) -> str:
    """Write files into a repository, which is made where there is none. Return its address.

    Raises:
        ConfigError, RunError: the hub refuses it, or does not answer.
    """
    check_package()
    from huggingface_hub import HfApi

    api = HfApi(library_name="i2i")
    with TemporaryFolder("share") as folder, _answers(name):
        for path, data in files.items():
            Path(folder, path).write_bytes(data)
        made = api.create_repo(name, private=private, exist_ok=True)
        api.upload_folder(repo_id=name, folder_path=folder, commit_message=message)
        return str(made)


def download(name: str, files: Sequence[str], revision: str = "") -> str:
    """Fetch files of a repository into the hub's cache, as far as it has them, and return their folder.

    Raises:
        ConfigError, RunError: there is no such repository or revision, or the hub does not answer.
    """
    check_package()
    from huggingface_hub import snapshot_download

    with _answers(name):
        found: str = snapshot_download(name, revision=revision or None, allow_patterns=list(files), library_name="i2i")
        return found


@contextmanager
def _answers(name: str) -> Iterator[None]:
    """Turn the errors of the hub's package into ours."""
    from huggingface_hub import errors

    fix = "Check the name; for a private one, log in with `hf auth login`, or set HF_TOKEN."
    try:
        yield
    except (errors.RepositoryNotFoundError, errors.GatedRepoError, errors.HFValidationError) as error:
        expected = "a repository that this account may use"
        raise ConfigError("REPO", f"{name} ({_said(error)})", expected, fix) from None
    except errors.RevisionNotFoundError as error:
        raise ConfigError("--revision", _said(error), f"a branch, tag or commit of {name}", "See its page.") from None
    except errors.LocalTokenNotFoundError as error:
        raise ConfigError("REPO", f"{name}, and no token ({_said(error)})", "an account of the hub", fix) from None
    except (errors.HfHubHTTPError, errors.LocalEntryNotFoundError, OSError) as error:
        raise RunError(f"the hub did not do it: {_said(error)}") from None


def _said(error: Any) -> str:
    lines = redacted(str(error)).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
