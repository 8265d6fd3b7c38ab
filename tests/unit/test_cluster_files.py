"""What cluster/ holds: files that launch machines are right before they cost anything."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from ray._private.runtime_env.packaging import create_package
from ray.autoscaler.v2.instance_manager.config import AutoscalingConfig
from ray.autoscaler.v2.scheduler import ResourceDemandScheduler, SchedulingRequest
from ray.autoscaler.v2.utils import ResourceRequestUtil

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster"
RAY_UP = ["aws.yaml", "gcp.yaml"]
KUBERAY = ["kuberay/raycluster.yaml", "kuberay/rayjob.yaml"]
FILES = sorted(path for path in CLUSTER.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
TOOLS = Path(sys.executable).parent


def program(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"cluster_{name}", CLUSTER / f"{name}.py")
    assert spec
    assert spec.loader
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


check = program("check")

VALUES = {
    "FILL_IN_REGION": "us-east-1",
    "FILL_IN_ZONE": "us-east-1a",
    "FILL_IN_ACCOUNT": "123456789012",
    "FILL_IN_PROJECT": "a-project",
    "FILL_IN_IMAGE_FAMILY": "common-cu130",
    "FILL_IN_REGISTRY": "registry.example/i2i",
    "FILL_IN_STORAGE": "s3://bucket",
}


def filled(name: str) -> str:
    """A file with every placeholder filled in."""
    return check.PLACEHOLDER.sub(lambda match: VALUES[match[0]], (CLUSTER / name).read_text())


@pytest.fixture(autouse=True)
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home folder with a token, which the files send to the nodes."""
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("0" * 64)
    (tmp_path / ".ray" / "auth_token").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))


def findings(tmp_path: Path, text: str) -> list[str]:
    file = tmp_path / "file.yaml"
    file.write_text(text)
    return check.findings(file)  # type: ignore[no-any-return]


# What is shipped, and check.py


@pytest.mark.parametrize("name", RAY_UP + KUBERAY)
def test_cluster_file_lacks_only_its_placeholders(name: str, tmp_path: Path) -> None:
    found = check.findings(CLUSTER / name)
    assert found
    assert all("is not filled in" in line for line in found), found
    assert findings(tmp_path, filled(name)) == []


@pytest.mark.processes
def test_check_says_what_is_wrong_and_exits_with_2(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, str(CLUSTER / "check.py"), str(CLUSTER / "aws.yaml")], capture_output=True, text=True
    )
    assert run.returncode == 2
    assert "FILL_IN_ACCOUNT is not filled in (line " in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("aws.yaml", "idle_timeout_minutes: 10", "idle_timeout_minuts: 10", "idle_timeout_minuts"),
        ("aws.yaml", "head_node_type: head", "head_node_type: heat", "head_node_type"),
        ("aws.yaml", 'HttpTokens: required', 'HttpTokes: required', "found HttpTokes; expected a field of MetadataO"),
        ("aws.yaml", "InstanceMarketOptions:", "InstanceMarketOption:", "found InstanceMarketOption; expected a param"),
        ("aws.yaml", "InstanceType: g5.2xlarge", "InstanceType: g5.2xlarg", "found InstanceType g5.2xlarg"),
        ("aws.yaml", "VolumeSize: 150", "VolumeSize: big", "VolumeSize"),
        ("aws.yaml", "min_workers: 0\n    max_workers: 4", "min_workers: 5\n    max_workers: 4", "cpu-spot: found"),
        ("aws.yaml", "max_workers: 4", "max_workers: 40", "cpu-spot: found min_workers"),
        ("aws.yaml", "--dashboard-host=127.0.0.1", "--dashboard-host=0.0.0.0", "a dashboard that others can reach"),
        ("aws.yaml", "RAY_AUTH_MODE=token ray start --address", "ray start --address", "without RAY_AUTH_MODE=token"),
        ("aws.yaml", "ray2.60.0", "ray2.59.0", "expected ray2.60.0-torch"),
        ("aws.yaml", "spot_watcher.py aws", "spot.py aws", "found no spot_watcher.py"),
        ("aws.yaml", "~/.ray/auth_token", "~/.ray/no_token", "ray get-auth-token --generate"),
        ("aws.yaml", "cache_stopped_nodes: false", "cache_stopped_nodes: true", "stopped machines' disks"),
        ("aws.yaml", '"CPU": 0, "driver": 8', '"CPU": 4, "driver": 8', "the head's resources"),
        ("gcp.yaml", "provisioningModel: SPOT", "provisioningModel: SPOTTY", "found provisioningModel SPOTTY"),
        ("gcp.yaml", "provisioningModel: SPOT", "provisioning: SPOT", "found provisioning; expected a field of"),
        ("gcp.yaml", "machineType: g2-standard-8", "machineTyp: g2-standard-8", "found machineTyp; expected a"),
        ("gcp.yaml", "autoDelete: true", "autoDelete: 'yes'", "found autoDelete 'yes'; expected a boolean"),
        ("kuberay/rayjob.yaml", "torch2.14.1", "torch2.13.0", "found another tag"),
    ],
)  # fmt: skip
def test_check_names_what_is_wrong_with_a_file(name: str, old: str, new: str, said: str, tmp_path: Path) -> None:
    text = filled(name)
    assert old in text
    found = findings(tmp_path, text.replace(old, new))
    assert any(said in line for line in found), found


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o601])
def test_check_names_a_token_that_others_can_read(mode: int, tmp_path: Path) -> None:
    (tmp_path / ".ray" / "auth_token").chmod(mode)
    said = f"file_mounts: found ~/.ray/auth_token open to others (mode {mode:03o})"
    assert [line for line in findings(tmp_path, filled("aws.yaml")) if line.startswith(said)]


