"""What a method that changes classes needs of them, said before it trains."""

from __future__ import annotations

import pytest

from i2i_core.config.methods.stargan import StarGANConfig
from i2i_core.errors import DataError
from i2i_core.fields import Field, Schema
from i2i_core.methods.stargan import StarGAN

IMAGE = {"image": Field("png", 3, "uint8", 4, 4)}


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
