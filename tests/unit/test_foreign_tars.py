"""Tars as WebDataset's users have them are indexed, written anew, or named for what they are."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import re
import runpy
import shlex
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from i2i_core.data.folders.layouts import LayoutOptions
from i2i_core.data.format import rewriting, shards, tar_samples, unpacking, webdatasets
from i2i_core.data.format.manifest import DataSet, Manifest
from i2i_core.data.format.refined import labels_in, relabelled
from i2i_core.data.format.shards import finished_of
from i2i_core.data.format.tar_names import MemberNames, cut_pattern, expanded
from i2i_core.data.format.webdatasets import IndexOptions
from i2i_core.data.worlds.glyphs import GlyphOptions
from i2i_core.errors import DataError, UserError
from i2i_core.images.codec import ImageOptions, decode, encode
from i2i_core.orchestration.sharding import make, rewrite_webdataset

from ..support.data import ROOT, index, noise, png, sample, shard, sums, whole_index, write_tar
from ..support.translating import files

Tool = Callable[..., tuple[int, str, str]]
ALL = (1.0, 0.0, 0.0)


def jpg(channels: int = 3) -> bytes:
    return encode(noise(4, 6, channels), "jpg")


def anew(source: Path, out: Path, images: ImageOptions | None = None, **options: Any) -> Manifest:
    """Write tars again."""
    layout = {k: options.pop(k) for k in ("split", "attributes", "direction", "group_by") if k in options}
    goal = {k: options.pop(k) for k in ("bad", "overwrite", "shard_samples") if k in options}
    return rewrite_webdataset(
        IndexOptions(str(source), rewrite=True, **options),
        LayoutOptions(**{"split": ALL, **layout}),
        images or ImageOptions(),
        shards.ShardOptions(out=str(out), **goal),
        0,
    )[0]


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Tool:
    """Runs shard.py in this process. Gives its exit code, its output and its errors."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["shard.py", *map(str, arguments), "--workers", "0"])
        with pytest.raises(SystemExit) as stopped:
            runpy.run_path(str(ROOT / "pipelines/shard.py"), run_name="__main__")
        out, error = capsys.readouterr()
        return int(stopped.value.code or 0), out, error

    return run


def advised(message: object) -> list[str]:
    """The flags that a message says to give, up to the first mark that ends its sentence."""
    found = re.search(r"(--[a-z].*?)(?:[;,] |: | writes | puts | If |\.(?:\s|$))", str(message).partition("\n")[2])
    assert found, message
    return shlex.split(found[1])


# ---- images of a sample ----


def test_indexing_takes_images_of_mixed_endings_as_one_field(tmp_path: Path) -> None:
    images = {"1": ("jpg", jpg()), "2": ("JPG", jpg()), "3": ("jpeg", jpg()), "4": ("png", png()), "5": ("jpg", jpg())}
    write_tar(tmp_path / "train-0.tar", {key: {end: data, "cls": b"0"} for key, (end, data) in images.items()})
    manifest = index(tmp_path)
    assert manifest.fields["image"].extension == "jpg"
    for key, (_, data) in images.items():
        assert np.array_equal(sample(tmp_path, key)[0], decode(data, "x"))


def test_indexing_keeps_formats_apart_that_the_name_alone_tells(tmp_path: Path) -> None:
    """A TGA has no first bytes of its own."""
    Image.fromarray(noise(4, 6, 3)).save(tmp_path / "x.tga")
    old = (tmp_path / "x.tga").read_bytes()[:-26]  # without the mark at its end
    write_tar(tmp_path / "train-0.tar", {"1": {"png": png(), "cls": b"0"}, "2": {"tga": old, "cls": b"0"}})
    with pytest.raises(DataError, match="as tga"):
        index(tmp_path)


def test_indexing_names_images_of_two_kinds_and_its_advice_makes_them_one(tmp_path: Path, tool: Tool) -> None:
    write_tar(tmp_path / "in/train-0.tar", {str(i): {"png": png(1 if i == 2 else 3), "cls": b"0"} for i in range(4)})
    code, _, error = tool("--index", tmp_path / "in")
    assert code == 2
    words = [str(tmp_path / "out") if word == "NEW" else word for word in advised(error)]
    assert words == ["--channels", "3", "--out", str(tmp_path / "out")]
    assert tool("--index", tmp_path / "in", *words)[0] == 0
    manifest = DataSet(str(tmp_path / "out")).manifest
    assert manifest.fields["image"].channels == 3
    assert sum(of["all"].samples for of in manifest.splits.values()) == 4


