"""docs/reference is what the code says.

pytest tests/unit/test_reference.py
"""

from __future__ import annotations

from pathlib import Path

import pytest

from i2i_core.evaluation.suite import DEFINITIONS, FAMILIES
from i2i_core.runs.folder import CheckpointFolder, RunFolder
from pipelines import reference

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("page", reference.PAGES)
def test_reference_equals_what_the_code_generates(page: str) -> None:
    """Kept as a file so that it can be read where no program runs."""
    kept = ROOT / "docs" / "reference" / page
    text = kept.read_text() if kept.is_file() else ""
    assert text == reference.PAGES[page](), f"docs/reference/{page} is out of date: run make reference"


def test_reference_names_every_metric_and_what_its_family_needs() -> None:
    page = reference.metrics_page()
    assert [name for name in DEFINITIONS if f"| `{name}` |" not in page] == []
    assert reference.FAMILIES_NEED.keys() == FAMILIES.keys()
    assert reference._basic_needs().keys() == FAMILIES["basic"].metrics.keys()


def test_reference_describes_every_file() -> None:
    for parts in reference.FILES.values():
        for part in parts:
            assert (ROOT / part.module).is_file()
            files = reference.described(part)
            assert files
            assert [name for name, text in files if len(text) < 10] == [], part.module


def test_reference_names_files_of_the_sweep_s_page_as_the_page_writes_them() -> None:
    """No constants name these."""
    part = next(p for parts in reference.FILES.values() for p in parts if p.module.endswith("search/report.py"))
    source = (ROOT / part.module).read_text()
    assert [name for name in part.others if f'"{name}' not in source] == []


@pytest.mark.parametrize(
    ("module", "owner"),
    [("i2i_core/runs/folder.py", RunFolder), ("i2i_core/checkpoints/checkpoint.py", CheckpointFolder)],
)
def test_reference_describes_every_constant_of_a_folder(module: str, owner: type[RunFolder | CheckpointFolder]) -> None:
    """But TensorBoard's, whose place is another in older runs."""
    listed = {name.split("/")[0] for name, _ in reference.described(reference.Written(module, listed=True))}
    names = {value for name, value in vars(owner).items() if name.isupper() and isinstance(value, str)}
    assert names - {"tensorboard"} <= listed


def test_reference_refuses_a_constant_that_is_not_there() -> None:
    with pytest.raises(ValueError, match=r"manifest\.py has no constant MANIFST that is a string"):
        reference.described(reference.Written("i2i_core/data/format/manifest.py", ("MANIFEST", "MANIFST")))
