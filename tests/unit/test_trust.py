"""What the code does with files that may come from a stranger: it reads them, and runs none.

pytest tests/unit/test_trust.py
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from functools import cache

import pytest

from ..support.data import ROOT

FILES = sorted(file for room in ("i2i_core", "pipelines") for file in (ROOT / room).rglob("*.py"))
RUNS = {
    "importlib.import_module": {
        "i2i_core/config/outside.py": "a method of one's own",
        "i2i_core/registry.py": "a method of this tree",
        "i2i_core/training/monitoring/boards.py": "a tracker's package",
        "i2i_core/translation/exporting.py": "the packages of ONNX",
        "pipelines/reference.py": "programs",
    },
    "runpy.run_path": {"i2i_core/search/space.py": "--space"},
    "pickle.loads": {"i2i_core/training/sync.py": "what another worker of the run sent"},
    "yaml.load": {"i2i_core/config/files.py": "by a loader without tags"},
}
"""By call that runs code, or can: the files that may have it, and what is run there (docs/security.md)."""
NEVER = {"eval", "exec", "compile", "os.system", "pickle.load", "yaml.unsafe_load", "yaml.full_load", "__import__"}
EXTRACTS = ("extract", "extractall")
LOOKS_LIKE = re.compile(
    r"\.(import_module|run_path|loads?|unsafe_load|full_load|system|read_array|extract|extractall)\("
    r"|(?<![.\w])(eval|exec|compile|__import__)\("
)
"""What a file has if it has any of these calls: parsing all of them takes seconds."""


@cache
def calls() -> list[tuple[str, str, ast.Call]]:
    """List the calls of the files that look like having one of these: the file, the dotted name, the call."""
    listed = []
    for file in FILES:
        if LOOKS_LIKE.search(text := file.read_text()):
            here = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
            named = [node for node in here if isinstance(node.func, ast.Name | ast.Attribute)]
            listed += [(str(file.relative_to(ROOT)), ast.unparse(node.func), node) for node in named]
    return listed


def found(wanted: Callable[[str], bool]) -> set[str]:
    """Name the files with a call whose dotted name is wanted."""
    return {file for file, name, _ in calls() if wanted(name)}


def has(call: ast.Call, keyword: str, value: str) -> bool:
    """Tell whether a call gives a keyword that value."""
    return any(given.arg == keyword and ast.unparse(given.value) == value for given in call.keywords)


@pytest.mark.parametrize("name", RUNS)
def test_code_is_run_where_the_page_says(name: str) -> None:
    assert found(lambda called: called == name) == {*RUNS[name]}


def test_code_evaluates_and_unpickles_no_text() -> None:
    assert found(lambda called: called in NEVER) == set()


def test_weights_are_loaded_as_weights_only() -> None:
    loads = [call for _, name, call in calls() if name == "torch.load"]
    assert len(loads) == 1, "all files of tensors come through one reader"
    assert all(has(call, "weights_only", "True") for call in loads)


def test_arrays_are_read_without_pickles() -> None:
    reads = [call for _, name, call in calls() if name in ("np.load", "np.lib.format.read_array")]
    assert all(has(call, "allow_pickle", "False") for call in reads)


def test_tar_members_are_never_extracted() -> None:
    assert found(lambda called: called.rpartition(".")[2] in EXTRACTS) == set()