MAPPED: dict[str, tuple[dict[str, bytes], str, list[str]]] = {
    "two": ({"input.jpg": jpg(), "target.png": png()}, "images named input, target", ["a=input.jpg", "b=target.png"]),
    "one": ({"photo.JPG": jpg(), "cls": b"1"}, "images named photo", ["image=photo.JPG"]),
    "three": (
        {"left.png": png(), "mask.png": png(), "right.png": png()}, "left, mask, right", ["a=left.png", "b=mask.png"],
    ),
    "two of one name": ({"png": png(), "jpg": jpg(), "cls": b"0"}, "both png and jpg", ["image=png"]),
}  # fmt: skip


@pytest.mark.parametrize("case", MAPPED)
def test_indexing_members_of_other_names_works_as_advised(case: str, tmp_path: Path) -> None:
    members, says, names = MAPPED[case]
    write_tar(tmp_path / "train-0.tar", {"1": members, "2": members})
    with pytest.raises(DataError, match=says) as refused:
        index(tmp_path)
    flag, *words = advised(refused.value)
    assert (flag, words) == ("--member", names)
    manifest = index(tmp_path, member=tuple(words))
    fields = sorted(word.partition("=")[0] for word in names)
    assert sorted(manifest.fields) == fields
    for image, word in zip(sample(tmp_path, "2"), sorted(words), strict=True):
        name = word.partition("=")[2]
        assert np.array_equal(image, decode(members[name], name))


def test_indexing_takes_the_first_of_several_members(tmp_path: Path) -> None:
    two = {"1": {"jpg": jpg(), "png": png(), "cls": b"0"}, "2": {"png": png(), "cls": b"0"}}
    write_tar(tmp_path / "train-0.tar", two)
    index(tmp_path, member=("image=jpg;png",))
    assert [sample(tmp_path, key)[0].shape for key in "12"] == [(4, 6, 3), (4, 5, 3)]
    with pytest.raises(DataError, match="members cls, png; expected a member jpg"):
        index(tmp_path, member=("image=jpg",), overwrite=True)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (("a=x.png",), "found a; expected a and b together"),
        (("x=png",), "'x=png'"),
        (("image=",), "'image='"),
        (("image=a/b.png",), "'image=a/b.png'"),
        (("image=png", "image=jpg"), "each once"),
        (("labels=txt:x",), "an entry of json"),
    ],
)
def test_member_names_that_cannot_be_are_refused(given: tuple[str, ...], says: str) -> None:
    with pytest.raises(UserError, match=re.escape(says)):
        IndexOptions("x", member=given)
    with pytest.raises(UserError, match="--index"):
        IndexOptions(member=("image=png",))


# ---- labels ----


def labelled(folder: Path, *labels: dict[str, bytes]) -> Path:
    write_tar(folder / "train-0.tar", {str(i): {"png": png(), **label} for i, label in enumerate(labels)})
    return folder


