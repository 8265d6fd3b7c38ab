"""Images as people have them through a checkpoint: any size, patterns, transparency, two in one, sheets.

pytest tests/unit/test_any_size.py
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import fsspec
import numpy as np
import pytest
import torch
from PIL import Image

from i2i_core.checkpoints.trained import load_trained
from i2i_core.config.translation import TranslateOptions
from i2i_core.data.format.manifest import MANIFEST, DataSet
from i2i_core.data.format.two_sides import cut_from
from i2i_core.errors import ConfigError
from i2i_core.images.codec import Picture
from i2i_core.images.sheet import to_array
from i2i_core.methods import build_method
from i2i_core.networks.resnet import ResNetGenerator
from i2i_core.networks.shapes import SizeError, check_multiple
from i2i_core.orchestration import translating
from i2i_core.registry import METHODS
from i2i_core.translation.inputs import sheet_of
from i2i_core.translation.loading import Sizing, converted
from i2i_core.translation.model import load
from i2i_core.translation.padding import Padding, at_any_size, cropped
from i2i_core.translation.two import side_taken

from ..support.table import TABLE
from ..support.translating import files, go, noise, pixels, save, untrained

Captured = pytest.CaptureFixture[str]
Patch = pytest.MonkeyPatch
Message = Callable[..., str]
CPU = torch.device("cpu")


def cut_from_two(paired: str, out: Path, **layout: object) -> str:
    """A copy of pairs whose manifest says that they were cut from images that held both."""
    shutil.copytree(paired, out)
    manifest = json.loads((out / MANIFEST).read_text())
    manifest["made_by"] = {"layout": {"layout": "ab", **layout}}
    (out / MANIFEST).write_text(json.dumps(manifest))
    return str(out)


@pytest.fixture(scope="module")
def cut_pairs(paired: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A run whose pairs were cut from images of 32 x 16."""
    folder = tmp_path_factory.mktemp("cut")
    return untrained("pix2pix", cut_from_two(paired, folder / "data"), folder)


# ---------------------------------------------------------------- padding


def test_padding_reflects_to_the_right_and_below_and_to_and_fro_where_an_image_is_small() -> None:
    x = torch.arange(6.0).reshape(1, 2, 3)
    assert Padding(4).padded(x)[0].tolist() == [[0, 1, 2, 1], [3, 4, 5, 4], [0, 1, 2, 1], [3, 4, 5, 4]]
    assert Padding(8).padded(torch.tensor([[[7.0], [9.0]]]))[0, :, 0].tolist() == [7, 9] * 4
    assert Padding(8).padded(torch.zeros(1, 1, 1)).shape == (1, 8, 8)
    assert Padding(4, 8).side(4) == 8
    fits = torch.rand(1, 8, 12)
    assert Padding(4).padded(fits) is fits


def test_padding_gathers_what_networks_ask_for_and_stops_where_it_does_not_help() -> None:
    seen = []

    def two(inputs: dict[str, torch.Tensor], controls: object) -> dict[str, torch.Tensor]:
        height, width = inputs["a"].shape[-2:]
        seen.append((height, width))
        for side in (height, width):
            check_multiple(side, 6, "one")
            check_multiple(side, 4, "another", least=20)
        return {"made": inputs["a"].repeat_interleave(2, -1).repeat_interleave(2, -2)}

    given = {"a": torch.rand(1, 1, 7, 25), "v": torch.rand(1, 7, 25)}
    roles = {"a": "image", "v": "vector"}
    found, padding = at_any_size(two, given, roles, {})  # type: ignore[arg-type]
    assert seen == [(7, 25), (12, 30), (24, 36)]
    made = cropped(found["made"], given, roles, padding)
    assert made.shape == (1, 1, 14, 50), "a network that doubles images doubles them"
    assert torch.equal(made[..., ::2, ::2], given["a"])

    def fixed(inputs: object, controls: object) -> dict[str, torch.Tensor]:
        raise SizeError(7, "64", (64,))

    with pytest.raises(SizeError):
        at_any_size(fixed, given, roles, {})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", sorted(name for name in TABLE if METHODS[name].method.inputs))
