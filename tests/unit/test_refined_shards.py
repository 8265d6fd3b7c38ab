"""Annotations into data sets, and refined data sets that keep them.

pytest tests/unit/test_refined_shards.py
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import torch
import webdataset
from PIL import Image

from i2i_core.checkpoints.trained import load_trained
from i2i_core.config.data import DataConfig
from i2i_core.data.folders.layouts import LayoutOptions, find
from i2i_core.data.format import refined, shards, webdatasets
from i2i_core.data.format.manifest import DataSet, Manifest
from i2i_core.data.format.table import Shard
from i2i_core.data.reading.reader import Reader
from i2i_core.data.reading.stream import Stream
from i2i_core.data.worlds.glyphs import GlyphOptions
from i2i_core.errors import DataError, RunError, UserError
from i2i_core.images.codec import ImageOptions
from i2i_core.images.sheet import to_array
from i2i_core.orchestration.sharding import index_webdataset
from i2i_core.translation.loading import own

from ..support.data import annotated_glyphs, png, put, shard, sums, whole_index, write_tar
from ..support.translating import go, noise, pixels, untrained

Members = dict[str, dict[str, bytes]]
ALL_TRAIN = {"split": (1.0, 0.0, 0.0)}


def read(folder: Path | str, name: str) -> Members:
    """key -> member -> bytes, in the order of the tar."""
    samples: Members = {}
    with tarfile.open(f"{folder}/{name}") as tar:
        for info in tar:
            key, _, member = info.name.partition(".")
            samples.setdefault(key, {})[member] = tar.extractfile(info).read()  # type: ignore[union-attr]
    return samples


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> str:
    return annotated_glyphs(tmp_path_factory.mktemp("data") / "synthetic")


@pytest.fixture(scope="module")
def simgan(synthetic: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    return untrained("simgan", synthetic, tmp_path_factory.mktemp("simgan"))


def refine(run: str, input: Path | str, out: Path | str, **options: Any) -> Any:
    return go(run, input, out, shards=True, **{"split": "train", **options})


def refused(*arguments: Any, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        refine(*arguments, **options)
    return str(caught.value)


def names_of(manifest: Manifest, split: str = "train") -> list[str]:
    return [shard.name for s in manifest.splits[split].values() for shard in s.shards]


# ---------------------------------------------------------------- annotations into data sets


def test_annotations_become_members_of_their_samples(tmp_path: Path) -> None:
    """Of unpaired data from A's folder alone; an array beside an image is no image."""
    for i in range(3):
        put(tmp_path / f"in/trainA/{i}.png", noise(6, 6, 3, seed=i))
        (tmp_path / f"in/trainA/{i}.json").write_text(json.dumps({"gaze": [i, -i]}))
        np.save(tmp_path / f"in/trainA/{i}.npy", np.arange(4) + i)
        put(tmp_path / f"in/trainB/{i}.png", noise(6, 6, 3, seed=9 + i))
    manifest = shard("unpaired", tmp_path / "in", tmp_path / "out", annotations=(".json", "npy"))
    samples = read(tmp_path / "out", "train-A-000000.tar")
    assert sorted(samples) == ["0", "1", "2"]
    for key, members in samples.items():
        assert list(members) == ["json", "npy", "png"]
        for ending in ("json", "npy"):
            assert members[ending] == (tmp_path / f"in/trainA/{key}.{ending}").read_bytes()
    assert {tuple(members) for members in read(tmp_path / "out", "train-B-000000.tar").values()} == {("png",)}
    assert manifest.made_by["layout"]["annotations"] == ["json", "npy"]
    reader = Reader(DataSet(str(tmp_path / "out")), "train", "A")
    assert [reader.read([row], 0)[0] for row in range(3)] == [samples[reader.key(row)]["png"] for row in range(3)]


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_annotations_of_pairs_lie_beside_a(direction: str, tmp_path: Path) -> None:
    for i in range(2):
        put(tmp_path / f"in/a/{i}.png", noise(6, 6, 3, seed=i))
        put(tmp_path / f"in/b/{i}.png", noise(6, 6, 1, seed=i))
        (tmp_path / f"in/a/{i}.a.txt").write_text(f"words {i}")
    options = {"annotations": ("a.txt",), "direction": direction, **ALL_TRAIN}
    shard("pairs", tmp_path / "in", tmp_path / "out", **options)
    samples = read(tmp_path / "out", "train-000000.tar")
    assert {key: members["a.txt"] for key, members in samples.items()} == {"0": b"words 0", "1": b"words 1"}
    reader = Reader(DataSet(str(tmp_path / "out")), "train", "all")
    for row in range(2):
        assert reader.read([row], 0) + reader.read([row], 1) == [samples[reader.key(row)][f"{s}.png"] for s in "ab"]


