"""Loaders and threads of a worker by its node, and its memory.

pytest tests/unit/test_node.py
"""

from __future__ import annotations

from pathlib import Path

import pytest

from i2i_core.training.node import Memory, Node, host_memory


@pytest.mark.parametrize(
    ("node", "asked", "on_gpu", "loaders", "threads"),
    [
        (Node(48, 8), -1, True, 5, 2),
        (Node(192, 8), -1, True, 8, 16),
        (Node(8, 1), -1, True, 7, 2),
        (Node(4, 4), -1, True, 0, 2),
        (Node(1, 1), 3, True, 3, 2),
        (Node(48, 8), 2, True, 2, 4),
        (Node(64), -1, False, 0, 2),
        (Node(64), 3, False, 3, 2),
    ],
)
def test_node_gives_each_worker_its_share(node: Node, asked: int, on_gpu: bool, loaders: int, threads: int) -> None:
    """Each holds two CPUs."""
    assert (node.loaders(asked, on_gpu), node.threads(2, asked, on_gpu)) == (loaders, threads)


def host(root: Path, cgroup: str, **files: str) -> Memory:
    """The memory of a host of 1000 kB, 600 free, whose control groups have these files."""
    written = {"proc/meminfo": "MemTotal: 1000 kB\nMemFree: 1 kB\nMemAvailable: 600 kB\n", "proc/self/cgroup": cgroup}
    for name, text in {**written, **{f"sys/fs/cgroup/{path}": text for path, text in files.items()}}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return host_memory(root)


@pytest.mark.parametrize(
    ("cgroup", "group", "limit", "used", "cached"),
    [
        ("0::/pod/me\n", "pod/me", "memory.max", "memory.current", "inactive_file"),
        ("0::/pod/me\n", "pod", "memory.max", "memory.current", "inactive_file"),
        ("0::/pod/me\n", "", "memory.max", "memory.current", "inactive_file"),
        (
            "4:memory:/job\n1:cpu:/x\n0::/\n",
            "memory/job",
            *("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ),
    ],
    ids=["own group", "group above", "container", "version 1"],
)
def test_memory_is_that_of_the_control_group(
    cgroup: str, group: str, limit: str, used: str, cached: str, tmp_path: Path
) -> None:
    """300,000 bytes may be used, 200,000 are, 50,000 of them for files that can be read again."""
    files = {limit: "300000\n", used: "200000\n", "memory.stat": f"anon 1\n{cached} 50000\n"}
    found = host(tmp_path, cgroup, **{f"{group}/{name}": text for name, text in files.items()})
    assert found == Memory(300_000, 150_000)


def test_memory_without_limit_is_that_of_the_host(tmp_path: Path) -> None:
    assert host(tmp_path, "0::/\n", **{"memory.max": "max\n"}) == Memory(1000 * 1024, 600 * 1024)


def test_memory_of_this_host_is_some() -> None:
    found = host_memory()
    assert 0 < found.free <= found.total
