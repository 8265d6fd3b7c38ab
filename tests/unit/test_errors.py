"""Check messages: where, what was found, what was expected, what to do.

pytest tests/unit/test_errors.py
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from i2i_core import errors
from i2i_core.errors import UserError

ROOT = Path(errors.__file__).parents[1]
KINDS = {kind.__name__ for kind in (UserError, *UserError.__subclasses__())}


def parts() -> Iterator[tuple[str, int, str]]:
    """Give place, number and end of every part of a message that the sources write out."""
    for path in sorted([*ROOT.glob("i2i_core/**/*.py"), *ROOT.glob("pipelines/*.py")]):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in KINDS:
                for number, part in enumerate(node.args[:3]):
                    last = part.values[-1] if isinstance(part, ast.JoinedStr) and part.values else part
                    if isinstance(last, ast.Constant) and isinstance(last.value, str):
                        yield f"{path.relative_to(ROOT)}:{node.lineno}", number, last.value


def test_errors_parts_end_without_the_punctuation_of_their_frame() -> None:
    """Check ends in the frame `where: found FOUND; expected EXPECTED.`, which brings its own punctuation."""
    found = list(parts())
    assert len(found) > 300, "the sources are read"
    assert [part for part in found if part[2].rstrip().endswith((":", ";", "."))] == []


@pytest.mark.parametrize("kind", UserError.__subclasses__())
def test_errors_say_where_found_expected_and_what_to_do(kind: type[UserError]) -> None:
    assert str(kind("--batch", "0", "a number > 0", "Give --batch 1.")) == (
        "--batch: found 0; expected a number > 0.\n  Give --batch 1."
    )
