"""Sizes that are no squares, and the ways in which an image comes to the training size.

pytest tests/unit/test_cuts.py
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from i2i_core.config.data import DataConfig
from i2i_core.config.run import TrainConfig
from i2i_core.data.format.manifest import DataSet
from i2i_core.data.reading.stream import Stream, in_order
from i2i_core.data.reading.transforms import Augment, resized
from i2i_core.errors import ConfigError, DataError
from i2i_core.evaluation.judges.classifier import Classifier, train_classifier
from i2i_core.fields import Field
from i2i_core.images.codec import ImageOptions
from i2i_core.methods import METHODS, build_method
from i2i_core.orchestration import sharding
from i2i_core.orchestration.sharding import builtin_data
from i2i_core.runs.folder import RunFolder
from i2i_core.settings import differences
from i2i_core.sizes import FITS, Fit, Resizing, fitted, parsed_size
from i2i_core.sizes import said as said_size
from i2i_core.training import first_cut
from i2i_core.training.enlarging import caution
from i2i_core.training.preparing import prepare, warn
from pipelines import train

from ..support.data import noise, put, shard
from ..support.methods import Case, run, small, whole_batch

KEEPING: tuple[Fit, ...] = tuple(fit for fit in FITS if fit != "square")
WORDS = [123456789, 987654321, 0]


def disc(height: int, width: int, side: int = 60) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    inside = (2 * y + 1 - height) ** 2 + (2 * x + 1 - width) ** 2 < side**2
    return np.where(inside, 255, 0).astype(np.uint8)[..., None]


def extent(x_HWC: Any) -> tuple[int, int]:
    """Width and height of what is bright."""
    bright = np.asarray(x_HWC)[..., 0] > 127
    return int(bright.any(0).sum()), int(bright.any(1).sum())


# ---------------------------------------------------------------- cuts


@pytest.mark.parametrize("fit", KEEPING)
@pytest.mark.parametrize("stored", [(90, 160), (160, 90)])
@pytest.mark.parametrize("size", [64, (64, 96), (96, 64)])
def test_augment_keeps_discs_round_by_every_fit_but_square(fit: Fit, stored: tuple[int, int], size: Any) -> None:
    for load in (0, 80):
        if fit == "native" and load:
            continue
        augment = Augment(size, load, "center", False, 0, Resizing(fit))
        seen = augment({"image": disc(*stored, side=36)}, WORDS)["image"]
        wide, high = extent(seen)
        assert seen.shape[:2] == ((size, size) if isinstance(size, int) else size)
        assert wide == pytest.approx(high, abs=1)
        assert wide >= 14


def test_augment_makes_ellipses_of_discs_where_images_are_stretched() -> None:
    seen = Augment(64, 72, "center", False, 0, Resizing("square"))({"image": disc(90, 160)}, WORDS)["image"]
    assert extent(seen) == pytest.approx((27, 48), abs=1)


def test_fitted_of_every_fit_by_hand() -> None:
    """A 160x90 image, height first: 90 x 160."""
    assert fitted(90, 160, 45, "width", 20) == (25, 45)
    assert fitted(90, 160, 45, "width", 45) == (45, 80), "too low for the cut: its height decides"
    assert fitted(90, 160, (60, 120), "width", (50, 100)) == (68, 120)
    assert fitted(90, 160, 64, "native") == (90, 160)
    assert fitted(90, 160, 180, "native") == (180, 320), "enlarged until it covers"
    assert fitted(90, 160, 64, "pad") == (36, 64)
    assert fitted(160, 90, (32, 64), "pad") == (32, 18)


def test_pad_keeps_the_whole_image_in_the_middle_of_black() -> None:
    x = np.full((90, 160, 3), 200, np.uint8)
    for dtype, blank in ((np.uint8, 0), (np.float32, -1)):
        seen = Augment(64, 0, "random", False, 0, Resizing("pad"))({"image": x.astype(dtype)}, WORDS)["image"]
        assert (seen[14:50] != blank).all()
        assert (seen[:14] == blank).all()
        assert (seen[50:] == blank).all()
    judged = resized(torch.from_numpy(x).permute(2, 0, 1), 64, Resizing("pad"))
    assert torch.equal(judged.amax((0, 2)) > 0, torch.arange(64).sub(31.5).abs() < 18)


@pytest.mark.parametrize("fit", FITS)
def test_resized_sees_what_the_middle_crop_sees(fit: Fit) -> None:
    """Where images are judged, and in training."""
    x = noise(45, 80, 3)
    seen = Augment((24, 32), 0, "center", False, 0, Resizing(fit))({"image": x}, WORDS)["image"]
    judged = resized(torch.from_numpy(x).permute(2, 0, 1), (24, 32), Resizing(fit))
    assert np.array_equal(judged.permute(1, 2, 0).numpy(), seen)


ROLES = {
    "image": Field("png", 1, "uint8", 0, 0),
    "labels": Field("png", 1, "uint8", 0, 0, "classes", classes=5, ignore=255),
    "objects": Field("png", 1, "uint8", 0, 0, "instances"),
    "depth": Field("npy", 1, "float32", 0, 0, "map", low=0.5, high=9.0),
    "flow": Field("npy", 2, "float32", 0, 0, "map", kind="flow"),
    "pose": Field("npy", 0, "float32", 0, 0, "vector", kind="points", shape=(2, 3)),
    "boxes": Field("json", 0, "float32", 0, 0, "boxes"),
}


def test_pad_places_every_role_as_by_hand() -> None:
    """A 2 x 4 picture into 4 x 4, mirrored: a row of padding above and below."""
    ids = np.array([[1, 2, 3, 4], [4, 3, 2, 1]], np.uint8)[..., None]
    sample: dict[str, Any] = {
        "image": ids * 50, "labels": ids, "objects": ids, "depth": ids.astype(np.float32),
        "flow": np.ones((2, 4, 2), np.float32),
        "pose": np.array([[1.5, 0.5, 1], [9, 0.5, 1]], np.float32),
        "boxes": np.array([[0, 0, 1, 2, 7]], np.float32),
    }  # fmt: skip
    seen: dict[str, Any] = Augment(4, 0, "center", True, 0, Resizing("pad"))(sample, [0, 0, 1], ROLES)
    middle = [[4, 3, 2, 1], [1, 2, 3, 4]]

    def padded(blank: float, rows: Any = middle) -> list[list[float]]:
        return [[blank] * 4, *rows, [blank] * 4]

    assert seen["labels"][..., 0].tolist() == padded(255)
    assert seen["objects"][..., 0].tolist() == padded(0)
    assert seen["depth"][..., 0].tolist() == padded(0.5)
    assert (seen["image"][..., 0] / 50).tolist() == padded(0)
    assert seen["flow"][..., 0].tolist() == padded(0, [[-1] * 4] * 2)
    assert seen["pose"].tolist() == [[2.5, 1.5, 1], [-5, 1.5, 0]]
    assert seen["boxes"].tolist() == [[3, 1, 4, 3, 7]]


@pytest.mark.parametrize("fit", ["shorter", "native", "width", "pad"])
def test_augment_keeps_a_coarser_map_on_its_picture(fit: Fit) -> None:
    """161 x 91 and 80 x 45 have not the same ratio to the pixel, and would be cut at other places."""
    picture, coarse = disc(91, 161), (disc(45, 80, 30) > 0).astype(np.uint8)
    fields = {name: ROLES[name] for name in ("image", "labels")}
    for draw in range(25):
        augment = Augment(48, 0 if fit == "native" else 60, "random", True, 0, Resizing(fit))
        seen: dict[str, Any] = augment({"labels": coarse, "image": picture}, [draw, draw * 7, draw], fields)
        agree = (seen["image"] > 127) == (seen["labels"] == 1)
        assert agree.mean() > 0.93, draw


def test_fit_native_cuts_stored_pixels() -> None:
    x = noise(40, 50, 3)
    seen = Augment((16, 32), 0, "random", False, 0, Resizing("native"))({"image": x}, WORDS)["image"]
    top, left = WORDS[0] % 25, WORDS[1] % 19
    assert np.array_equal(seen, x[top : top + 16, left : left + 32])


def test_crop_none_shows_the_middle_at_the_image_size() -> None:
    x = disc(90, 160)
    none = Augment(64, 72, "none", False, 0, Resizing("shorter"))({"image": x}, WORDS)["image"]
    center = Augment(64, 0, "center", False, 0, Resizing("shorter"))({"image": x}, WORDS)["image"]
    assert np.array_equal(none, center)


@pytest.mark.parametrize("given", [{"crop": "none"}, {"load_size": 72}])
def test_fit_native_is_refused_with_a_resize_and_its_advice_is_taken(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="--fit: found native with --") as refused:
        DataConfig(fit="native", **given)
    assert "Give --crop random or center, and --load-size 0; or --fit shorter" in refused.value.fix
    assert DataConfig(fit="native", crop="center", load_size=0).resizing.fit == "native"
    assert DataConfig(fit="shorter", **given).resizing.fit == "shorter"


def test_presets_of_the_pix2pix_family_alone_stretch() -> None:
    """As their authors' programs do: resize_and_crop."""
    stretched = {
        (name, preset)
        for name, entry in METHODS.items()
        for preset in entry.presets
        if TrainConfig.of(name, preset).data.fit == "square"
    }
    family = ("pix2pix", "cyclegan", "bicyclegan", "cvae_gan", "clr_gan", "pix2pix_noise")
    family += ("bigan", "pixel_gan", "feature_gan")
    assert stretched == {(name, preset) for name in family for preset in ("paper", "reference")}


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Discs in 160 x 90 images of two classes, stored with `--load-size 72`, which keeps their shape."""
    folder = tmp_path_factory.mktemp("wide")
    for name in ("x/1", "x/2", "y/3", "y/4"):
        put(folder / f"in/{name}.png", disc(90, 160))
    shard("classes", folder / "in", folder / "out", ImageOptions(load_size=72), split=(1.0, 0.0, 0.0))
    return str(folder / "out")


def test_stream_of_images_that_were_stored_smaller_shows_round_discs(wide: str) -> None:
    data = DataSet(wide)
    assert (data.manifest.fields["image"].height, data.manifest.fields["image"].width) == (72, 128)
    batch = Stream(data, DataConfig(uri=wide, crop="center"), 64, 4, 0).read(0, 0, 4)
    judged = next(in_order(data, "train", 64, resizing=DataConfig().resizing))["image"]
    for image in (*batch.fields["image"], *((judged + 1) * 127.5)):
        assert extent(image.permute(1, 2, 0)) == pytest.approx((43, 43), abs=1)


def test_classifier_of_images_that_are_no_squares_learns_from_their_whole(
    wide: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disc of 24 px in 64 x 32, seen in 32 x 32 as what a method makes of it is: half as wide."""
    seen: list[torch.Tensor] = []
    forward = Classifier.forward
    monkeypatch.setattr(Classifier, "forward", lambda self, x: seen.append(x) or forward(self, x))
    classifier = train_classifier(DataSet(wide), image_size=(32, 64), resizing=Resizing("shorter"), seen=8)
    assert classifier.info.cut == (32, 64)
    for image in torch.cat(seen):
        assert extent(((image + 1) * 127.5).permute(1, 2, 0)) == pytest.approx((12, 24), abs=1)
    assert classifier.fits(DataSet(wide), (32, 64), resizing=Resizing("shorter"))
    assert not classifier.fits(DataSet(wide), 32, resizing=Resizing("shorter"))
    assert classifier.judge(torch.zeros(1, 1, 32, 64)).shape == (1, 2)


