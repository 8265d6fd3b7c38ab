"""Check that imports run downward only, and that what trains runs without Ray and webdataset.

pytest tests/unit/test_imports.py
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from i2i_core.methods import METHODS

ROOT = Path(__file__).parents[2]
VOCABULARY = {
    "errors",
    "program",
    "credentials",
    "logs",
    "settings",
    "strict",
    "registry",
    "randomness",
    "batch",
    "fields",
    "labels",
    "sizes",
    "tensors",
    "background",
    "names",
    "submitted",
}
DATA = {"data.format", "data.reading"}
ARROWS: dict[str, set[str]] = {
    "vocabulary": set(),
    "storage": set(),
    "images": set(),
    "networks": set(),
    "losses": set(),
    "config": {"storage.paths", "networks.shapes", "losses.formulations"},
    "pretrained": {"storage"},
    "methods": {"networks", "losses", "pretrained", "config"},
    "data.worlds": set(),
    "data.folders": {"data.worlds", "images", "storage"},
    "data.format": {"data.folders", "data.worlds", "images", "storage"},
    "data.reading": {"data.format", "config", "images", "storage"},
    "runs": {"config", "storage"},
    "checkpoints": {"methods", "networks.shapes", "config", "data.reading", "runs", "storage"},
    "sharing": {"checkpoints", "methods", "runs", "reporting", "config", "images", "storage"},
    "translation": {
        *("sharing.hub", "checkpoints", "methods", "networks", "config", "data.folders", *DATA, "images", "storage"),
    },
    "evaluation": {"translation", "methods", "pretrained", "config", *DATA, "images", "storage"},
    "training": {
        *("training.monitoring", "evaluation", "checkpoints", "runs", "methods", "config"),
        *(*DATA, "images", "storage"),
    },
    "training.monitoring": {"training.step", "training.sync", "methods", "runs", "config", "images", "storage"},
    "reporting": {"runs", "config", "images", "storage"},
    "studies": {
        *("reporting", "translation", "checkpoints", "methods", "data.format", "data.reading", "images", "storage"),
    },
    "serving": {
        *("translation", "checkpoints", "runs", "methods", "networks.shapes", "config", *DATA, "images", "storage"),
    },
    "search": {"reporting", "training", "evaluation", "runs", "config", "images", "storage"},
    "orchestration": {
        *(
            "serving",
            "search",
            "reporting",
            "training",
            "translation",
            "evaluation",
            "checkpoints",
            "runs",
            "methods",
            "config",
        ),
        *("data.folders", "data.worlds", *DATA, "images", "storage"),
    },
    "flags": set(),
    "arguments": {"flags"},
    "cli": {"arguments", "flags"},
}
"""By room, what its files may import besides each other and the vocabulary: whole rooms, or single modules."""
STEP = {
    *("training.step", "training.sync", "training.buffers", "training.layers", "training.optim", "training.schedule"),
    *("training.stages", "training.finite", "training.timing", "training.fast", "training.graphs"),
    *("training.recorded", "training.recomputing"),
}
"""The modules that move the weights: they know no metric, no file and no log."""
OF_THE_STEP = {"methods", "config"}
NEEDS_RAY = "orchestration"


def name_of(module: str) -> str:
    """Shorten `i2i_core.training.step` to `training.step`."""
    return module.removeprefix("i2i_core").lstrip(".")


def room(name: str) -> str:
    """Name the room of ARROWS that a module lies in."""
    first = name.split(".")[0]
    if first in VOCABULARY:
        return "vocabulary"
    return next(r for r in (".".join(name.split(".")[:2]), first) if r in ARROWS)


def allowed(name: str, other: str, arrows: set[str]) -> bool:
    """Tell whether the arrows of a module let it import another one."""
    return room(other) in (room(name), "vocabulary") or any(f"{other}.".startswith(f"{arrow}.") for arrow in arrows)


def imports(file: Path) -> set[str]:
    """List the modules that a file imports, wherever in it; from a package, the module in it that is meant."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            at = ROOT / node.module.replace(".", "/")
            inside = [a.name for a in node.names if (at / a.name).exists() or (at / f"{a.name}.py").exists()]
            found |= {f"{node.module}.{name}" for name in inside} or {node.module}
    return found


def dotted(file: Path) -> str:
    """Give the dotted name of a file's module."""
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


EMPTY = {ROOT / "i2i_core/__init__.py", ROOT / "i2i_core/data/__init__.py"}
FILES = sorted(set((ROOT / "i2i_core").rglob("*.py")) - EMPTY)
OURS = {dotted(file): {m for m in imports(file) if m.startswith("i2i_core.")} for file in FILES}