def test_annotations_that_are_missing_are_named(tmp_path: Path) -> None:
    for name in ("trainA/1", "trainA/2", "trainB/1", "trainB/2"):
        put(tmp_path / f"in/{name}.png", noise(6, 6, 3))
    (tmp_path / "in/trainA/1.json").write_text("{}")
    with pytest.raises(DataError, match=r"in/trainA/2\.json: found no such file; expected the annotation of trainA/2"):
        shard("unpaired", tmp_path / "in", tmp_path / "out", annotations=("json",))
    with pytest.raises(DataError, match=r"in/trainA/1\.txt: found no such file"):
        shard("unpaired", tmp_path / "in", tmp_path / "out", annotations=("txt",))
    (tmp_path / "in/trainA/2.json").write_text("{}")
    (tmp_path / "in/trainB/2.json").write_text("{}")
    with pytest.raises(DataError, match=r"in/trainB/1\.json: found no such file"):
        shard("unpaired", tmp_path / "in", tmp_path / "out", annotations=("json",))


def test_annotations_that_cannot_be_are_refused(tmp_path: Path) -> None:
    for name in ("cat/1", "dog/1"):
        put(tmp_path / f"in/{name}.bmp", noise(6, 6, 3))
        for ending in ("json", "png"):
            (tmp_path / f"in/{name}.{ending}").write_text("{}")
    for endings, says in {
        ("json",): "not the labels' own",
        ("png",): "--annotations: found png, as images are stored here",
        ("a b",): "endings of file names",
        ("txt", "txt"): "each once",
    }.items():
        with pytest.raises(UserError, match=says):
            shard("classes", tmp_path / "in", tmp_path / "out", annotations=endings)
    shard("classes", tmp_path / "in", tmp_path / "w", ImageOptions(encode="webp"), annotations=("png",), **ALL_TRAIN)
    assert {tuple(m) for m in read(tmp_path / "w", "train-000000.tar").values()} == {("json", "png", "webp")}
    for glyph, endings in (("labelled", "json"), ("paired", "json"), ("unpaired", "txt")):
        layout = LayoutOptions(layout="glyphs", annotations=(endings,))
        with pytest.raises(UserError, match="json of unpaired ones"):
            find(layout, GlyphOptions(glyphs=glyph, characters=4))  # type: ignore[arg-type]


def test_annotations_of_glyphs_tell_what_they_show(synthetic: str) -> None:
    for domain, style in (("A", "sans-regular"), ("B", "serif-regular")):
        samples = read(synthetic, f"train-{domain}-000000.tar")
        for key, members in samples.items():
            assert list(members) == ["json", "png"]
            character = key.split("-")[0]
            assert json.loads(members["json"]) == {"character": character, "style": style}