# ---------------------------------------------------------------- what the log says


def config_at(data: str, tmp_path: Path, method: str = "stargan", preset: str = "demo", **values: Any) -> TrainConfig:
    over = {name.replace("__", "."): value for name, value in values.items()}
    given = {"data.uri": data, "launch.storage": str(tmp_path / "runs"), "training.images": 32, "training.batch": 4}
    return TrainConfig.of(method, preset, {**given, **over})


SAID: list[tuple[dict[str, Any], str]] = [
    ({}, "scaled to 57x32, 32x32 cut out of the middle"),
    (
        {"crop": "random", "load_size": 36, "flip": True},
        "scaled to 64x36, 32x32 cut out at random, mirrored half the time",
    ),
    ({"fit": "pad"}, "scaled to 32x18, padded to 32x32"),
    ({"fit": "pad", "crop": "random", "load_size": 40}, "scaled to 40x22, padded to 40x32, 32x32 cut out at random"),
    ({"fit": "native", "crop": "center"}, "not resized, 32x32 cut out of the middle"),
    ({"fit": "width", "crop": "random", "load_size": 80}, "scaled to 80x45, 32x32 cut out at random"),
]  # fmt: skip


@pytest.mark.parametrize(("values", "words"), SAID)
def test_first_cut_says_what_is_done_with_numbers(wide: str, values: Any, words: str, tmp_path: Path) -> None:
    config = config_at(wide, tmp_path, **{f"data__{name}": value for name, value in values.items()})
    cut = first_cut.of(config, [DataSet(wide)])
    assert cut is not None
    assert cut.words == f"first image 128x72: {words}"


