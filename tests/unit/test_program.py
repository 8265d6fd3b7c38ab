"""Files say which program wrote them: version and commit.

pytest tests/unit/test_program.py
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from i2i_core.checkpoints.trained import load_trained
from i2i_core.program import commit_of, program_name
from i2i_core.runs import attempts
from i2i_core.runs.folder import RunFolder

from ..support.translating import untrained


def git(root: Path, *words: str) -> str:
    """Run git in a folder, as somebody."""
    who = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    return subprocess.run(["git", "-C", str(root), *who, *words], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Make a checkout of two commits."""
    git(tmp_path, "init", "-q")
    for what in ("a", "b"):
        git(tmp_path, "commit", "-qm", what, "--allow-empty")
    return tmp_path


@pytest.mark.processes
def test_program_names_the_commit_that_git_names(checkout: Path) -> None:
    head = git(checkout, "rev-parse", "HEAD").strip()
    assert commit_of(checkout) == head
    git(checkout, "pack-refs", "--all")
    assert commit_of(checkout) == head, "packed"
    git(checkout, "checkout", "-q", "HEAD~1")
    assert commit_of(checkout) == git(checkout, "rev-parse", "HEAD").strip() != head, "detached"
    git(checkout, "worktree", "add", "-q", "-b", "other", str(checkout / "tree"), head)
    assert commit_of(checkout / "tree") == head, "a worktree"


@pytest.mark.processes
def test_program_without_a_commit_names_none(tmp_path: Path) -> None:
    assert commit_of(tmp_path) == "", "no checkout"
    git(tmp_path, "init", "-q")
    assert commit_of(tmp_path) == "", "nothing is committed yet"
    git(tmp_path, "init", "-q", "outer")
    git(tmp_path / "outer", "commit", "-qm", "a", "--allow-empty")
    (tmp_path / "outer" / "site-packages").mkdir()
    assert commit_of(tmp_path / "outer" / "site-packages") == "", "a folder inside another checkout"
    (tmp_path / "outer" / ".git" / "HEAD").write_bytes(b"\xff")
    assert commit_of(tmp_path / "outer") == "", "damaged"


def test_program_is_named_by_attempts(tmp_path: Path) -> None:
    run = RunFolder(str(tmp_path))
    attempts.claim(run, "first", since=0.0)
    found = attempts.holder(run)
    assert found
    assert found.program == program_name()
    assert program_name().startswith("i2i")


def test_program_of_a_checkpoint_is_that_of_its_runs_last_launch(paired: str, tmp_path: Path) -> None:
    run = RunFolder(untrained("pix2pix", paired, tmp_path))
    assert load_trained(run.url, torch.device("cpu")).program == "", "nobody launched it"
    attempts.claim(run, "first", since=0.0)
    assert load_trained(run.url, torch.device("cpu")).program == program_name()
    alone = shutil.copytree(run.path(run.in_checkpoint(run.whole_checkpoints()[0])), tmp_path / "alone-36")
    assert load_trained(str(alone), torch.device("cpu")).program == ""
