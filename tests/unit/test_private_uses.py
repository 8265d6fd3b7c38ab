"""Check that private parts of Ray and s3fs are used in one file each, and that the installed versions still have them.

pytest tests/unit/test_private_uses.py
"""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import fsspec
import optuna
import pytest
import s3fs
from packaging.requirements import Requirement

from i2i_core.orchestration import ray_compat
from i2i_core.storage import remote

ROOT = Path(__file__).parents[2]
RAY, S3 = ROOT / "i2i_core/orchestration/ray_compat.py", ROOT / "i2i_core/storage/remote.py"
FILES = sorted(f for room in ("i2i_core", "pipelines", "tune_spaces") for f in (ROOT / room).rglob("*.py"))
BY_THEMSELVES = sorted((ROOT / "cluster").glob("*.py"))
"""Scripts that run beside Ray, on machines where i2i_core may not be installed: each keeps its own private uses."""
CLOSED = ("ray.dashboard", "ray.autoscaler", "ray.experimental", "ray.scripts")
"""Packages of Ray without a public interface, beside those whose names begin with `_`."""
DOCUMENTED = {"RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"}
"""Variables of Ray's documentation."""
VARIABLE = re.compile(r"(RAY|TUNE)_[A-Z0-9_]+")
UNDERSCORED = {name for name in dir(s3fs.S3FileSystem) if name.startswith("_") and not name.startswith("__")}
OF_S3FS = UNDERSCORED | {"req_kw", "split_path"}


def is_private(module: str, name: str) -> bool:
    """Tell whether `from module import name` reaches into private parts of Ray, s3fs or fsspec."""
    first, *rest = [*module.split("."), name]
    if first not in ("ray", "s3fs", "fsspec"):
        return False
    return module.startswith(CLOSED) or any(part.startswith("_") for part in rest)


def imports(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Give (module, name) of every import in a tree; (module, "") of `import module`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)


def private_imports(file: Path) -> list[tuple[str, str]]:
    """List the imports of a file that reach into private parts."""
    return [pair for pair in imports(ast.parse(file.read_text())) if is_private(*pair)]


def docstrings(tree: ast.AST) -> set[ast.AST]:
    """Collect the strings that stand alone as statements."""
    return {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}


def dotted(node: ast.AST) -> str:
    """Write an expression as a dotted name, `ray._private.services`; "" where it is none."""
    try:
        return ast.unparse(node) if isinstance(node, ast.Attribute | ast.Name) else ""
    except ValueError:
        return ""


def uses_of_ray(file: Path) -> Iterator[str]:
    """Give every private use of Ray in a file: imports, attributes, and names that are text."""
    tree = ast.parse(file.read_text())
    yield from (f"{module}: {name}" for module, name in private_imports(file) if module.startswith("ray"))
    skipped = docstrings(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes) and node not in skipped:
            text = node.value if isinstance(node.value, str) else node.value.decode(errors="ignore")
            if (VARIABLE.fullmatch(text) and text not in DOCUMENTED) or "__internal" in text or "__auto" in text:
                yield text
        elif isinstance(node, ast.keyword) and VARIABLE.fullmatch(node.arg or "") and node.arg not in DOCUMENTED:
            yield str(node.arg)
        elif isinstance(node, ast.Attribute) and re.match(r"ray\.(\w+\.)*_", dotted(node)):
            yield dotted(node)