def test_first_cut_warns_of_distortion_and_its_advice_keeps_shapes(wide: str, tmp_path: Path, said: list[str]) -> None:
    config = prepare(config_at(wide, tmp_path, data__fit="square"))
    warn(config)
    (line,) = [line for line in said if "first image" in line]
    assert line.startswith(
        "WARNING: first image 128x72: stretched to 32x32, which makes everything in it 1.78 times narrower"
    )
    said.clear()
    (flag, fit) = re.findall(r"--(fit) (\w+)", line)[0]
    warn(config.with_section("data", **{flag: fit}))
    (line,) = [line for line in said if "first image" in line]
    assert line.startswith("first image 128x72: scaled to 57x32")


def test_caution_of_enlarged_images_advises_a_size_of_the_runs_shape(tmp_path: Path) -> None:
    for name in "1", "2":
        put(tmp_path / f"in/{name}.png", noise(48, 160, 3))
    shard("ab", tmp_path / "in", tmp_path / "out", split=(1.0, 0.0, 0.0))
    data = DataSet(str(tmp_path / "out"))
    config = config_at(data.uri, tmp_path, "cyclegan", "paper", hyper__image_size=(128, 256), data__load_size=0)
    said = caution(config, [data])
    size = re.findall(r"--image-size (\S+)", said)
    assert size == ["80x40"]
    assert not caution(config.with_section("hyper", image_size=parsed_size(size[0])), [data])


