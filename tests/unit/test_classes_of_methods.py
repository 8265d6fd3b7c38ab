"""Classes and attributes from folders to methods: odd names are asked for again, and one class is refused."""

from __future__ import annotations

import shlex
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from i2i_core.config.methods.stargan import StarGANConfig
from i2i_core.errors import ConfigError, DataError
from i2i_core.fields import Field, Schema
from i2i_core.methods.stargan import StarGAN
from i2i_core.translation.targets import parse_target

from ..support.data import index, noise, png, put, shard, write_tar

IMAGE = {"image": Field("png", 3, "uint8", 4, 4)}
ODD = ("Smith, John", "long hair", "+plus", "-minus", 'say "x"', "Café", "none", "a,b", "a", "b")
WHOLE = (1.0, 0.0, 0.0)


def folders(root: Path, *names: str) -> Path:
    for name in names:
        put(root / name / "1.png", noise(4, 4, 3))
    return root


def test_target_takes_every_name_that_sharding_takes(tmp_path: Path) -> None:
    manifest = shard("classes", folders(tmp_path / "in", *ODD), tmp_path / "out", split=WHOLE)
    names = manifest.attributes
    assert set(names) == set(ODD)
    with pytest.raises(ConfigError) as refused:
        parse_target("", names, True)
    word = shlex.split(refused.value.fix.partition("--target ")[2].removesuffix("."))[0]
    assert parse_target(word, names, True).on == (names[0],), "the advised command"
    for name in ODD:
        typed = name if name not in ("+plus", "-minus") else f'"{name}"'
        assert parse_target(typed, names, True).on == (name,)
        other = "a" if name != "a" else "b"
        assert StarGAN.fit(StarGANConfig(attributes=(typed, other)), manifest, "AtoB").attributes == (name, other)
    assert '"Smith, John"' in manifest.describe()


def test_target_changes_attributes_with_commas_by_their_signs() -> None:
    names = ("Smith, John", "bold")
    assert parse_target("+Smith, John,-bold", names, False).label(np.array([0, 1], np.uint8)).tolist() == [1, 0]
    assert parse_target('+"Smith, John"', names, False).label(np.array([0, 1], np.uint8)).tolist() == [1, 1]
    with pytest.raises(ConfigError, match='attributes: "Smith, John", bold'):
        parse_target("Smith", names, False)


def test_stargan_keeps_attributes_that_it_was_given_in_a_list() -> None:
    schema = Schema(IMAGE, ("a", "Smith, John", "b"))
    for given in (("a,b",), ("a", "b"), ("a, b",)):
        assert StarGAN.fit(StarGANConfig(attributes=given), schema, "AtoB").attributes == ("a", "b")
    fitted = StarGAN.fit(StarGANConfig(attributes=("Smith, John", "a")), schema, "AtoB")
    assert fitted.attributes == ("Smith, John", "a")
    assert StarGAN.fit(fitted, schema, "AtoB") == fitted, "a resumed run fits again"
    with pytest.raises(DataError, match="'c'"):
        StarGAN.fit(StarGANConfig(attributes=("a,c",)), schema, "AtoB")


def test_classes_that_look_alike_are_refused_and_one_name_makes_them_one(tmp_path: Path) -> None:
    source = folders(tmp_path / "in", "train/Cat", "train/dog", "val/cat", "val/dog")
    with pytest.raises(DataError, match="'Cat' and 'cat'") as refused:
        shard("classes", source, tmp_path / "out")
    assert "give both folders the same name" in refused.value.fix
    (source / "val/cat").rename(source / "val/Cat")
    assert shard("classes", source, tmp_path / "out").attributes == ("Cat", "dog")


def test_classes_are_named_alike_on_every_machine(tmp_path: Path) -> None:
    parted, composed = unicodedata.normalize("NFD", "Café"), "Café"
    manifest = shard("classes", folders(tmp_path / "in", parted, "bar"), tmp_path / "out", split=WHOLE)
    assert manifest.attributes == (composed, "bar") or manifest.attributes == ("bar", composed)
    folders(tmp_path / "both", parted, composed)
    with pytest.raises(DataError, match=r"Cafe\\u0301"):
        shard("classes", tmp_path / "both", tmp_path / "other")


def test_index_refuses_attributes_that_look_alike_unless_one_is_asked_for(tmp_path: Path) -> None:
    labels = b'{"Male": 1, "male": 0, "Young, or so": 1}'
    write_tar(tmp_path / "in/train.tar", {"1": {"png": png(), "json": labels}})
    with pytest.raises(DataError, match="--attributes"):
        index(tmp_path / "in")
    assert index(tmp_path / "in", attributes=("Male",)).attributes == ("Male",)
    again = index(tmp_path / "in", attributes=('"Young, or so",Male',), overwrite=True)
    assert again.attributes == ("Young, or so", "Male")


def test_stargan_refuses_one_class() -> None:
    one, two = (Schema(IMAGE, names, exclusive=True) for names in (("cat",), ("cat", "dog")))
    with pytest.raises(DataError, match="found one class, cat; expected two classes or more") as caught:
        StarGAN.fit(StarGANConfig(), one, "AtoB")
    assert "--layout classes" in caught.value.fix
    with pytest.raises(DataError, match="Name another class with --attributes, such as dog"):
        StarGAN.fit(StarGANConfig(attributes=("cat",)), two, "AtoB")
    assert StarGAN.fit(StarGANConfig(attributes=("cat", "dog")), two, "AtoB").c_dim == 2
    with pytest.raises(DataError, match="one class, cow"):
        StarGAN.fit(StarGANConfig(), two, "AtoB", Schema(IMAGE, ("cow",), exclusive=True))


def test_stargan_takes_one_attribute_that_images_have_or_not() -> None:
    assert StarGAN.fit(StarGANConfig(), Schema(IMAGE, ("Male",)), "AtoB").c_dim == 1