def test_annotations_are_left_alone_unless_asked_for(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/1.png").write_bytes(b"eight px")
    (tmp_path / "in/1.json").write_text("{}")
    layout = LayoutOptions(layout="ab", input=str(tmp_path / "in"))
    plan = shards.plan(find(layout), layout, GlyphOptions(), ImageOptions(), shards.ShardOptions(out="x"))
    before = "d83557aaf53f0b5dccdb6ece52dceff91b531340e37f967ea0eb260cea8c742c"
    assert plan.digest == before, "data sets of an earlier release would not be known again"
    assert "annotations" not in plan.made_by["layout"]


def test_annotations_that_change_are_another_input(tmp_path: Path) -> None:
    put(tmp_path / "in/1.png", noise(4, 8, 3))
    (tmp_path / "in/1.txt").write_text("one")
    shard("ab", tmp_path / "in", tmp_path / "out", annotations=("txt",))
    (tmp_path / "in/1.txt").write_text("three")
    with pytest.raises(DataError, match="made from another input"):
        shard("ab", tmp_path / "in", tmp_path / "out", annotations=("txt",))


# ---------------------------------------------------------------- annotations in WebDatasets that exist


def index(uri: Path, **options: Any) -> Manifest:
    return index_webdataset(webdatasets.IndexOptions(index=str(uri), **options), workers=0)[0]


def array() -> bytes:
    out = io.BytesIO()
    np.save(out, np.arange(5.0))
    return out.getvalue()


def test_indexing_leaves_other_members_alone(tmp_path: Path) -> None:
    """Arrays of any shape, masks, text; json that is no label beside a cls."""
    others = {"npy": array(), "mask.png": b"no image", "txt": b"words", "json": b'{"width": 640}'}
    write_tar(tmp_path / "one/train-0.tar", {str(i): {**others, "jpg": png(), "cls": b"1"} for i in range(3)})
    manifest = index(tmp_path / "one")
    assert (manifest.kind, manifest.attributes, list(manifest.fields)) == (
        "labelled",
        ("class_0", "class_1"),
        ["image"],
    )
    assert manifest.fields["image"].extension == "jpg"
    write_tar(tmp_path / "two/train-0.tar", {"1": {"a.png": png(), "b.png": png(), "c.png": b"", "json": b"no JSON"}})
    assert index(tmp_path / "two").kind == "paired"
    both = {"a.png": png(), "b.png": png(), "png": png()}
    write_tar(tmp_path / "three/train-0.tar", {"1": both})
    with pytest.raises(DataError, match="images named a, b, image"):
        index(tmp_path / "three")
    write_tar(tmp_path / "four/train-0.tar", {"1": {"png": png(), "jpg": png()}})
    with pytest.raises(DataError, match="both png and jpg"):
        index(tmp_path / "four")


def test_indexing_annotated_domains(synthetic: str, tmp_path: Path) -> None:
    """Both domains have json that is no label: they are two domains still."""
    goal = shards.ShardOptions(out=str(tmp_path / "out"), overwrite=True)
    again = index_webdataset(webdatasets.IndexOptions(index=synthetic), goal, workers=0)[0]
    assert again.kind == "unpaired"
    with pytest.raises(DataError, match="labels such as"):
        index_webdataset(webdatasets.IndexOptions(index=synthetic), goal, ("style",), workers=0)
    assert again.splits["train"]["A"].samples == DataSet(synthetic).manifest.splits["train"]["A"].samples


# ---------------------------------------------------------------- refined data sets


def test_refined_shards_carry_all_but_the_image_over(simgan: str, synthetic: str, tmp_path: Path) -> None:
    outcome = refine(simgan, synthetic, tmp_path / "out")
    old, new = DataSet(synthetic).manifest, DataSet(str(tmp_path / "out")).manifest
    assert names_of(new) == names_of(old)
    assert len(old.splits["train"]["A"].shards) > 1
    assert new.splits["train"]["B"] == old.splits["train"]["B"], "the other domain is copied"
    assert outcome.written == new.splits["train"]["A"].samples == old.splits["train"]["A"].samples
    for tar in new.splits["train"]["A"].shards:
        before, after = read(synthetic, tar.name), read(tmp_path / "out", tar.name)
        assert list(before) == list(after)
        for key in before:
            assert list(before[key]) == list(after[key])
            assert before[key]["json"] == after[key]["json"]
            assert before[key]["png"] != after[key]["png"]
    assert (new.kind, new.domains, list(new.splits)) == ("unpaired", ("A", "B"), ["train"])


def test_refined_shards_hold_what_the_method_makes(simgan: str, synthetic: str, tmp_path: Path) -> None:
    refine(simgan, synthetic, tmp_path / "out")
    method = load_trained(simgan, torch.device("cpu")).method
    before, after = (Reader(DataSet(str(uri)), "train", "A") for uri in (synthetic, tmp_path / "out"))
    for row in range(len(before.rows)):
        x = own((before.read([row], 0)[0], "png"), "it").x
        made = to_array(method.image_from(x[None])[0])[..., 0]
        assert before.key(row) == after.key(row)
        assert np.abs(pixels(after.read([row], 0)[0]).astype(int) - made).max() <= 1


def test_refined_shards_are_read_by_every_reader(simgan: str, synthetic: str, tmp_path: Path) -> None:
    refine(simgan, synthetic, tmp_path / "out")
    data, on_disk = DataSet(str(tmp_path / "out")), sums(tmp_path / "out")
    data.check_shards("train")
    listed = {s.name: s.sha256 for sets in data.manifest.splits["train"].values() for s in sets.shards}
    for sets in data.manifest.splits["train"].values():
        listed |= dict(zip(sets.index.name, sets.index.sha256, strict=True))
    assert set(on_disk) == {*listed, "manifest.json"}, "something is left behind"
    assert on_disk.items() >= listed.items()
    urls = [str(tmp_path / "out" / s.name) for s in data.manifest.splits["train"]["A"].shards]
    read = list(webdataset.WebDataset(urls, shardshuffle=False, empty_check=False))
    reader = Reader(data, "train", "A")
    assert [s["__key__"] for s in read] == [reader.key(row) for row in range(len(reader.rows))]
    assert [s["png"] for s in read] == [reader.read([row], 0)[0] for row in range(len(read))]
    assert all(json.loads(s["json"])["character"] == s["__key__"].split("-")[0] for s in read)
    batch = Stream(data, DataConfig(crop="none", flip=False), 16, 4, 0).read(0, 0, 4)
    for i, key in enumerate(batch.keys):
        image = next(s["png"] for s in read if s["__key__"] == key)
        assert np.array_equal(batch["a"][i, 0].numpy(), pixels(image))


def test_refined_shards_of_a_stopped_job_have_the_same_bytes(simgan: str, tmp_path: Path) -> None:
    """Stopped by a shard whose bytes are not the manifest's; mended, the same command goes on."""
    source = Path(annotated_glyphs(tmp_path / "in"))
    refine(simgan, source, tmp_path / "whole", batch=3)
    damaged = source / "train-A-000001.tar"
    good = damaged.read_bytes()
    damaged.write_bytes(good[:-1] + b"x")
    assert "train-A-000001.tar: found other bytes" in refused(simgan, source, tmp_path / "out")
    first = tmp_path / "out/train-A-000000.tar"
    when = first.stat().st_mtime_ns
    assert not (tmp_path / "out/train-A-000001.tar").exists()
    with pytest.raises(DataError, match="without manifest"):
        DataSet(str(tmp_path / "out"))
    damaged.write_bytes(good)
    refine(simgan, source, tmp_path / "out")
    assert sums(tmp_path / "out") == sums(tmp_path / "whole")
    assert first.stat().st_mtime_ns == when, "a finished shard was made again"


DIES = """
import os, sys
from i2i_core.data.format import refined
from i2i_core.config.translation import TranslateOptions
from i2i_core.orchestration.translating import translate
left, encode = [17], refined.encode
def dying(*args):
    left[0] -= 1
    return encode(*args) if left[0] >= 0 else os._exit(9)
refined.encode = dying
translate(sys.argv[1], TranslateOptions(input=sys.argv[2], out=sys.argv[3], split="train", shards=True))
"""


@pytest.mark.processes
def test_refined_shards_of_a_killed_job_are_finished_by_the_same_command(
    simgan: str, synthetic: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    died = subprocess.run([sys.executable, "-c", DIES, simgan, synthetic, str(out)], capture_output=True)
    assert died.returncode == 9, died.stderr.decode()
    finished = sorted(path.name for path in out.glob("*.tar"))
    assert finished == ["train-A-000000.tar", "train-A-000001.tar"]
    refine(simgan, synthetic, out)
    refine(simgan, synthetic, tmp_path / "whole")
    assert sums(out) == sums(tmp_path / "whole")


def test_refined_shards_are_known_and_others_need_overwrite(simgan: str, synthetic: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = refine(simgan, synthetic, out)
    when = (out / "manifest.json").stat().st_mtime_ns
    assert refine(simgan, synthetic, out) == first
    assert (out / "manifest.json").stat().st_mtime_ns == when
    other = untrained("simgan", synthetic, tmp_path / "other", gain=2)
    for run, options in ((simgan, {"split": "val"}), (simgan, {"size": 8}), (other, {})):
        assert "--overwrite" in refused(run, synthetic, out, **options)
    refine(simgan, synthetic, out, split="val", overwrite=True)
    refine(simgan, synthetic, tmp_path / "val", split="val")
    assert sums(out) == sums(tmp_path / "val")


def test_refined_shards_take_the_first_samples_with_most(simgan: str, synthetic: str, tmp_path: Path) -> None:
    refine(simgan, synthetic, tmp_path / "out", most=10)
    refine(simgan, synthetic, tmp_path / "all")
    some, all_ = (DataSet(str(tmp_path / name)) for name in ("out", "all"))
    assert some.rows("train", "A").keys() == all_.rows("train", "A").keys()[:10]
    assert [s.samples for s in some.manifest.splits["train"]["A"].shards] == [8, 2]
    assert read(tmp_path / "out", "train-A-000000.tar") == read(tmp_path / "all", "train-A-000000.tar")


def test_refined_shards_go_to_any_filesystem(simgan: str, synthetic: str, tmp_path: Path) -> None:
    refine(simgan, synthetic, "memory://refined/here")
    refine(simgan, synthetic, tmp_path / "out")
    fs = fsspec.filesystem("memory")
    there = {
        p.removeprefix("/refined/here/"): hashlib.sha256(fs.cat_file(p)).hexdigest() for p in fs.find("/refined/here")
    }
    assert there == sums(tmp_path / "out")


def test_refined_shards_are_of_the_other_domain_with_back(synthetic: str, tmp_path: Path) -> None:
    run = untrained("cyclegan", synthetic, tmp_path / "run")
    refine(run, synthetic, tmp_path / "out", back=True)
    old, new = DataSet(synthetic).manifest.splits["train"], DataSet(str(tmp_path / "out")).manifest.splits["train"]
    assert new["A"] == old["A"]
    assert new["B"].shards[0].sha256 != old["B"].shards[0].sha256


def test_refined_shards_of_pairs_replace_the_input(pix2pix: str, paired: str, tmp_path: Path) -> None:
    refine(pix2pix, paired, tmp_path / "out", split="val")
    before, after = read(paired, "val-000000.tar"), read(tmp_path / "out", "val-000000.tar")
    assert list(before) == list(after)
    for key in before:
        assert before[key]["b.png"] == after[key]["b.png"]
        assert before[key]["a.png"] != after[key]["a.png"]
    reader = Reader(DataSet(str(tmp_path / "out")), "val", "all")
    assert reader.read([0], 1)[0] == after[reader.key(0)]["b.png"]


def test_refined_shards_have_the_labels_of_the_translated_images(stargan: str, labelled: str, tmp_path: Path) -> None:
    refine(stargan, labelled, tmp_path / "out", split="val", target="+bold")
    data = DataSet(str(tmp_path / "out"))
    before, after = read(labelled, "val-000000.tar"), read(tmp_path / "out", "val-000000.tar")
    index, bold = whole_index(data, "val"), data.manifest.attributes.index("bold")
    assert data.manifest.kind == "labelled"
    for key, labels in zip(index.keys, index.labels, strict=True):
        own, new = (json.loads(samples[key]["json"]) for samples in (before, after))
        assert new == {**own, "bold": 1} == dict(zip(data.manifest.attributes, labels.tolist(), strict=True))
        if own["bold"]:
            assert after[key]["json"] == before[key]["json"]
    assert index.labels[:, bold].all()


def test_refined_shards_change_labels_of_every_form() -> None:
    names = ("cat", "dog")
    assert json.loads(refined.relabelled(b'{"id": 7, "cat": 1, "dog": 0}', names, (0, 1))) == {
        "id": 7,
        "cat": 0,
        "dog": 1,
    }
    assert refined.relabelled(b"0", names, (0, 1)) == b"1"


def test_refined_shards_of_indexed_webdatasets_keep_their_names(stargan: str, labelled: str, tmp_path: Path) -> None:
    """With samples that the index leaves out, names of other folders, and members of any kind."""
    one, two = (noise(16, 16, seed=i) for i in (1, 2))
    labels = json.dumps({"serif": 1, "bold": 0, "oblique": 0, "mono": 0}).encode()
    files = {name: io.BytesIO() for name in ("one", "two")}
    for file, x in zip(files.values(), (one, two), strict=True):
        put(tmp_path / "x.png", x[..., None])
        file.write((tmp_path / "x.png").read_bytes())
    others = {"NPY": array(), "_note": b"x", "json": labels}
    good = {name: {**others, "png": file.getvalue()} for name, file in files.items()}
    write_tar(
        tmp_path / "in/sub/val-x.tar", {"k/1": good["one"], "k/2": {**good["two"], "png": b"x"}, "k/3": good["two"]}
    )
    goal = shards.ShardOptions(out=str(tmp_path / "index"), bad="skip")
    index_webdataset(webdatasets.IndexOptions(index=str(tmp_path / "in")), goal, workers=0)
    for number, source in enumerate((tmp_path / "index", tmp_path / "in")):
        if number:
            index_webdataset(webdatasets.IndexOptions(index=str(source)), shards.ShardOptions(bad="skip"), workers=0)
        refine(stargan, source, tmp_path / f"out{number}", split="val", target="+serif", shards_at=(f"{tmp_path}/in",))
        data = DataSet(str(tmp_path / f"out{number}"))
        assert names_of(data.manifest, "val") == [("val-x.tar", "sub-val-x.tar")[number]]
        samples = read(tmp_path / f"out{number}", names_of(data.manifest, "val")[0])
        assert list(samples) == ["k/1", "k/3"]
        assert {name: data for name, data in samples["k/3"].items() if name != "png"} == others
        assert list(samples["k/3"]) == list(good["two"])


def test_refined_shards_of_many_folders_get_names_in_one() -> None:
    def names(*given: str) -> list[str]:
        return refined.output_names([Shard(name, 1, 1, "") for name in given])

    assert names("train-0.tar", "b/train-0.tar") == ["train-0.tar", "b-train-0.tar"]
    assert names("s3://x/y/a/0.tar", "s3://x/y/b/0.tar") == ["a-0.tar", "b-0.tar"]
    assert names("s3://x/y/0.tar") == ["0.tar"]


def unreadable(uri: str, out: Path, keys: int) -> str:
    """A copy in which the first samples of A's first shard hold no image, and the manifest knows."""
    shutil.copytree(uri, out)
    data = DataSet(uri)
    index, tar = whole_index(data, "train", "A"), out / "train-A-000000.tar"
    whole = bytearray(tar.read_bytes())
    for row in range(keys):
        at = int(index.offset[row, 0])
        whole[at : at + 8] = b"no image"
    tar.write_bytes(whole)
    text = (out / "manifest.json").read_text()
    old = data.manifest.splits["train"]["A"].shards[0].sha256
    (out / "manifest.json").write_text(text.replace(old, sums(out)["train-A-000000.tar"]))
    return str(out)


def test_refined_shards_leave_unreadable_images_out_and_name_them(simgan: str, synthetic: str, tmp_path: Path) -> None:
    source = unreadable(synthetic, tmp_path / "in", 2)
    outcome = refine(simgan, source, tmp_path / "out", batch=3)
    keys = DataSet(synthetic).rows("train", "A").keys()
    assert [bad.key for bad in outcome.bad] == keys[:2]
    assert "cannot identify" in outcome.bad[0].cause
    assert DataSet(str(tmp_path / "out")).rows("train", "A").keys() == keys[2:]
    assert refine(simgan, source, tmp_path / "out") == outcome
    with pytest.raises(RunError, match="not one image could be translated"):
        refine(simgan, source, tmp_path / "none", most=2)
    assert not (tmp_path / "none/manifest.json").exists()


def test_refined_shards_that_cannot_be_are_refused(
    simgan: str, stargan: str, synthetic: str, paired: str, labelled: str, tmp_path: Path
) -> None:
    put(tmp_path / "photos/x.png", noise(16, 16, 1))
    out = tmp_path / "out"
    bicycle = untrained("bicyclegan", paired, tmp_path / "bicycle")
    assert "--shards: found images that are no data set" in refused(simgan, tmp_path / "photos", out)
    assert "--shards: found several outputs of each image" in refused(bicycle, paired, out, samples=2)
    assert "which is --input" in refused(simgan, synthetic, synthetic)
    bmp = io.BytesIO()
    Image.fromarray(noise(16, 16)).save(bmp, "BMP")
    label = json.dumps(dict.fromkeys(("serif", "bold", "oblique", "mono"), 1)).encode()
    write_tar(tmp_path / "bmp/train-0.tar", {"1": {"bmp": bmp.getvalue(), "json": label}})
    index(tmp_path / "bmp")
    assert "images stored as bmp; expected png" in refused(stargan, tmp_path / "bmp", out, target="bold")
    write_tar(tmp_path / "rgb/train-0.tar", {"1": {"png": png(3), "json": label}})
    index(tmp_path / "rgb")
    assert "makes images of 1 channels; expected 3" in refused(stargan, tmp_path / "rgb", out, target="bold")


def test_refined_shards_of_one_name_are_refused() -> None:
    clash = [Shard("a-b/0.tar", 1, 1, ""), Shard("a/b-0.tar", 1, 1, "")]
    with pytest.raises(DataError, match=r"a-b/0\.tar and a/b-0\.tar, which would both be a-b-0\.tar"):
        refined.output_names(clash)