# ---------------------------------------------------------------- sizes


@pytest.mark.parametrize("size", [(16, 32), (32, 16)])
@pytest.mark.parametrize("method", METHODS)
def test_update_of_every_method_takes_images_that_are_no_squares(method: str, size: tuple[int, int]) -> None:
    case = Case(method, batch=2, updates=1, hyper={"image_size": size})
    found = run(case)
    assert all(torch.isfinite(value).all() for value in found.values())
    made = small(case)
    assert {field.shape[-2:] for field in whole_batch(made, 2, 0).fields.values()} == {size}


def test_stargans_discriminator_spans_an_image_that_is_no_square() -> None:
    D = build_method("stargan", "paper", image_size=(128, 256), d_base=2, g_base=2).networks["D"]
    assert D.classes.weight.shape[-2:] == (2, 4)
    with pytest.raises(ValueError, match="images of 256 x 128; this discriminator was built for 128 x 256"):
        D(torch.zeros(1, 3, 256, 128))


REFUSED: list[tuple[str, list[str], str]] = [
    ("pix2pix", ["400"], "found 400; expected a multiple of 256"),
    ("pix2pix", ["512x400"], "found 512x400; expected of each side a multiple of 256"),
    ("pix2pix", ["250"], "Give --image-size 128 or 256."),
    ("cyclegan", ["66x64"], "found 66x64; expected of each side a multiple of 4"),
    ("cyclegan", ["64x20"], "found 64x20; expected at least 24 for a receptive field"),
    ("unit", ["64x30"], "found 64x30; expected of each side a multiple of 4"),
    ("stargan", ["128x96"], "found 128x96; expected of each side a multiple of 64"),
    ("bicyclegan", ["256x192"], "found 256x192; expected of each side a multiple of 128"),
    ("bicyclegan", ["32x256", "--downs", "5"], "found 32x256; expected at least 48 for two scales"),
    ("simgan", ["0"], "found 0; expected sides of 1 pixel or more"),
]


