"""docs/reference is what the code says.

pytest tests/unit/test_reference.py
"""

from __future__ import annotations

from pathlib import Path

import pytest

from i2i_core.evaluation.suite import DEFINITIONS, FAMILIES
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
            described = [*reference.read_constants(part), *part.others.items()]
            assert described
            assert [name for name, text in described if not text] == [], part.module


def test_reference_names_files_of_the_sweep_s_page_as_the_page_writes_them() -> None:
    """No constants name these."""
    part = next(p for parts in reference.FILES.values() for p in parts if p.module.endswith("search/report.py"))
    source = (ROOT / part.module).read_text()
    assert [name for name in part.others if f'"{name}' not in source] == []


def test_reference_refuses_a_constant_that_is_not_there() -> None:
    with pytest.raises(ValueError, match=r"folder\.py has no constant GRID of its own"):
        reference.read_constants(reference.Written("i2i_core/runs/folder.py", "RunFolder", ("CONFIG", "GRID")))
