"""From images to shards: what is kept, what is converted, and that the bytes are always the same."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import struct
import subprocess
import sys
import tarfile
from contextlib import nullcontext
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import webdataset
from fsspec.implementations.local import LocalFileSystem
from PIL import Image

from i2i_core.data.format import shards, webdatasets
from i2i_core.data.format.manifest import FEW, DataSet
from i2i_core.errors import ConfigError, DataError, ResourceError, UserError
from i2i_core.images.codec import MAX_PIXELS, ImageOptions, Picture, decode, encode, prepare, resize
from i2i_core.orchestration.sharding import index_webdataset, shard_glyphs

from ..support.data import ROOT, as_version_1, index, noise, png, put, rng, sample, shard, sums, whole_index, write_tar
from ..support.pictures import png as deep_png
from ..support.pictures import saved

ALL_TRAIN = {"split": (1.0, 0.0, 0.0)}


# ---- images ----


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("1", (1, "uint8")),
        ("L", (1, "uint8")),
        ("P", (3, "uint8")),
        ("RGB", (3, "uint8")),
        ("RGBA", (4, "uint8")),
        ("LA", (2, "uint8")),
        ("CMYK", (3, "uint8")),
        ("I;16", (1, "uint16")),
        ("F", (1, "float32")),
    ],
)
def test_decode_gives_each_mode_its_channels(mode: str, expected: tuple[int, str]) -> None:
    base = Image.fromarray(noise(6, 5, 3))
    image = Image.fromarray(noise(6, 5, dtype="uint16")) if mode == "I;16" else base.convert(mode)
    x = decode(saved(image, "TIFF" if mode in ("CMYK", "F") else "PNG"), "any")
    assert x.shape == (6, 5, expected[0])
    assert str(x.dtype) == expected[1]


def test_decode_keeps_sixteen_bits_to_the_last() -> None:
    grey, colour, deep_alpha = (noise(6, 5, c, dtype="uint16") for c in (1, 3, 4))
    assert np.array_equal(decode(encode(grey, "png"), "png"), grey)
    assert np.array_equal(decode(deep_png(colour), "png"), colour)
    assert np.array_equal(decode(deep_png(deep_alpha), "png"), deep_alpha)


def test_decode_refuses_a_sixteen_bit_colour_tiff() -> None:
    out = io.BytesIO()
    entries = [(256, 3, 1, 2), (257, 3, 1, 2), (258, 3, 3, 122), (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 1, 128)]
    entries += [(277, 3, 1, 3), (278, 3, 1, 2), (279, 4, 1, 24)]
    out.write(b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(entries)))
    out.write(b"".join(struct.pack("<HHII", *entry) for entry in entries) + struct.pack("<I", 0))
    out.write(struct.pack("<HHH", 16, 16, 16) + noise(2, 2, 3, dtype="uint16").tobytes())
    with pytest.raises(ValueError, match="16-bit colour TIFF"):
        decode(out.getvalue(), "tif")


def test_decode_reads_many_channels_of_npy_and_of_tiff_pages() -> None:
    x = noise(6, 5, 7)
    assert np.array_equal(decode(encode(x, "npy"), "npy"), x)
    pages = [Image.fromarray(x[..., c]) for c in range(7)]
    assert np.array_equal(decode(saved(pages[0], "TIFF", save_all=True, append_images=pages[1:]), "tiff"), x)


def test_decode_applies_the_exif_orientation() -> None:
    image, exif = Image.fromarray(noise(4, 8, 3)), Image.Exif()
    exif[274] = 6
    turned = decode(saved(image, exif=exif), "png")
    assert turned.shape == (8, 4, 3)
    assert np.array_equal(turned, np.rot90(np.asarray(image), -1))


def test_decode_raises_value_error_with_the_cause() -> None:
    good = saved(Image.fromarray(noise(40, 40, 3)))
    bad = {
        b"": "empty",
        b"not an image": "cannot identify",
        good[:400]: "(?i)truncated",
        good[:30]: "(?i)truncated|identify",
        saved(Image.fromarray(noise(40, 40, 3)), "JPEG")[:500]: "(?i)truncated",
    }
    for data, cause in bad.items():
        with pytest.raises(ValueError, match=cause):
            decode(data, "png")
    for array in (noise(4), np.zeros((2, 2, 9000), np.uint8), np.zeros((2, 2), np.int64), np.zeros((0, 4, 3))):
        with pytest.raises(ValueError, match="array of"):
            decode(_npy(array), "npy")
    with pytest.raises(ValueError, match="header cannot be read"):
        decode(b"\x93NUMPY\x01\x00", "npy")


def _npy(x: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, x)
    return out.getvalue()


def test_decode_refuses_absurd_sizes_before_it_begins() -> None:
    side = int(MAX_PIXELS**0.5) + 1
    with pytest.raises(ValueError, match=f"{side} x {side} pixels, over the limit"):
        decode(saved(Image.new("1", (side, side))), "png")


def test_prepare_lays_transparency_over_the_colour_unless_kept() -> None:
    x = noise(3, 3, 4)
    x[0, 0], x[1, 1, 3], x[2, 2] = (10, 20, 30, 0), 255, (100, 0, 200, 51)
    red = prepare(Picture(x, alpha=True), ImageOptions(background="red"))
    assert red.shape == (3, 3, 3)
    assert tuple(red[0, 0]) == (255, 0, 0)
    assert np.array_equal(red[1, 1], x[1, 1, :3])
    assert tuple(red[2, 2]) == (round(0.2 * 100 + 0.8 * 255), 0, 40)
    assert tuple(prepare(Picture(x, alpha=True), ImageOptions())[0, 0]) == (255, 255, 255)
    assert np.array_equal(prepare(Picture(x, alpha=True), ImageOptions(keep_alpha=True)), x)
    assert np.array_equal(prepare(Picture(x), ImageOptions()), x), "four channels that are not alpha were composited"
    both = ImageOptions(keep_alpha=True, channels=3)
    grey = Picture(x[..., :2], alpha=True)
    assert np.array_equal(prepare(grey, both), np.dstack([x[..., :1]] * 3 + [x[..., 1:2]])), "grey, and its own alpha"
    assert np.array_equal(prepare(Picture(x[..., :3]), both), np.dstack([x[..., :3], np.full((3, 3, 1), 255)]))
    assert np.array_equal(prepare(Picture(x, alpha=True), both), x)
    deep = prepare(Picture(np.zeros((1, 1, 2), np.uint16), alpha=True), ImageOptions())
    assert deep.item() == 65535


def test_resize_agrees_with_pillow_and_keeps_dtype_and_channels() -> None:
    x = noise(12, 20, 3)
    pillow = np.asarray(Image.fromarray(x).resize((7, 9), Image.Resampling.BICUBIC))
    assert np.array_equal(resize(Picture(x), 9, 7, "bicubic"), pillow)
    many = np.concatenate([x, x[..., :2]], axis=2)
    assert np.abs(resize(Picture(many), 9, 7, "bicubic")[..., :3].astype(int) - pillow).max() <= 1
    flat = np.full((8, 8, 1), 40000, np.uint16)
    assert np.array_equal(resize(Picture(flat), 5, 5, "lanczos"), np.full((5, 5, 1), 40000, np.uint16))
    steps = (np.arange(64 * 4, dtype=np.uint16) * 256).reshape(16, 16, 1)
    area = resize(Picture(steps), 8, 8, "area")
    assert np.array_equal(area, np.rint(steps.reshape(8, 2, 8, 2).mean((1, 3)))[..., None].astype(np.uint16))
    wave = np.sign(rng.standard_normal((16, 16, 2))).astype(np.float32)
    assert np.abs(resize(Picture(wave), 31, 31, "bicubic")).max() <= 1


def test_prepare_crops_and_fits_to_the_load_size() -> None:
    x = Picture(noise(218, 178, 3))
    assert prepare(x, ImageOptions(load_size=64, fit="square")).shape == (64, 64, 3)
    assert prepare(x, ImageOptions(load_size=64)).shape == (78, 64, 3)
    cropped = prepare(x, ImageOptions(center_crop=178))
    assert np.array_equal(cropped, x.pixels[20:198])
    with pytest.raises(ValueError, match=r"178 x 218 pixels, smaller than --center-crop 200"):
        prepare(x, ImageOptions(center_crop=200))


def test_prepare_converts_channels() -> None:
    x = noise(5, 5, 3)
    grey = prepare(Picture(x), ImageOptions(channels=1))
    assert np.abs(grey[..., 0].astype(int) - np.asarray(Image.fromarray(x).convert("L"))).max() <= 1
    assert np.array_equal(prepare(Picture(grey), ImageOptions(channels=3)), np.repeat(grey, 3, 2))
    with pytest.raises(ValueError, match="5 channels"):
        prepare(Picture(noise(2, 2, 5)), ImageOptions(channels=3))


def test_prepare_refuses_floats_outside_of_minus_one_to_one() -> None:
    for x in (np.full((2, 2, 1), 255, np.float32), np.full((2, 2, 1), np.nan, np.float32)):
        with pytest.raises(ValueError, match=r"must lie in \[-1, 1\]"):
            prepare(Picture(x), ImageOptions())


def test_image_options_are_checked() -> None:
    for options in ({"background": "wite"}, {"quality": 0}, {"load_size": 0}):
        with pytest.raises(ConfigError, match="--" + next(iter(options)).replace("_", "-")):
            ImageOptions(**options)  # type: ignore[arg-type]


# ---- shards ----


@pytest.mark.parametrize(
    ("x", "extension"),
    [
        (noise(8, 6, 1), "png"),
        (noise(8, 6, 3), "png"),
        (noise(8, 6, 1, dtype="uint16"), "png"),
        (noise(8, 6, 5), "npy"),
        (noise(8, 6, 3, dtype="uint16"), "npy"),
        (np.linspace(-1, 1, 48, dtype=np.float32).reshape(8, 6, 1), "npy"),
    ],
)
def test_sharding_keeps_what_can_be_kept(tmp_path: Path, x: np.ndarray, extension: str) -> None:
    suffix = "npy" if extension == "npy" else "png"
    for name in "xyz":
        put(tmp_path / f"in/cls/{name}.{suffix}", x if name == "x" else np.flip(x, 0))
    manifest = shard("classes", tmp_path / "in", tmp_path / "out", **ALL_TRAIN)
    field = manifest.fields["image"]
    assert (field.extension, field.dtype, field.channels) == (extension, str(x.dtype), x.shape[2])
    assert (field.height, field.width) == (8, 6)
    assert np.array_equal(sample(tmp_path / "out", "cls/x")[0], x)


def test_sharding_cuts_and_turns_the_halves_of_ab(tmp_path: Path) -> None:
    x = noise(4, 10, 3)
    put(tmp_path / "in/one.png", x)
    shard("ab", tmp_path / "in", tmp_path / "out", **ALL_TRAIN)
    shard("ab", tmp_path / "in", tmp_path / "turned", direction="BtoA", **ALL_TRAIN)
    a, b = sample(tmp_path / "out", "one")
    assert np.array_equal(a, x[:, :5])
    assert np.array_equal(b, x[:, 5:])
    assert np.array_equal(sample(tmp_path / "turned", "one")[0], b)


def test_sharding_keeps_the_fields_of_each_side_of_pairs(tmp_path: Path) -> None:
    photo, mask = noise(4, 4, 3), noise(4, 4, 1)
    put(tmp_path / "in/a/x.png", photo)
    put(tmp_path / "in/b/x.png", mask)
    manifest = shard("pairs", tmp_path / "in", tmp_path / "out", **ALL_TRAIN)
    assert {name: field.channels for name, field in manifest.fields.items()} == {"a": 3, "b": 1}
    assert [x.tobytes() for x in sample(tmp_path / "out", "x")] == [photo.tobytes(), mask.tobytes()]


def test_sharding_names_unpaired_sets_by_domain(tmp_path: Path) -> None:
    for name in ("trainA/1.png", "trainB/1.png", "testA/1.png", "testB/1.png"):
        put(tmp_path / "in" / name, noise(4, 4, 3))
    manifest = shard("unpaired", tmp_path / "in", tmp_path / "out")
    names = [s.name for sets in manifest.splits.values() for d in sets.values() for s in d.shards]
    assert sorted(names) == [f"{split}-{d}-000000.tar" for split in ("test", "train") for d in "AB"]
    b = decode((tmp_path / "in/trainB/1.png").read_bytes(), "png")
    assert np.array_equal(sample(tmp_path / "out", "1", domain="B")[0], b)


def test_shards_are_read_by_any_webdataset_reader_and_the_index_agrees(tmp_path: Path) -> None:
    shard_glyphs(str(tmp_path / "g"), "labelled", 16, characters=10)
    urls = [str(path) for path in sorted(tmp_path.glob("g/train-*.tar"))]
    read = list(webdataset.WebDataset(urls, shardshuffle=False, empty_check=False))
    index = whole_index(DataSet(str(tmp_path / "g")), "train")
    assert [s["__key__"] for s in read] == index.keys
    attributes = DataSet(str(tmp_path / "g")).manifest.attributes
    for row in (0, 7, len(read) - 1):
        labels = json.loads(read[row]["json"])
        assert list(labels) == list(attributes)
        assert tuple(labels.values()) == tuple(index.labels[row])
        assert int(index.size[row, 0]) == len(read[row]["png"])
        name = read[row]["__key__"]
        assert np.array_equal(sample(tmp_path / "g", name)[0], decode(read[row]["png"], "png"))


def test_manifest_says_what_is_on_disk(tmp_path: Path) -> None:
    manifest, _ = shard_glyphs(str(tmp_path / "g"), "paired", 16, characters=10)
    on_disk = sums(tmp_path / "g")
    listed = {s.name: s.sha256 for sets in manifest.splits.values() for d in sets.values() for s in d.shards}
    for of in (d for sets in manifest.splits.values() for d in sets.values()):
        listed |= dict(zip(of.index.name, of.index.sha256, strict=True))
    assert on_disk.items() >= listed.items()
    assert set(on_disk) == {*listed, "manifest.json"}, "something is left behind"
    assert DataSet(str(tmp_path / "g")).manifest == manifest
    assert manifest.fields["a"] == manifest.fields["b"]


def test_sharding_shuffles_samples_before_they_are_written(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        for i in range(40):
            put(tmp_path / f"in/{name}/{i}.png", noise(2, 2, 1))
    goal = {"shard_samples": 16}
    shard("classes", tmp_path / "in", tmp_path / "out", goal=goal, **ALL_TRAIN)
    labels = DataSet(str(tmp_path / "out")).rows("train").labels()[:, 0]
    assert all(3 <= labels[i : i + 16].sum() <= 13 for i in range(0, 80, 16))
    shard("classes", tmp_path / "in", tmp_path / "other", goal=goal, seed=1, **ALL_TRAIN)
    assert not np.array_equal(labels, DataSet(str(tmp_path / "other")).rows("train").labels()[:, 0])


def test_sharding_by_bytes_gives_shards_of_about_that_size(tmp_path: Path) -> None:
    for i in range(60):
        put(tmp_path / f"in/c/{i}.png", noise(40, 40, 3))
    shard("classes", tmp_path / "in", tmp_path / "out", goal={"shard_bytes": 100_000}, **ALL_TRAIN)
    sizes = [s.bytes for s in DataSet(str(tmp_path / "out")).shard_set("train").shards]
    assert len(sizes) == 4
    assert all(80_000 < size < 120_000 for size in sizes[:-1])


def test_sharding_the_same_input_gives_the_same_bytes_wherever_it_lies(tmp_path: Path) -> None:
    for i in range(9):
        x = noise(4, 8, 3)
        put(tmp_path / f"one/{i}.png", x)
        put(tmp_path / f"two/{i}.png", x)
    os.utime(tmp_path / "two/3.png", (1, 1))
    shard("ab", tmp_path / "one", tmp_path / "a", goal={"shard_samples": 4})
    shard("ab", tmp_path / "two", tmp_path / "b", goal={"shard_samples": 4})
    assert sums(tmp_path / "a") == sums(tmp_path / "b")
    with tarfile.open(tmp_path / "a/train-000000.tar") as tar:
        members = tar.getmembers()
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in members} == {(0, 0, 0, "", "", 0o444)}


def test_sharding_to_a_url_gives_the_same_bytes_as_to_a_folder(tmp_path: Path) -> None:
    import fsspec

    shard_glyphs(str(tmp_path / "g"), "labelled", 16, characters=4)
    shard_glyphs("memory://shards/g", "labelled", 16, characters=4)
    fs = fsspec.filesystem("memory")
    there = {p.removeprefix("/shards/g/"): hashlib.sha256(fs.cat_file(p)).hexdigest() for p in fs.find("/shards/g")}
    assert there == sums(tmp_path / "g")
    DataSet("memory://shards/g").check_shards("train")


@pytest.mark.parametrize("place", ["folder", "memory://listed/set"])
def test_data_set_looks_for_shards_by_one_listing(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request for each would be 10,000 before a launch."""
    for number in range(FEW + 2):
        put(tmp_path / f"in/{number}.png", noise(2, 4, 3))
    out = str(tmp_path / "set") if place == "folder" else place
    shard("ab", tmp_path / "in", out, goal={"shard_samples": 1}, split=(1, 0, 0))
    data, asked = DataSet(out), list[str]()
    listing = data.fs.ls
    monkeypatch.setattr(data.fs, "size", lambda path: pytest.fail("a file was asked for by itself"))
    monkeypatch.setattr(data.fs, "ls", lambda path, detail: (asked.append(path), listing(path, detail=detail))[1])
    data.check_shards("train")
    assert sorted(asked) == [data.root, f"{data.root}/index"]
    monkeypatch.undo()
    (first, *_) = data.shard_set("train").shards
    data.fs.rm(data.path(first.name))
    with pytest.raises(DataError, match="no such shard"):
        data.check_shards("train")