@pytest.mark.parametrize("file", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_follow_the_arrows(file: Path) -> None:
    mine = name_of(dotted(file))
    arrows = OF_THE_STEP | STEP if mine in STEP else ARROWS[room(mine)]
    for module in imports(file):
        other = name_of(module)
        if module.startswith("i2i_core.") and mine in STEP:
            assert room(other) == "vocabulary" or any(f"{other}.".startswith(f"{arrow}.") for arrow in arrows), other
        elif module.startswith("i2i_core."):
            assert allowed(mine, other, arrows), f"{mine} imports {other}"
        if module.split(".")[0] == "ray":
            assert room(mine) == NEEDS_RAY, f"{mine} imports Ray"
        assert not module.startswith(("pipelines", "tune_spaces"))


def test_arrows_form_no_circle() -> None:
    """Lay the rooms above each other so that every arrow runs down."""
    below = {name: {room(arrow) for arrow in arrows} - {name} for name, arrows in ARROWS.items()}
    below["training"].discard("training.monitoring")  # a room of its own folder, which reads the step
    while below:
        lowest = {name for name, arrows in below.items() if not arrows & below.keys()}
        assert lowest, f"in a circle: {sorted(below)}"
        below = {name: arrows for name, arrows in below.items() if name not in lowest}


def test_orchestration_files_all_need_ray() -> None:
    """Count a file that needs Ray by itself, or by another file of the room."""
    of_room = {name: found for name, found in OURS.items() if room(name_of(name)) == NEEDS_RAY}
    direct = {dotted(f) for f in FILES if any(m.split(".")[0] == "ray" for m in imports(f))}
    needing, before = set(direct), set[str]()
    while needing != before:
        before = set(needing)
        needing |= {name for name, found in of_room.items() if found & needing}
    assert of_room.keys() - {"i2i_core.orchestration"} <= needing, sorted(of_room.keys() - needing)


@pytest.mark.processes
def test_networks_methods_and_step_import_without_ray_and_webdataset() -> None:
    """Import them in a process where importing either fails, as where it is not installed."""
    code = (
        "import sys\n"
        "for name in ('ray', 'webdataset', 'tyro', 'optuna', 's3fs'): sys.modules[name] = None\n"
        "import i2i_core.losses.adversarial, i2i_core.losses.penalties, i2i_core.networks.unet\n"
        "import i2i_core.methods, i2i_core.training.step\n"
        "print([name for name, entry in i2i_core.methods.METHODS.items() if entry.method])"
    )
    assert printed(code) == repr([*METHODS])


@pytest.mark.processes
def test_configurations_and_presets_import_without_torch_and_tyro() -> None:
    """Import them without both: listing methods and flags must be quick, and a machine that trains has no tyro."""
    code = (
        "import sys\n"
        "from i2i_core.config.run import TrainConfig\n"
        "from i2i_core.registry import METHODS\n"
        "made = [TrainConfig.of(name, preset) for name, entry in METHODS.items() for preset in entry.presets]\n"
        "print(len(made), [name for name in ('torch', 'tyro', 'numpy', 'ray') if name in sys.modules])"
    )
    assert printed(code) == f"{sum(len(entry.presets) for entry in METHODS.values())} []"


def printed(code: str) -> str:
    """Run code in a process of its own; give what the process prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("file", [f for f in FILES if f.parent.name in ("networks", "losses")], ids=lambda p: p.stem)
def test_networks_and_losses_know_no_flag(file: Path) -> None:
    """Look for flags and for errors that name one: networks and losses raise ValueError."""
    assert not {"--", "ConfigError", "UserError"} & {*re.findall(r"--|\w+", file.read_text())}


TESTS = sorted((ROOT / "tests").rglob("test_*.py"))


NO_UNIT = re.compile(
    r"test_(a|an|the|it|its|this|what|which|of|every|all|there(?!_and_back)|who|whose|where|when|whether|how|another|few|most|no|only)_"
)
"""How the name of a test begins that does not begin with what it tests."""


@pytest.mark.parametrize("file", TESTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_test_names_begin_with_their_unit(file: Path) -> None:
    """So `pytest -k stream` finds the stream's tests."""
    names = [node.name for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef)]
    assert not [name for name in names if NO_UNIT.match(name)]


@pytest.mark.parametrize("file", TESTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_test_file_imports_no_other_test_file(file: Path) -> None:
    """Look at imports alone: what tests share lies in tests/support/."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(alias.name for alias in node.names)]
            assert not any(name.rsplit(".", 1)[-1].startswith("test_") for name in names), ast.unparse(node)
