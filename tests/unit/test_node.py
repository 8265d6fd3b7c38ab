"""Loaders and threads of a worker, by its node."""

from __future__ import annotations

import pytest

from i2i_core.training.node import Node


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
def test_a_worker_takes_its_share_of_the_node(node: Node, asked: int, on_gpu: bool, loaders: int, threads: int) -> None:
    """Each holds two CPUs."""
    assert (node.loaders(asked, on_gpu), node.threads(2, asked, on_gpu)) == (loaders, threads)