def test_placeholders_launch_nothing_even_unchecked() -> None:
    """boto3 refuses the region before it asks anybody."""
    import boto3
    from botocore.exceptions import InvalidRegionError

    region = yaml.safe_load((CLUSTER / "aws.yaml").read_text())["provider"]["region"]
    with pytest.raises(InvalidRegionError, match=region):
        boto3.resource("ec2", region_name=region)


# Machines

MACHINES = {  # vCPUs and GPUs, as the providers' pages of machine types say
    "m7i.xlarge": (4, 0),
    "m7i.2xlarge": (8, 0),
    "g5.2xlarge": (8, 1),
    "g6.2xlarge": (8, 1),
    "g5.12xlarge": (48, 4),
    "p4d.24xlarge": (96, 8),
    "p5.48xlarge": (192, 8),
    "e2-standard-4": (4, 0),
    "e2-standard-8": (8, 0),
    "g2-standard-8": (8, 1),
    "g2-standard-48": (48, 4),
    "a2-highgpu-1g": (12, 1),
}
SSDS = {"e2-standard-4": 0, "e2-standard-8": 0, "g2-standard-8": 1, "g2-standard-48": 4, "a2-highgpu-1g": 1}


def kinds(name: str) -> Iterator[tuple[str, dict[str, Any], str]]:
    for kind, values in yaml.safe_load(filled(name))["available_node_types"].items():
        machine = values["node_config"]
        yield kind, values, machine.get("InstanceType") or machine["machineType"]


@pytest.mark.parametrize("name", RAY_UP)
def test_node_type_has_the_cpus_and_gpus_of_its_machine(name: str) -> None:
    for kind, values, machine in kinds(name):
        cpus, gpus = MACHINES[machine]
        has = values["resources"]
        assert has.get("GPU", 0) == gpus, kind
        assert has["CPU"] == (0 if kind == "head" else cpus), kind


@pytest.mark.parametrize("name", RAY_UP)
def test_node_type_is_spot_where_its_name_says_so(name: str) -> None:
    for kind, values, _ in kinds(name):
        machine = values["node_config"]
        market = machine.get("InstanceMarketOptions", {}).get("MarketType")
        spot = market == "spot" or machine.get("scheduling", {}).get("provisioningModel") == "SPOT"
        assert spot == kind.endswith("-spot"), kind


def test_gcp_gpu_machines_have_local_ssds_and_end_with_their_host() -> None:
    for kind, values, machine in kinds("gcp.yaml"):
        disks = values["node_config"]["disks"]
        assert sum(disk["type"] == "SCRATCH" for disk in disks) == SSDS[machine], kind
        if MACHINES[machine][1]:
            assert values["node_config"]["scheduling"]["onHostMaintenance"] == "TERMINATE", "GPUs cannot move"


def launched(name: str, wanted: dict[str, int], count: int, failed: tuple[str, ...] = ()) -> dict[str, int]:
    """What Ray's own autoscaler would launch for so many of a demand."""
    config = AutoscalingConfig(yaml.safe_load(filled(name)), skip_content_hash=True)
    request = SchedulingRequest(
        disable_launch_config_check=True,
        node_type_configs=config.get_node_type_configs(),
        max_num_nodes=config.get_max_num_nodes(),
        resource_requests=ResourceRequestUtil.group_by_count([ResourceRequestUtil.make(wanted)] * count),
        recoverable_resource_availabilities=dict.fromkeys(failed, 0.0),
        cloud_resource_availabilities=dict.fromkeys(failed, 0.0),
    )
    reply = ResourceDemandScheduler().schedule(request)
    return {each.instance_type: each.count for each in reply.to_launch}


