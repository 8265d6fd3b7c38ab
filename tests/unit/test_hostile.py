"""Tars, indexes, manifests and keys that somebody broke, or made to do harm: one clear error, or left out by name.

pytest tests/unit/test_hostile.py
"""

from __future__ import annotations

import io
import json
import re
import resource
import runpy
import shutil
import sys
import tarfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from i2i_core.config.data import DataConfig
from i2i_core.data.format import tar_samples
from i2i_core.data.format.index import Index
from i2i_core.data.format.manifest import DataSet, Manifest
from i2i_core.data.format.places import no_file_name
from i2i_core.data.reading.stream import Stream
from i2i_core.errors import DataError, UserError
from i2i_core.images.codec import decode, encode
from i2i_core.methods.pix2pix import Pix2Pix
from i2i_core.methods.stargan import StarGAN
from i2i_core.storage.paths import sha256
from i2i_core.translation.inputs import Split, check_names, open_inputs
from tests.support.data import whole_index

from ..support.data import ROOT, index, sample, sums
from ..support.pictures import png as deep_png
from ..support.pictures import png_of
from ..support.translating import go, untrained

Member = tuple[str, bytes | tarfile.TarInfo]
BATCH = 6


def grey(size: int = 4, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (size, size, 1), np.uint8)


def png(x_HWC: np.ndarray) -> bytes:
    return encode(x_HWC, "png")


def huge_png(side: int = 60000) -> bytes:
    """Some bytes that say they are an image of that many pixels square."""
    return png_of((side, side, 8, 0, 0), zlib.compress(b""))