CAT, DOG = {"cls": b"cat\n"}, {"cls": b"dog"}
BY_CLASS: dict[str, tuple[list[dict[str, bytes]], dict[str, Any], tuple[str, ...]]] = {
    "numbers as text": ([{"cls": b"1\n"}, {"cls": b"00"}], {}, ("class_0", "class_1")),
    "names": ([DOG, CAT], {}, ("cat", "dog")),
    "names in JSON": ([{"cls": b'"dog"'}, {"cls": b'"cat"'}], {}, ("cat", "dog")),
    "names in an order": ([CAT, DOG], {"attributes": ("dog", "cat")}, ("dog", "cat")),
    "an entry": ([{"json": b'{"label": 1, "caption": "x", "nsfw": 0}'}, {"json": b'{"label": 0, "nsfw": 1}'}],
                 {"member": ("labels=json:label",)}, ("class_0", "class_1")),
    "an entry of numbers": (
        [{"json": b'{"label": 3, "nsfw": 0}'}, {"json": b'{"label": 0, "nsfw": 0}'}],
        {}, ("class_0", "class_1", "class_2", "class_3"),
    ),
    "an entry of names": (
        [{"json": b'{"label": "dog", "caption": "x"}'}, {"json": b'{"label": "cat"}'}], {}, ("cat", "dog"),
    ),
    "text": ([{"txt": b"dog"}, {"txt": b"cat"}], {"member": ("labels=txt",)}, ("cat", "dog")),
    "an entry by name": (
        [{"json": b'{"species": "dog", "id": 1}'}, {"json": b'{"species": "cat", "id": 0}'}],
        {"member": ("labels=json:species",)}, ("cat", "dog"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BY_CLASS)
def test_indexing_reads_classes_in_the_ways_that_people_write_them(case: str, tmp_path: Path) -> None:
    labels, options, names = BY_CLASS[case]
    manifest = index(labelled(tmp_path, *labels), **options)
    assert (manifest.attributes, manifest.exclusive) == (names, True)
    first = 3 if "class_3" in names else 1
    rows = DataSet(str(tmp_path)).rows("train").labels().tolist()
    assert rows == [[int(i == first) for i in range(len(names))], rows[1]]
    assert rows[1] != rows[0]


@pytest.mark.parametrize(
    ("labels", "options", "says"),
    [
        ([CAT, DOG, {"cls": b"a bird of prey " * 9}], {}, "a text of 134 characters, which is not JSON, nor the name"),
        ([CAT, DOG, {"cls": b""}], {}, "an empty text, which is not JSON"),
        ([CAT, DOG, {"cls": b"\xff\xfe"}], {}, "nor text"),
        ([CAT, DOG, {"cls": b"3"}], {}, "labels such as 3; expected one of the classes cat, dog"),
        ([CAT, DOG, {"cls": b"emu"}], {"attributes": ("cat", "dog")}, 'labels such as "emu"; expected one of'),
        ([{"cls": b"0"}, {"cls": b"7"}], {"attributes": ("x", "y")}, "2 names; expected 8"),
        ([{"json": b'{"label": ["a"]}'}, {"json": b'{"label": null}'}], {}, "labels such as"),
        ([{"json": b'{"species": "cat"}'}, {"json": b"{}"}], {"member": ("labels=json:species",)}, "no species"),
    ],
)
def test_indexing_names_labels_that_are_none(
    labels: list[dict[str, bytes]], options: dict[str, Any], says: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=re.escape(says)):
        index(labelled(tmp_path, *labels), **options)


def test_indexing_names_captions_and_its_advice_reads_classes(tmp_path: Path) -> None:
    labelled(tmp_path, {"txt": b"cat"}, {"txt": b"dog"})
    with pytest.raises(DataError, match=r"but with captions \(txt\)") as refused:
        index(tmp_path)
    assert "--member labels=txt" in str(refused.value)
    assert index(tmp_path, member=("labels=txt",)).attributes == ("cat", "dog")


def test_indexing_names_the_entries_that_may_be_a_class(tmp_path: Path) -> None:
    labelled(tmp_path, *({"json": json.dumps({"url": f"x{i}", "kind": "ab"[i % 2]}).encode()} for i in range(3)))
    with pytest.raises(DataError, match=r"If an entry \(url, kind, ...\) is a class.*--member labels=json:ENTRY"):
        index(tmp_path)
    assert index(tmp_path, member=("labels=json:kind",)).attributes == ("a", "b")


def test_indexing_tars_of_class_folders_works_as_advised(tmp_path: Path) -> None:
    write_tar(tmp_path / "in/train-0.tar", {f"{kind}/{i}": {"png": png()} for kind in ("cat", "dog") for i in "12"})
    with pytest.raises(DataError, match="unpack the tars: --layout classes"):
        index(tmp_path / "in")
    with tarfile.open(tmp_path / "in/train-0.tar") as tar:
        tar.extractall(tmp_path / "unpacked", filter="data")
    assert shard("classes", tmp_path / "unpacked", tmp_path / "out", split=ALL).attributes == ("cat", "dog")


def test_refined_labels_stay_in_the_form_that_they_have(tmp_path: Path) -> None:
    names = ("cat", "dog")
    assert relabelled(b"cat\n", names, (0, 1)) == b"dog"
    assert relabelled(b'"cat"', names, (0, 1)) == b'"dog"'
    assert relabelled(b"0", names, (0, 1)) == b"1"
    assert json.loads(relabelled(b'{"label": "cat", "x": 1}', names, (0, 1), "label")) == {"label": "dog", "x": 1}
    assert json.loads(relabelled(b'{"label": 0}', names, (0, 1), "label")) == {"label": 1}
    with pytest.raises(ValueError, match="Expecting value"):
        relabelled(b"bird", names, (0, 1))
    index(labelled(tmp_path, {"json": b'{"label": "cat"}'}, {"json": b'{"label": "dog"}'}))
    assert labels_in(DataSet(str(tmp_path))) == (("json", "cls"), "label")
    index(labelled(tmp_path, {"txt": b"cat"}, {"txt": b"dog"}), member=("labels=txt",), overwrite=True)
    assert labels_in(DataSet(str(tmp_path))) == (("txt",), "")


# ---- names of tars ----


@pytest.mark.parametrize(
    ("folder", "names", "split"),
    [("test", "0 1", "test"), ("Validation", "0 1", "val"), ("test", "val-0", "val"), ("testing-2024", "0", "train")],
)
def test_indexing_takes_the_split_from_the_folders_own_name(
    folder: str, names: str, split: str, tmp_path: Path
) -> None:
    """Where no tar's name says one; the word alone counts. `--split` of --rewrite goes before it."""
    for name in names.split():
        write_tar(tmp_path / folder / f"{name}.tar", {name: {"png": png(), "cls": b"0"}})
    assert [*index(tmp_path / folder).splits] == [split]
    assert [*anew(tmp_path / folder, tmp_path / "new", split=LayoutOptions.split).splits] == [split]
    if names == "0 1":
        cut = anew(tmp_path / folder, tmp_path / "cut", split=(0.5, 0.5, 0.0))
        assert {*cut.splits} == {"train", "val"}


@pytest.fixture
def tars(tmp_path: Path) -> Path:
    for number in range(3):
        write_tar(tmp_path / f"in/set-{number:03d}.tar", {str(number): {"png": png(), "cls": b"0"}})
    write_tar(tmp_path / "in/val/000.tar", {"9": {"png": png(), "cls": b"0"}})
    for name in ("000.parquet", "000_stats.json", "notes.txt"):
        (tmp_path / "in" / name).write_text("{}")
    return tmp_path / "in"


@pytest.mark.parametrize(
    ("given", "keys"),
    [
        ("", "0129"), ("set-{000..001}.tar", "01"), ("set-{0..2}*.tar", None), ("set-*.tar", "012"),
        ("{set-000,val/000}.tar", "09"), ("set-001.tar", "1"), ("set-00[!1].tar", "02"), ("val", "9"),
        ("set-{000..004}.tar", None), ("x-*.tar", None),
    ],
)  # fmt: skip
def test_indexing_takes_the_names_that_people_write(given: str, keys: str | None, tars: Path) -> None:
    if keys is None:
        with pytest.raises(DataError, match=r"of the .* that the pattern stands for"):
            index(tars / given)
        return
    manifest = index(tars / given)
    data = DataSet(str(tars / "val" if given == "val" else tars))
    assert data.manifest == manifest
    found = [key for split in sorted(manifest.splits) for key in whole_index(data, split).keys]
    assert "".join(found) == keys


def test_patterns_of_tars_expand_as_those_of_webdataset() -> None:
    assert expanded("a-{08..11}.{x,y}", "") == [f"a-{n}.{end}" for n in ("08", "09", "10", "11") for end in "xy"]
    assert expanded("{0..10}", "")[-2:] == ["9", "10"]
    assert expanded("{000..1}", "") == ["000", "001"]
    assert cut_pattern("s3://b/x/t-{0..9}.tar") == ("s3://b/x", "t-{0..9}.tar")
    assert cut_pattern("s3://b/x") == ("s3://b/x", "")
    with pytest.raises(DataError, match="at most 1,000,000"):
        expanded("{0..999999999}{0..99}", "--index x")
    with pytest.raises(DataError, match="a command"):
        cut_pattern("pipe:curl -s http://x/0.tar")
    with pytest.raises(DataError, match="several addresses"):
        cut_pattern("a/0.tar::a/1.tar")


def test_indexing_compressed_tars_works_as_advised(tars: Path) -> None:
    whole = (tars / "set-000.tar").read_bytes()
    (tars / "set-000.tar").unlink()
    (tars / "set-000.tar.gz").write_bytes(gzip.compress(whole))
    with pytest.raises(DataError, match=r"gunzip leaves a \.tar"):
        index(tars)
    (tars / "set-000.tar").write_bytes(gzip.decompress((tars / "set-000.tar.gz").read_bytes()))  # as gunzip does
    (tars / "set-000.tar.gz").unlink()
    assert index(tars).splits["train"]["all"].samples == 3


@pytest.mark.parametrize(
    ("ending", "packed"),
    [("tar.gz", gzip.compress), ("tgz", gzip.compress), ("tar.bz2", bz2.compress), ("txz", lzma.compress)],
)
def test_rewriting_reads_compressed_tars_as_advised(
    ending: str, packed: Callable[[bytes], bytes], tars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same data set as of plain ones; the compressed stay, and nothing is left of the plain."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    anew(tars, tmp_path / "plain")
    (tars / f"set-000.{ending}").write_bytes(packed((tars / "set-000.tar").read_bytes()))
    (tars / "set-000.tar").unlink()
    with pytest.raises(DataError, match="--rewrite --out data/NAME"):
        index(tars)
    before = files(tars)
    anew(tars, tmp_path / "anew")
    assert {k: v for k, v in files(tmp_path / "anew").items() if k.endswith(".tar")} == {
        k: v for k, v in files(tmp_path / "plain").items() if k.endswith(".tar")
    }
    assert files(tars) == before
    assert not [*(tmp_path / "temporary").iterdir()]
    assert finished_of(str(tmp_path / "anew"), rewriting.MADE_BY)


def test_rewriting_refuses_compressed_tars_that_are_damaged_or_bombs(
    tars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = gzip.compress((tars / "set-000.tar").read_bytes())
    place = tars / "set-009.tar.gz"
    for data in (whole[:-20], b"no gzip", whole[:20] + b"x" * 20 + whole[40:]):
        place.write_bytes(data)
        with pytest.raises(DataError, match=r"set-009\.tar\.gz, which cannot be unpacked"):
            anew(tars, tmp_path / "out")
    place.write_bytes(gzip.compress(bytes(1 << 22)))
    monkeypatch.setattr(unpacking, "ALLOWED", 0)
    with pytest.raises(DataError, match="which hold more than"):
        anew(tars, tmp_path / "out")
    (tars / "set-000.tar.gz").write_bytes(whole)
    place.unlink()
    with pytest.raises(DataError, match=r"set-000\.tar\.gz and another of the name set-000\.tar"):
        anew(tars, tmp_path / "out")
    (tars / "set-000.tar.zst").write_bytes(b"x")
    with pytest.raises(DataError, match=r"zstd -d leaves a \.tar\.$"):
        anew(tars, tmp_path / "out")


def test_indexing_names_a_folder_without_tars(tmp_path: Path) -> None:
    (tmp_path / "00000.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"1 file, none of them a tar \(1 .parquet\)"):
        index(tmp_path)


def test_indexing_takes_captioned_images_of_two_folders_as_domains(tmp_path: Path) -> None:
    """As img2dataset writes them: beside each tar a parquet and a stats.json, in it key.jpg, key.json and key.txt."""
    note = json.dumps({"caption": "a horse", "url": "http://x", "key": "0", "status": "success", "width": 4}).encode()
    for kind in ("horse", "zebra"):
        write_tar(tmp_path / kind / "00000.tar", {"000000000": {"jpg": jpg(), "json": note, "txt": b"a horse"}})
        (tmp_path / kind / "00000_stats.json").write_text("{}")
        (tmp_path / kind / "00000.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="labels such as"):
        index(tmp_path)
    assert index(tmp_path, domains=("horse", "zebra")).kind == "unpaired"


# ---- samples in pieces, and keys with dots ----


def put_tar(path: Path, members: list[tuple[str, bytes]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def by_ending(name: str) -> tuple[str, str]:
    return name[::-1].partition(".")[0], name


def test_indexing_samples_in_pieces_works_as_advised(tmp_path: Path, tool: Tool) -> None:
    files = {f"x/{i}.{end}": data for i in range(4) for end, data in (("png", png()), ("cls", b"%d" % (i % 2)))}
    source = tmp_path / "in"
    members = [(name, files[name]) for name in sorted(files, key=by_ending)]
    put_tar(source / "train-0.tar", members)
    code, _, error = tool("--index", source)
    assert code == 2
    assert "found cls apart from png" in error
    words = [str(tmp_path / "out") if word == "NEW" else word for word in advised(error)]
    assert words[0] == "--rewrite"
    assert tool("--index", source, *words)[0] == 0
    data = DataSet(str(tmp_path / "out"))
    found = whole_index(data, "train")
    assert sorted(found.keys) == [f"x/{i}" for i in range(4)]
    for row, key in enumerate(found.keys):
        assert found.labels[row].tolist() == [int(int(key[-1]) % 2 == i) for i in range(2)]
        assert np.array_equal(sample(tmp_path / "out", key)[0], decode(files[f"{key}.png"], "png"))
    (tmp_path / "out/manifest.json").unlink()
    shutil.rmtree(tmp_path / "out/index")
    assert index(tmp_path / "out").fields == data.manifest.fields, "the new shards say the same"


def test_indexing_keys_with_dots_works_as_advised(tmp_path: Path, tool: Tool) -> None:
    files = [(f"./v1.{i}.{end}", data) for i in "123" for end, data in (("JPG", jpg()), ("cls", b"0"), ("txt", b"t"))]
    put_tar(tmp_path / "in/train-0.tar", files)
    code, _, error = tool("--index", tmp_path / "in")
    assert code == 2
    advice = shlex.split(re.search(r"--keys last-dot --rewrite --out NEW", error)[0])  # type: ignore[index]
    words = [str(tmp_path / "out") if word == "NEW" else word for word in advice]
    assert tool("--index", tmp_path / "in", *words)[0] == 0
    assert sorted(whole_index(DataSet(str(tmp_path / "out")), "train").keys) == ["v1_1", "v1_2", "v1_3"]
    with tarfile.open(next((tmp_path / "out").glob("train-*.tar"))) as tar:
        assert {name.partition(".")[2] for name in tar.getnames()} == {"png", "cls", "txt"}


def test_keys_end_where_they_are_said_to() -> None:
    first, last = MemberNames.of(()), MemberNames.of((), "last-dot")
    mapped = MemberNames.of(("a=in.jpg", "b=out.jpg", "labels=kind.txt"), "last-dot")
    for name, one, two, three in (
        ("x/1.png", ("x/1", "png"), ("x/1", "png"), ("x/1", "png")),
        ("x.y/v1.2.png", ("x.y/v1", "2.png"), ("x.y/v1.2", "png"), ("x.y/v1.2", "png")),
        ("v1.2.a.png", ("v1", "2.a.png"), ("v1.2", "a.png"), ("v1.2", "a.png")),
        ("v1.2.IN.jpg", ("v1", "2.IN.jpg"), ("v1.2.IN", "jpg"), ("v1.2", "IN.jpg")),
        ("v1.2.kind.txt", ("v1", "2.kind.txt"), ("v1.2.kind", "txt"), ("v1.2", "kind.txt")),
        ("v1.a.txt", ("v1", "a.txt"), ("v1.a", "txt"), ("v1.a", "txt")),
        ("README", ("README", ""), ("README", ""), ("README", "")),
    ):
        assert (first.cut(name), last.cut(name), mapped.cut(name)) == (one, two, three), name


# ---- written anew ----


def test_rewriting_converts_images_and_keeps_other_members(tmp_path: Path) -> None:
    note = b'{"bold": 1, "who": "x"}'
    members = {"jpg": jpg(), "json": note, "seg.png": png(1), "TXT": b"words"}
    write_tar(tmp_path / "in/0.tar", {str(i): members for i in range(3)})
    before = sums(tmp_path / "in")
    manifest = anew(tmp_path / "in", tmp_path / "out", ImageOptions(load_size=8, fit="square", channels=1))
    image = manifest.fields["image"]
    assert (image.extension, image.channels, image.height, image.width) == ("png", 1, 8, 8)
    assert manifest.attributes == ("bold",)
    with tarfile.open(tmp_path / "out/train-000000.tar") as tar:
        held = {name: tar.extractfile(name).read() for name in tar.getnames() if name.startswith("1.")}  # type: ignore[union-attr]
    assert held.keys() == {"1.png", "1.json", "1.seg.png", "1.TXT"}
    assert (held["1.json"], held["1.seg.png"], held["1.TXT"]) == (note, members["seg.png"], b"words")
    assert sums(tmp_path / "in") == before
    DataSet(str(tmp_path / "out")).check_shards("train")


def test_rewriting_the_same_says_so_and_others_need_overwrite(tars: Path, tmp_path: Path, tool: Tool) -> None:
    job = ["--index", tars, "--out", tmp_path / "out"]
    assert tool(*job, "--load-size", 8)[0] == 0
    before = sums(tmp_path / "out")
    code, out, _ = tool(*job, "--load-size", 8)
    assert (code, "already finished" in out) == (0, True)
    code, _, error = tool(*job, "--load-size", 9)
    assert code == 2
    assert "--overwrite" in error
    assert sums(tmp_path / "out") == before
    assert tool(*job, "--load-size", 9, "--overwrite")[0] == 0


def test_rewriting_an_interrupted_job_goes_on(tars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = shards.write_shard

    def killed(out: str, recipe: shards.Recipe, job: shards.ShardJob, bad: str) -> shards.FinishedShard:
        if job.name.endswith("1.tar"):
            raise KeyboardInterrupt
        return written(out, recipe, job, bad)

    with monkeypatch.context() as patched:
        patched.setattr(shards, "write_shard", killed)
        with pytest.raises(KeyboardInterrupt):
            anew(tars, tmp_path / "out", shard_samples=1)
    times = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.tar")}
    assert times
    manifest = anew(tars, tmp_path / "out", shard_samples=1)
    assert times.items() <= {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.tar")}.items()
    assert {split: of["all"].samples for split, of in manifest.splits.items()} == {"train": 3, "val": 1}


def test_rewriting_splits_what_no_name_splits(tmp_path: Path) -> None:
    write_tar(tmp_path / "in/0.tar", {f"{i:02d}": {"png": png(), "cls": b"0"} for i in range(10)})
    manifest = anew(tmp_path / "in", tmp_path / "out", split=(0.5, 0.3, 0.2))
    assert {split: of["all"].samples for split, of in manifest.splits.items()} == {"train": 5, "val": 3, "test": 2}
    manifest = anew(tmp_path / "in", tmp_path / "groups", split=(0.5, 0.5, 0.0), group_by="^.")
    assert {split: of["all"].samples for split, of in manifest.splits.items()} == {"train": 10}


def test_rewriting_tars_of_equal_keys_keeps_them_apart(tmp_path: Path) -> None:
    for number in range(2):
        write_tar(tmp_path / f"in/{number}.tar", {"1": {"png": png(), "cls": b"%d" % number}})
    anew(tmp_path / "in", tmp_path / "out")
    found = whole_index(DataSet(str(tmp_path / "out")), "train")
    assert sorted(zip(found.keys, found.labels[:, 1].tolist(), strict=True)) == [("0/1", 0), ("1/1", 1)]
    put_tar(tmp_path / "twice/0.tar", [("a.x.png", png()), ("a_x.png", png()), ("a.x.cls", b"0"), ("a_x.cls", b"0")])
    with pytest.raises(DataError, match="differ in more than dots"):
        anew(tmp_path / "twice", tmp_path / "none", keys="last-dot")


def test_rewriting_pairs_and_domains_in_either_direction(tmp_path: Path) -> None:
    a, b = png(), png()
    write_tar(tmp_path / "pairs/0.tar", {"1": {"in.png": a, "out.png": b}})
    for direction, first in (("AtoB", a), ("BtoA", b)):
        out = tmp_path / direction
        anew(tmp_path / "pairs", out, member=("a=in.png", "b=out.png"), direction=direction)
        assert np.array_equal(sample(out, "1")[0], decode(first, "png"))
    write_tar(tmp_path / "two/trainA.tar", {"1": {"png": a}})
    write_tar(tmp_path / "two/trainB.tar", {"1": {"png": b}})
    anew(tmp_path / "two", tmp_path / "turned", direction="BtoA")
    assert np.array_equal(sample(tmp_path / "turned", "1", domain="A")[0], decode(b, "png"))
    write_tar(tmp_path / "one/0.tar", {"1": {"png": a, "cls": b"0"}})
    with pytest.raises(UserError, match="BtoA for labelled images"):
        anew(tmp_path / "one", tmp_path / "none", direction="BtoA")


def test_rewriting_leaves_out_what_cannot_be_used(tmp_path: Path) -> None:
    samples = {str(i): {"png": png(), "cls": b"0"} for i in range(3)}
    samples |= {"bad": {"png": b"x", "cls": b"0"}, "none": {"txt": b"x"}, "text": {"png": png(), "cls": b""}}
    samples["pair"] = {"a.png": png(), "b.png": png()}
    write_tar(tmp_path / "in/0.tar", samples)
    with pytest.raises(DataError):
        anew(tmp_path / "in", tmp_path / "out")
    manifest = anew(tmp_path / "in", tmp_path / "out", bad="skip")
    assert manifest.splits["train"]["all"].samples == 3
    said = "\n".join(manifest.made_by["left_out"])
    for part in ("none: images named nothing", "text: an empty text", "pair: images named a and b", "0.tar/bad.png: "):
        assert part in said, said
    del samples["none"], samples["text"], samples["pair"]
    write_tar(tmp_path / "in/0.tar", samples)
    with pytest.raises(DataError, match=r"0.tar/bad.png: found a file that cannot be decoded"):
        anew(tmp_path / "in", tmp_path / "out", overwrite=True)


def test_rewriting_a_tar_that_became_shorter_is_one_error(tars: Path, tmp_path: Path) -> None:
    options, layout = IndexOptions(str(tars), rewrite=True), LayoutOptions(split=ALL)
    of = webdatasets.list_tars(options, ())
    scanned = {name: tar_samples.scan(of.root, name, "stop", options.names, True) for name in of.sizes}
    found = rewriting.found_in(of, scanned, options, layout, "stop", "")
    (tars / "set-001.tar").write_bytes(b"")
    goal = shards.ShardOptions(out=str(tmp_path / "out"))
    with pytest.raises(DataError, match=r"set-001.tar/1.png: found a file that cannot be read"):
        make(shards.plan(found, layout, GlyphOptions(), ImageOptions(), goal), goal, 0)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--channels", "3"), "--channels: found it without --out; expected a place for the new shards"),
        (("--encode", "png"), "--encode: found it without --out"),
        (("--rewrite",), "--rewrite: found it without --out"),
        (("--keys", "last-dot"), "--keys last-dot: found it without --out"),
        (("--shard-samples", "5"), "--shard-samples: found it beside --index"),
        (("--split", "1", "0", "0"), "--split: found it beside --index"),
        (("--input", "x"), "--input: found it beside --index"),
        (("--list", "x"), "--list: found it beside --index"),
        (("--characters", "5"), "--characters: found it beside --index"),
        (("--rewrite", "--out", "HERE/new"), "among the tars"),
        (("--annotations", "txt", "--load-size", "8"), "--annotations: found it beside --index"),
    ],
)
def test_shard_command_refuses_flags_that_change_nothing_of_an_index(
    flags: tuple[str, ...], says: str, tars: Path, tool: Tool
) -> None:
    before = sums(tars)
    code, _, error = tool("--index", tars, *(flag.replace("HERE", str(tars)) for flag in flags))
    assert code == 2
    assert says in error
    assert sums(tars) == before


def test_shard_command_splits_tars_anew_as_advised(tars: Path, tmp_path: Path, tool: Tool) -> None:
    shutil.rmtree(tars / "val")
    _, _, error = tool("--index", tars, "--split", 0.34, 0.33, 0.33)
    assert "--rewrite --out data/NAME" in error
    assert tool("--index", tars, "--split", 0.34, 0.33, 0.33, "--rewrite", "--out", tmp_path / "out")[0] == 0
    assert sorted(DataSet(str(tmp_path / "out")).manifest.splits) == ["test", "train", "val"]