@pytest.mark.parametrize(
    ("name", "spot", "fallback"),
    [("aws.yaml", "a10g-spot", "a10g-on-demand"), ("gcp.yaml", "l4-spot", "l4-on-demand")],
)
def test_workers_are_spot_while_there_is_any_and_on_demand_when_a_launch_failed(
    name: str, spot: str, fallback: str
) -> None:
    assert launched(name, {"GPU": 1, "CPU": 6}, 4) == {spot: 4}
    assert launched(name, {"GPU": 1, "CPU": 6}, 4, failed=(spot,)) == {fallback: 4}
    assert launched(name, {"CPU": 1}, 8) == {"cpu-spot": 1}, "sharding takes no GPU machine"


# Secrets, ports

SECRETS = re.compile(
    r"AKIA[0-9A-Z]{16}|aws_secret_access_key|-----BEGIN|AIza[0-9A-Za-z_-]{30}|\"private_key\"|ghp_[0-9A-Za-z]{30}"
    r"|RAY_AUTH_TOKEN\s*[:=]\s*[^\s$]|[0-9a-f]{64}|password\s*[:=]\s*\S",
    re.IGNORECASE,
)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_secrets_are_in_no_file(path: Path) -> None:
    assert not SECRETS.search(path.read_text())


def test_secrets_pattern_finds_them() -> None:
    for secret in ("AKIA" + "A" * 16, "-----BEGIN KEY", "RAY_AUTH_TOKEN: x", "a" * 64, "password: x"):
        assert SECRETS.search(secret)


@pytest.mark.parametrize("name", RAY_UP)
def test_token_is_asked_for_by_every_container_and_start_command(name: str) -> None:
    config = yaml.safe_load((CLUSTER / name).read_text())
    assert "--env=RAY_AUTH_MODE=token" in config["docker"]["run_options"]
    assert list(config["file_mounts"].values()) == ["~/.ray/auth_token"]


def test_roles_are_json_and_those_of_machines_name_no_more_than_they_need() -> None:
    for path in (CLUSTER / "iam").iterdir():
        for statement in json.loads(path.read_text())["Statement"]:
            assert statement["Effect"] == "Allow"
            actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
            assert not {"*", "s3:*", "ec2:*", "iam:*"} & set(actions)
            if "iam:PassRole" in actions:
                assert statement["Resource"] != "*"


# Kubernetes

# RayCluster and RayJob of ray.io/v1, every field of KubeRay's API reference that a person may set; of Kubernetes' own
# types the fields used here and their neighbours. No package index carries the CRD itself. `!`: required. The pods were
# also checked, once, with kubernetes-validate against the whole schema of Kubernetes 1.37.
POD = "PodTemplate"
SCHEMA: dict[str, dict[str, Any]] = {
    "RayCluster": {"apiVersion!": "ray.io/v1", "kind!": "RayCluster", "metadata!": "Meta", "spec!": "ClusterSpec"},
    "RayJob": {"apiVersion!": "ray.io/v1", "kind!": "RayJob", "metadata!": "Meta", "spec!": "JobSpec"},
    "Meta": {"name": str, "namespace": str, "labels": "map", "annotations": "map"},
    "JobSpec": {
        "activeDeadlineSeconds": int, "backoffLimit": int, "rayClusterSpec": "ClusterSpec", "submitterPodTemplate": POD,
        "metadata": "map", "clusterSelector": "map", "submitterConfig": {"backoffLimit": int}, "managedBy": str,
        "entrypoint": str, "runtimeEnvYAML": str, "jobId": str, "entrypointResources": str,
        "submissionMode": ("K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"), "entrypointNumCpus": float,
        "entrypointNumGpus": float, "ttlSecondsAfterFinished": int, "shutdownAfterJobFinishes": bool, "suspend": bool,
    },
    "ClusterSpec": {
        "suspend": bool, "managedBy": str, "authOptions": {"mode": ("disabled", "token")},
        "autoscalerOptions": "AutoscalerOptions", "headServiceAnnotations": "map", "enableInTreeAutoscaling": bool,
        "headGroupSpec!": "HeadGroup", "rayVersion": str, "workerGroupSpecs": ["WorkerGroup"],
    },
    "AutoscalerOptions": {
        "resources": "Resources", "image": str, "imagePullPolicy": str, "idleTimeoutSeconds": int,
        "upscalingMode": ("Default", "Aggressive", "Conservative"), "version": ("v1", "v2"), "env": ["Env"],
    },
    "HeadGroup": {
        "template!": POD, "enableIngress": bool, "resources": "map", "labels": "map", "rayStartParams": "map",
        "serviceType": ("ClusterIP", "NodePort", "LoadBalancer"),
    },
    "WorkerGroup": {
        "suspend": bool, "groupName!": str, "replicas": int, "minReplicas!": int, "maxReplicas!": int,
        "idleTimeoutSeconds": int, "resources": "map", "labels": "map", "rayStartParams": "map", "template!": POD,
        "scaleStrategy": {"workersToDelete": [str]}, "numOfHosts": int,
    },
    POD: {"metadata": "Meta", "spec!": "Pod"},
    "Pod": {
        "restartPolicy": ("Always", "OnFailure", "Never"), "serviceAccountName": str, "nodeSelector": "map",
        "terminationGracePeriodSeconds": int, "securityContext": "PodSecurity", "tolerations": ["Toleration"],
        "containers!": ["Container"], "initContainers": ["Container"], "volumes": ["Volume"], "priorityClassName": str,
        "imagePullSecrets": [{"name": str}], "schedulerName": str, "hostNetwork": bool,
    },
    "PodSecurity": {"runAsUser": int, "runAsGroup": int, "fsGroup": int, "runAsNonRoot": bool},
    "Toleration": {
        "key": str, "operator": ("Exists", "Equal"), "value": str, "tolerationSeconds": int,
        "effect": ("NoSchedule", "PreferNoSchedule", "NoExecute"),
    },
    "Container": {
        "name!": str, "image": str, "imagePullPolicy": ("Always", "IfNotPresent", "Never"), "command": [str],
        "args": [str], "env": ["Env"], "ports": [{"containerPort!": int, "name": str, "protocol": str}],
        "resources": "Resources", "lifecycle": {"preStop": {"exec": {"command!": [str]}}}, "workingDir": str,
        "securityContext": {"allowPrivilegeEscalation": bool, "privileged": bool, "runAsUser": int},
        "volumeMounts": [{"name!": str, "mountPath!": str, "readOnly": bool, "subPath": str}],
    },
    "Env": {"name!": str, "value": str, "valueFrom": {"secretKeyRef": {"name!": str, "key!": str}}},
    "Resources": {"requests": "map", "limits": "map"},
    "Volume": {"name!": str, "emptyDir": {"medium": ("", "Memory"), "sizeLimit": str}, "secret": {"secretName": str}},
}  # fmt: skip