def linked(name: str, kind: bytes, to: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, to
    return info


def tar_bytes(members: Sequence[Member], pax: dict[str, str] | None = None) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT if pax else tarfile.GNU_FORMAT) as tar:
        for name, data in members:
            info = data if isinstance(data, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.pax_headers = pax or {}
            info.size = len(data) if isinstance(data, bytes) else 0
            tar.addfile(info, io.BytesIO(data) if isinstance(data, bytes) else None)
    return out.getvalue()


GOOD = {str(i): png(grey(seed=i)) for i in range(6)}


def good(key: str) -> list[Member]:
    return [(f"{key}.json", json.dumps({"bold": int(key) % 2}).encode()), (f"{key}.png", GOOD[key])]


def corpus(hostile: Sequence[Member]) -> list[Member]:
    """Six good samples with a hostile one in their midst."""
    return [m for key in "012" for m in good(key)] + list(hostile) + [m for key in "345" for m in good(key)]


def labelled_with(image: bytes) -> list[Member]:
    return [("bad.json", b'{"bold": 1}'), ("bad.png", image)]


def with_label(text: bytes) -> list[Member]:
    return [("bad.json", text), ("bad.png", GOOD["0"])]


def named(key: str) -> list[Member]:
    return [(f"{key}.json", b'{"bold": 1}'), (f"{key}.png", GOOD["0"])]


W = tar_samples
HOSTILE: dict[str, tuple[list[Member], str, str, str]] = {
    "undecodable": (labelled_with(b"no image"), "bad", W.IMAGES, "cannot identify it"),
    "truncated": (labelled_with(GOOD["0"][:50]), "bad", W.IMAGES, "truncated|broken"),
    "empty": (labelled_with(b""), "bad", W.IMAGES, "empty"),
    "absurdly large": (labelled_with(huge_png()), "bad", W.IMAGES, "over 178956970 pixels"),
    "colour among grey": (labelled_with(png(np.zeros((4, 4, 3), np.uint8))), "bad", W.KINDS, "3 channels of uint8"),
    "16 bits": (labelled_with(png(np.zeros((4, 4, 1), np.uint16))), "bad", W.KINDS, "1 channel of uint16"),
    "16 bit colour": (labelled_with(deep_png(np.zeros((4, 4, 3), np.uint16))), "bad", W.KINDS, "3 channels of uint16"),
    "no image": ([("bad.json", b'{"bold": 1}')], "bad", W.FIELDS, "images named nothing"),
    "another image": ([("bad.left.png", GOOD["0"])], "bad", W.FIELDS, "images named left"),
    "half a pair": ([("bad.a.png", GOOD["0"])], "bad", W.FIELDS, "without a or b|b is missing"),
    "a pair": ([("bad.a.png", GOOD["0"]), ("bad.b.png", GOOD["0"])], "bad", W.KINDS, "a of 1 channel"),
    "climbs": (named("../../x"), "../../x", W.NAMES, "leaves its folder"),
    "climbs later": (named("a/../../x"), "a/../../x", W.NAMES, "leaves its folder"),
    "absolute": (named("/etc/x"), "/etc/x", W.NAMES, "leaves its folder"),
    "at the root": (named("/x"), "/x", W.NAMES, "leaves its folder"),
    "a new line": (named("b\nad"), r"b\nad", W.NAMES, "control characters"),
    "an escape": (named("b\x1b[2Jad"), r"b\x1b[2Jad", W.NAMES, "control characters"),
    "not UTF-8": (named("b\udcff"), r"b\udcff", W.NAMES, "not UTF-8"),
    "too long": (named("x" * 300), "x" * 300, W.NAMES, "300 characters"),
    "a member twice": ([*labelled_with(GOOD["0"]), ("bad.png", GOOD["1"])], "bad", W.TWICE, "png twice"),
    "labels twice": ([("bad.json", b"1"), *labelled_with(GOOD["0"])], "bad", W.TWICE, "json twice"),
    "two images": ([*labelled_with(GOOD["0"]), ("bad.jpg", GOOD["1"])], "bad", W.TWICE, "both png and jpg"),
    "a key again": (named("1"), "1", W.TWICE, "stood before"),
    "symbolic link": ([("", linked("bad.png", tarfile.SYMTYPE, "/etc/passwd"))], "bad", W.LINKS, "a symbolic link"),
    "hard link": ([("", linked("bad.png", tarfile.LNKTYPE, "0.png"))], "bad", W.LINKS, "a hard link"),
    "device": ([("", linked("bad.png", tarfile.CHRTYPE))], "bad", W.LINKS, "a device"),
    "pipe": ([("", linked("bad.png", tarfile.FIFOTYPE))], "bad", W.LINKS, "a device"),
    "a link for labels": (
        [("", linked("bad.json", tarfile.SYMTYPE, "0.json")), ("bad.png", GOOD["0"])],
        "bad", W.LABELLING, "a symbolic link",
    ),
    "7": (with_label(b'{"bold": 7}'), "bad", W.LABELLING, r'labels such as \{"bold": 7\}'),
    "NaN": (with_label(b'{"bold": NaN}'), "bad", W.LABELLING, "labels such as"),
    "a huge number": (with_label(b'{"bold": 1' + b"0" * 4000 + b"}"), "bad", W.LABELLING, "labels such as"),
    "too huge a number": (with_label(b'{"bold": 1' + b"0" * 5000 + b"}"), "bad", W.LABELLING, "not JSON"),
    "another attribute": (with_label(b'{"italic": 1}'), "bad", W.LABELLING, "labels such as"),
    "no attribute": (with_label(b"{}"), "bad", W.LABELLING, "labels such as"),
    "nested labels": (with_label(b'{"bold": [1]}'), "bad", W.LABELLING, "labels such as"),
    "a list": (with_label(b"[1, 0]"), "bad", W.LABELLING, "labels such as"),
    "null": (with_label(b"null"), "bad", W.LABELLING, "labels such as"),
    "not JSON": (with_label(b"{bold}"), "bad", W.LABELLING, "not JSON"),
    "not text": (with_label(b"\xff\xfe\x00\xd8"), "bad", W.LABELLING, "not JSON"),
    "deep": (with_label(b"[" * 100_000), "bad", W.LABELLING, "not JSON"),
    "no labels": ([("bad.png", GOOD["0"])], "bad", W.LABELLING, "no json or cls"),
    "a class among attributes": (
        [("bad.cls", b"1"), ("bad.png", GOOD["0"])], "bad", W.LABELLING, "labels such as 1",
    ),
}  # fmt: skip


def check_kept(folder: Path, keys: str) -> Manifest:
    """The data set holds these good samples and no other, each where the index says, and their labels."""
    data = DataSet(str(folder))
    data.check_shards("train")
    found = whole_index(data, "train")
    assert found.keys == list(keys)
    assert found.labels[:, 0].tolist() == [int(key) % 2 for key in keys]
    for key in keys:
        assert np.array_equal(sample(folder, key)[0], decode(GOOD[key], "png"))
    return data.manifest


@pytest.mark.parametrize("case", HOSTILE)
def test_indexing_a_hostile_sample_is_one_error_or_leaves_it_out(case: str, tmp_path: Path) -> None:
    hostile, key, kind, cause = HOSTILE[case]
    folder = tmp_path / "in" / "deep"
    folder.mkdir(parents=True)
    (folder / "train-0.tar").write_bytes(tar_bytes(corpus(hostile)))
    with pytest.raises(DataError, match=cause) as caught:
        index(folder)
    said = str(caught.value)
    assert f"{folder}/train-0.tar" in said
    assert key in said
    assert "--bad skip leaves such samples out" in said
    assert "\x1b" not in said
    assert files(tmp_path) == {"train-0.tar"}

    index(folder, bad="skip")
    made_by = check_kept(folder, "012345").made_by
    (line,) = made_by["left_out"]
    assert line.startswith(f"train-0.tar {key}: ")
    assert re.search(cause, line)
    assert made_by["left_out_counts"] == {kind: 1}
    assert files(tmp_path) == {"train-0.tar", "manifest.json", "train-0.npz"}


def files(folder: Path) -> set[str]:
    return {p.name for p in folder.rglob("*") if p.is_file()}


def test_indexing_takes_annotations_and_extended_headers(tmp_path: Path) -> None:
    members = [(n, m) for n, m in corpus([])]
    notes = {"italic": 1, "age": 7, "name": "x", "points": [[1, 2]]}
    members[0] = ("0.json", json.dumps({"bold": 0, **notes}).encode())
    members.insert(2, ("", linked("0.txt", tarfile.SYMTYPE, "1.txt")))
    members.insert(2, ("README", b"x"))
    pax = {"comment": "\u00fc", "SCHILY.xattr.user.x": "y" * 3000, "mtime": "1e3"}
    (tmp_path / "train-0.tar").write_bytes(tar_bytes(members, pax))
    assert index(tmp_path, attributes=("bold",)).attributes == ("bold",)
    assert check_kept(tmp_path, "012345").made_by["left_out"] == []


def test_indexing_takes_the_attributes_of_most_samples(tmp_path: Path) -> None:
    members = [("!.json", b'{"slant": 1}'), ("!.png", GOOD["0"]), *corpus([])]
    (tmp_path / "train-0.tar").write_bytes(tar_bytes(members))
    with pytest.raises(DataError, match=r"train-0\.tar: !: found labels such as .*expected an object with bold"):
        index(tmp_path)
    assert index(tmp_path, bad="skip").attributes == ("bold",)
    check_kept(tmp_path, "012345")


@pytest.mark.parametrize(
    ("number", "attributes", "cause"),
    [
        (b"2", ("x", "y"), "--attributes: found 2 names; expected 3, as in .*train-0.tar: bad"),
        (b"-1", (), "labels such as -1; expected a class number from 0 to 1"),
        (b"1.5", (), "labels such as 1.5"),
        (b"true", (), "labels such as true"),
        (b"1000000000000", (), "labels such as 1000000000000; expected a class number from 0 to 1"),
        (b'"1"', (), 'labels such as "1"'),
        (b"", (), "not JSON"),
    ],
)
def test_indexing_refuses_a_class_beyond_the_classes(
    number: bytes, attributes: tuple[str, ...], cause: str, tmp_path: Path
) -> None:
    members = [m for key in GOOD for m in ((f"{key}.cls", str(int(key) % 2).encode()), (f"{key}.png", GOOD[key]))]
    members += [("bad.cls", number), ("bad.png", GOOD["0"])]
    (tmp_path / "train-0.tar").write_bytes(tar_bytes(members))
    with pytest.raises(DataError, match=cause) as caught:
        index(tmp_path, attributes=attributes)
    assert "--bad skip" in str(caught.value)
    manifest = index(tmp_path, attributes=attributes, bad="skip")
    assert (len(manifest.attributes), manifest.exclusive) == (2, True)
    assert manifest.made_by["left_out_counts"] == {W.LABELLING: 1}
    assert DataSet(str(tmp_path)).rows("train").labels()[:, 1].tolist() == [0, 1, 0, 1, 0, 1]


def test_indexing_leaves_a_sample_without_its_pair_out(tmp_path: Path) -> None:
    members = [m for key in GOOD for m in ((f"{key}.a.png", GOOD[key]), (f"{key}.b.png", GOOD["0"]))]
    del members[5]
    (tmp_path / "train-0.tar").write_bytes(tar_bytes([*members, ("single.png", GOOD["0"])]))
    with pytest.raises(DataError, match=r"1 samples without a or b \(2\)"):
        index(tmp_path)
    manifest = index(tmp_path, bad="skip")
    assert manifest.kind == "paired"
    assert DataSet(str(tmp_path)).rows("train").keys() == list("01345")
    assert manifest.made_by["left_out"] == [
        "train-0.tar 2: b is missing",
        "train-0.tar single: image of 1 channel of uint8 as png, where 5 samples hold "
        "a of 1 channel of uint8 as png and b of 1 channel of uint8 as png",
    ]


def test_indexing_a_domain_of_which_nothing_is_left_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "trainA.tar").write_bytes(tar_bytes([(f"{k}.png", GOOD[k]) for k in "012"]))
    (tmp_path / "trainB.tar").write_bytes(tar_bytes([("0.png", png(np.zeros((4, 4, 3), np.uint8)))]))
    with pytest.raises(DataError, match=r"trainB.tar: 0: found image of 3 channels .*trainA.tar: 0 holds"):
        index(tmp_path)
    with pytest.raises(DataError, match="samples of domain A alone"):
        index(tmp_path, bad="skip")


