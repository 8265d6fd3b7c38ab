"""List what is wrong with cluster files before anything is launched. Usage: `python cluster/check.py FILE...`.

Placeholders that are not filled in, Ray's own checks of a `ray up` file, and what those miss: misspelt keys of a
machine, bounds per type, versions, the dashboard, authentication, a RayJob's command. Exit code 0: nothing found; 2:
one line a finding.
"""

from __future__ import annotations

import copy
import json
import re
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
PLACEHOLDER = re.compile(r"FILL_IN_[A-Z_]+")


def pinned(package: str) -> str:
    """Return the package's version in constraints.txt."""
    found = re.search(rf"^{re.escape(package)}==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert found, f"constraints.txt has no {package}"
    return found[1]


def image_tag() -> str:
    """Return the image tag that goes with constraints.txt."""
    return f"ray{pinned('ray')}-torch{pinned('torch')}"


def placeholders(text: str) -> Iterator[str]:
    lines: dict[str, list[str]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        for name in PLACEHOLDER.findall(re.sub(r"(^|\s)#.*", "", line)):
            lines.setdefault(name, []).append(str(number))
    for name, numbers in lines.items():
        yield f"{name} is not filled in (line {', '.join(dict.fromkeys(numbers))}); cluster/README.md says what it is"


def images(node: Any) -> Iterator[str]:
    """Yield every value of a key `image`, at any depth."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "image" and isinstance(value, str):
                yield value
            else:
                yield from images(value)
    elif isinstance(node, list):
        for value in node:
            yield from images(value)


def of_image(document: Any) -> Iterator[str]:
    for image in images(document):
        if image.startswith("/"):
            yield f"image {image}: found no registry before the name; was $REGISTRY empty?"
        if image.rpartition(":")[2] != image_tag():
            yield f"image {image}: found another tag; expected {image_tag()}, which constraints.txt makes"


def of_ray_up(config: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong with a file for `ray up`."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    if version("ray") != pinned("ray"):
        yield f"this machine's Ray: found {version('ray')}; expected {pinned('ray')}, as in the image"
    try:
        validate_config(prepare_config(copy.deepcopy(config)))
    except Exception as error:  # Ray raises many kinds
        yield "Ray: " + " ".join(f"{getattr(error, 'json_path', '')} {getattr(error, 'message', error)}".split())
        return
    most = config["max_workers"]
    for name, kind in config["available_node_types"].items():
        bounds = [kind.get("min_workers", 0), kind.get("max_workers", most), most]
        if bounds != sorted(bounds):
            yield f"{name}: found min_workers, max_workers and the cluster's {bounds}; expected them in rising order"
        check = {"aws": of_ec2, "gcp": of_gce}[config["provider"]["type"]]
        yield from (f"{name}: {finding}" for finding in check(kind["node_config"]))
    head = config["available_node_types"][config["head_node_type"]]
    if head["resources"].get("CPU") != 0 or head["resources"].get("GPU"):
        yield f"the head's resources: found {head['resources']}; expected CPU 0 and no GPU, so that no task lands there"
    if config["provider"].get("cache_stopped_nodes", True):
        yield "cache_stopped_nodes: found true; expected false, or stopped machines' disks go on costing"
    for key in ("head_start_ray_commands", "worker_start_ray_commands"):
        for command in config[key]:
            if "ray start" in command and "RAY_AUTH_MODE=token" not in command:
                yield f"{key}: found a `ray start` without RAY_AUTH_MODE=token; expected it in each"
            if "--head" in command and "--dashboard-host=127.0.0.1" not in command:
                yield f"{key}: found a dashboard that others can reach; expected --dashboard-host=127.0.0.1"
    if not any("spot_watcher.py" in command for command in config["worker_start_ray_commands"]):
        yield "worker_start_ray_commands: found no spot_watcher.py; expected it, so that a notice saves the run"
    for place in config["file_mounts"].values():
        file = Path(place).expanduser()
        if not file.exists():
            yield f"file_mounts: found no {place} on this machine; `ray get-auth-token --generate` makes the token"
        elif (mode := file.stat().st_mode & 0o777) & 0o077:
            yield f"file_mounts: found {place} open to others (mode {mode:03o}); `chmod 600 {place}` closes it"


@cache
def _run_instances() -> Any:
    import botocore.session

    return botocore.session.get_session().get_service_model("ec2").operation_model("RunInstances").input_shape


def of_ec2(machine: dict[str, Any]) -> Iterator[str]:
    """Yield keys and types that EC2's RunInstances does not have, by botocore's model of it."""
    from botocore.validate import ParamValidator

    shape = _run_instances()
    known = set(shape.members) | {"SubnetIds"}  # of which Ray picks one
    for key in machine.keys() - known:
        yield f"node_config: found {key}; expected a parameter of RunInstances"
    given = {key: value for key, value in machine.items() if key in shape.members} | {"MinCount": 1, "MaxCount": 1}
    yield from (f"node_config: {line}" for line in _nested(given, shape, "RunInstances"))
    report = ParamValidator().validate(given, shape)
    if report.has_errors():
        yield f"node_config: {' '.join(report.generate_report().split())}"


def _nested(value: Any, shape: Any, where: str) -> Iterator[str]:
    if shape.type_name == "structure" and isinstance(value, dict):
        for key, inner in value.items():
            if key not in shape.members:
                yield f"found {key}; expected a field of {where}"
            else:
                yield from _nested(inner, shape.members[key], key)
    elif shape.type_name == "list" and isinstance(value, list):
        for inner in value:
            yield from _nested(inner, shape.member, where)
    elif value not in (getattr(shape, "enum", None) or [value]):
        yield f"found {where} {value}; expected one that botocore {version('botocore')} knows"


@cache
def _compute_engine() -> dict[str, Any]:
    import googleapiclient

    file = Path(googleapiclient.__file__).parent / "discovery_cache" / "documents" / "compute.v1.json"
    schemas: dict[str, Any] = json.loads(file.read_text())["schemas"]
    return schemas


def of_gce(machine: dict[str, Any]) -> Iterator[str]:
    """Yield keys and types that Compute Engine's Instance does not have, by Google's description of its API."""
    schemas = _compute_engine()
    yield from (f"node_config: {line}" for line in _described(machine, {"$ref": "Instance"}, schemas, "Instance"))


PYTHON = {"string": str, "integer": int, "boolean": bool, "number": float, "array": list, "object": dict}


def _described(value: Any, schema: dict[str, Any], schemas: dict[str, Any], where: str) -> Iterator[str]:
    schema = schemas[schema["$ref"]] if "$ref" in schema else schema
    kind = PYTHON[schema["type"]]
    number_as_text = schema.get("format") in ("int64", "uint64") and isinstance(value, int)
    if not isinstance(value, kind) and not number_as_text:
        yield f"found {where} {value!r}; expected a {schema['type']}"
    elif "enum" in schema and value not in schema["enum"]:
        yield f"found {where} {value}; expected one of {', '.join(schema['enum'])}"
    elif kind is list:
        for inner in value:
            yield from _described(inner, schema["items"], schemas, where)
    elif kind is dict and "properties" in schema:
        for key, inner in value.items():
            if key not in schema["properties"]:
                yield f"found {key}; expected a field of {where}"
            else:
                yield from _described(inner, schema["properties"][key], schemas, key)


def of_rayjob(document: dict[str, Any]) -> Iterator[str]:
    """Find what a shell would take for itself in an entrypoint.

    KubeRay writes the entrypoint bare into `bash -c "... ray job submit ... -- ENTRYPOINT ; ..."`: such a character
    ends the job's command, and the rest runs in the submitter's pod.
    """
    entrypoint = document["spec"].get("entrypoint", "").strip()
    if taken := re.search(r"[;&|<>`\"\n]|\$\(", entrypoint):
        yield f"entrypoint: found {taken[0]!r} in it; expected one command, which the submitter's shell leaves whole"


def findings(path: Path) -> list[str]:
    """List what is wrong with a file, a line for each fault."""
    text = path.read_text()
    found = list(placeholders(text))
    for document in yaml.safe_load_all(text):
        found += of_image(document)
        if "available_node_types" in document:
            found += of_ray_up(document)
        if document.get("kind") == "RayJob":
            found += of_rayjob(document)
    return found


def main(arguments: list[str]) -> int:
    if not arguments:
        print(__doc__, file=sys.stderr)
        return 2
    bad = False
    for name in arguments:
        path = Path(name)
        if not path.is_file():
            print(f"error: {name}: found no such file; expected a cluster file", file=sys.stderr)
            return 2
        for line in findings(path):
            bad = True
            print(f"{name}: {line}", file=sys.stderr)
    if not bad:
        print(f"{' '.join(arguments)}: nothing found that would stop a launch")
    return 2 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
