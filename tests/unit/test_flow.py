"""RAFT against torchvision's own on frames that it takes as they are, and on those that it does not; images moved along
flow, by hand.

pytest tests/unit/test_flow.py
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.models import optical_flow

from i2i_core.errors import ConfigError
from i2i_core.networks.warp import warp
from i2i_core.pretrained.flow import RAFT, enlarged, read_flow
from i2i_core.storage.paths import sha256

SMALL = "raft_small"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    return written(tmp_path_factory.mktemp("raft"), SMALL)


def written(folder: Path, name: str) -> str:
    """A file as torchvision publishes it, of random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.save(getattr(optical_flow, name)().state_dict(), folder / f"{name}.pth")
    return str(folder / f"{name}.pth")


def theirs(file: str, x: Tensor, y: Tensor) -> Tensor:
    network = optical_flow.raft_small().eval()
    network.load_state_dict(torch.load(file, weights_only=True))
    with torch.no_grad():
        return network(x, y)[-1]


def frames(n: int, channels: int, *size: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.rand((n, channels, *size), generator=generator) * 2 - 1 for _ in range(2))
    return x, y


def test_flow_of_frames_that_fit_is_raft_s(file: str) -> None:
    before, (x, y) = torch.random.get_rng_state(), frames(2, 3, 128, 136)
    flow = read_flow(SMALL, file).train()
    assert torch.equal(before, torch.random.get_rng_state())
    found, expected = flow(x.requires_grad_(), y), theirs(file, x, y)
    assert found.shape == (2, 2, 128, 136)
    assert not found.requires_grad
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(flow(x, y), found, rtol=0, atol=0)


def test_flow_fills_frames_of_other_sides_up_by_their_border(file: str) -> None:
    x, y = frames(1, 3, 131, 138)
    padded = [torch.from_numpy(np.pad(f.numpy(), ((0, 0), (0, 0), (2, 3), (3, 3)), mode="edge")) for f in (x, y)]
    found = read_flow(SMALL, file)(x, y)
    torch.testing.assert_close(found, theirs(file, *padded)[:, :, 2:133, 3:141], rtol=1e-4, atol=1e-4)


def doubled(x: np.ndarray, axis: int) -> np.ndarray:
    """Twice as many pixels along an axis, bilinear about pixel middles: three parts of the nearest, one of the next."""
    inside = np.moveaxis(x, axis, 0)
    before, after = np.concatenate([inside[:1], inside[:-1]]), np.concatenate([inside[1:], inside[-1:]])
    pairs = np.stack([0.75 * inside + 0.25 * before, 0.75 * inside + 0.25 * after], 1)
    return np.moveaxis(pairs.reshape(-1, *inside.shape[1:]), 0, axis).copy()


def test_flow_of_small_frames_is_in_their_own_pixels(file: str) -> None:
    x, y = frames(1, 1, 64, 96)
    large = [torch.from_numpy(doubled(doubled(f.numpy(), 2), 3)).repeat(1, 3, 1, 1) for f in (x, y)]
    expected = theirs(file, *large)
    found = read_flow(SMALL, file)(x, y)
    assert found.shape == (1, 2, 64, 96)
    # Halved by bilinear interpolation about pixel middles: the mean of four. Half as many pixels as in the large ones.
    means = expected.unflatten(2, (64, 2)).unflatten(4, (96, 2)).mean((3, 5)) / 2
    torch.testing.assert_close(found, means, rtol=1e-3, atol=1e-3)
    assert [enlarged(*size) for size in ((128, 500), (64, 100), (200, 32))] == [(128, 500), (128, 200), (800, 128)]


