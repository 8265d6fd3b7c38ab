"""Explain, in a program that runs as a submitted job of a Ray cluster, what travelled with the job and what did not."""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from i2i_core.errors import UserError

COPIES = "working_dir_files"
"""Part of the path of a node's copy of the folder that `ray job submit --working-dir` sends."""
_PATH = re.compile(r"(?<![\w:/.~])[/~][^\s'\",;()]+")
"""An absolute local path in a message; no part of a URL or of a relative path."""


def in_copy() -> bool:
    """Tell whether the program runs in the copy of a submitted folder."""
    return COPIES in Path.cwd().parts


def why_absent(error: UserError, arguments: Sequence[str] | None = None) -> str:
    """Explain that files which an error names are not on the machine of the job.

    Args:
        error: names them in `where` or `found`.
        arguments: of the program; None for this process's. A file of theirs may have a name with spaces in it.

    Returns:
        A sentence to print behind the error. "" outside a job, and where every file that is named is there.
    """
    if not in_copy():
        return ""
    text = f"{error.where} {error.found}"
    given = sys.argv[1:] if arguments is None else arguments
    values = [argument.partition("=")[2] if argument.startswith("--") else argument for argument in given]
    named = [value for value in values if _is_path(value) and value in text]
    others = [path.rstrip(".:") for path in _PATH.findall(text)]
    named += [path for path in others if not any(path in value or path.endswith(value) for value in named)]
    absent = [path for path in dict.fromkeys(named) if not os.path.exists(os.path.expanduser(path))]
    if not absent:
        return ""
    are = "are" if len(absent) > 1 else "is"
    return (
        f"This is a job: it runs on {socket.gethostname()}, in a copy of the folder that you submitted, where "
        f"{' and '.join(absent)} {are} not. Files of your own machine are not there, but for those of that folder "
        "which neither .rayignore nor .gitignore leaves out. Give a path that all nodes see, or a URL."
    )


def _is_path(value: str) -> bool:
    """Tell whether an argument may be the path of a local file: it has a folder, or an ending."""
    return "://" not in value and not value.startswith("-") and ("/" in value or "." in value.strip("."))