def mismatches(value: Any, kind: Any, where: str) -> Iterator[str]:
    """Where a value is not of a kind of SCHEMA."""
    if kind == "map":
        if not (isinstance(value, dict) and all(isinstance(v, str) for v in value.values())):
            yield f"{where}: {value!r} is no map of strings"
    elif isinstance(kind, str) and kind not in SCHEMA:
        if value != kind:
            yield f"{where}: {value!r} is not {kind}"
    elif isinstance(kind, str):
        yield from mismatches(value, SCHEMA[kind], where)
    elif isinstance(kind, tuple):
        if value not in kind:
            yield f"{where}: {value!r} is none of {kind}"
    elif isinstance(kind, list):
        for number, each in enumerate(value):
            yield from mismatches(each, kind[0], f"{where}[{number}]")
    elif isinstance(kind, dict):
        fields = {name.rstrip("!"): inner for name, inner in kind.items()}
        yield from (f"{where}.{name}: no such field" for name in value.keys() - fields.keys())
        for name in kind:
            if name.endswith("!") and name[:-1] not in value:
                yield f"{where}.{name[:-1]}: missing"
        for name in fields.keys() & value.keys():
            inner = fields[name]
            if name == "kind":  # the name of a type as a value
                if value[name] != inner:
                    yield f"{where}.kind: {value[name]!r}"
            else:
                yield from mismatches(value[name], inner, f"{where}.{name}")
    elif type(value) is not kind:
        yield f"{where}: {value!r} is no {kind.__name__}"


def resource(name: str) -> dict[str, Any]:
    return yaml.safe_load(filled(name))  # type: ignore[no-any-return]


def cluster_of(document: dict[str, Any]) -> dict[str, Any]:
    return document["spec"].get("rayClusterSpec", document["spec"])  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", KUBERAY)
def test_kubernetes_file_has_the_fields_of_its_kind(name: str) -> None:
    document = resource(name)
    assert list(mismatches(document, document["kind"], document["kind"])) == []


def test_kubernetes_file_with_a_wrong_field_is_found() -> None:
    def found(change: Callable[[dict[str, Any]], object]) -> list[str]:
        document = resource("kuberay/rayjob.yaml")
        change(document)
        return list(mismatches(document, "RayJob", "RayJob"))

    assert found(lambda d: d["spec"].update(backoffLimt=2))
    assert found(lambda d: d["spec"].update(submissionMode="Job"))
    assert found(lambda d: cluster_of(d).pop("headGroupSpec"))
    assert found(lambda d: cluster_of(d)["authOptions"].update(mode="on"))
    assert found(lambda d: cluster_of(d)["headGroupSpec"]["rayStartParams"].update({"num-cpus": 0}))
    assert found(lambda d: cluster_of(d)["workerGroupSpecs"][0]["template"]["spec"]["containers"][0].update(imag="x"))


