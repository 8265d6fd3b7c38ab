"""Imports run downward only, and what trains runs without Ray or webdataset.

pytest tests/unit/test_imports.py
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAYERS = [
    {"errors", "settings", "registry", "paths", "storage"},
    {"networks", "losses"},
    {"data"},
    {"methods"},
    {"evaluation"},
    {"training.config", "training.schedule"},
    {"config"},
    {"training"},
    {"orchestration"},
    {"cli"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
METHODS_READ = {"data.batch", "data.manifest"}


def room(module: str) -> str:
    """`i2i_core.training.config` -> the name it has in LAYERS."""
    parts = module.split(".")[1:]
    return next(name for name in (".".join(parts[:2]), parts[0]) if name in LEVEL)


def imports(file: Path) -> set[str]:
    """Modules a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


FILES = sorted(p for p in (ROOT / "i2i_core").rglob("*.py") if p.parent != ROOT / "i2i_core" or p.name != "__init__.py")


@pytest.mark.parametrize("file", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_run_downward(file: Path) -> None:
    mine = ".".join(file.relative_to(ROOT).with_suffix("").parts)
    for module in imports(file):
        if module.startswith("i2i_core."):
            assert LEVEL[room(module)] <= LEVEL[room(mine)], f"{mine} imports {module}"
            if room(mine) == "methods" and room(module) == "data":
                assert module.removeprefix("i2i_core.") in METHODS_READ
        if module.split(".")[0] == "ray":
            assert room(mine) == "orchestration", f"{mine} imports Ray"
        assert not module.startswith(("pipelines", "tune_spaces"))


@pytest.mark.processes
def test_networks_methods_and_step_import_without_ray_and_webdataset() -> None:
    """In a process where importing either fails, as where it is not installed."""
    code = (
        "import sys\n"
        "for name in ('ray', 'webdataset', 'tyro', 'optuna', 's3fs'): sys.modules[name] = None\n"
        "import i2i_core.losses.adversarial, i2i_core.losses.penalties, i2i_core.networks.unet\n"
        "import i2i_core.methods, i2i_core.training.step\n"
        "print(sorted(i2i_core.methods.METHODS))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert "stargan" in done.stdout


TESTS = sorted((ROOT / "tests").rglob("test_*.py"))


@pytest.mark.parametrize("file", TESTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_test_file_imports_no_other_test_file(file: Path) -> None:
    """What tests share lies in tests/support/."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(alias.name for alias in node.names)]
            assert not any(name.rsplit(".", 1)[-1].startswith("test_") for name in names), ast.unparse(node)