@pytest.mark.parametrize(("method", "size", "said"), REFUSED)
def test_image_size_that_a_network_cannot_take_is_refused_and_advice_is_taken(
    method: str, size: list[str], said: str
) -> None:
    """Every size of the advice, and every other flag of it, is taken as it is written."""
    at = ["--method", method, "--preset", "paper"]
    with pytest.raises(ConfigError) as refused:
        train.configure([*at, "--image-size", *size])
    assert said in str(refused.value)
    sizes = re.search(r"--image-size (\d+(?:x\d+)?)(?: or (\d+(?:x\d+)?))?", refused.value.fix)
    for advised in filter(None, sizes.groups() if sizes else ()):
        least = advised if "or more" not in refused.value.fix else f"{advised}x{int(advised) * 8}"
        rest = size[1:] if method != "bicyclegan" or not size[1:] else ["--downs", "4"]
        train.configure([*at, "--image-size", least, *rest])
    for flag, value in re.findall(r"or (--downs) (\d+)", refused.value.fix):
        assert train.configure([*at, "--image-size", *size, flag, value]).run.hyper.g_downs == int(value)


def test_unet_of_400_px_is_advised_four_downs() -> None:
    with pytest.raises(ConfigError, match="Give --image-size 256 or 512; or --downs 4"):
        TrainConfig.of("pix2pix", "paper", {"hyper.image_size": 400})


def test_image_size_is_written_as_it_is_read(tmp_path: Path) -> None:
    """On the command line, in JSON, in YAML; squares as a number, as earlier releases wrote them."""
    at = ["--method", "cyclegan", "--preset", "demo"]
    made = train.configure([*at, "--image-size", "64x32"]).run
    assert made.image_size == (32, 64)
    assert json.loads(made.dumps())["hyper"]["image_size"] == "64x32"
    assert TrainConfig.loads(made.dumps(), "config.json") == made
    (tmp_path / "c.yaml").write_text(yaml.safe_dump({"hyper": {"image_size": "64x32"}}))
    assert train.configure([*at, "--config", str(tmp_path / "c.yaml")]).run.image_size == (32, 64)
    for square in ("64", "64x64"):
        assert json.loads(train.configure([*at, "--image-size", square]).run.dumps())["hyper"]["image_size"] == 64
    again = TrainConfig.of("cyclegan", "demo", {"hyper.image_size": (64, 64)})
    assert again.run_name == TrainConfig.of("cyclegan", "demo", {"hyper.image_size": 64}).run_name
    assert differences(made, again)[0] == "hyper.image_size: saved '64x32', now 64"


@pytest.mark.parametrize("wrong", ["64x", "x64", "64x32x3", "64×32", "-64", "6.4", "9" * 30, "big"])
def test_image_size_of_another_form_is_refused(wrong: str) -> None:
    at = ["--method", "cyclegan", "--preset", "demo"]
    with pytest.raises(ConfigError, match="--image-size") as refused:
        train.configure([*at, f"--image-size={wrong}"])
    assert "512x256" in refused.value.fix
    train.configure([*at, *re.findall(r"--image-size 512x256", refused.value.fix)[0].split()])
    with pytest.raises(ConfigError, match=r"hyper\.image_size"):
        TrainConfig.of("cyclegan", "demo", {"hyper.image_size": wrong})


@pytest.mark.parametrize("size", [64, (32, 64), (9000, 1)])
def test_parsed_size_reads_what_said_writes(size: Any) -> None:
    assert parsed_size(said_size(size)) == size


def test_image_size_above_the_largest_is_refused() -> None:
    with pytest.raises(ConfigError, match="--image-size"):
        TrainConfig.of("cyclegan", "demo", {"hyper.image_size": "64x9004"})


def test_glyphs_are_squares_and_the_advice_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="--image-size: found 64x16, without --data; expected a square") as refused:
        builtin_data("paired", (16, 64), {}, sketch=True)
    assert "Give --image-size 16, or --fit pad" in refused.value.fix
    drawn: list[int] = []
    manifest = SimpleNamespace(describe=lambda: "")
    monkeypatch.setattr(sharding, "shard_glyphs", lambda out, kind, size: drawn.append(size) or (manifest, False))
    builtin_data("paired", 16, {})
    builtin_data("paired", (16, 64), {}, fit="pad")
    assert drawn == [16, 16]


# ---------------------------------------------------------------- earlier releases


def version_2(config: TrainConfig, **data: Any) -> dict[str, Any]:
    """A configuration as version 2 saved it."""
    values = json.loads(config.dumps())
    return {**values, "data": {**values["data"], "fit": "square", **data}, "version": 2}