@pytest.mark.parametrize("name", KUBERAY)
def test_pods_drain_before_they_end_and_see_shared_memory_and_the_cache(name: str) -> None:
    cluster = cluster_of(resource(name))
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["rayVersion"] == check.pinned("ray")
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert json.loads(json.loads(cluster["headGroupSpec"]["rayStartParams"]["resources"].strip("'"))) == {"driver": 8}
    for group in cluster["workerGroupSpecs"]:
        assert group["minReplicas"] <= group["maxReplicas"]
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        hook = container["lifecycle"]["preStop"]["exec"]["command"]
        assert hook[1].endswith("cluster/spot_watcher.py")
        assert float(hook[hook.index("--seconds") + 1]) < pod["terminationGracePeriodSeconds"]
        assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/dev/shm", "/mnt/cache"}
        assert container["resources"]["limits"] == container["resources"]["requests"]
        assert "nvidia.com/gpu" in container["resources"]["limits"]


def test_rayjob_asks_for_as_many_workers_as_it_has_pods() -> None:
    from pipelines.train import configure

    job = resource("kuberay/rayjob.yaml")["spec"]
    assert job["shutdownAfterJobFinishes"]
    (group,) = job["rayClusterSpec"]["workerGroupSpecs"]
    assert not list(check.of_rayjob(resource("kuberay/rayjob.yaml")))
    command = shlex.split(job["entrypoint"])
    assert command[:2] == ["python", "/home/ray/i2i/pipelines/train.py"]
    config = configure(command[2:]).run
    assert config.launch.worker_range == (group["replicas"], group["replicas"])
    limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert config.launch.cpus_per_worker <= int(limits["cpu"])


@pytest.mark.parametrize("more", ["&& x", "; x", "| x", "> x", "& x", "$(x)", "`x`", '"x"', "\n        x"])
def test_check_refuses_an_entrypoint_that_a_shell_would_take_apart(more: str, tmp_path: Path) -> None:
    """KubeRay writes it bare into `bash -c "... ray job submit ... -- ENTRYPOINT ; ..."`."""
    text = filled("kuberay/rayjob.yaml").replace("--checkpoint-every 50000", f"--checkpoint-every 50000 {more}")
    found = findings(tmp_path, text)
    assert any("entrypoint: found" in line and "expected one command" in line for line in found), found


# The image


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"^#.*\n", "", (CLUSTER / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in text.splitlines() if line.strip()]


