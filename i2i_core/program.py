"""Name the program that writes a file: its version, and the commit that its code is checked out at."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).parent.parent
"""Folder that holds the package; of a checkout, the one with .git."""


@cache
def program_name() -> str:
    """Name the program: `i2i 0.1.0, commit 63282be`.

    Without a checkout (an installed package, the code that travels with a Ray job) the version alone. Changes since the
    commit are not seen.
    """
    try:
        name = f"i2i {version('i2i')}"
    except PackageNotFoundError:  # on PYTHONPATH alone
        name = "i2i"
    commit = commit_of(ROOT)
    return f"{name}, commit {commit[:7]}" if commit else name


def commit_of(root: Path) -> str:
    """Read the commit that a folder is checked out at, 40 hex digits; empty where none is.

    It reads git's files itself: starting git would cost every worker a process.
    """
    with suppress(OSError, UnicodeDecodeError):
        git = root / ".git"
        if git.is_file():  # a worktree or a submodule: the place of its own folder
            git = root / git.read_text().removeprefix("gitdir:").strip()
        head = (git / "HEAD").read_text().strip()
        common = git / (git / "commondir").read_text().strip() if (git / "commondir").exists() else git
        commit = _ref(common, head.removeprefix("ref:").strip()) if head.startswith("ref:") else head
        if len(commit) == 40 and set(commit) <= set("0123456789abcdef"):
            return commit
    return ""


def _ref(git: Path, name: str) -> str:
    """Read the commit of a branch, from its own file or from the list of packed ones."""
    if (git / name).exists():
        return (git / name).read_text().strip()
    lines = (git / "packed-refs").read_text().splitlines()
    return next((line[:40] for line in lines if line[40:] == f" {name}"), "")