def test_data_set_asks_for_few_shards_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many files lie beside them."""
    shard_glyphs(str(tmp_path), "labelled", 16, characters=4)
    data = DataSet(str(tmp_path))
    monkeypatch.setattr(data.fs, "ls", lambda path, detail: pytest.fail("the whole folder was listed"))
    data.check_shards("train")


def test_sharding_keeps_long_and_foreign_names(tmp_path: Path) -> None:
    names = ["x" * 150, "日本語 é", "a b&c"]
    for name in names:
        put(tmp_path / f"in/{name}.png", noise(2, 4, 3))
    shard("ab", tmp_path / "in", tmp_path / "out", **ALL_TRAIN)
    for name in names:
        x = decode((tmp_path / f"in/{name}.png").read_bytes(), "png")
        assert np.array_equal(sample(tmp_path / "out", name)[0], x[:, :2])


# ---- what goes wrong ----


def test_sharding_refuses_a_name_that_is_not_utf_8(tmp_path: Path) -> None:
    put(tmp_path / "in/c/1.png", noise(4, 4, 3))
    os.rename(tmp_path / "in/c/1.png", os.fsencode(tmp_path / "in/c") + b"/\xff.png")
    with pytest.raises(DataError, match=r"found a name that is not UTF-8 .*; expected names that any reader can read"):
        shard("classes", tmp_path / "in", tmp_path / "out", **ALL_TRAIN)


def folder_with_bad(tmp_path: Path) -> Path:
    for i in range(6):
        put(tmp_path / f"in/c/{i}.png", noise(4, 4, 3))
    (tmp_path / "in/c/bad.png").write_bytes(encode(noise(9, 9, 3), "png")[:60])
    (tmp_path / "in/c/none.png").write_bytes(b"")
    return tmp_path / "in"


def test_sharding_stops_at_an_unreadable_image_and_names_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"in/c/(bad|none)\.png: found a file that cannot be decoded"):
        shard("classes", folder_with_bad(tmp_path), tmp_path / "out", **ALL_TRAIN)
    with pytest.raises(DataError, match="without manifest"):
        DataSet(str(tmp_path / "out"))


def test_sharding_leaves_unreadable_images_out_and_counts_them(tmp_path: Path) -> None:
    manifest = shard("classes", folder_with_bad(tmp_path), tmp_path / "out", goal={"bad": "skip"}, **ALL_TRAIN)
    lines = manifest.made_by["left_out"]
    assert sorted(line.split(":")[0] for line in lines) == ["c/bad.png", "c/none.png"]
    (tmp_path / "in").rename(tmp_path / "moved")
    shard("classes", tmp_path / "moved", tmp_path / "again", goal={"bad": "skip"}, **ALL_TRAIN)
    assert sums(tmp_path / "out") == sums(tmp_path / "again")
    keys = DataSet(str(tmp_path / "out")).rows("train").keys()
    assert sorted(keys) == [f"c/{i}" for i in range(6)]


def test_sharding_stopped_by_a_bad_image_goes_on_with_skip(tmp_path: Path) -> None:
    source = folder_with_bad(tmp_path)
    goal = {"shard_samples": 1}
    with pytest.raises(DataError):
        shard("classes", source, tmp_path / "out", goal=goal, **ALL_TRAIN)
    shard("classes", source, tmp_path / "out", goal={**goal, "bad": "skip"}, **ALL_TRAIN)
    shard("classes", source, tmp_path / "other", goal={**goal, "bad": "skip"}, **ALL_TRAIN)
    assert sums(tmp_path / "out") == sums(tmp_path / "other")
    assert len(DataSet(str(tmp_path / "out")).shard_set("train").shards) == 6, "a shard without samples is listed"


def test_sharding_nothing_readable_is_an_error_also_with_skip(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/x.png").write_bytes(b"x")
    with pytest.raises(DataError, match=r"no sample that can be read \(the first: .*x.png"):
        shard("ab", tmp_path / "in", tmp_path / "out", goal={"bad": "skip"})


@pytest.mark.parametrize("per_shard", [1, 100])
def test_sharding_names_both_images_that_disagree(tmp_path: Path, per_shard: int) -> None:
    put(tmp_path / "in/c/8.png", noise(4, 4, 1))
    put(tmp_path / "in/c/16.png", noise(4, 4, 1, dtype="uint16"))
    with pytest.raises(DataError, match="number of bits") as caught:
        shard("classes", tmp_path / "in", tmp_path / "bits", goal={"shard_samples": per_shard}, **ALL_TRAIN)
    assert "8.png" in str(caught.value)
    assert "16.png" in str(caught.value)


def test_sharding_records_sizes_that_differ_as_zero(tmp_path: Path) -> None:
    put(tmp_path / "in/c/1.png", noise(4, 6, 3))
    put(tmp_path / "in/c/2.png", noise(5, 6, 3))
    field = shard("classes", tmp_path / "in", tmp_path / "out", **ALL_TRAIN).fields["image"]
    assert (field.height, field.width) == (0, 6)


def test_sharding_refuses_pairs_of_odd_width_and_16_bits_as_jpg(tmp_path: Path) -> None:
    put(tmp_path / "in/1.png", noise(4, 7, 3))
    with pytest.raises(DataError, match="7 pixels of width"):
        shard("ab", tmp_path / "in", tmp_path / "out")
    put(tmp_path / "deep/c/1.png", noise(4, 4, 1, dtype="uint16"))
    with pytest.raises(DataError, match="which jpg cannot hold"):
        shard("classes", tmp_path / "deep", tmp_path / "out2", ImageOptions(encode="jpg"))


def test_sharding_refuses_an_output_that_holds_something_else(tmp_path: Path) -> None:
    put(tmp_path / "in/1.png", noise(4, 8, 3))
    (tmp_path / "file").touch()
    with pytest.raises(ResourceError, match="writing fails"):
        shard("ab", tmp_path / "in", tmp_path / "file/out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/train-000000.tar").write_bytes(b"precious")
    for overwrite in (False, True):
        with pytest.raises(DataError, match="tar files"):
            shard("ab", tmp_path / "in", tmp_path / "full", goal={"overwrite": overwrite})
    assert (tmp_path / "full/train-000000.tar").read_bytes() == b"precious"


# ---- stopped and started again ----

DIES = """
import os, sys
from i2i_core.data.format import shards
from i2i_core.orchestration.sharding import shard_glyphs
left = [int(sys.argv[2])]
encode = shards.encode
def dying(*args):
    left[0] -= 1
    if left[0] < 0:
        os._exit(9)
    return encode(*args)