def test_indexing_needs_no_labels_where_names_tell_two_domains(tmp_path: Path) -> None:
    for domain in "AB":
        (tmp_path / f"train{domain}.tar").write_bytes(tar_bytes([("0.png", GOOD["0"]), ("0.json", b"{")]))
    assert index(tmp_path).kind == "unpaired"


# ---- damaged tars ----

SAMPLE = 4 * 512
"""Bytes of a good sample: two headers, two blocks of data."""


def changed(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def resized(data: bytes, at: int, size: bytes) -> bytes:
    """The header at `at` with another size, its checksum made right."""
    head = changed(data[at : at + 512], 124, size)
    head = changed(head, 148, b" " * 8)
    return changed(data, at, changed(head, 148, b"%06o\0 " % sum(head)))


def with_extended_header(size: int) -> Callable[[bytes], bytes]:
    """An extended header before sample 3 that claims a size."""

    def damage(data: bytes) -> bytes:
        info = linked("x", tarfile.XHDTYPE)
        head = resized(info.tobuf(tarfile.GNU_FORMAT), 0, b"%011o\0" % size)
        return data[: 3 * SAMPLE] + head + data[3 * SAMPLE :]

    return damage


def nested_long_names(data: bytes) -> bytes:
    """3000 headers before sample 3, each of which names the next."""
    info = linked("x", tarfile.GNUTYPE_LONGNAME)
    info.size = 2
    return data[: 3 * SAMPLE] + (info.tobuf(tarfile.GNU_FORMAT) + b"x".ljust(512, b"\0")) * 3000 + data[3 * SAMPLE :]


NEGATIVE = b"\xff" * 12
ENORMOUS = b"\x80" + b"\x7f" * 11
DAMAGES: dict[str, tuple[Callable[[bytes], bytes], str, int]] = {
    "cut off in an image": (lambda d: d[: 3 * SAMPLE + 3 * 512 + 20], "012", 3 * SAMPLE),
    "cut off in a header": (lambda d: d[: 3 * SAMPLE + 100], "012", 3 * SAMPLE),
    "cut off between members": (lambda d: d[: 3 * SAMPLE + 1024], "012", 3 * SAMPLE),
    "cut off between samples": (lambda d: d[: 3 * SAMPLE], "012", 3 * SAMPLE),
    "a damaged header": (lambda d: changed(d, 3 * SAMPLE + 10, b"\xaa\xbb"), "012", 3 * SAMPLE),
    "a header of zeros": (lambda d: changed(d, 3 * SAMPLE, bytes(512)), "012", 3 * SAMPLE),
    "a negative size": (lambda d: resized(d, 3 * SAMPLE, NEGATIVE), "012", 3 * SAMPLE),
    "an enormous size": (lambda d: resized(d, 3 * SAMPLE, ENORMOUS), "012", 3 * SAMPLE),
    "a size beyond the end": (lambda d: resized(d, 3 * SAMPLE, b"00000100000\0"), "012", 3 * SAMPLE),
    "an enormous extended header": (with_extended_header(1 << 30), "012", 3 * SAMPLE),
    "a broken extended header": (with_extended_header(100), "012", 3 * SAMPLE),
    "extended headers without end": (nested_long_names, "012", 3 * SAMPLE),
    "something after the end": (lambda d: d + b"x" * 700, "012345", 6 * SAMPLE),
    "another tar after the end": (lambda d: d + tar_bytes(good("0")), "012345", 6 * SAMPLE),
}


@pytest.mark.parametrize("case", DAMAGES)
def test_indexing_takes_a_damaged_tar_up_to_the_damage_or_refuses_it(case: str, tmp_path: Path) -> None:
    damage, kept, at = DAMAGES[case]
    (tmp_path / "train-0.tar").write_bytes(damage(tar_bytes(corpus([]))))
    with pytest.raises(DataError, match=rf"nothing is taken from byte {at} on") as caught:
        index(tmp_path)
    said = str(caught.value)
    assert f"{tmp_path}/train-0.tar: found" in said
    assert "--bad skip takes the samples before that byte" in said
    assert files(tmp_path) == {"train-0.tar"}
    index(tmp_path, bad="skip")
    made_by = check_kept(tmp_path, kept).made_by
    assert made_by["left_out_counts"][W.DAMAGE] == 1
    assert made_by["left_out"][0].startswith("train-0.tar: ")
    assert made_by["left_out"][0].endswith(f"nothing is taken from byte {at} on")


def test_indexing_keeps_an_empty_tar_apart_from_others(tmp_path: Path) -> None:
    (tmp_path / "train-0.tar").write_bytes(b"")
    (tmp_path / "train-1.tar").write_bytes(b"no tar" * 200)
    (tmp_path / "train-2.tar").write_bytes(tar_bytes([m for key in "012" for m in good(key)])[: 2 * SAMPLE + 700])
    (tmp_path / "train-3.tar").write_bytes(tar_bytes([m for key in "345" for m in good(key)]))
    (tmp_path / "train-4.tar").write_bytes(tar_bytes([]))
    with pytest.raises(DataError, match=r"train-0\.tar: found a damaged tar"):
        index(tmp_path)
    index(tmp_path, bad="skip")
    made_by = check_kept(tmp_path, "01345").made_by
    assert made_by["left_out_counts"] == {W.DAMAGE: 3}


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 6 * SAMPLE), st.binary(min_size=1, max_size=12)), max_size=4), st.integers(0))
def test_scan_fails_in_no_other_way_whatever_the_bytes(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, bytes]], cut: int
) -> None:
    """Damage goes into headers, where it does most."""
    data = tar_bytes(corpus([]))
    for at, new in changes:
        data = changed(data, at // 1024 * 1024 + at % 512, new)
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "train-0.tar").write_bytes(data[: cut % len(data)] if cut % 3 == 0 else data)
    for bad in ("skip", "stop"):
        try:
            found = tar_samples.scan(str(folder), "train-0.tar", bad)
        except UserError:
            continue
        ends = [at + size for sample in found.samples for at, size, _ in sample.images.values()]
        assert max(ends, default=0) <= len(data)


