"""Images in tiles: equal to whole images (`exact`), without seams (`blend`), or refused with what would work.

pytest tests/unit/test_tiles.py
"""

from __future__ import annotations

import io
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from i2i_core.config.translation import TranslateOptions
from i2i_core.errors import ConfigError
from i2i_core.images import large_png
from i2i_core.images.codec import decode
from i2i_core.methods import build_method
from i2i_core.methods.at_test import AtTest
from i2i_core.methods.base import Method
from i2i_core.methods.controls import Examples
from i2i_core.registry import METHODS
from i2i_core.translation import blending
from i2i_core.translation.blending import PlacedMasks, blend, starts, weights
from i2i_core.translation.chains import Chain, NoChainError, chain_of
from i2i_core.translation.exact import Exact
from i2i_core.translation.model import load
from i2i_core.translation.padding import at_any_size, cropped
from i2i_core.translation.tiled_layers import Moments, Span, moments_of
from i2i_core.translation.tiles import Tiler, Tiling, reduced

from ..support.table import TABLE
from ..support.translating import files, go, noise, pixels, save

Captured = pytest.CaptureFixture[str]
Patch = pytest.MonkeyPatch
OFF = AtTest("image", False)

SMALL: dict[str, tuple[str, dict[str, Any]]] = {
    "cyclegan": ("cyclegan", {"g_base": 3, "blocks": 1}),
    "cyclegan, resize": ("cyclegan", {"g_base": 3, "blocks": 1, "upsample": "resize"}),
    "cyclegan, shuffle": ("cyclegan", {"g_base": 3, "blocks": 1, "upsample": "shuffle"}),
    "cyclegan, batch norm": ("cyclegan", {"g_base": 3, "blocks": 1, "norm": "batch"}),
    "stargan": ("stargan", {}),
    "unit, paper": ("unit", {}),
    "unit, later": ("unit", {"architecture": "later", "g_noise": "own", "d_scales": 1, "image_size": 32}),
    "simgan": ("simgan", {}),
}
"""Generators that can be run exactly, small."""


def made_of(name: str, **over: Any) -> Method[Any]:
    """A method whose networks change images much, with norms whose scales and shifts differ."""
    method_name, values = SMALL.get(name, (name, {}))
    method = build_method(method_name, seed=1, **{**TABLE[method_name].small, **values, **over}).eval()
    drawn = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for p in method.parameters():
            if p.ndim > 1:
                p.normal_(0, 1.4 / p[0].numel() ** 0.5, generator=drawn)
            else:
                p.add_(0.2 * torch.randn(p.shape, generator=drawn))
    return method


