"""HEIC, which phones write, is read within the limits of every picture, or named with the package that reads it.

pytest tests/unit/test_heic.py
"""

from __future__ import annotations

import random
import struct
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from i2i_core.data.folders.layouts import LayoutOptions
from i2i_core.data.format.shards import ShardOptions
from i2i_core.errors import DataError
from i2i_core.images import heif
from i2i_core.images.codec import decode
from i2i_core.images.heif import check_heif, size_of
from pipelines.shard import MakeOptions, _shard

from ..support.data import sample
from ..support.heic import SMALL, TILE, box, heic


def slopes() -> np.ndarray:
    """What the small picture shows: red grows to the right, green downwards, blue to the left."""
    y, x = np.mgrid[0:64, 0:64]
    return np.stack([x * 4, y * 4, 255 - x * 4], axis=2)


def distance(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.abs(x.astype(int) - y).mean())


def test_heic_is_read_in_colour() -> None:
    x = decode(heic(), "jpg")
    assert x.shape == (64, 64, 3)
    assert distance(x, slopes()) < 6


@pytest.mark.parametrize("turned", [0, 1, 2, 3])
def test_heic_is_turned_as_it_says(turned: int) -> None:
    assert distance(decode(heic(turned=turned), "heic"), np.rot90(slopes(), turned)) < 6


def test_heic_of_tiles_is_put_together_and_cut_to_its_size() -> None:
    x = decode(heic(grid=(2, 3), size=(180, 100)), "heic")
    assert x.shape == (100, 180, 3)
    assert distance(x, np.tile(slopes(), (2, 3, 1))[:100, :180]) < 6


def test_heic_says_the_size_of_its_coded_picture() -> None:
    for picture in (SMALL, TILE):
        units = [picture.record[at:] for at in range(len(picture.record)) if picture.record[at : at + 2] == b"\x42\x01"]
        assert size_of(units[0]) == (picture.side, picture.side)


def sps_of(side: int) -> bytes:
    """A unit that says such a size, of the plainest profile."""

    def number(value: int) -> str:
        bits = f"{value + 1:b}"
        return "0" * (len(bits) - 1) + bits

    bits = "0" * 4 + "000" + "1" + "0" * 96 + number(0) + number(1) + number(side) + number(side) + "1"
    bits += "0" * (-len(bits) % 8)
    plain = int(bits, 2).to_bytes(len(bits) // 8, "big")
    out = bytearray()
    for byte in plain:  # three bytes that would look like the beginning of a unit are kept apart
        if len(out) > 1 and out[-2:] == b"\0\0" and byte < 4:
            out.append(3)
        out.append(byte)
    return b"\x42\x01" + bytes(out)


def in_data(side: int) -> bytes:
    unit = sps_of(side)
    return heic(SMALL._replace(data=struct.pack(">I", len(unit)) + unit + SMALL.data))


def in_record(side: int) -> bytes:
    unit = sps_of(side)
    record = SMALL.record[:22] + b"\1" + b"\x21" + struct.pack(">HH", 1, len(unit)) + unit
    return heic(SMALL._replace(record=record))


def compressed() -> bytes:
    words = b"\0application/rdf+xml\0deflate\0"
    return heic(more=box(b"infe", struct.pack(">HH4s", 9, 0, b"mime") + words, version=2))


def cut(data: bytes, kind: bytes, at: int, value: bytes) -> bytes:
    place = data.index(kind) + at
    return data[:place] + value + data[place + len(value) :]


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "large by its file": (lambda: heic(size=(20000, 20000)), "20000 x 20000 pixels, over the limit"),
    "large by its record": (lambda: in_record(20000), "20000 x 20000 pixels, over the limit"),
    "large by its data": (lambda: in_data(20000), "20000 x 20000 pixels, over the limit"),
    "many tiles": (lambda: heic(TILE, grid=(60, 60), size=(64, 64)), "3600 tiles of 262144 pixels"),
    "another codec": (lambda: heic(kind=b"j2k1"), "of the kind 'j2k1'"),
    "compressed metadata": (compressed, "metadata are compressed"),
    "data beyond its end": (lambda: cut(heic(), b"iloc", 22, b"\x7f\xff\xff\xff"), "lie beyond its end"),
    "cut off in its boxes": (lambda: heic()[:100], "damaged HEIF|truncated"),
    "no boxes": (lambda: heic()[:28], "says what its items are"),
    "a wrong length in its data": (lambda: heic(SMALL._replace(data=b"\0\0\1\0" + SMALL.data[4:])), "longer than its"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_heic_over_the_limits_is_refused_before_it_is_decoded(case: str) -> None:
    make, says = REFUSED[case]
    with pytest.raises(ValueError, match=says):
        decode(make(), "heic")


def test_heic_that_is_damaged_is_an_array_or_a_value_error() -> None:
    r = random.Random(3)
    for number in range(150):
        data = bytearray(heic(grid=(2, 2)) if number % 2 else heic())
        for _ in range(r.choice([1, 2, 8])):
            data[r.randrange(len(data))] = r.randrange(256)
        try:
            check_heif(bytes(data))
        except (ValueError, struct.error, IndexError):
            continue


def test_heic_names_the_package_that_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And with the package it is read, in the same command."""
    for side in ("trainA", "trainB"):
        (tmp_path / "in" / side).mkdir(parents=True)
        (tmp_path / "in" / side / "IMG_0001.HEIC").write_bytes(heic())
    layout = LayoutOptions(layout="unpaired", input=str(tmp_path / "in"))
    options = MakeOptions(layout=layout, shards=ShardOptions(out=str(tmp_path / "out")))
    with monkeypatch.context() as without:
        for name in ("pi_heif", "pillow_heif"):
            without.setitem(sys.modules, name, None)
        with pytest.raises(DataError, match=r"pip install pi-heif"):
            _shard(options)
    _shard(replace(options))
    assert distance(sample(tmp_path / "out", "IMG_0001", "train", "A")[0], slopes()) < 6


def test_heic_is_read_by_either_package(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    class Package:
        @staticmethod
        def register_heif_opener(**options: Any) -> None:
            seen.append(options)

    monkeypatch.setitem(sys.modules, "pi_heif", None)
    monkeypatch.setitem(sys.modules, "pillow_heif", Package)  # type: ignore[arg-type]
    heif.register()
    assert seen[0]["decode_threads"] == 1