def test_shard_command_says_what_was_left_out_by_cause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = [*HOSTILE["undecodable"][0], *HOSTILE["not UTF-8"][0], *HOSTILE["7"][0]]
    (tmp_path / "train-0.tar").write_bytes(tar_bytes(corpus(hostile)) + b"x")

    def tool(*more: str) -> object:
        monkeypatch.setattr(sys, "argv", ["shard.py", "--index", str(tmp_path), "--workers", "0", *more])
        with pytest.raises(SystemExit) as stopped:
            runpy.run_path(str(ROOT / "pipelines/shard.py"), run_name="__main__")
        return stopped.value.code

    assert tool() == 2
    assert "Traceback" not in "".join(capsys.readouterr())
    assert tool("--bad", "skip") == 0
    out = capsys.readouterr().out
    assert f"left out, 4 (1 {W.IMAGES}, 1 {W.NAMES}, 1 {W.TWICE}, 1 {W.DAMAGE}):" in out
    assert r"train-0.tar b\udcff: a name that is not UTF-8" in out
    check_kept(tmp_path, "012345")


# ---- an index or a manifest that lies ----


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    """A data set of six samples in two classes."""
    members = [m for key in GOOD for m in ((f"{key}.cls", str(int(key) % 2).encode()), (f"{key}.png", GOOD[key]))]
    (tmp_path / "set").mkdir()
    (tmp_path / "set/train-0.tar").write_bytes(tar_bytes(members))
    index(tmp_path / "set")
    return tmp_path / "set"