def uneven(height: int, width: int, channels: int, seed: int = 0) -> np.ndarray:
    """An image whose parts differ in brightness and contrast, so that a tile's statistics are not the image's."""
    x = np.random.default_rng(seed).random((height, width, channels), np.float32) * 2 - 1
    x[: height // 2] *= 0.2
    x[:, width // 3 :] = 0.5 * x[:, width // 3 :] + 0.3
    return x


def told_of(method: Method[Any]) -> dict[str, Tensor]:
    return {"target": torch.ones(1, method.config.c_dim)} if "target" in method.controls else {}


def whole(method: Method[Any], x_HWC: np.ndarray, way: Any = "AtoB") -> np.ndarray:
    """What the method makes of the image at once."""
    (taken,), (made,) = (method.inputs, method.outputs) if way == "AtoB" else (method.outputs, method.inputs)
    x = torch.from_numpy(x_HWC.transpose(2, 0, 1).copy())[None]

    def make(given: Any, told: Any) -> dict[str, Tensor]:
        return method.translate(given, told, way, keys=["k"])

    found, padding = at_any_size(make, {taken: x}, {taken: "image"}, told_of(method))
    return cropped(found[made], {taken: x}, {taken: "image"}, padding)[0].permute(1, 2, 0).numpy()


# ---------------------------------------------------------------- exact


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("size", [(96, 96), (75, 100)], ids=["tiles that fit", "an odd size"])
def test_tiles_exact_equal_the_whole_image(name: str, size: tuple[int, int]) -> None:
    method = made_of(name)
    x = uneven(*size, method.channels()[next(iter(method.inputs))])
    tiler = Tiler(method, "AtoB", Tiling(48))
    found = tiler.translate(x, told_of(method), "k")
    expected = whole(method, x)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 1e-4
    assert expected.std() > 0.005, "nothing to compare"
    if name != "simgan":  # has no norm
        apart = Tiler(method, "AtoB", Tiling(48, "blend")).translate(x, told_of(method), "k")
        assert np.abs(apart - expected).max() > 0.05, "tiles by themselves would be as good: the test shows nothing"


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_tiles_exact_equal_the_whole_image_at_512_pixels_in_tiles_of_128(name: str) -> None:
    deep = {"blocks": 9} if name == "cyclegan" else {"blocks": 6} if name == "stargan" else {}
    method = made_of(name, **deep)
    for size in ((512, 512), (500, 375)):
        x = uneven(*size, method.channels()[next(iter(method.inputs))])
        found = Tiler(method, "AtoB", Tiling(128)).translate(x, told_of(method), "k")
        assert np.abs(found - whole(method, x)).max() < 1e-4


def test_tiles_exact_go_back_too() -> None:
    method = made_of("cyclegan")
    x = uneven(64, 52, 3)
    found = Tiler(method, "BtoA", Tiling(36)).translate(x, {}, "k")
    assert np.abs(found - whole(method, x, "BtoA")).max() < 1e-4


def test_tiles_exact_take_running_statistics_without_a_pass() -> None:
    method = made_of("cyclegan, batch norm")
    method.at_test = AtTest("running", False)
    with torch.no_grad():
        for name, buffer in method.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_()
            elif name.endswith("running_var"):
                buffer.uniform_(0.5, 2)
    x = uneven(75, 100, 3)
    tiler = Tiler(method, "AtoB", Tiling(36))
    assert Exact(tiler.chain([]), 36, (76, 100)).ends == [len(tiler.chain([]).layers)], "one pass"
    assert np.abs(tiler.translate(x, {}, "k") - whole(method, x)).max() < 1e-4


def test_tiles_exact_make_a_pass_for_each_norm_and_one_more() -> None:
    """Each is known before the next is measured, and each tile is read once a pass."""
    chain = chain_of(made_of("cyclegan").module("AtoB"), [], OFF)
    exact, reads, passes = Exact(chain, 36, (96, 72)), [0], list[int]()

    def read(rows: Span, columns: Span) -> Tensor:
        reads[0] += 1
        return torch.rand(1, 3, rows.stop - rows.start, columns.stop - columns.start)

    with torch.no_grad():
        exact.run(read, lambda *tile: None, lambda: passes.append(reads[0]))
    assert exact.tiles == 6
    assert passes == [6 * (k + 1) for k in range(8)], "seven norms and the output"


# ---------------------------------------------------------------- halos


def part_of(chain: Chain, x: Tensor, made: tuple[Span, Span], moments: dict[int, Moments]) -> Tensor:
    """Run a chain for a part of the output."""
    sides = chain.sides(x.shape[2], 0), chain.sides(x.shape[3], 1)
    end = len(chain.layers)
    rows, columns = (chain.spans(made[axis], sides[axis], axis, end) for axis in (0, 1))
    read = x[..., rows[0].start : rows[0].stop, columns[0].start : columns[0].stop]
    with torch.no_grad():
        return chain.run(read, (rows, columns), sides, moments)


def held(chain: Chain, size: tuple[int, int], channels: int) -> dict[int, Moments]:
    """Fixed statistics for every norm, so that only what a tile reads counts."""
    x, found = torch.rand(1, channels, *size) * 2 - 1, dict[int, Moments]()
    sides = chain.sides(size[0], 0), chain.sides(size[1], 1)
    for end in chain.norms:
        spans = tuple(chain.spans(Span(0, sides[axis][end]), sides[axis], axis, end) for axis in (0, 1))
        with torch.no_grad():
            found[end] = moments_of(chain.run(x, spans, sides, found))  # type: ignore[arg-type]
    return found


@pytest.mark.parametrize("name", ["cyclegan", "cyclegan, resize", "stargan", "unit, later", "simgan"])
def test_tiles_halo_is_what_the_output_depends_on(name: str) -> None:
    """By brute force: pixels are changed, and it is seen which outputs change."""
    method = made_of(name)
    chain = chain_of(method.module("AtoB"), list(told_of(method).values()), OFF)
    channels, halo, side = method.channels()[next(iter(method.inputs))], chain.halo(), 160
    moments = held(chain, (side, side), channels)
    everything = Span(0, side), Span(0, side)
    x = torch.rand(1, channels, side, side) * 2 - 1
    before = part_of(chain, x, everything, moments)
    reached = 0
    for at in (80, 81, 82, 83):  # every place in a cell of stride 4
        y = x.clone()
        y[..., at, at] = -y[..., at, at] + 0.5
        moved = (part_of(chain, y, everything, moments) != before).any(1)[0]
        rows, columns = moved.any(1).nonzero()[:, 0], moved.any(0).nonzero()[:, 0]
        assert int(rows.min()) >= at - halo
        assert int(rows.max()) <= at + halo
        assert int(columns.min()) >= at - halo
        assert int(columns.max()) <= at + halo
        reached = max(reached, at - int(rows.min()), int(rows.max()) - at)
    assert reached == halo, "a smaller one would do"


def test_tiles_read_no_more_than_their_halo() -> None:
    chain = chain_of(made_of("cyclegan").module("AtoB"), [], OFF)
    halo, sides = chain.halo(), chain.sides(256, 0)
    read = chain.spans(Span(100, 132), sides, 0, len(chain.layers))[0]
    assert read.start >= 100 - halo
    assert read.stop <= 132 + halo
    assert chain.spans(Span(0, 32), sides, 0, len(chain.layers))[0].start == 0, "beyond the border is padding"


@pytest.mark.parametrize(
    "layers",
    [
        [nn.ReflectionPad2d((1, 2, 3, 4)), nn.Conv2d(2, 3, (3, 5), dilation=(2, 1)), nn.ReLU()],
        [nn.ZeroPad2d((2, 0, 1, 1)), nn.Conv2d(2, 4, 3, 2, 1), nn.PixelShuffle(2), nn.Tanh()],
        [nn.Conv2d(2, 3, 5, 3, 2), nn.ConvTranspose2d(3, 2, 5, 3, 2, output_padding=1), nn.Sigmoid()],
        [nn.Upsample(scale_factor=2), nn.Conv2d(2, 2, 4, 2, 1, padding_mode="reflect"), nn.LeakyReLU()],
        [nn.Conv2d(2, 4, 3, 1, 1, groups=2), nn.InstanceNorm2d(4), nn.ConvTranspose2d(4, 2, 4, 2, 1, dilation=2)],
    ],
)
def test_tiles_run_layers_of_any_geometry(layers: list[nn.Module]) -> None:
    """Their spans and padding: every part equals that part of the whole."""
    torch.manual_seed(0)
    network = nn.Sequential(*layers)
    x = torch.rand(1, 2, 37, 50) * 2 - 1
    with torch.no_grad():
        expected = network(x)
    chain, made = chain_of(network, [], OFF), torch.full_like(expected, float("nan"))
    assert (chain.sides(37, 0)[-1], chain.sides(50, 1)[-1]) == expected.shape[2:]

    def put(rows: Span, columns: Span, y: Tensor) -> None:
        made[..., rows.start : rows.stop, columns.start : columns.stop] = y

    def read(rows: Span, columns: Span) -> Tensor:
        return x[..., rows.start : rows.stop, columns.start : columns.stop]

    with torch.no_grad():
        Exact(chain, 7, (37, 50)).run(read, put)
    assert torch.allclose(made, expected, atol=1e-5)


def test_tiles_know_no_layer_that_they_cannot_run_in_parts() -> None:
    for module, said in (
        (nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular"), "circular"),
        (nn.GroupNorm(1, 4), "GroupNorm"),
        (nn.MultiheadAttention(4, 1), "MultiheadAttention"),
        (nn.ConvTranspose2d(1, 1, 1, 2), "ConvTranspose2d"),
    ):
        with pytest.raises(NoChainError, match=said):
            chain_of(nn.Sequential(module), [], OFF)
    with pytest.raises(NoChainError, match="dropout"):
        chain_of(nn.Sequential(nn.Dropout()), [], AtTest("image", True))
    chain_of(nn.Sequential(nn.Dropout()), [], OFF)


# ---------------------------------------------------------------- sums


def test_tiles_sum_in_float64() -> None:
    """In float32 a mean of 1000 leaves nothing of a deviation of 0.001."""
    x = (1000 + torch.from_numpy(np.random.default_rng(0).normal(0, 0.01, (1, 3, 200, 300)))).float()
    parts = [moments_of(part) for part in x.split(17, dim=3)]
    all_of = parts[0]
    for part in parts[1:]:
        all_of = all_of.merged(part)
    assert all_of.means.dtype == torch.float64
    exact = x[0].double().flatten(1)
    assert all_of.count == 60_000
    assert torch.allclose(all_of.means, exact.mean(1), rtol=1e-14)
    assert torch.allclose(all_of.squares / all_of.count, exact.var(1, correction=0), rtol=1e-9)
    mean, std = all_of.together()
    assert torch.allclose(mean, exact.mean(), rtol=1e-14)
    assert torch.allclose(std, exact.std(), rtol=1e-9)


# ---------------------------------------------------------------- blend


@pytest.mark.parametrize(("side", "tile"), [(64, 64), (65, 64), (100, 64), (300, 64), (129, 32), (16384, 512)])
def test_tiles_blend_weights_sum_to_one_and_overlap_by_a_quarter(side: int, tile: int) -> None:
    places, total = starts(side, tile), torch.zeros(side, dtype=torch.float64)
    assert (places[0], places[-1] + tile) == (0, side)
    assert all(0 < b - a <= tile - tile // 4 for a, b in pairwise(places))
    for start, weight in zip(places, weights(side, tile), strict=True):
        total[start : start + tile] += weight
        step = weight.diff().abs().max()
        assert step < 8 / tile, "a step in the weight would be a seam"
        if start:
            assert weight[0] < 0.1
    assert torch.allclose(total, torch.ones_like(total))


def in_tiles(method: Method[Any], x: np.ndarray, tile: int) -> np.ndarray:
    return Tiler(method, "AtoB", Tiling(tile, "blend")).translate(x, told_of(method), "k")


@pytest.mark.parametrize("name", sorted(METHODS))
def test_tiles_blend_takes_every_method(name: str) -> None:
    """Also images smaller than a tile on one side. A new method is here once it is registered, or is refused."""
    method = made_of(name)
    alone = list(method.inputs.values()) == ["image"] and len(method.outputs) == 1
    if not alone or method.memory or method.control(Examples) or method.optimises:
        with pytest.raises(ConfigError):
            Tiler(method, "AtoB", Tiling(32, "blend"))
        return
    x = uneven(21, 75, method.channels()[next(iter(method.inputs))])
    found = in_tiles(method, x, 32)
    assert found.shape == (21, 75, method.channels()[next(iter(method.outputs))])
    assert np.isfinite(found).all()
    small = in_tiles(method, x[:, :20], 32)
    assert np.abs(small - whole(method, x[:, :20])).max() < 1e-5, "an image of one tile goes through whole"


def test_tiles_blend_leaves_no_seam() -> None:
    """Tiles of very different statistics: hard cuts jump, faded ones do not."""
    method = made_of("pix2pix", dropout=0.0)
    ramp = np.linspace(-1, 1, 160, dtype=np.float32)
    x = np.broadcast_to(ramp[None, :, None], (32, 160, 3)).copy()
    with torch.no_grad():  # each tile becomes a constant of its own
        method.networks["G"].forward = lambda x_BCHW: x_BCHW.mean((2, 3), keepdim=True).expand_as(x_BCHW)
    y = in_tiles(method, x, 32)
    jumps = np.abs(np.diff(y[0, :, 0]))
    borders = [at for start in starts(160, 32) for at in (start - 1, start + 31) if 0 <= at < 159]
    between = y.max() - y.min()
    assert between > 1, "tiles do not differ"
    assert jumps[borders].max() < 0.25 * jumps.max(), "where a tile begins or ends the picture is as smooth as can be"
    assert jumps.max() < 0.08, "a hard cut between two tiles would jump by 0.27"


def test_tiles_blend_drop_the_same_values_where_they_overlap() -> None:
    drop, x = nn.Dropout(0.5), torch.ones(1, 6, 40, 40)

    def masks(key: str, top: int, left: int) -> Tensor:
        placed = PlacedMasks(key, (top, left), (80, 80))
        return torch.cat([placed.apply(drop, x), placed.apply(drop, x)])  # type: ignore[arg-type]

    first, other = masks("k", 0, 0), masks("k", 32, 48)
    assert torch.equal(first[..., 16:, 24:], other[..., :24, :16]), "cells of two pixels"
    assert not torch.equal(first[0], first[1]), "another layer has other draws"
    assert not torch.equal(first, masks("l", 0, 0))
    assert 0.45 < float((first == 0).float().mean()) < 0.55
    assert set(first.unique().tolist()) == {0.0, 2.0}
    channels = PlacedMasks("k", (0, 0), (80, 80)).apply(nn.Dropout2d(0.5), x)  # type: ignore[arg-type]
    assert torch.equal(channels, channels[..., :1, :1].expand_as(channels))


def test_tiles_blend_keep_dropout_on_where_it_is_the_noise() -> None:
    method = made_of("pix2pix", dropout=0.5, image_size=32, dropout_at="innermost")
    x = uneven(32, 96, 3)
    a, again, other = (Tiler(method, "AtoB", Tiling(32, "blend")).translate(x, {}, key) for key in ("a", "a", "b"))
    assert np.array_equal(a, again)
    assert np.abs(a - other).max() > 0.01


def test_tiles_blend_give_rows_on_as_they_are_done() -> None:
    """A band of tiles is held, and no more."""
    x, given = torch.arange(70.0 * 50).reshape(1, 1, 70, 50), list[tuple[Span, tuple[int, ...]]]()
    made = torch.zeros_like(x)

    def put(rows: Span, columns: Span, y: Tensor) -> None:
        given.append((rows, tuple(y.shape)))
        made[..., rows.start : rows.stop, columns.start : columns.stop] = y

    def read(rows: Span, columns: Span) -> Tensor:
        return x[..., rows.start : rows.stop, columns.start : columns.stop]

    blend(read, lambda tile, top, left: tile, put, (70, 50), (16, 16))
    assert torch.allclose(made, x, rtol=1e-5)
    assert all(shape[2] <= 16 for _, shape in given)
    with pytest.raises(ValueError, match="came back as"):
        blend(read, lambda tile, top, left: tile[..., ::2], put, (70, 50), (16, 16))
    assert blending.SHARE == 4


# ---------------------------------------------------------------- the command


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for i, size in enumerate([(75, 100), (40, 90), (16, 16)]):
        save(folder / f"{i}.png", noise(*size, 3, seed=i))
    return folder


def test_tiles_translate_writes_what_whole_images_give(
    cyclegan: str, photos: Path, tmp_path: Path, said: list[str]
) -> None:
    go(cyclegan, photos, tmp_path / "whole")
    outcome = go(cyclegan, photos, tmp_path / "tiled", tile=36)
    assert (outcome.written, outcome.bad) == (3, ())
    one, other = files(tmp_path / "whole"), files(tmp_path / "tiled")
    assert one.keys() == other.keys()
    for name in one:
        assert np.abs(pixels(one[name]).astype(int) - pixels(other[name])).max() <= 1, "one rounding"
    costs = [line for line in said if "passes over" in line]
    assert len(costs) == 2, "one for each size that takes more than a tile"
    assert "exact, 8 passes over 9 tiles with a halo of up to" in costs[0]
    assert "as one tile took" in costs[0]
    assert (tmp_path / "tiled-sheet.png").exists()


def test_tiles_translate_writes_the_same_bytes_for_any_batch(cyclegan: str, photos: Path, tmp_path: Path) -> None:
    made = []
    for batch in (1, 3):
        go(cyclegan, photos, tmp_path / str(batch), tile=36, batch=batch)
        made.append(files(tmp_path / str(batch)))
    assert made[0] == made[1]


@pytest.mark.slow
@pytest.mark.ray
def test_tiles_translate_writes_the_same_bytes_with_workers(
    cyclegan: str, photos: Path, tmp_path: Path, ray_here: None
) -> None:
    one = go(cyclegan, photos, tmp_path / "1", tile=36)
    two = go(cyclegan, photos, tmp_path / "2", tile=36, workers=2, batch=1)
    assert files(tmp_path / "1") == files(tmp_path / "2")
    assert one.written == two.written


def test_tiles_go_with_sizes_alpha_back_target_and_samples(
    cyclegan: str, stargan: str, bicyclegan: str, tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    rgba = noise(75, 100, 4)
    save(folder / "x.png", rgba)
    cases: list[tuple[str, dict[str, Any]]] = [
        (cyclegan, {"scale": 0.8}),
        (cyclegan, {"longer_side": 80}),
        (cyclegan, {"size": "70x60"}),
        (cyclegan, {"back": True}),
        (cyclegan, {"keep_alpha": True}),
        (stargan, {"target": "bold"}),
    ]
    for k, (run, options) in enumerate(cases):
        go(run, folder, tmp_path / f"{k}-whole", **options)
        go(run, folder, tmp_path / f"{k}-tiled", tile=36, **options)
        a, b = (pixels(files(tmp_path / f"{k}-{how}")["x.png"]).astype(int) for how in ("whole", "tiled"))
        assert a.shape == b.shape, options
        assert np.abs(a - b).max() <= 1, options
        if "keep_alpha" in options:
            assert np.array_equal(b[..., -1], rgba[..., -1])
    go(bicyclegan, folder, tmp_path / "samples", tile=32, tile_norm="blend", samples=2)
    made = files(tmp_path / "samples")
    assert set(made) == {"x-0.png", "x-1.png"}
    assert made["x-0.png"] != made["x-1.png"]


def test_tiles_refuse_what_they_cannot(
    cyclegan: str, pix2pix: str, bicyclegan: str, paired: str, photos: Path, tmp_path: Path, told: Callable[..., str]
) -> None:
    """Each says what would work, and that works."""
    out = ("--out", tmp_path / "out")
    place = ("--input", photos, *out)
    assert "--tile-norm: found exact, for a network with UNet" in (found := told(pix2pix, *place, "--tile", 32))
    assert "Give --tile-norm blend" in found
    assert "a multiple of 16, at least 16" in told(pix2pix, *place, "--tile", 40, "--tile-norm", "blend")
    assert "Give --tile 32 or 48" in told(pix2pix, *place, "--tile", 40, "--tile-norm", "blend")
    assert "a multiple of 4, at least 8" in told(cyclegan, *place, "--tile", 35)
    assert "at least 20: an output pixel" in told(cyclegan, *place, "--tile", 8)
    assert "found -4" in told(cyclegan, *place, "--tile", -4)
    assert "at most 9,000" in told(cyclegan, *place, "--tile", 9001)
    assert "--tile" in told(cyclegan, *place, "--tile", "many")
    assert "blend without --tile" in told(cyclegan, *place, "--tile-norm", "blend")
    assert "--shards beside it" in told(cyclegan, *place, "--tile", 36, "--shards")
    like = ("--input", paired, *out, "--like", "truth", "--tile", 16, "--tile-norm", "blend")
    assert "--like truth beside it" in told(bicyclegan, *like)
    assert not (tmp_path / "out").exists(), "before anything is written"
    go(cyclegan, photos, tmp_path / "20", tile=20)
    go(pix2pix, photos, tmp_path / "48", tile=48, tile_norm="blend")


def test_tiles_refuse_methods_of_another_kind() -> None:
    class Remembers(type(made_of("cyclegan"))):  # type: ignore[misc]
        memory = ("before",)

    method = made_of("cyclegan")
    method.__class__ = Remembers
    with pytest.raises(ConfigError, match="a memory"):
        Tiler(method, "AtoB", Tiling(36))
    with pytest.raises(ConfigError, match="makes another size"):
        method = made_of("cyclegan")
        method.networks["G"] = nn.Sequential(method.networks["G"], nn.Upsample(scale_factor=2))
        Tiler(method, "AtoB", Tiling(36))
    with pytest.raises(ConfigError, match="makes another size"):
        Tiler(method, "AtoB", Tiling(36, "blend"))


def test_tiles_compare_the_layers_with_the_network_before_work_starts() -> None:
    """A network whose forward does more than its layers say is refused, not translated wrongly."""
    method = made_of("cyclegan")
    inner = method.networks["G"].forward
    method.networks["G"].forward = lambda x: inner(x) * 0.9
    with pytest.raises(ConfigError, match="make another image"):
        Tiler(method, "AtoB", Tiling(36))


@pytest.mark.parametrize("wrong", [-1, 1.5, "12", True, 9001])
def test_tiling_refuses_sides_that_are_none(wrong: Any) -> None:
    with pytest.raises(ConfigError, match="a whole number of pixels, from 1 to 9000"):
        Tiling(wrong, flags=False)
    with pytest.raises(ConfigError, match="exact or blend"):
        Tiling(36, "mean", flags=False)  # type: ignore[arg-type]
    TranslateOptions(tile=9000)


# ---------------------------------------------------------------- from Python


def test_tiles_from_python_give_back_what_was_given(cyclegan: str) -> None:
    model = load(cyclegan)
    array = noise(75, 100, 3)
    as_array = model.translate(array, tile=36)
    assert as_array.dtype == np.uint8
    assert np.abs(as_array.astype(int) - model.translate(array)).max() <= 1
    picture = model.translate(Image.fromarray(array), tile=36)
    assert np.array_equal(np.asarray(picture), as_array[..., 0]), "the run makes grey images"
    x = torch.rand(2, 1, 75, 100) * 2 - 1
    made = model.translate(x, tile=36)
    assert made.shape == x.shape
    assert torch.allclose(made, model.translate(x), atol=1e-4)
    several = model.translate([x[0], x[1]], tile=36)
    assert torch.equal(torch.stack(several), made)
    with pytest.raises(ConfigError, match="tile: found"):
        model.translate(x, tile=35)
    with pytest.raises(ConfigError, match="tile: found 0"):
        model.translate(x, tile_norm="blend")


# ---------------------------------------------------------------- large PNGs


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("strip", [1, 700, 1 << 22])
def test_large_png_reads_and_writes_as_pillow_does(channels: int, strip: int, monkeypatch: Patch) -> None:
    monkeypatch.setattr(large_png, "_STRIP", strip)
    smooth = np.cumsum(noise(40, 31, channels) % 5, axis=1).astype(np.uint8)
    for x in (noise(40, 31, channels), smooth, np.zeros((1, 1, channels), np.uint8)):
        data = large_png.write(x)
        assert np.array_equal(decode(data, "png"), x), "Pillow reads it"
        assert np.array_equal(large_png.read(data), x)
        assert data == large_png.write(x)
        other = io.BytesIO()
        Image.fromarray(x[..., 0] if channels == 1 else x).save(other, "PNG")  # filters of every kind
        assert np.array_equal(large_png.read(other.getvalue()), x)


def test_large_png_refuses_what_it_cannot_read(monkeypatch: Patch) -> None:
    x = noise(40, 31, 3)
    data = large_png.write(x)
    for damaged, said in (
        (data[:-20], "truncated"),
        (data[:60] + bytes([data[60] ^ 1]) + data[61:], "checksum"),
    ):
        with pytest.raises(ValueError, match=said):
            large_png.read(damaged)
    deep = io.BytesIO()
    Image.fromarray(noise(4, 4, dtype="uint16")).save(deep, "PNG")
    with pytest.raises(ValueError, match="PNGs of 8 bits"):
        large_png.read(deep.getvalue())
    longer = large_png.write(noise(41, 31, 3))
    start = longer.index(b"IDAT") - 4
    with pytest.raises(ValueError, match="more data"):
        large_png.read(data[:33] + longer[start:])
    shorter = large_png.write(noise(39, 31, 3))
    with pytest.raises(ValueError, match="truncated"):
        large_png.read(data[:33] + shorter[start:])
    monkeypatch.setattr(large_png, "LARGE_PIXELS", 1000)
    with pytest.raises(ValueError, match="over the limit of 1000"):
        large_png.read(data)


def test_tiles_read_pngs_beyond_the_limit_of_whole_ones(cyclegan: str, photos: Path, tmp_path: Path) -> None:
    """With --tile alone: an image that is decoded whole has a limit."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(large_png, "MAX_PIXELS", 5000)
        patch.setattr("i2i_core.images.limits.MAX_PIXELS", 5000)
        small = go(cyclegan, photos, tmp_path / "whole")
        assert [bad.key for bad in small.bad] == ["0"]
        assert go(cyclegan, photos, tmp_path / "tiled", tile=36).bad == ()
    assert set(files(tmp_path / "tiled")) == {"0.png", "1.png", "2.png"}


def test_tiles_show_images_small_on_the_sheet() -> None:
    x = np.repeat(np.repeat(noise(3, 5, 3), 4, 0), 4, 1)
    small = reduced(x, 5)
    assert small.shape == (3, 3, 5)
    assert np.allclose((small.permute(1, 2, 0).numpy() + 1) * 127.5, x[::4, ::4], atol=1e-3)
    assert reduced(x, 100).shape == (3, 12, 20)
    assert reduced(noise(1, 1000, 1), 10).shape == (1, 1, 10)