def test_flow_says_which_network_and_file_it_is_of(file: str, tmp_path: Path) -> None:
    facts = read_flow(SMALL, file).facts
    assert facts["network"].startswith("RAFT raft_small")
    assert facts["file"] == "raft_small.pth"
    assert (facts["sha256"], facts["published"]) == (sha256(Path(file).read_bytes()), False)
    assert read_flow("raft_large", written(tmp_path, "raft_large")).facts["network"].startswith("RAFT raft_large")
    for name, kind in ((SMALL, optical_flow.Raft_Small_Weights), ("raft_large", optical_flow.Raft_Large_Weights)):
        assert kind.DEFAULT.url == RAFT[name].url
        assert RAFT[name].file.endswith(f"-{RAFT[name].sha256}.pth")


def test_flow_that_cannot_be_is_refused(file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = frames(1, 3, 128, 128)
    with pytest.raises(ValueError, match="shapes differ"):
        read_flow(SMALL, file)(x, y[..., 1:])
    with pytest.raises(ConfigError, match=r"--flow-weights: found raft_small\.pth with(.|\n)*raft_large_C_T"):
        read_flow("raft_large", file)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setitem(RAFT, SMALL, replace(RAFT[SMALL], url="http://127.0.0.1:9/raft_small_C_T_V2-01064c6d.pth"))
    with pytest.raises(ConfigError, match=r"name it: --flow-weights FILE\.$"):
        read_flow(SMALL)


# ---------------------------------------------------------------- images moved along flow


def test_warp_by_hand() -> None:
    """Bilinear, of the pixels that surround p + flow(p), those beyond the border being the nearest on it."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 5, 7, generator=generator, dtype=torch.float64)
    flow = 3 * torch.randn(2, 2, 5, 7, generator=generator, dtype=torch.float64)
    expected = np.zeros(x.shape)
    for n, row, column in np.ndindex(2, 5, 7):
        right = min(max(column + flow[n, 0, row, column].item(), 0), 6)
        down = min(max(row + flow[n, 1, row, column].item(), 0), 4)
        left, top = min(math.floor(right), 5), min(math.floor(down), 3)
        u, v = right - left, down - top
        upper = (1 - u) * x[n, :, top, left] + u * x[n, :, top, left + 1]
        lower = (1 - u) * x[n, :, top + 1, left] + u * x[n, :, top + 1, left + 1]
        expected[n, :, row, column] = ((1 - v) * upper + v * lower).numpy()
    np.testing.assert_allclose(warp(x, flow).numpy(), expected, rtol=1e-10, atol=1e-12)


def test_warp_brings_the_second_frame_back() -> None:
    """Of what moved two pixels to the right and one up, wherever it still is."""
    first = torch.rand(1, 3, 16, 20, generator=torch.Generator().manual_seed(0))
    second = first.roll((2, -1), (3, 2))
    flow = torch.tensor([2.0, -1.0])[None, :, None, None].expand(1, 2, 16, 20)
    torch.testing.assert_close(warp(second, flow)[..., 1:, :-2], first[..., 1:, :-2], rtol=0, atol=1e-5)
    torch.testing.assert_close(warp(first, 0 * flow), first, rtol=0, atol=1e-5)


def test_warp_keeps_the_type_of_images_and_gives_gradients_to_both() -> None:
    x = torch.rand(1, 1, 4, 700, dtype=torch.bfloat16, requires_grad=True)
    flow = torch.tensor([0.25, 0.0]).bfloat16()[None, :, None, None].repeat(1, 1, 4, 700).requires_grad_()
    moved = warp(x, flow)
    assert moved.dtype == torch.bfloat16
    expected = 0.75 * x.float()[..., :-1] + 0.25 * x.float()[..., 1:]
    torch.testing.assert_close(moved[..., :-1].float(), expected, rtol=0.01, atol=0.01)
    moved.sum().backward()
    assert x.grad is not None
    assert flow.grad is not None
    assert flow.grad.any()
    with pytest.raises(ValueError, match=r"\(1, 2, 3, 700\), not \(1, 2, 4, 700\)"):
        warp(x, flow[:, :, 1:])