def rewrite_index(folder: Path, **arrays: np.ndarray) -> None:
    """Other arrays in the index, the manifest made to agree with its bytes."""
    rows = DataSet(str(folder)).rows("train")
    put_index(folder, replace(rows.shard(0), **arrays).dumps())


def put_index(folder: Path, data: bytes) -> None:
    """Another index of the train split's only shard, which the manifest agrees to."""
    values = json.loads((folder / "manifest.json").read_text())
    index = values["splits"]["train"]["all"]["index"]
    (folder / index["name"][0]).write_bytes(data)
    index |= {"bytes": [len(data)], "sha256": [sha256(data)]}
    (folder / "manifest.json").write_text(json.dumps(values))


LIES: dict[str, tuple[Callable[[Index], dict[str, np.ndarray]], str]] = {
    "fewer keys": (lambda i: {"keys": i.keys[1:]}, r"keys of shape \(5,\)"),
    "more rows": (lambda i: {"offset": np.vstack([i.offset, i.offset])}, r"offset of shape \(12, 1\)"),
    "another column": (lambda i: {"size": np.hstack([i.size, i.size])}, r"size of shape \(6, 2\)"),
    "other attributes": (lambda i: {"bits": np.hstack([i.bits, i.bits])}, r"bits of shape \(6, 2\)"),
    "numbers with a fraction": (lambda i: {"offset": i.offset + 0.5}, "offset .* type float64"),
    "keys of numbers": (lambda i: {"keys": np.arange(6)}, "keys .* type int64"),
    "attributes in 16 bits": (lambda i: {"bits": i.bits.astype(np.uint16)}, "bits .* type uint16"),
    "no class": (lambda i: {"bits": i.bits * 0}, "0 attributes of sample 0; expected exactly one"),
    "two classes": (lambda i: {"bits": i.bits | 0b11000000}, "2 attributes of sample 0; expected exactly one"),
    "a negative offset": (lambda i: {"offset": -i.offset}, "from byte -"),
    "a negative size": (lambda i: {"size": -i.size}, "found -.* bytes"),
    "beyond its shard": (lambda i: {"offset": i.offset + 10**6}, "a place in its shard"),
    "a size that overflows": (lambda i: {"size": i.size + (2**63 - 10**4)}, "a place in its shard"),
    "keys that are not UTF-8": (lambda i: {"keys": np.array([b"\xff"] * 6)}, "not UTF-8"),
}


