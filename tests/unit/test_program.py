"""Files say which program wrote them: version and commit.

pytest tests/unit/test_program.py
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import save as safetensors_bytes

from i2i_core.checkpoints import checkpoint
from i2i_core.checkpoints.checkpoint import Snapshot
from i2i_core.config.run import TrainConfig
from i2i_core.errors import CheckpointError
from i2i_core.program import commit_of, program_name
from i2i_core.runs import attempts
from i2i_core.runs.folder import CheckpointFolder, RunFolder


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


def test_program_is_named_by_checkpoints_and_need_not_be(tmp_path: Path) -> None:
    run = RunFolder(str(tmp_path))
    snapshot = Snapshot(12, TrainConfig.of("pix2pix", "paper"), {"w": torch.zeros(1)}, {}, {}, {})
    checkpoint.write(run, snapshot)
    saved = checkpoint.read(run.checkpoint(snapshot.name))
    assert saved.program == program_name()
    older = safetensors_bytes({"w": torch.zeros(1)}, {"aliases": "{}"})
    assert checkpoint.Saved(saved.url, {**saved.files, CheckpointFolder.NETWORKS: older}, "").program == ""
    other = safetensors_bytes({"w": torch.zeros(1)}, {"program": json.dumps(["x"])})
    with pytest.raises(CheckpointError, match="program"):
        _ = checkpoint.Saved(saved.url, {**saved.files, CheckpointFolder.NETWORKS: other}, "").program