def test_loads_reads_sizes_of_version_2() -> None:
    values = version_2(TrainConfig.of("simgan", "paper", {"training.stages": ("images=8 size=40x60", "size=32")}))
    values["hyper"] |= {"image_size": 40, "image_width": 60}
    read = TrainConfig.loads(json.dumps(values), "config.json")
    assert read.image_size == (40, 60)
    assert [stage.size for stage in read.training.parsed_stages] == [(40, 60), 32]
    values["hyper"] |= {"image_size": 32, "image_width": 0}
    assert TrainConfig.loads(json.dumps(values), "config.json").image_size == 32
    assert TrainConfig.loads(read.dumps(), "config.json") == read


def test_filled_reads_a_part_of_version_2_as_it_was_meant(tmp_path: Path) -> None:
    """What it leaves out came from the preset, and the fit was square unless the preset had another."""
    for preset, values, size, fit in (
        ("paper", {"hyper": {"image_width": 60}, "version": 2}, (35, 60), "square"),
        ("paper_hands", {"hyper": {"image_size": 64}, "version": 2}, 64, "square"),
        ("paper", {"hyper": {"image_size": 40}, "version": 2}, (40, 55), "square"),
        ("paper", {"hyper": {"image_size": 40, "image_width": 60}}, (40, 60), "shorter"),
        ("paper", {"hyper": {"image_size": 40}}, 40, "shorter"),
    ):
        (tmp_path / "part.json").write_text(json.dumps(values))
        made = train.configure(["--method", "simgan", "--preset", preset, "--config", str(tmp_path / "part.json")]).run
        assert (made.image_size, made.data.fit) == (size, fit), values


NAMES_OF_VERSION_2 = {
    ("simgan", "demo"): "simgan-demo-data-a5f92419",
    ("simgan", "paper"): "simgan-paper-data-fa27b7ad",
    ("stargan", "demo"): "stargan-demo-data-9cec4651",
    ("pix2pix", "demo"): "pix2pix-demo-data-89219109",
    ("cyclegan", "paper"): "cyclegan-paper-data-3e73b669",
}
"""As the last program of version 2 made them of `--data /x/data`."""


@pytest.mark.parametrize("of", NAMES_OF_VERSION_2)
def test_name_with_fit_is_the_recorded_one(of: tuple[str, str]) -> None:
    config = TrainConfig.of(*of, {"data.uri": "/x/data"})
    assert config.name_with_fit == NAMES_OF_VERSION_2[of]
    assert (config.run_name == config.name_with_fit) == (config.data.fit == "square")


def test_run_of_version_2_goes_on_with_its_fit_by_the_same_command(wide: str, tmp_path: Path, said: list[str]) -> None:
    """Whether its folder was named or not; a run of today with `--fit square` is no such run."""
    prepared = prepare(config_at(wide, tmp_path))
    assert prepared.data.fit == "shorter"
    assert prepared.run_name == prepared.with_section("launch", name="").run_name
    old = prepared.with_section("data", fit="square", lanes=4)
    for name in (prepared.name_with_fit, "mine"):
        run = RunFolder(f"{tmp_path}/runs/{name}")
        run.write(RunFolder.CONFIG, json.dumps(version_2(old)).encode())
    again = prepare(config_at(wide, tmp_path))
    assert (again.run_name, again.data.fit) == (prepared.name_with_fit, "square")
    assert any("began with --fit square, the default of its release, and goes on with it" in line for line in said)
    assert prepare(config_at(wide, tmp_path, launch__name="mine")).data.fit == "square"
    assert prepare(config_at(wide, tmp_path, launch__name="other")).data.fit == "shorter"
    RunFolder(f"{tmp_path}/runs/{prepared.name_with_fit}").write(RunFolder.CONFIG, old.dumps().encode())
    assert prepare(config_at(wide, tmp_path)).run_name == prepared.run_name


def test_stage_refuses_a_shape_of_a_network_made_for_one(wide: str, tmp_path: Path) -> None:
    stages = ("images=8 size=32x16", "")
    with pytest.raises((ConfigError, DataError), match=r"size=32x16; expected 32"):
        prepare(config_at(wide, tmp_path, training__stages=stages))