@pytest.mark.parametrize("case", LIES)
def test_index_that_does_not_fit_its_manifest_is_refused(case: str, classes: Path) -> None:
    lie, cause = LIES[case]
    rewrite_index(classes, **lie(DataSet(str(classes)).rows("train").shard(0)))
    with pytest.raises(DataError, match=cause) as caught:
        DataSet(str(classes)).rows("train").keys([3])
    assert caught.value.where.endswith("index/train-0.npz")


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 no zip", b"\x93NUMPY", b"\x80\x04N."])
def test_index_that_is_none_is_refused(data: bytes, classes: Path) -> None:
    put_index(classes, data + bytes(200))
    with pytest.raises(DataError, match="found no index"):
        DataSet(str(classes)).rows("train").keys([0])


def test_index_without_an_array_is_refused(classes: Path) -> None:
    out = io.BytesIO()
    np.savez(out, keys=np.array([b"x"]))
    put_index(classes, out.getvalue())
    with pytest.raises(DataError, match="found no index"):
        DataSet(str(classes)).rows("train").keys([0])


def in_shard(**values: Any) -> Callable[[dict[str, Any]], None]:
    return of_first("shards", **values)


def of_first(table: str, **values: Any) -> Callable[[dict[str, Any]], None]:
    """Other values of the first entry of a table."""
    columns = {name: [value] for name, value in values.items()}
    return lambda m: m["splits"]["train"]["all"][table].update(columns)


def of_set(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda m: m["splits"]["train"]["all"].update(values)


def twice(manifest: dict[str, Any]) -> None:
    shard_set = manifest["splits"]["train"]["all"]
    for column in (*shard_set["shards"].values(), *shard_set["index"].values()):
        column *= 2


MANIFESTS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "climbs": (in_shard(name="../../etc/x.tar"), r"a file '\.\./\.\./etc/x\.tar'"),
    "climbs later": (in_shard(name="a/../../x.tar"), "a file 'a/"),
    "climbs by a URL": (in_shard(name="file:///data/../x.tar"), "a file 'file:"),
    "absolute": (in_shard(name="/etc/x.tar"), "a file '/etc/x.tar'"),
    "nameless": (in_shard(name=""), "a file ''"),
    "the index climbs": (of_first("index", name="../i.npz"), "a file '../i.npz'"),
    "negative samples": (in_shard(samples=-6), "-6 samples"),
    "no samples": (in_shard(samples=0), "no sample, in all of train"),
    "negative bytes": (in_shard(bytes=-1), "in -1 bytes"),
    "a shard twice": (twice, "'train-0.tar' twice"),
    "another domain": (lambda m: m.update(domains=["A"]), r"shards of domains \['all'\]; expected .*\['A'\]"),
    "two domains": (lambda m: m.update(domains=["all", "B"]), "domains"),
    "a kind": (lambda m: m.update(kind="paired"), "keys .*'kind'"),
    "a strange type": (lambda m: m["fields"]["image"].update(dtype="object"), "field image of"),
    "no channels": (lambda m: m["fields"]["image"].update(channels=0), "field image of"),
    "an attribute twice": (lambda m: m.update(attributes=["x", "x"]), "each once"),
    "attributes of numbers": (lambda m: m.update(attributes=[1, 2]), "attributes"),
    "fields as a list": (lambda m: m.update(fields=[]), "another form"),
    "splits as a list": (lambda m: m.update(splits={"train": []}), "another form"),
    "shards as a list": (of_set(shards=[{}]), "another form"),
    "a column left out": (lambda m: m["splits"]["train"]["all"]["shards"].pop("bytes"), "another form"),
    "a column of its own": (in_shard(colour=1), "another form"),
    "a column as text": (lambda m: m["splits"]["train"]["all"]["shards"].update(samples="6"), "samples is no list"),
    "a number as text": (in_shard(samples="6"), "samples holds a str"),
    "a number with a fraction": (in_shard(samples=6.0), "samples holds a float"),
    "yes for a number": (in_shard(samples=True), "samples holds a bool"),
    "two entries for a shard": (
        lambda m: m["splits"]["train"]["all"]["shards"]["bytes"].append(1),
        "a column of 2 entries for 1 shards",
    ),
    "an index without end": (of_first("index", bytes=1 << 40), "an index index/train-0.npz of 1099511627776 bytes"),
    "an index of less than nothing": (of_first("index", bytes=-1), "an index index/train-0.npz of -1 bytes"),
    "an index too short for its samples": (of_first("index", bytes=60), "of 60 bytes, .*; expected at least 102"),
    "more samples than can be counted": (in_shard(samples=1 << 53, bytes=1 << 62), "9007199254740992 samples in"),
    "not quite exclusive": (lambda m: m.update(exclusive="x"), "exclusive 'x' .* expected true or false"),
    "a strange checksum": (of_first("index", sha256="x"), "checksum 'x' of index/train-0.npz"),
    "no counts of labels": (of_set(labels=[]), r"samples with each attribute: \[\]"),
    "more labels than samples": (of_set(labels=[7, 0]), r"samples with each attribute: \[7, 0\]"),
    "a class too few": (of_set(labels=[3, 2]), "5 samples with an attribute, .*; expected all 6"),
    "clips that nobody said": (of_set(clips={"number": [1], "shortest": [6]}), "clips in a shard set"),
    "clips that are missing": (lambda m: m.update(clips=True), "no clips in a shard set"),
    "something besides": (of_set(more=1), "unknown names in a shard set"),
}


