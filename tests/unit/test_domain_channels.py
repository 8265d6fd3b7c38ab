"""Grey images in one domain and colour in the other: sharded so when asked, trained on where the networks allow it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from i2i_core.config.translation import TranslateOptions
from i2i_core.data.format.manifest import DataSet, Manifest
from i2i_core.data.reading.stream import in_order
from i2i_core.errors import ConfigError, DataError
from i2i_core.evaluation.judges.classifier import check_trainable
from i2i_core.fields import Field, Needs, contradictions
from i2i_core.images.codec import ImageOptions
from i2i_core.methods import build_from
from i2i_core.networks.patchgan import patch_discriminator
from i2i_core.networks.resnet import ResNetGenerator
from i2i_core.orchestration.translating import translate

from ..support.data import noise, put, sample, shard
from ..support.runs import config_of, loop_of
from ..support.translating import files, pixels, untrained

APART = ImageOptions(channels=1, channels_b=3)
SIDE = 16


def domains(root: Path, a: int = 1, b: int = 3, number: int = 3) -> Path:
    for split in ("train", "test"):
        for domain, channels in (("A", a), ("B", b)):
            for i in range(number):
                put(root / f"in/{split}{domain}/{i}.png", noise(SIDE, SIDE, channels))
    return root / "in"


def made(root: Path, images: ImageOptions | None = APART, out: str = "out", **options: Any) -> Manifest:
    source = root / "in" if (root / "in").exists() else domains(root)
    return shard("unpaired", source, root / out, images, goal={"shard_samples": 2}, **options)


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = tmp_path_factory.mktemp("domains")
    made(root)
    return str(root / "out")


def test_domains_keep_channels_of_their_own_when_asked(apart: str) -> None:
    manifest = DataSet(apart).manifest
    field = manifest.fields["image"]
    assert (field.channels, field.channels_b) == (1, 3)
    assert [manifest.fields_in(domain)["image"].channels for domain in "AB"] == [1, 3]
    assert sample(apart, "0", "train", "A")[0].shape == (SIDE, SIDE, 1)
    assert sample(apart, "0", "train", "B")[0].shape == (SIDE, SIDE, 3)
    assert "in B x3" in manifest.describe()


@pytest.mark.parametrize(("keep", "a", "b"), [(False, 3, 1), (True, 4, 2)])
def test_domains_turned_and_with_transparency(tmp_path: Path, keep: bool, a: int, b: int) -> None:
    images = ImageOptions(channels=3, channels_b=1, keep_alpha=keep)
    field = made(tmp_path, images, direction="BtoA").fields["image"]
    assert (field.channels, field.channels_b) == (a, b)
    assert sample(tmp_path / "out", "0", "train", "A")[0].shape[2] == a
    assert sample(tmp_path / "out", "0", "train", "B")[0].shape[2] == b


def test_domains_without_the_flag_are_stored_alike_as_before(tmp_path: Path) -> None:
    manifest = made(tmp_path, None)
    assert (manifest.fields["image"].channels, manifest.fields["image"].channels_b) == (3, 0)
    assert "channels_b" not in json.dumps(manifest.made_by)
    assert "channels_b" not in (tmp_path / "out/manifest.json").read_text()
    same = made(tmp_path, ImageOptions(channels=3, channels_b=3), "same")
    assert same.fields == manifest.fields


@pytest.mark.parametrize("layout", ["pairs", "ab"])
def test_channels_b_of_pairs_are_those_of_field_b(tmp_path: Path, layout: str) -> None:
    put(tmp_path / "in/x/1.png", noise(4, 8, 3))
    if layout == "pairs":
        put(tmp_path / "in/y/1.png", noise(4, 8, 3))
    fields = shard(layout, tmp_path / "in", tmp_path / "out", APART, split=(1.0, 0.0, 0.0)).fields
    assert (fields["a"].channels, fields["b"].channels, fields["b"].channels_b) == (1, 3, 0)


def test_channels_b_are_refused_where_there_is_no_b(tmp_path: Path) -> None:
    put(tmp_path / "in/c/1.png", noise(4, 4, 3))
    put(tmp_path / "in/d/1.png", noise(4, 4, 3))
    with pytest.raises(ConfigError, match="--channels-b"):
        shard("classes", tmp_path / "in", tmp_path / "out", APART)
    with pytest.raises(ConfigError, match="--channels 1 --channels-b 3") as refused:
        ImageOptions(channels_b=3)
    assert refused.value.found == "3 without --channels"


def test_manifest_refuses_channels_of_a_domain_that_is_not_there(apart: str, tmp_path: Path) -> None:
    field = Field("png", 1, "uint8", 4, 4, channels_b=3)
    assert not [*contradictions(field)]
    assert [*contradictions(dataclasses.replace(field, channels_b=-1))]
    assert [*contradictions(dataclasses.replace(field, channels_b=10**6))]
    assert [*contradictions(dataclasses.replace(field, role="map", channels_b=3))]
    put(tmp_path / "in/c/1.png", noise(4, 4, 3))
    shard("classes", tmp_path / "in", tmp_path / "out", split=(1.0, 0.0, 0.0))
    path = tmp_path / "out/manifest.json"
    path.write_text(path.read_text().replace('"channels": 3', '"channels": 3, "channels_b": 1'))
    with pytest.raises(DataError, match="channels of a second domain"):
        DataSet(str(tmp_path / "out"))


@pytest.mark.parametrize(("direction", "a", "b"), [("AtoB", 1, 3), ("BtoA", 3, 1)])
def test_stream_gives_each_domain_its_channels(apart: str, direction: Any, a: int, b: int) -> None:
    needs = Needs({"image": "image"}, domains=2)
    (batch, *_) = in_order(DataSet(apart), "train", SIDE, most=3, size=3, direction=direction, needs=needs)
    assert batch["a"].shape == (3, a, SIDE, SIDE)
    assert batch["b"].shape == (3, b, SIDE, SIDE)


def test_cyclegan_networks_have_the_channels_of_their_domains(apart: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--lambda-id 0"):
        config_of("cyclegan", apart, str(tmp_path), hyper__lambda_id=0.5)
    k = config_of("cyclegan", apart, str(tmp_path), hyper__lambda_id=0.0).hyper
    networks = build_from("cyclegan", k).networks
    count = {name: sum(p.numel() for p in network.parameters()) for name, network in networks.items()}
    how = (k.g_base, k.g_blocks, k.norm, k.upsample)
    expected = {"G": ResNetGenerator(1, 3, *how), "F": ResNetGenerator(3, 1, *how)}
    expected |= {
        name: patch_discriminator(k.receptive_field, channels, k.d_base, k.norm)
        for name, channels in (("D_X", 1), ("D_Y", 3))
    }
    assert count == {name: sum(p.numel() for p in network.parameters()) for name, network in expected.items()}


@pytest.mark.parametrize("method", ["unit", "simgan"])
def test_methods_that_read_both_domains_refuse_and_the_advice_works(method: str, apart: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="domains of 1 and 3 channels") as refused:
        config_of(method, apart, str(tmp_path))
    assert "--channels 3, without --channels-b" in refused.value.fix
    made(tmp_path, ImageOptions(channels=3))
    assert config_of(method, str(tmp_path / "out"), str(tmp_path)).hyper.channels == 3


def test_classifier_of_domains_refuses_other_channels(apart: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="domains of 1 and 3 channels"):
        check_trainable(DataSet(apart))
    made(tmp_path, ImageOptions(channels=3))
    check_trainable(DataSet(str(tmp_path / "out")))


def test_loop_on_grey_and_colour_trains_measures_and_shows_both(apart: str, tmp_path: Path) -> None:
    loop = loop_of(
        config_of(
            "cyclegan",
            apart,
            str(tmp_path),
            hyper__lambda_id=0.0,
            training__images=2,
            training__batch=2,
            monitoring__evaluate_every=2,
            monitoring__evaluate_split="test",
            monitoring__evaluate_samples=2,
        )
    )
    loop.train()
    assert all(torch.isfinite(p).all() for p in loop.method.parameters())
    grid = loop.measuring._made()
    assert [grid[title].shape[1] for title in ("source x", "translation G(x)", "source y", "translation F(y)")] == [
        1,
        3,
        3,
        1,
    ]
    assert loop.state.evaluations.entries


@pytest.mark.parametrize(("back", "channels"), [(False, 3), (True, 1)])
def test_translate_gives_the_other_domains_channels(apart: str, tmp_path: Path, back: bool, channels: int) -> None:
    run = untrained("cyclegan", apart, tmp_path, hyper__lambda_id=0.0)
    translate(run, TranslateOptions(input=apart, out=str(tmp_path / "out"), split="test", back=back))
    (name, *_) = [name for name in files(tmp_path / "out") if name.endswith("0.png")]
    shape = pixels(files(tmp_path / "out")[name]).shape
    assert shape[:2] == (SIDE, SIDE)
    assert (shape[2] if len(shape) > 2 else 1) == channels
    with pytest.raises(ConfigError, match="--shards"):
        translate(run, TranslateOptions(input=apart, out=str(tmp_path / "x"), split="test", back=back, shards=True))


def test_domains_of_old_manifests_read_as_before(tmp_path: Path) -> None:
    """An entry without channels_b is one number for both."""
    made(tmp_path, ImageOptions(channels=3))
    manifest = DataSet(str(tmp_path / "out")).manifest
    assert manifest.fields_in("A") == manifest.fields_in("B") == manifest.fields
    assert np.array_equal(sample(tmp_path / "out", "0", "train", "A")[0].shape, (SIDE, SIDE, 3))


@pytest.mark.parametrize(("direction", "a", "b"), [("AtoB", 1, 3), ("BtoA", 3, 1)])
def test_needs_describe_the_field_of_each_side(apart: str, direction: str, a: int, b: int) -> None:
    """By this, evaluation compares a data set with a checkpoint's networks."""
    needs, manifest = Needs({"image": "image"}, domains=2), DataSet(apart).manifest
    found = [needs.field(manifest, side, direction) for side in "ab"]
    assert [field and field.channels for field in found] == [a, b]