@pytest.mark.processes
def test_dockerfile_has_no_findings() -> None:
    run = subprocess.run([TOOLS / "hadolint", CLUSTER / "Dockerfile"], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout


def test_image_copies_what_exists_and_is_let_through_alone() -> None:
    copied = {source for name, rest in instructions() if name == "COPY" for source in rest.split()[:-1]}
    assert all((ROOT / source).exists() for source in copied)
    ignore = (CLUSTER / "Dockerfile.dockerignore").read_text().splitlines()
    assert {line[1:] for line in ignore if line.startswith("!")} == copied
    assert "*" in ignore
    for name in RAY_UP:
        (watcher,) = re.findall(r"/home/ray/i2i/(\S+\.py)", (CLUSTER / name).read_text())
        assert watcher in copied


def test_image_has_the_tag_of_the_files_and_a_python_that_the_project_takes() -> None:
    text = (CLUSTER / "Dockerfile").read_text()
    assert f"i2i:{check.image_tag()} ." in text
    base = next(rest for name, rest in instructions() if name == "FROM")
    assert re.fullmatch(r"python:3\.1[1-9]-slim-\w+", base), base
    env = " ".join(rest for name, rest in instructions() if name == "ENV")
    assert "HOME=/home/ray " in env, "Ray's launcher takes the home folder of the container from it"
    assert "PYTHONPATH=/home/ray/i2i " in env, "a RayJob names the program there, from whatever folder"
    assert next(rest for name, rest in instructions() if name == "USER") == "1000"


@pytest.mark.processes
def test_image_installs_what_constraints_pin(tmp_path: Path) -> None:
    """The command of the image, but for the installing: all is here already, at the versions that it would take."""
    command = next(rest for name, rest in instructions() if name == "RUN" and "pip install" in rest)
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    command = command.replace("/tmp/requirements.txt", f"{tmp_path}/requirements.txt")
    command = command.replace("pip install --no-cache-dir", "pip install --dry-run --no-index")
    assert "--dry-run" in command
    env = {**os.environ, "PATH": f"{TOOLS}:{os.environ['PATH']}", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    run = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "Would install" not in run.stdout, run.stdout
    asked = (tmp_path / "requirements.txt").read_text()
    for package in ("ray[default,train,tune]", "torch>=", "boto3", "google-api-python-client"):
        assert package in asked
    assert "pytest" not in asked


# Scripts


def shell_of(name: str) -> Iterator[str]:
    config = yaml.safe_load(filled(name))
    for key, commands in config.items():
        if key.endswith("_commands"):
            yield from commands


@pytest.mark.processes
@pytest.mark.parametrize("name", RAY_UP)
def test_commands_in_the_files_are_sound_shell(name: str) -> None:
    script = "#!/bin/bash\n" + "\n".join(shell_of(name)) + "\n"
    run = subprocess.run([TOOLS / "shellcheck", "-"], input=script, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout


@pytest.mark.processes
def test_scripts_are_sound_shell() -> None:
    run = subprocess.run([TOOLS / "shellcheck", *CLUSTER.glob("*.sh")], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout


FAKE_PYTHON = """#!/usr/bin/env bash
# Python as far as the script can tell: makes the token; says what cluster/local_nodes.py was told, and leaves a process
# behind.
case $1 in
-c) exec "$PYTHON" "$@" ;;
esac
echo "$*" >>"$CALLS"
env >"$CALLS.env"
sleep 600 </dev/null >/dev/null 2>&1 &
echo $! >>"$PIDS"
"""
Local = Callable[..., subprocess.CompletedProcess[str]]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Local]:
    """cluster/local.sh, called with its arguments and a port; with a Python that starts no Ray."""
    for name in ("ray", "python"):
        (tmp_path / name).write_text(FAKE_PYTHON)
        (tmp_path / name).chmod(0o755)
    env = {**os.environ, "RAY": f"{tmp_path}/ray", "PYTHON": sys.executable}
    env |= {"CALLS": f"{tmp_path}/calls", "PIDS": f"{tmp_path}/pids"}
    env |= {"RAY_ADDRESS": "http://another:8265", "RAY_AUTH_TOKEN": "another", "RAY_TMPDIR": "/another"}
    ports = set()

    def run(*arguments: str, port: int | str) -> subprocess.CompletedProcess[str]:
        ports.update({port} if isinstance(port, int) else ())
        with_port = {**env, "RAY_DASHBOARD_PORT": str(port)}
        command = ["bash", "-c", 'umask 000; exec "$@"', "local", CLUSTER / "local.sh", *arguments]
        return subprocess.run(command, env=with_port, capture_output=True, text=True, timeout=600)

    yield run
    for port in ports:
        run("stop", port=port)


def folder_of(port: int) -> Path:
    return Path(f"/tmp/i2i-{os.getuid()}-{port}")


def alive(pid: int) -> bool:
    state = Path(f"/proc/{pid}/stat")
    return state.exists() and state.read_text().split()[2] != "Z"


linux = pytest.mark.skipif(sys.platform != "linux", reason="the script reads /proc")


@linux
@pytest.mark.processes
def test_local_cluster_is_started_once_and_stop_ends_it_and_no_other(local: Local, tmp_path: Path) -> None:
    """Which processes the script ends; tests/integration/test_job.py has it start Ray itself."""
    one, other = free_port(), free_port()
    assert local("start", "2", "3", port=one).stdout.strip() == f"http://127.0.0.1:{one}"
    assert (tmp_path / "calls").read_text().strip() == f"{CLUSTER}/local_nodes.py {one} 2 3"
    assert local("start", port=one).returncode == 1, "it is there already"
    assert local("start", "1", port=other).returncode == 0
    first, second = [int(line) for line in (tmp_path / "pids").read_text().split()]
    assert local("stop", port=one).returncode == 0
    assert not alive(first)
    assert not folder_of(one).exists()
    assert alive(second), "another cluster is left alone"
    assert folder_of(other).exists()
    assert local("stop", port=other).returncode == 0
    assert not alive(second)


@linux
@pytest.mark.processes
def test_local_cluster_removes_the_folders_of_old_ones_that_were_killed(local: Local, tmp_path: Path) -> None:
    """Not of one that lives, nor of one of today, nor what a link or another program has put there."""
    port, dead, live, young, link = (free_port() for _ in range(5))
    other = Path(f"/tmp/i2i-{os.getuid()}-{dead}-notes")
    assert local("start", port=live).returncode == 0
    try:
        for place in (folder_of(dead), folder_of(young), other):
            place.mkdir()
            (place / "log").touch()
        folder_of(link).symlink_to(tmp_path)
        for place in (folder_of(dead), folder_of(live), folder_of(link), other):
            os.utime(place, (0, 0), follow_symlinks=False)
        assert local("start", port=port).returncode == 0
        assert not folder_of(dead).exists()
        assert [place.exists() for place in (folder_of(live), folder_of(young), other)] == [True, True, True]
        assert folder_of(link).is_symlink()
        assert (tmp_path / "calls").exists(), "what it points to"
    finally:
        shutil.rmtree(folder_of(young), ignore_errors=True)
        shutil.rmtree(other, ignore_errors=True)
        folder_of(link).unlink(missing_ok=True)


def mode(path: Path) -> str:
    return f"{path.stat().st_mode & 0o777:03o}"


@linux
@pytest.mark.processes
def test_local_cluster_has_a_folder_and_a_token_that_are_closed_to_others(local: Local) -> None:
    """With a umask that closes nothing, and where an open folder with an open token was left."""
    port = free_port()
    folder, token = folder_of(port), folder_of(port) / "auth_token"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    token.write_text("0" * 64)
    token.chmod(0o666)
    assert local("start", port=port).returncode == 0
    assert (mode(folder), mode(token)) == ("700", "600")
    assert re.fullmatch("[0-9a-f]{64}", token.read_text())
    assert token.read_text() != "0" * 64, "a token that others have seen is none"


@linux
@pytest.mark.processes
def test_local_cluster_does_not_use_what_another_user_could_have_put_in_its_place(local: Local, tmp_path: Path) -> None:
    port = free_port()
    folder_of(port).symlink_to(tmp_path)
    try:
        for command in ("start", "stop"):
            run = local(command, port=port)
            assert run.returncode == 1
            assert "is not a folder of this user; RAY_DASHBOARD_PORT names another cluster" in run.stderr
        assert (tmp_path / "ray").exists()
        assert not (tmp_path / "calls").exists(), "nothing was started"
    finally:
        folder_of(port).unlink()


@linux
@pytest.mark.processes
def test_local_cluster_tells_its_processes_where_they_belong(local: Local, tmp_path: Path) -> None:
    """Whatever else runs, and whatever the shell that starts it had been told of another cluster."""
    port = free_port()
    assert local("start", port=port).returncode == 0
    told = dict(line.split("=", 1) for line in (tmp_path / "calls.env").read_text().splitlines() if "=" in line)
    wanted = {
        "RAY_TMPDIR": f"{folder_of(port)}",
        "RAY_AUTH_TOKEN_PATH": f"{folder_of(port)}/auth_token",
        "RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{port}",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "GLOO_SOCKET_IFNAME": "lo",
        "NCCL_SOCKET_IFNAME": "lo",
    }
    assert {name: told.get(name) for name in wanted} == wanted
    assert not {"RAY_ADDRESS", "RAY_AUTH_TOKEN"} & told.keys()


def test_local_cluster_has_a_folder_in_which_ray_finds_room_for_its_sockets() -> None:
    """A path to a socket has at most 107 bytes, 103 on macOS, whatever TMPDIR is."""
    script = (CLUSTER / "local.sh").read_text()
    folder = next(line.partition("=")[2] for line in script.splitlines() if line.startswith("folder="))
    longest = folder.replace("$(id -u)", str(2**32 - 2)).replace("$port", "65535")
    assert "$" not in longest
    assert len(f"{longest}/ray/session_2026-01-02_03-04-05_678901_4194304/sockets/plasma_store.99") <= 103


@pytest.mark.processes
@pytest.mark.parametrize(
    ("arguments", "port"),
    [
        (["start", "two"], 18265),
        (["start", "2", "-1"], 18265),
        (["stop"], "1/../../x"),
        (["submit", "--", "true"], "x"),
    ],
)
def test_local_cluster_is_counted_and_named_by_numbers(arguments: list[str], port: int | str, local: Local) -> None:
    run = local(*arguments, port=port)
    assert run.returncode == 2
    assert "expected numbers: RAY_DASHBOARD_PORT=PORT" in run.stderr


@pytest.mark.processes
def test_local_cluster_that_is_not_there_takes_no_job(local: Local) -> None:
    port = free_port()
    run = local("submit", "--", "true", port=port)
    assert run.returncode == 1
    assert f"There is no cluster at http://127.0.0.1:{port}" in run.stderr
    assert len(run.stderr.splitlines()) == 1


def test_local_nodes_are_a_head_without_room_and_nodes_of_which_one_has_the_gpus(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    nodes, started = program("local_nodes"), []

    def start(head: bool, number: int, **options: Any) -> Any:
        started.append((head, number, options))
        return SimpleNamespace(gcs_address="127.0.0.1:6380")

    monkeypatch.setattr(nodes, "start", start)
    monkeypatch.setattr(nodes, "wait_for_agents", lambda found: None)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    (tmp_path / "ray").mkdir()
    port = free_port()
    nodes.main(port, 3, 2)
    dashboard = {"include_dashboard": True, "dashboard_host": "127.0.0.1", "dashboard_port": port}
    node = {"gcs_address": "127.0.0.1:6380", "num_cpus": 2}
    assert started == [
        (True, 0, {"num_cpus": 0, "num_gpus": 0, **dashboard}),
        (False, 1, {**node, "num_gpus": None}),
        (False, 2, {**node, "num_gpus": 0}),
        (False, 3, {**node, "num_gpus": 0}),
    ]
    assert (tmp_path / "ray" / "ray_current_cluster").read_text() == "127.0.0.1:6380", "where its jobs look"


def test_local_nodes_name_the_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit, match=f"found port {port} taken .* RAY_DASHBOARD_PORT names another"):
            program("local_nodes").main(port, 1, 1)


def test_local_nodes_say_time_out_where_ray_gives_up_on_a_slow_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = program("local_nodes")

    def late(*arguments: Any, **options: Any) -> Any:
        raise Exception("The current node timed out during startup. This could happen because ...")  # as Ray does

    monkeypatch.setattr(nodes, "start", late)
    with pytest.raises(SystemExit, match=r"^time-out: this machine is slow or has too much to do"):
        nodes.main(free_port(), 2, 1)


def test_local_nodes_say_time_out_where_an_agent_does_not_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = program("local_nodes")
    monkeypatch.setattr(nodes, "PATIENCE", -1.0)
    client = SimpleNamespace(internal_kv_get=lambda key, namespace: None)
    with pytest.raises(SystemExit, match=r"^time-out: (?s:.)*agent of node n1 has not begun"):
        nodes.wait_for_agents([SimpleNamespace(node_id="n1", get_gcs_client=lambda: client)])


def test_local_nodes_know_what_ray_says_when_it_is_late() -> None:
    from ray._private import node

    assert program("local_nodes").LATE in Path(node.__file__).read_text()


# What is sent to the nodes


def shipped(folder: Path, tmp_path: Path) -> list[str]:
    package = tmp_path / "package.zip"
    create_package(str(folder), package, include_gitignore=True, excludes=[])
    assert package.stat().st_size < 4_000_000
    with zipfile.ZipFile(package) as archive:
        return archive.namelist()


def test_job_sends_the_program_and_nothing_else(tmp_path: Path) -> None:
    names = shipped(ROOT, tmp_path)
    assert {name.split("/")[0] for name in names} == {"i2i_core", "pipelines", "tune_spaces"}
    for needed in ("pipelines/train.py", "i2i_core/data/reading/stream.py", "i2i_core/__init__.py"):
        assert needed in names
    assert not [name for name in names if "__pycache__" in name or name.endswith((".png", ".tar", ".pt"))]


def test_job_sends_nothing_that_runs_leave_behind(tmp_path: Path) -> None:
    folder = tmp_path / "project"
    for name in ("runs/r/state.pt", "data/d/train-000000.tar", ".git/HEAD", "weights.pth", "tests/test_x.py",
                 "docs/images/a.png", ".venv/bin/python", "i2i_core/batch.py", "demo-output/x"):  # fmt: skip
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    for name in (".rayignore", ".gitignore"):
        (folder / name).write_text((ROOT / name).read_text())
    assert shipped(folder, tmp_path) == ["i2i_core/batch.py"]


# The words


def test_readme_training_commands_are_commands() -> None:
    from pipelines.train import configure

    text = (CLUSTER / "README.md").read_text().replace("\\\n", " ")
    commands = re.findall(r"python pipelines/train\.py (--method [^\n]*\$BUCKET[^\n]*)", text)
    assert len(commands) == 2
    for command in commands:
        config = configure(shlex.split(command)).run
        assert config.method == "stargan"
        assert config.launch.gpu


def test_operations_quotes_messages_that_the_program_says() -> None:
    """Each quoted message of the tables of docs/operations.md, piece by piece between its gaps and numbers."""
    source = "".join(path.read_text() for folder in ("i2i_core", "pipelines", "cluster")
                     for path in sorted((ROOT / folder).rglob("*.py")))  # fmt: skip
    source = re.sub(r'"\s*\n\s*f?"', "", source)
    source = re.sub(r"\{[^{}]*\}", "\0", source)
    tables = [line for line in (ROOT / "docs" / "operations.md").read_text().splitlines() if line.startswith("| `")]
    quoted = [text.replace("\\|", "|") for line in tables for text in re.findall(r"`([^`]+)`", line.split(" | ")[0])]
    assert len(quoted) > 20
    for text in quoted:
        if re.fullmatch(r"--[a-z-]+", text):
            assert text[2:].replace("-", "_") in source
            continue
        for piece in re.split(r"…|\d+|SIGTERM|--workers: found|found|; expected", text):
            words = piece.strip(" :;,.()|")
            assert len(words) < 8 or words in source, f"nobody says {words!r}"