@pytest.mark.parametrize("case", MANIFESTS)
def test_manifest_that_cannot_be_is_refused_when_it_is_opened(case: str, classes: Path) -> None:
    lie, cause = MANIFESTS[case]
    values = json.loads((classes / "manifest.json").read_text())
    lie(values)
    (classes / "manifest.json").write_text(json.dumps(values))
    with pytest.raises(DataError, match=cause) as caught:
        DataSet(str(classes))
    assert caught.value.where.endswith("manifest.json")


# ---- shards whose bytes are no longer what they were ----


def padded(image: bytes, size: int) -> bytes:
    assert len(image) <= size
    return image.ljust(size, b"\0")


def flat(size: int, channels: int = 1, dtype: type[np.generic] = np.uint8) -> bytes:
    return png(np.full((size, size, channels), 9, dtype))


CHANGES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "undecodable": (lambda d: bytes(len(d)), "cannot identify it"),
    "truncated": (lambda d: d[:60] + bytes(len(d) - 60), "."),
    "of another size": (lambda d: padded(flat(8), len(d)), "8x8 pixels where the manifest says 16x16"),
    "in colour": (lambda d: padded(flat(16, 3), len(d)), "3 channels of uint8 where the manifest says 1 of uint8"),
    "of 16 bits": (lambda d: padded(flat(16, 1, np.uint16), len(d)), "1 channel of uint16 where"),
    "absurdly large": (lambda d: padded(huge_png(), len(d)), "over 178956970 pixels"),
}


@pytest.mark.parametrize("case", [*CHANGES, "empty"])
def test_stream_replaces_an_image_that_went_bad_by_one_of_its_label(case: str, labelled: str, tmp_path: Path) -> None:
    broken = Path(shutil.copytree(labelled, tmp_path / "broken"))
    whole, found = stream_of(labelled), whole_index(DataSet(labelled), "train")
    t, slot = 3, 2
    (order,) = [source.order for source in whole.sources]
    row, *others = [row for _, row in order.candidates(t, slot)]
    following = next(other for other in others if (found.labels[other] == found.labels[row]).all())
    assert following != others[0]
    names = [s.name for s in DataSet(labelled).shard_set("train").shards]
    cause = "empty"
    assert len(names) == 1
    if case == "empty":
        rewrite_index(broken, size=np.where(np.arange(len(found.keys))[:, None] == row, 0, found.size))
    else:
        change, cause = CHANGES[case]
        tar, at, size = broken / names[0], int(found.offset[row, 0]), int(found.size[row, 0])
        data = tar.read_bytes()
        tar.write_bytes(changed(data, at, change(data[at : at + size])))
        assert tar.stat().st_size == len(data)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    good_batch, batch = whole.read(t, 0, BATCH), stream_of(str(broken)).read(t, 0, BATCH)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000, "an image was given memory"
    (bad,) = {(b.key, b.cause) for b in batch.bad}
    assert bad[0] == found.keys[row]
    assert re.search(cause, bad[1])
    data = (Path(labelled) / names[0]).read_bytes()
    at, size = int(found.offset[following, 0]), int(found.size[following, 0])
    own, expected = batch.fields["image"], decode(data[at : at + size], "png").transpose(2, 0, 1)
    assert np.array_equal(own[slot].numpy(), expected)
    rest = [i for i in range(BATCH) if i != slot]
    assert own[rest].equal(good_batch.fields["image"][rest])
    assert batch.keys == good_batch.keys
    assert batch.whole["labels"][slot].tolist() == found.labels[following].tolist()