def test_padding_lets_every_method_take_any_size(name: str) -> None:
    """Also one of a few pixels. A new method is here once it is registered."""
    method = build_method(name, **TABLE[name].small).eval()
    channels = method.channels()
    (taken,), (made,) = method.inputs, method.outputs
    for height, width in ((3, 2), (18, 21)):
        given = {taken: torch.rand(1, channels[taken], height, width) * 2 - 1}
        told = {"target": torch.ones(1, method.config.c_dim)} if "target" in method.controls else {}
        found, padding = at_any_size(lambda x, c: method.translate(x, c, keys=["k"]), given, method.inputs, told)
        x = cropped(found[made], given, method.inputs, padding)
        assert x.shape == (1, channels[made], height, width)
        assert x.isfinite().all()


def test_translate_gives_odd_sizes_back_and_what_fits_as_ever(stargan: str, tmp_path: Path) -> None:
    """An odd photo does not end a folder; it is translated as the padded one is, and cropped."""
    odd = noise(18, 21)
    save(tmp_path / "in/odd.png", odd)
    save(tmp_path / "in/tiny.png", noise(3, 5))
    save(tmp_path / "in/fits.png", noise(16, 24, seed=1))
    save(tmp_path / "padded/odd.png", np.pad(odd, ((0, 2), (0, 3)), mode="reflect"))
    outcome = go(stargan, tmp_path / "in", tmp_path / "out", target="bold")
    assert (outcome.written, outcome.bad) == (3, ())
    go(stargan, tmp_path / "padded", tmp_path / "whole", target="bold")
    made, whole = files(tmp_path / "out"), files(tmp_path / "whole")
    assert pixels(made["tiny.png"]).shape == (3, 5)
    assert np.array_equal(pixels(made["odd.png"]), pixels(whole["odd.png"])[:18, :21])
    method = load_trained(stargan, CPU).method
    x = torch.from_numpy(noise(16, 24, seed=1) / 127.5 - 1)[None, None].float().expand(8, -1, -1, -1)
    bold = torch.tensor([[0.0, 1, 0, 0]]).expand(8, -1)
    assert np.array_equal(pixels(made["fits.png"]), to_array(method.image_from(x, target=bold)[0])[..., 0])


