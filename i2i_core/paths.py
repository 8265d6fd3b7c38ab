"""Paths that mean the same in every process of a run."""

from __future__ import annotations

from pathlib import Path

from i2i_core.errors import ConfigError


def absolute(uri: str, flag: str) -> str:
    """A local path made absolute (workers have folders of their own); a URL as it is.

    Args:
        flag: names the path in messages.

    Raises:
        ConfigError: a relative path in a job that runs in a copy of the submitted folder.
    """
    if "://" in uri or not uri:
        return uri
    path = Path(uri).expanduser()
    if not path.is_absolute() and "working_dir_files" in Path.cwd().parts:
        fix = f"This job runs in a copy of your folder: give {flag} as a path that all nodes see, or as a URL."
        raise ConfigError(flag, f"the relative path {uri}", "an absolute path or a URL", fix)
    return str(path.resolve())