shards.encode = dying
shard_glyphs(sys.argv[1], "labelled", 16, characters=200)
"""


@pytest.mark.slow
@pytest.mark.processes
def test_sharding_that_was_killed_is_finished_by_the_same_job(tmp_path: Path) -> None:
    out = tmp_path / "out"
    died = subprocess.run(
        [sys.executable, "-c", DIES, str(out), "1500"], env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True
    )
    assert died.returncode == 9, died.stderr.decode()
    finished = {name: (out / name).stat().st_mtime_ns for name in os.listdir(out) if name.endswith(".tar")}
    assert len(finished) == 2
    assert any(name.endswith(".writing") for name in os.listdir(out / "_parts"))
    with pytest.raises(DataError, match="without manifest"):
        DataSet(str(out))

    with pytest.raises(DataError, match="unfinished data set from another input or with other options"):
        shard_glyphs(str(out), "labelled", 17, characters=200)
    shard_glyphs(str(out), "labelled", 16, characters=200)
    shard_glyphs(str(tmp_path / "whole"), "labelled", 16, characters=200)
    assert sums(out) == sums(tmp_path / "whole")
    assert {name: (out / name).stat().st_mtime_ns for name in finished} == finished, "a finished shard was made again"


def test_sharding_is_done_again_only_where_it_is_damaged(tmp_path: Path) -> None:
    out = tmp_path / "g"
    _, old = shard_glyphs(str(out), "labelled", 16, characters=5)
    before, when = sums(out), (out / "manifest.json").stat().st_mtime_ns
    _, again = shard_glyphs(str(out), "labelled", 16, characters=5)
    assert (old, again) == (False, True)
    assert (out / "manifest.json").stat().st_mtime_ns == when
    (out / "train-000000.tar").write_bytes(b"cut off")
    _, mended = shard_glyphs(str(out), "labelled", 16, characters=5)
    assert not mended
    assert sums(out) == before


def test_sharding_with_other_options_needs_overwrite(tmp_path: Path) -> None:
    put(tmp_path / "in/1.png", noise(4, 8, 3))
    put(tmp_path / "in/2.png", noise(4, 8, 3))
    shard("ab", tmp_path / "in", tmp_path / "out", goal={"shard_samples": 1})
    with pytest.raises(DataError, match="--overwrite"):
        shard("ab", tmp_path / "in", tmp_path / "out")
    shard("ab", tmp_path / "in", tmp_path / "out", goal={"overwrite": True})
    shard("ab", tmp_path / "in", tmp_path / "new")
    assert sums(tmp_path / "out") == sums(tmp_path / "new")


def test_sharding_a_changed_input_is_another_data_set(tmp_path: Path) -> None:
    put(tmp_path / "in/1.png", noise(4, 8, 3))
    shard("ab", tmp_path / "in", tmp_path / "out")
    put(tmp_path / "in/1.png", noise(6, 8, 3))
    with pytest.raises(DataError, match="made from another input"):
        shard("ab", tmp_path / "in", tmp_path / "out")


# ---- existing WebDatasets ----


def test_indexing_our_own_shards_gives_the_same_indexes(tmp_path: Path) -> None:
    for kind in ("labelled", "paired", "unpaired"):
        manifest, _ = shard_glyphs(str(tmp_path / kind), kind, 16, characters=8)  # type: ignore[arg-type]
        before = sums(tmp_path / kind)
        (tmp_path / kind / "manifest.json").unlink()
        shutil.rmtree(tmp_path / kind / "index")
        again = index(tmp_path / kind)
        assert (again.kind, again.fields, again.splits) == (kind, manifest.fields, manifest.splits)
        assert again.attributes == manifest.attributes
        assert {k: v for k, v in sums(tmp_path / kind).items() if k != "manifest.json"} == {
            k: v for k, v in before.items() if k != "manifest.json"
        }


def test_indexing_pairs_and_splits_by_name(tmp_path: Path) -> None:
    one, two = png(), png()
    write_tar(tmp_path / "val-000.tar", {"x/1": {"a.png": one, "b.png": two, "txt": b"a word"}})
    write_tar(tmp_path / "shard-000.tar", {"2": {"a.png": two, "b.png": one}})
    manifest = index(tmp_path)
    assert manifest.kind == "paired"
    assert sorted(manifest.splits) == ["train", "val"]
    assert [x.tobytes() for x in sample(tmp_path, "x/1", "val")] == [decode(d, "png").tobytes() for d in (one, two)]


def test_indexing_class_numbers(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", {str(i): {"png": png(), "cls": str(i % 3).encode()} for i in range(5)})
    manifest = index(tmp_path)
    assert (manifest.kind, manifest.attributes, manifest.exclusive) == (
        "labelled",
        ("class_0", "class_1", "class_2"),
        True,
    )
    labels = DataSet(str(tmp_path)).rows("train").labels()
    assert labels.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0]]
    assert index(tmp_path, attributes=("x,y,z",), overwrite=True).attributes == ("x", "y", "z")
    with pytest.raises(DataError, match="2 names; expected 3"):
        index(tmp_path, attributes=("x", "y"), overwrite=True)


def test_indexing_domains_by_a_word_of_the_names(tmp_path: Path) -> None:
    write_tar(tmp_path / "horse-train-0.tar", {"1": {"png": png()}})
    write_tar(tmp_path / "zebra/train-0.tar", {"1": {"png": png()}})
    with pytest.raises(DataError, match="--domains horse zebra"):
        index(tmp_path)
    manifest = index(tmp_path, domains=("horse", "zebra"))
    assert manifest.kind == "unpaired"
    assert [s.name for s in manifest.splits["train"]["B"].shards] == ["zebra/train-0.tar"]
    DataSet(str(tmp_path)).check_shards("train")


def test_indexing_splits_and_domains_written_as_one_word(tmp_path: Path) -> None:
    for name in ("trainA-0", "trainB-0", "testA-0", "testB-0"):
        write_tar(tmp_path / f"{name}.tar", {"1": {"png": png()}})
    sets = index(tmp_path).splits
    assert {(s, d): v.shards[0].name for s, domains in sets.items() for d, v in domains.items()} == {
        (split, domain): f"{split}{domain}-0.tar" for split in ("train", "test") for domain in "AB"
    }


def test_indexing_to_another_folder_points_back(tmp_path: Path) -> None:
    write_tar(tmp_path / "tars/train-0.tar", {"1": {"png": png(), "cls": b"0"}})
    before = sums(tmp_path / "tars")
    goal = shards.ShardOptions(out=str(tmp_path / "out"))
    index_webdataset(webdatasets.IndexOptions(index=str(tmp_path / "tars")), goal, workers=0)
    assert sums(tmp_path / "tars") == before
    with pytest.raises(DataError, match=f"--shards-at file://{tmp_path}/tars") as refused:
        DataSet(str(tmp_path / "out"))
    at = refused.value.fix.rpartition(" ")[2]
    DataSet(str(tmp_path / "out"), [at]).check_shards("train")
    assert sample(tmp_path / "out", "1", shards_at=(at,))[0].shape == (4, 5, 3)
    assert index_webdataset(webdatasets.IndexOptions(index=str(tmp_path / "tars")), goal, workers=0)[1]


def test_indexing_to_a_folder_above_names_the_tars_below_it(tmp_path: Path) -> None:
    write_tar(tmp_path / "set/tars/train-0.tar", {"1": {"png": png(), "cls": b"0"}})
    index(tmp_path / "set/tars", out=str(tmp_path / "set"))
    assert DataSet(str(tmp_path / "set")).manifest.splits["train"]["all"].shards[0].name == "tars/train-0.tar"
    assert sample(tmp_path / "set", "1")[0].shape == (4, 5, 3)


def test_indexing_twice_says_so_and_a_change_needs_overwrite(tmp_path: Path) -> None:
    write_tar(tmp_path / "train-0.tar", {"1": {"png": png(), "cls": b"0"}})
    index(tmp_path)
    assert index_webdataset(webdatasets.IndexOptions(index=str(tmp_path)), workers=0)[1]
    write_tar(tmp_path / "train-1.tar", {"2": {"png": png(), "cls": b"1"}})
    with pytest.raises(DataError, match="--overwrite"):
        index(tmp_path)
    assert index(tmp_path, overwrite=True).splits["train"]["all"].samples == 2


@pytest.mark.parametrize("version", [1, 2])
def test_indexing_again_leaves_no_index_of_what_is_gone(version: int, tmp_path: Path) -> None:
    for number in range(2):
        write_tar(tmp_path / f"train-{number}.tar", {str(number): {"png": png(), "cls": b"0"}})
    index(tmp_path)
    if version == 1:
        as_version_1(tmp_path)
    (tmp_path / "train-1.tar").unlink()
    index(tmp_path, overwrite=True)
    assert set(sums(tmp_path)) == {"train-0.tar", "manifest.json", "index/train-0.npz"}


def test_indexing_again_removes_nothing_that_it_did_not_write(tmp_path: Path) -> None:
    """Whatever a manifest there names: a user's files, folders, or what links lead to."""
    write_tar(tmp_path / "set/train-0.tar", {"1": {"png": png(), "cls": b"0"}})
    index(tmp_path / "set")
    for name in ("else/notes.npz", "set/poses.npz", "set/mine.npz/x", "set/index/own.npz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"mine")
    (tmp_path / "set/link").symlink_to(tmp_path / "else")
    values = json.loads((tmp_path / "set/manifest.json").read_text())
    before = sums(tmp_path)
    for name in ("link/notes.npz", "mine.npz", "poses.npz", "index/own.npz"):
        values["splits"]["train"]["all"]["index"]["name"] = [name]
        (tmp_path / "set/manifest.json").write_text(json.dumps(values))
        index(tmp_path / "set", overwrite=True)
        assert {k: v for k, v in sums(tmp_path).items() if "manifest" not in k} == {
            k: v for k, v in before.items() if "manifest" not in k
        }


@pytest.mark.parametrize(
    "found", ["[" * 100_000, '{"made_by": 5}', '{"splits": {"train": {"all": {"index": {"name": [1]}}}}}']
)
def test_indexing_replaces_a_manifest_of_anything(found: str, tmp_path: Path) -> None:
    write_tar(tmp_path / "train-0.tar", {"1": {"png": png(), "cls": b"0"}})
    (tmp_path / "manifest.json").write_text(found)
    with pytest.raises(DataError, match="--overwrite"):
        index(tmp_path)
    assert index(tmp_path, overwrite=True).splits["train"]["all"].samples == 1
    with pytest.raises(DataError, match="a data set that was not written here"):
        put(tmp_path / "in/1.png", noise(4, 8, 3))
        (tmp_path / "manifest.json").write_text(found)
        shard("ab", tmp_path / "in", tmp_path)


def test_indexing_tars_of_long_names(tmp_path: Path) -> None:
    name = f"{'t' * 230}.tar"
    write_tar(tmp_path / name, {"1": {"png": png(), "cls": b"0"}})
    manifest = index(tmp_path)
    assert len(manifest.splits["train"]["all"].index.name[0]) < 50
    assert sample(tmp_path, "1")[0].shape == (4, 5, 3)


@pytest.mark.parametrize("what", ["file", "link"])
def test_sharding_without_room_for_indexes_is_one_error(what: str, tmp_path: Path) -> None:
    write_tar(tmp_path / "set/train-0.tar", {"1": {"png": png(), "cls": b"0"}})
    (tmp_path / "else").mkdir()
    if what == "file":
        (tmp_path / "set/index").write_bytes(b"mine")
    else:
        (tmp_path / "set/index").symlink_to(tmp_path / "else")
    with pytest.raises(DataError, match=f"found a {what} called index; expected room"):
        index(tmp_path / "set")
    put(tmp_path / "in/1.png", noise(4, 8, 3))
    (tmp_path / "set/train-0.tar").unlink()
    with pytest.raises(DataError, match=f"found a {what} called index; expected room"):
        shard("ab", tmp_path / "in", tmp_path / "set")


def test_data_set_whose_index_folder_is_a_file_is_one_error(tmp_path: Path) -> None:
    write_tar(tmp_path / "train-0.tar", {"1": {"png": png(), "cls": b"0"}})
    index(tmp_path)
    shutil.rmtree(tmp_path / "index")
    (tmp_path / "index").write_bytes(b"x")
    with pytest.raises(DataError, match="no such index"):
        DataSet(str(tmp_path)).check_shards("train")
    with pytest.raises(DataError, match="no such file"):
        DataSet(str(tmp_path)).rows("train").keys()


def test_sharding_makes_a_damaged_manifest_again(tmp_path: Path) -> None:
    put(tmp_path / "in/1.png", noise(4, 8, 3))
    shard("ab", tmp_path / "in", tmp_path / "out")
    before = sums(tmp_path / "out")
    values = json.loads((tmp_path / "out/manifest.json").read_text())
    (tmp_path / "out/manifest.json").write_text(json.dumps({**values, "fields": {}}))
    shard("ab", tmp_path / "in", tmp_path / "out")
    assert sums(tmp_path / "out") == before


@pytest.mark.parametrize("part", ["null", "[]", "5", "{}", '{"shard": 1}'])
def test_sharding_writes_parts_and_plans_of_any_form_again(part: str, tmp_path: Path) -> None:
    put(tmp_path / "in/1.png", noise(4, 8, 3))
    shard("ab", tmp_path / "in", tmp_path / "new", **ALL_TRAIN)
    (tmp_path / "out/_parts").mkdir(parents=True)
    (tmp_path / "out/_parts/plan.json").write_text(part)
    with pytest.raises(DataError, match="--overwrite") if part != "null" else nullcontext():
        shard("ab", tmp_path / "in", tmp_path / "out", **ALL_TRAIN)
    (tmp_path / "out/_parts").mkdir(parents=True, exist_ok=True)
    shard("ab", tmp_path / "in", tmp_path / "out", goal={"overwrite": True}, **ALL_TRAIN)
    assert sums(tmp_path / "out") == sums(tmp_path / "new")


@pytest.mark.parametrize("removed", [0, 1, 2, 5])
def test_sharding_goes_on_with_overwriting_that_was_stopped(
    removed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it is stopped while the old data set is taken away."""
    for number in range(6):
        put(tmp_path / f"in/{number}.png", noise(4, 8, 3))
    shard("ab", tmp_path / "in", tmp_path / "out", goal={"shard_samples": 1}, **ALL_TRAIN)
    new = {"shard_samples": 4}
    shard("ab", tmp_path / "in", tmp_path / "new", goal=new, **ALL_TRAIN)
    remove, calls = LocalFileSystem.rm, count()

    def dying(fs: LocalFileSystem, path: str, **options: Any) -> None:
        if next(calls) >= removed:
            raise KeyboardInterrupt
        remove(fs, path, **options)

    monkeypatch.setattr(LocalFileSystem, "rm", dying)
    with pytest.raises(KeyboardInterrupt):
        shard("ab", tmp_path / "in", tmp_path / "out", goal={**new, "overwrite": True}, **ALL_TRAIN)
    monkeypatch.undo()
    shard("ab", tmp_path / "in", tmp_path / "out", goal={**new, "overwrite": True}, **ALL_TRAIN)
    assert sums(tmp_path / "out") == sums(tmp_path / "new")


def test_sharding_writes_parts_of_an_earlier_release_again(tmp_path: Path) -> None:
    source, goal = folder_with_bad(tmp_path), {"shard_samples": 2}
    with pytest.raises(DataError):
        shard("classes", source, tmp_path / "out", goal=goal, **ALL_TRAIN)
    (tmp_path / "out/train-000000.tar").write_bytes(bytes(2048))
    old = {"shard": {"name": "train-000000.tar", "samples": 1, "bytes": 2048, "sha256": "0" * 64}, "keys": ["c/0"]}
    (tmp_path / "out/_parts/train-000000.tar.json").write_text(json.dumps(old))
    shard("classes", source, tmp_path / "out", goal={**goal, "bad": "skip"}, **ALL_TRAIN)
    shard("classes", source, tmp_path / "other", goal={**goal, "bad": "skip"}, **ALL_TRAIN)
    assert sums(tmp_path / "out") == sums(tmp_path / "other")


def test_sharding_never_replaces_an_indexed_webdataset(tmp_path: Path) -> None:
    write_tar(tmp_path / "train-000000.tar", {"1": {"png": png(), "cls": b"0"}})
    index(tmp_path)
    before = sums(tmp_path)
    with pytest.raises(DataError, match="not written here"):
        shard_glyphs(str(tmp_path), "labelled", 16, characters=5)
    goal = shards.ShardOptions(out=str(tmp_path), overwrite=True)
    put(tmp_path / "in/1.png", noise(4, 8, 3))
    with pytest.raises(DataError, match="not written here"):
        shard("ab", tmp_path / "in", tmp_path, goal={"overwrite": goal.overwrite})
    assert sums(tmp_path).items() >= before.items()


@pytest.mark.parametrize(
    ("samples", "says"),
    [
        ({"1": {"a.png": png(), "b.png": png()}, "2": {"a.png": png()}}, r"1 samples without a or b \(2\)"),
        ({"1": {"left.png": png()}}, "images named left"),
        ({"1": {"txt": b"x"}}, "images named nothing"),
        ({"1": {"png": b"x", "cls": b"0"}}, "cannot identify"),
        ({"1": {"png": png(), "json": b'{"x": "high"}'}}, "labels such as"),
        ({"1": {"png": png(), "cls": b"0"}, "2": {"png": png(1), "cls": b"0"}}, "1 channel of uint8"),
        ({"1": {"png": png()}}, "single images without json or cls"),
    ],
)
def test_indexing_refuses_webdatasets_that_cannot_be(tmp_path: Path, samples: dict[str, Any], says: str) -> None:
    write_tar(tmp_path / "train-0.tar", samples)
    with pytest.raises(UserError, match=says):
        index(tmp_path)
    assert not (tmp_path / "manifest.json").exists()


def test_indexing_refuses_compressed_damaged_and_missing_tars(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a folder without files"):
        index(tmp_path)
    with pytest.raises(DataError, match="nothing at that place"):
        index(tmp_path / "nowhere")
    write_tar(tmp_path / "train-0.tar", {"1": {"png": encode(noise(60, 60, 3), "png"), "cls": b"0"}})
    whole = (tmp_path / "train-0.tar").read_bytes()
    (tmp_path / "train-0.tar").write_bytes(whole[:2000])
    with pytest.raises(DataError, match="damaged tar"):
        index(tmp_path)
    (tmp_path / "train-1.tar.gz").touch()
    with pytest.raises(DataError, match=r"found 1 compressed tar \(train-1\.tar\.gz\), which cannot be read in parts"):
        index(tmp_path)


def test_indexing_leaves_unreadable_samples_out(tmp_path: Path) -> None:
    write_tar(tmp_path / "t.tar", {str(i): {"png": png() if i else b"x", "cls": b"0"} for i in range(3)})
    manifest = index(tmp_path, bad="skip")
    assert manifest.splits["train"]["all"].samples == 2
    assert manifest.made_by["left_out"] == ["t.tar 0: cannot identify it as an image"]
    assert sample(tmp_path, "2")[0].shape == (4, 5, 3)