def uses_of_s3fs(file: Path) -> Iterator[str]:
    """Give every private use of s3fs and fsspec in a file."""
    tree = ast.parse(file.read_text())
    yield from (f"{module}: {name}" for module, name in private_imports(file) if not module.startswith("ray"))
    skipped = docstrings(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in OF_S3FS and dotted(node.value) not in ("self", "cls"):
            yield ast.unparse(node)
        elif isinstance(node, ast.Constant) and node.value in OF_S3FS and node not in skipped:
            yield repr(node.value)


@pytest.mark.parametrize("file", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_private_uses_are_in_one_file_of_each_library(file: Path) -> None:
    assert file == RAY or not [*uses_of_ray(file)], f"belongs in {RAY.name}"
    assert file == S3 or not [*uses_of_s3fs(file)], f"belongs in storage/{S3.name}"


def test_private_uses_are_found_where_they_are() -> None:
    """Check that the searches above find uses that are known."""
    found = [*uses_of_ray(RAY)]
    for name in (
        "ray._private.authentication.authentication_token_setup: AuthenticationTokenLoader",
        "ray.dashboard.utils: ray_address_to_api_server_url",
    ):
        assert name in found
    assert {ray_compat.STATE_API, ray_compat.ON_THE_HEAD, ray_compat.AUTOSCALING_STATUS.decode()} <= set(found)
    assert {"fs._call_s3", "fs._strip_protocol", "fs.split_path", "fs.req_kw"} <= set(uses_of_s3fs(S3))


def test_ray_can_forget_a_token() -> None:
    from ray._private.authentication.authentication_token_setup import AuthenticationTokenLoader

    found = AuthenticationTokenLoader.instance()
    assert hasattr(found, "reset_cache"), f"Ray {version('ray')} has no AuthenticationTokenLoader.reset_cache"


USED = [(file.name, *pair) for file in [RAY, *BY_THEMSELVES] for pair in private_imports(file)]


@pytest.mark.parametrize(("file", "module", "name"), USED, ids=lambda part: part)
def test_ray_has_what_is_imported_of_its_own(file: str, module: str, name: str) -> None:
    found = importlib.import_module(module) if find_spec(module) else None
    assert hasattr(found, name), f"{file} uses {module}.{name}, which Ray {version('ray')} does not have"


@pytest.mark.parametrize(
    ("name", "where"),
    [
        (ray_compat.STATE_API, "ray._private.ray_constants"),
        (ray_compat.CLUSTER_OFF_LINUX, "ray._private.ray_constants"),
        (ray_compat.HIDE_GPUS, "ray._private.accelerators.accelerator"),
        (ray_compat.START_TIMEOUT, "ray.train.v2._internal.constants"),
        ("RAY_AIR_NEW_OUTPUT", "ray.tune.experimental.output"),
        *((name, "ray.tune.constants") for name in ray_compat.QUIET_TUNE if name.startswith("TUNE")),
        (ray_compat.ON_THE_HEAD, "ray.autoscaler.v2.utils"),
        (ray_compat.AUTOSCALING_STATUS.decode(), "ray._private.ray_constants"),
        (ray_compat.LATE, "ray._private.node"),
        (f'add_port_to_grpc_server(self._server, "{ray_compat.EVERYWHERE}:0")', "ray.serve._private.replica"),
        ("def kill_all_processes(", "ray._private.node"),
        ("def print_to_stdstream(", "ray._private.worker"),
        ("def filter_autoscaler_events(", "ray._private.worker"),
        ("logger = logging.getLogger(__file__)", "ray.train.v2._internal.execution.context"),
        ("preemption_info", "ray.train.v2._internal.execution.preemption"),
        ("preemption_context", "ray.train.v2._internal.execution.context"),
        ("node_type_mapping", "ray.autoscaler._private.autoscaler"),
        *((f"def {name}(", "ray.train._internal.base_worker_group") for name in ("execute", "execute_single")),
        ("def execute_single_async(", "ray.train._internal.base_worker_group"),
    ],
)
def test_ray_still_reads_the_name(name: str, where: str) -> None:
    """Look in Ray's sources for names that it reads as text: variables, a resource, keys, late attributes."""
    spec = find_spec(where) if find_spec(where.rpartition(".")[0]) else None
    said = f"Ray {version('ray')} has no {name} in {where}; it was read there in {ray_compat.READ_IN}"
    assert spec, said
    assert spec.origin, said
    assert name in Path(spec.origin).read_text(errors="ignore"), said


@pytest.mark.parametrize("name", ["_call_s3", "_strip_protocol", "split_path", "req_kw", "retries"])
def test_s3fs_has_what_is_used_of_its_own(name: str) -> None:
    assert hasattr(s3fs.S3FileSystem(anon=True), name), f"{S3.name} uses {name}, which s3fs {s3fs.__version__} lacks"


def test_fsspec_has_what_is_used_of_its_own() -> None:
    kind = fsspec.get_filesystem_class("memory")
    assert hasattr(kind, "_strip_protocol"), f"{S3.name} uses _strip_protocol, which fsspec {fsspec.__version__} lacks"


def test_optuna_has_what_is_used_of_its_own() -> None:
    study = optuna.create_study()
    study.add_trial(optuna.trial.create_trial(value=1.0))
    (found,) = study.trials
    assert hasattr(found, "_trial_id"), f"search/study.py uses _trial_id, which Optuna {optuna.__version__} lacks"


def pinned(package: str) -> str:
    """Give the package's version in constraints.txt."""
    (found,) = re.findall(rf"^{package}==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    return str(found)


@pytest.mark.parametrize(
    ("package", "read_in"), [("ray", ray_compat.READ_IN), ("s3fs", remote.READ_IN), ("fsspec", remote.READ_IN)]
)
def test_private_uses_were_read_in_the_version_that_is_pinned(package: str, read_in: str) -> None:
    assert pinned(package) == read_in, "read the private uses again, then change READ_IN"


@pytest.mark.parametrize("package", ["ray", "torch", "torchvision", "webdataset", "s3fs", "fsspec"])
def test_pins_have_an_upper_end_and_hold_the_version_of_constraints(package: str) -> None:
    line = re.search(rf'^ *"({package}[\[>][^"]*)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert line, package
    required = Requirement(line[1]).specifier
    assert pinned(package) in required
    assert any(each.operator == "<" for each in required), line[1]