def test_translate_leaves_out_only_the_image_that_a_network_refuses(
    stargan: str, tmp_path: Path, monkeypatch: Patch
) -> None:
    from i2i_core.networks.stargan import StarGANGenerator

    inner = StarGANGenerator.forward

    def fixed(self: StarGANGenerator, x: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        if x.shape[-2:] != (16, 16):
            raise SizeError(x.shape[-1], "16", (16,))
        return inner(self, x, c)

    monkeypatch.setattr(StarGANGenerator, "forward", fixed)
    for name, shape in (("a", (16, 16)), ("b", (20, 16)), ("c", (16, 16))):
        save(tmp_path / f"in/{name}.png", noise(*shape))
    outcome = go(stargan, tmp_path / "in", tmp_path / "out", target="bold")
    assert outcome.written == 2
    assert [(bad.key, bad.cause) for bad in outcome.bad] == [
        ("b", "16 x 20 pixels (width x height): expected 16; see --size")
    ]
    assert go(stargan, tmp_path / "in", tmp_path / "sized", target="bold", size="16x16").written == 3


def test_translate_leaves_out_only_the_image_that_memory_does_not_hold(
    stargan: str, tmp_path: Path, monkeypatch: Patch
) -> None:
    from i2i_core.networks.stargan import StarGANGenerator

    inner = StarGANGenerator.forward

    def small(self: StarGANGenerator, x: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        if x.shape[-1] > 16:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return inner(self, x, c)

    monkeypatch.setattr(StarGANGenerator, "forward", small)
    save(tmp_path / "in/a.png", noise(16, 16))
    save(tmp_path / "in/b.png", noise(16, 32))
    outcome = go(stargan, tmp_path / "in", tmp_path / "out", target="bold")
    assert [bad.key for bad in outcome.bad] == ["b"]
    assert "--longer-side" in outcome.bad[0].cause
    assert go(stargan, tmp_path / "in", tmp_path / "less", target="bold", longer_side=16).written == 2


def test_model_takes_any_size(stargan: str) -> None:
    model = load(stargan)
    made = model.translate(Image.fromarray(noise(17, 13)), target="bold")
    assert made.size == (13, 17)
    x = torch.rand(2, 1, 10, 11) * 2 - 1
    padded = model.translate(Padding(4, 8).padded(x), target="bold")
    assert torch.equal(model.translate(x, target="bold"), padded[..., :10, :11])


def test_network_says_that_a_single_pixel_is_too_few() -> None:
    with pytest.raises(SizeError, match="at least 8") as refused:
        ResNetGenerator(base=2, blocks=1)(torch.zeros(1, 3, 4, 8))
    assert refused.value.listed == "8"


# ---------------------------------------------------------------- sizes


@pytest.mark.parametrize(
    ("sizing", "found"),
    [
        (Sizing(), (375, 500)),
        (Sizing(256), (256, 341)),
        (Sizing((64, 128)), (64, 128)),
        (Sizing(longer=100), (75, 100)),
        (Sizing(scale=0.5), (188, 250)),
        (Sizing(scale=0.0001), (1, 1)),
    ],
)
def test_sizing_keeps_the_shape_unless_both_sides_are_named(sizing: Sizing, found: tuple[int, int]) -> None:
    assert sizing.of(375, 500) == found


def test_sizing_refuses_what_would_be_too_large() -> None:
    with pytest.raises(ValueError, match=r"--scale 100 makes it 50000x37500 pixels; at most 9000 a side"):
        Sizing(scale=100.0).of(375, 500)


def test_translate_refuses_sizes_that_are_none(stargan: str, tmp_path: Path, told: Message) -> None:
    place = [stargan, "--input", tmp_path, "--out", tmp_path / "out", "--target", "bold"]
    for wrong in ("0x16", "12x", "-3", "big", "9001", "16x16x16"):
        assert "--size" in told(*place, f"--size={wrong}")
    assert "--longer-side: found 10000000" in told(*place, "--longer-side", 10_000_000)
    assert "--scale" in told(*place, "--scale", -1)
    assert "--scale" in told(*place, "--scale", "nan")
    assert "--size and --scale: found both" in told(*place, "--size", 16, "--scale", 2)
    assert "found all" in told(*place, "--size", 16, "--scale", 2, "--longer-side", 3)


def test_translate_resizes_and_keeps_the_shape(stargan: str, tmp_path: Path) -> None:
    save(tmp_path / "in/x.png", noise(24, 40))
    shapes = []
    for n, asked in enumerate(({"size": 12}, {"size": "20x12"}, {"longer_side": 20}, {"scale": 0.5}, {"scale": 2.0})):
        go(stargan, tmp_path / "in", tmp_path / str(n), target="bold", **asked)
        shapes.append(pixels(files(tmp_path / str(n))["x.png"]).shape)
    assert shapes == [(12, 20), (12, 20), (12, 20), (12, 20), (48, 80)]
    outcome = go(stargan, tmp_path / "in", tmp_path / "n", target="bold", scale=1.0)
    assert outcome.written == 1


def test_translate_says_once_that_others_than_the_first_are_far_from_training(
    stargan: str, tmp_path: Path, said: list[str]
) -> None:
    """And nothing where the advice is followed."""
    for name, side in (("a", 16), ("b", 32), ("c", 40)):
        save(tmp_path / f"in/{name}.png", noise(side, side + 8))
    go(stargan, tmp_path / "in", tmp_path / "out", target="bold", batch=1)
    (line,) = (line for line in said if "--size" in line)
    assert line.startswith(
        "2 of 3 images had sizes 2 times training's or more, or less than it by as much; the first, b"
    )
    assert "40x32 pixels where the run trained at 16x16: --size 16 --overwrite resizes them" in line
    said.clear()
    go(stargan, tmp_path / "in", tmp_path / "out", target="bold", size=16, overwrite=True)
    assert not [line for line in said if "--size" in line]


# ---------------------------------------------------------------- transparency


def test_translate_lays_transparency_over_a_colour_or_keeps_it(
    pix2pix: str, stargan: str, tmp_path: Path, told: Message
) -> None:
    image = np.dstack([noise(18, 16, 3), noise(18, 16, seed=2)])
    save(tmp_path / "in/clear.png", image)
    save(tmp_path / "in/plain.png", image[..., :3])
    over = Image.alpha_composite(Image.new("RGBA", (16, 18), "#102030"), Image.fromarray(image))
    save(tmp_path / "laid/clear.png", np.asarray(over)[..., :3])
    go(pix2pix, tmp_path / "in", tmp_path / "out", background="#102030")
    go(pix2pix, tmp_path / "laid", tmp_path / "same")
    go(pix2pix, tmp_path / "in", tmp_path / "kept", background="#102030", keep_alpha=True)
    out, same, kept = (files(tmp_path / place) for place in ("out", "same", "kept"))
    assert np.abs(pixels(out["clear.png"]).astype(int) - pixels(same["clear.png"])).max() <= 1
    assert pixels(kept["plain.png"]).shape == (18, 16, 3)
    assert np.array_equal(pixels(kept["clear.png"])[..., :3], pixels(out["clear.png"]))
    assert np.array_equal(pixels(kept["clear.png"])[..., 3], image[..., 3])
    go(stargan, tmp_path / "in", tmp_path / "grey", target="bold", keep_alpha=True, scale=0.5)
    grey = pixels(files(tmp_path / "grey")["clear.png"])
    assert grey.shape == (9, 8, 2)
    place = [pix2pix, "--input", tmp_path / "in", "--out", tmp_path / "no"]
    assert "--background: found 'blurple'" in told(*place, "--background", "blurple")


def test_translate_says_once_that_transparency_was_laid_over_white(
    stargan: str, tmp_path: Path, said: list[str]
) -> None:
    """Of the images that have transparent pixels; nothing where a flag says what becomes of them."""
    opaque = np.full((16, 16), 255, np.uint8)
    for name, alpha in (("a", opaque), ("b", noise(16, 16)), ("c", noise(16, 16))):
        save(tmp_path / f"in/{name}.png", np.dstack([noise(16, 16, 3), alpha]))
    go(stargan, tmp_path / "in", tmp_path / "out", target="bold", batch=1)
    assert [line for line in said if "transparen" in line] == [
        "2 of 3 images had transparent pixels, which were laid over white; the first, b: --background COLOUR "
        "--overwrite takes another colour; --keep-alpha --overwrite gives outputs their transparency back"
    ]
    said.clear()
    go(stargan, tmp_path / "in", tmp_path / "kept", target="bold", keep_alpha=True)
    go(stargan, tmp_path / "in", tmp_path / "black", target="bold", background="black")
    assert not [line for line in said if "transparen" in line]


@pytest.mark.parametrize("given", [1, 2, 3, 4])
@pytest.mark.parametrize("reads", [2, 4])
def test_converted_gives_networks_that_take_transparency_an_opaque_channel(given: int, reads: int) -> None:
    """As shard.py --keep-alpha gives it to opaque images among transparent ones."""
    x = noise(6, 5, given)
    made = converted(Picture(x, given in (2, 4)), reads, "photo.jpg")
    assert made.shape == (6, 5, reads)
    assert np.array_equal(made[..., -1], x[..., -1] if given in (2, 4) else np.full((6, 5), 255))
    if reads == 4:
        colours = x[..., :3] if given > 2 else np.repeat(x[..., :1], 3, 2)
        assert np.array_equal(made[..., :3], colours)


# ---------------------------------------------------------------- patterns


def test_translate_takes_a_pattern_and_names_what_it_leaves_out(stargan: str, tmp_path: Path, said: list[str]) -> None:
    for place in ("a/1.png", "a/2.jpg", "b/1.png", "b/deep/3.png", "1.png", ".hidden.png"):
        save(tmp_path / "photos" / place, noise(16, 16))
    (tmp_path / "photos/a/notes.txt").write_text("x")

    def names(pattern: str, out: str) -> set[str]:
        go(stargan, tmp_path / "photos" / pattern, tmp_path / out, target="bold")
        return set(files(tmp_path / out))

    assert names("*/*.png", "one") == {"a/1.png", "b/1.png"}
    assert names("**/*.png", "two") == {"1.png", "a/1.png", "b/1.png", "b/deep/3.png"}
    assert names("a/[12].*", "three") == {"1.png", "2.png"}
    assert names("*", "four") == {"1.png"}
    assert "left out of what --input matches: 1 hidden file, 2 folders" in said
    assert names("a/*", "five") == {"1.png", "2.png"}
    assert "left out of what --input matches: 1 file that is no image" in said


def test_translate_takes_a_name_with_brackets_as_it_stands(stargan: str, tmp_path: Path) -> None:
    save(tmp_path / "photos [1]/x*.png", noise(16, 16))
    go(stargan, tmp_path / "photos [1]", tmp_path / "out", target="bold")
    go(stargan, tmp_path / "photos [1]/x*.png", tmp_path / "one", target="bold")
    assert set(files(tmp_path / "out")) == set(files(tmp_path / "one")) == {"x*.png"}


def test_translate_takes_a_pattern_of_any_filesystem(stargan: str, tmp_path: Path) -> None:
    fs = fsspec.filesystem("memory")
    save(tmp_path / "x.png", noise(16, 16))
    for place in ("/globbed/a/1.png", "/globbed/b/2.png", "/globbed/b/3.txt"):
        fs.pipe_file(place, (tmp_path / "x.png").read_bytes())
    go(stargan, "memory://globbed/*/*", "memory://globbed-out", target="bold")
    assert sorted(fs.find("/globbed-out")) == ["/globbed-out/a/1.png", "/globbed-out/b/2.png"]
    assert fs.exists("/globbed-out-sheet.png")


def test_translate_refuses_a_pattern_without_images_and_outputs_over_inputs(
    stargan: str, tmp_path: Path, told: Message
) -> None:
    save(tmp_path / "in/x.png", noise(16, 16))
    (tmp_path / "in/notes.txt").write_text("x")
    before = (tmp_path / "in/x.png").read_bytes()
    bold = ["--target", "bold"]
    told_of = told(stargan, "--input", tmp_path / "in/*.txt", "--out", tmp_path / "out", *bold)
    assert "a pattern that matches no image, but 1 file that is no image" in told_of
    for place in (tmp_path / "in/*.png", tmp_path / "in/x.png"):
        told_of = told(stargan, "--input", place, "--out", tmp_path / "in", *bold)
        assert "where an output would take the place of the input" in told_of
    assert (tmp_path / "in/x.png").read_bytes() == before


# ---------------------------------------------------------------- names without an ending


def test_translate_names_outputs_of_images_without_an_ending(stargan: str, tmp_path: Path, said: list[str]) -> None:
    """One file, a pattern, a folder and a list all take them, by their first bytes; `a` and `v1.2/b` become PNGs."""
    for name in ("a", "v1.2/b"):
        save(tmp_path / "in" / f"{name}.png", noise(16, 16))
        (tmp_path / "in" / f"{name}.png").rename(tmp_path / "in" / name)
    (tmp_path / "in/NOTES").write_text("P3 is a format")
    (tmp_path / "list").write_text("in/a\nin/v1.2/b\n")
    places = {"in/a": {"a.png"}, "in/*": {"a.png"}, "in": {"a.png", "v1.2/b.png"}, "list": {"a.png", "b.png"}}
    for number, (place, names) in enumerate(places.items()):
        go(stargan, tmp_path / place, tmp_path / str(number), target="bold")
        assert set(files(tmp_path / str(number))) == names, place
    assert "left out of what --input matches: 1 file that is no image, 1 folder" in said


def test_translate_refuses_names_that_collide_without_an_ending(stargan: str, tmp_path: Path, told: Message) -> None:
    save(tmp_path / "in/a.png", noise(16, 16))
    shutil.copy(tmp_path / "in/a.png", tmp_path / "in/a")
    said = told(stargan, "--input", tmp_path / "in", "--out", tmp_path / "out", "--target", "bold")
    assert f"{tmp_path}/in/a and {tmp_path}/in/a.png; expected names that differ without their endings" in said


# ---------------------------------------------------------------- two in one


def test_translate_refuses_an_image_of_two_and_takes_either_half(
    cut_pairs: str, pix2pix: str, tmp_path: Path, told: Message
) -> None:
    """Its advice is followed: --ab takes the A half, --whole the image as it is; the other half is the truth."""
    two = noise(16, 32, 3)
    save(tmp_path / "in/x.png", two)
    save(tmp_path / "a/x.png", two[:, :16])
    place = [cut_pairs, "--input", tmp_path / "in", "--out", tmp_path / "out"]
    said = told(*place)
    assert "x.png: found 32x16 pixels (width x height): A and B side by side" in said
    assert "Give --ab, which takes the A half of each; or --whole" in said
    assert not (tmp_path / "out").exists()
    told(*place, "--ab", code=0)
    go(pix2pix, tmp_path / "a", tmp_path / "same")
    assert files(tmp_path / "out") == files(tmp_path / "same")
    assert Image.open(tmp_path / "out-sheet.png").width > Image.open(tmp_path / "same-sheet.png").width, "the truth"
    told(*place, "--whole", "--overwrite", code=0)
    assert pixels(files(tmp_path / "out")["x.png"]).shape == (16, 32, 3)
    assert "one of them, or neither" in told(*place, "--ab", "--whole")


def test_translate_takes_the_side_that_the_run_reads(paired: str, tmp_path: Path) -> None:
    """The B half of a run that goes from B to A; the upper half where the data's images stood one above the other."""
    two = noise(32, 16, 3)
    save(tmp_path / "in/x.png", two)
    save(tmp_path / "low/x.png", two[16:])
    stacked = cut_from_two(paired, tmp_path / "data", stacked=True)
    run = untrained("pix2pix", stacked, tmp_path, data__direction="BtoA")
    go(run, tmp_path / "in", tmp_path / "out", ab=True)
    go(run, tmp_path / "low", tmp_path / "same")
    assert files(tmp_path / "out") == files(tmp_path / "same")


def test_cautions_say_that_an_image_may_hold_two(pix2pix: str, tmp_path: Path, said: list[str]) -> None:
    """A run of pairs whose data do not tell; nothing where --ab or --whole is given."""
    save(tmp_path / "in/x.png", noise(32, 64, 3))
    go(pix2pix, tmp_path / "in", tmp_path / "out")
    assert any("if each holds A and B side by side, --ab takes one of them" in line for line in said)
    said.clear()
    go(pix2pix, tmp_path / "in", tmp_path / "half", ab=True)
    go(pix2pix, tmp_path / "in", tmp_path / "whole", whole=True)
    assert not any("--ab" in line for line in said)


def test_translate_leaves_out_an_image_of_two_among_others(cut_pairs: str, tmp_path: Path) -> None:
    save(tmp_path / "in/1.png", noise(16, 16, 3))
    save(tmp_path / "in/2.png", noise(32, 64, 3))
    outcome = go(cut_pairs, tmp_path / "in", tmp_path / "out")
    assert [bad.key for bad in outcome.bad] == ["2"]
    assert outcome.bad[0].cause == "64 x 32 pixels (width x height): it holds A and B; see --ab and --whole"


def test_translate_refuses_halves_of_what_has_none(
    stargan: str, pix2pix: str, paired: str, tmp_path: Path, told: Message
) -> None:
    save(tmp_path / "in/x.png", noise(16, 17, 3))
    out = ["--out", tmp_path / "out", "--ab"]
    assert "this method knows no sides A and B" in told(stargan, "--input", tmp_path / "in", *out, "--target", "bold")
    assert "A and B are two fields already" in told(pix2pix, "--input", paired, *out)
    assert "17 pixels of width, which are not two equal halves" in told(
        pix2pix, "--input", tmp_path / "in", *out, code=1
    )


@pytest.mark.parametrize(
    ("method", "direction", "way", "side"),
    [
        ("pix2pix", "AtoB", "AtoB", "a"),
        ("pix2pix", "BtoA", "AtoB", "b"),
        ("cyclegan", "AtoB", "BtoA", "b"),
        ("cyclegan", "BtoA", "BtoA", "a"),
        ("stargan", "AtoB", "AtoB", ""),
    ],
)
def test_side_is_that_which_the_direction_reads(method: str, direction: str, way: str, side: str) -> None:
    assert side_taken(METHODS[method].method, direction, way) == side  # type: ignore[arg-type]


def test_cut_from_reads_the_layout_of_pairs(paired: str) -> None:
    manifest = DataSet(paired).manifest
    assert cut_from(manifest, 16) == ("", ())
    ab = replace(manifest, made_by={"layout": {"layout": "ab"}})
    assert cut_from(ab, 64) == ("row", (16, 32))
    stacked = replace(manifest, made_by={"layout": {"layout": "ab", "stacked": True}})
    assert cut_from(stacked, 64) == ("column", (32, 16))
    several = replace(ab, fields={name: replace(f, height=0, width=0) for name, f in ab.fields.items()})
    assert cut_from(several, (32, 64)) == ("row", (32, 128))


# ---------------------------------------------------------------- outputs are inputs


def test_outputs_are_an_input_like_any_other(stargan: str, tmp_path: Path) -> None:
    """Nothing but images lies in the folder, and no name is the program's own."""
    save(tmp_path / "in/contact_sheet.png", noise(16, 16))
    save(tmp_path / "in/sub/x.png", noise(18, 16))
    first = go(stargan, tmp_path / "in", tmp_path / "once", target="bold")
    again = go(stargan, tmp_path / "once", tmp_path / "twice", target="serif")
    assert first.written == again.written == 2
    assert set(files(tmp_path / "once")) == set(files(tmp_path / "twice")) == {"contact_sheet.png", "sub/x.png"}
    assert first.sheet == str(tmp_path / "once-sheet.png")
    assert (tmp_path / "once-sheet.png").is_file()


@pytest.mark.parametrize(
    ("out", "sheet"),
    [
        ("/a/out", "/a/out-sheet.png"),
        ("/a/out/", "/a/out-sheet.png"),
        ("memory://x/out/", "memory://x/out-sheet.png"),
        ("/", ""),
    ],
)
def test_sheet_lies_beside_the_folder(out: str, sheet: str) -> None:
    assert sheet_of(out) == sheet


def test_sheet_that_cannot_be_written_costs_no_output(
    stargan: str, tmp_path: Path, said: list[str], monkeypatch: Patch
) -> None:
    save(tmp_path / "in/x.png", noise(16, 16))
    (tmp_path / "out-sheet.png").mkdir()
    outcome = go(stargan, tmp_path / "in", tmp_path / "out", target="bold")
    assert (outcome.written, outcome.sheet) == (1, "")
    assert any(
        line.startswith(f"WARNING: no contact sheet: {tmp_path / 'out-sheet.png'} cannot be written") for line in said
    )
    monkeypatch.setattr(translating, "sheet_of", lambda out: "")
    assert go(stargan, tmp_path / "in", tmp_path / "out", target="bold").sheet == ""
    assert any("nothing lies beside" in line for line in said)


def test_options_of_sizes_have_one_form_each() -> None:
    assert TranslateOptions(size="32x16").resize_to == (16, 32)
    assert TranslateOptions(size="16x16").resize_to == (16, 16), "stretched to a square; 16 is the shorter side"
    assert TranslateOptions(size=32).resize_to == 32  # type: ignore[arg-type]
    assert TranslateOptions().resize_to == 0
    with pytest.raises(ConfigError, match="--size: found 'x'"):
        TranslateOptions(size="x")