def test_stream_replaces_by_the_nearest_label_where_none_is_equal(labelled: str, tmp_path: Path) -> None:
    row, *others = [row for _, row in stream_of(labelled).sources[0].order.candidates(0, 0)]
    strange = Path(shutil.copytree(labelled, tmp_path / "strange"))
    bits = DataSet(labelled).rows("train").shard(0).bits.copy()
    bits[row] = 0b11110000
    rewrite_index(strange, bits=bits)
    values = json.loads((strange / "manifest.json").read_text())
    labels = np.unpackbits(bits, axis=1, count=4)
    values["splits"]["train"]["all"]["labels"] = labels.sum(axis=0, dtype=int).tolist()
    (strange / "manifest.json").write_text(json.dumps(values))
    assert not (labels[others] == 1).all(1).any()
    stream = stream_of(str(strange))
    taken = [row for _, row in stream._instead(stream.sources[0], 0, 0)]
    differ = [int((labels[other] != 1).sum()) for other in taken]
    assert taken[0] == row
    assert differ == sorted(differ)
    assert sorted(taken) == sorted([row, *others])


def stream_of(uri: str) -> Stream:
    return Stream(DataSet(uri), DataConfig(crop="none", flip=False), 16, BATCH, 0)


# ---- keys as names of files ----


@pytest.mark.parametrize("key", ["a", "a/b", "a/.b", "..a", "a..", "\u00fc \u6f22", "./x", "a-b_c", "x" * 240])
def test_keys_may_be_names_that_files_can_have(key: str) -> None:
    assert not no_file_name(key)


@pytest.mark.parametrize(
    "key",
    ["", "/", "/x", "..", "../x", "x/..", "a/../b", "a\nb", "a\0b", "\x7f", "\x9b", "\udcff", "x" * 241, "x/" * 500],
)
def test_keys_may_not_be_names_that_files_cannot_have(key: str) -> None:
    assert no_file_name(key)


def with_key(uri: str, key: bytes, out: Path) -> Path:
    """A copy whose first sample of the train split has another key."""
    shutil.copytree(uri, out)
    keys = [key, *DataSet(uri).rows("train").shard(0).keys[1:].tolist()]
    rewrite_index(out, keys=np.array(keys, dtype=np.bytes_))
    return out


@pytest.mark.parametrize("key", [b"../../escaped", b"/etc/x", b"a/../../../x", b"a\nb", b"a\x1b[2J", b"x" * 300])
def test_key_that_is_no_name_is_refused_before_any_work(key: bytes, labelled: str, tmp_path: Path) -> None:
    data = DataSet(str(with_key(labelled, key, tmp_path / "in")))
    with pytest.raises(DataError, match="expected names that files can have") as caught:
        check_names(Split(data, "train", StarGAN))
    assert str(caught.value).replace("\n", "").isprintable()


def test_keys_that_come_twice_are_refused(labelled: str, tmp_path: Path) -> None:
    keys = DataSet(labelled).rows("train").keys()
    twice = DataSet(str(with_key(labelled, keys[5].encode(), tmp_path / "twice")))
    with pytest.raises(DataError, match=f"two samples with the key {re.escape(keys[5])}"):
        check_names(Split(twice, "train", StarGAN))


def test_translation_writes_nothing_for_a_key_that_climbs(labelled: str, tmp_path: Path) -> None:
    run = untrained("stargan", labelled, tmp_path / "run")
    source = with_key(labelled, b"../../escaped", tmp_path / "in")
    before = sums(tmp_path)
    with pytest.raises(DataError, match=r"'\.\./\.\./escaped', a path that leaves its folder"):
        go(run, source, tmp_path / "deep/out", split="train", target="bold", most=2)
    assert sums(tmp_path) == before


def test_translation_refuses_names_of_control_characters(tmp_path: Path) -> None:
    for name in ("a", "b\nad"):
        (tmp_path / f"{name}.png").write_bytes(GOOD["0"])
    with pytest.raises(DataError, match="control characters"):
        check_names(open_inputs(str(tmp_path), "", "test", Pix2Pix, "AtoB", "AtoB"))
    (tmp_path / "list.txt").write_text("../x/..\n../a.png\n")
    names = open_inputs(str(tmp_path / "list.txt"), "", "test", Pix2Pix, "AtoB", "AtoB").names
    assert all("/" not in name for name in names), "a list's names are last parts: they cannot climb"
