"""Roles of fields, what they declare, and manifests of both versions.

pytest tests/unit/test_fields.py
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from i2i_core.data.format.manifest import DataSet, Manifest
from i2i_core.data.format.table import ClipCounts, IndexFiles, Shards, ShardSet
from i2i_core.errors import DataError
from i2i_core.fields import Field, Needs, Schema, contradictions
from i2i_core.methods import METHODS
from i2i_core.settings import from_dict

IMAGE = Field("png", 3, "uint8", 8, 8)
LABELS = Field(
    "png", 1, "uint8", 8, 8, "classes", classes=3, names=("sky", "left", "right"), ignore=255, pairs=((1, 2),),
    palette=((0, 0, 255), (255, 0, 0), (0, 255, 0)),
)  # fmt: skip
POINTS = Field("npy", 0, "float32", 0, 0, "vector", kind="points", shape=(5, 3), pairs=((0, 1),), frame="image")
DEPTH = Field("png", 1, "uint16", 8, 8, "map", low=0.0, high=80.0)


def manifest(fields: dict[str, Field], domains: tuple[str, ...] = ("all",), **more: Any) -> Manifest:
    clips = ClipCounts((1,), (2,)) if more.get("clips") else None
    sets = {
        domain: ShardSet(
            Shards((f"{domain}.tar",), (2,), (8192,), ("0" * 64,)),
            IndexFiles((f"index/{domain}.npz",), (900,), ("0" * 64,)),
            clips=clips,
        )
        for domain in domains
    }
    return Manifest(fields, domains=domains, splits={"train": sets}, **more)


def as_version_1(made: Manifest, kind: str) -> dict[str, Any]:
    """The manifest as releases before version 2 wrote it."""
    values = json.loads(made.dumps())
    del values["clips"]
    old = {"index": "i.npz", "index_sha256": "0" * 64}
    old["shards"] = [{"name": "0.tar", "samples": 2, "bytes": 8192, "sha256": "0" * 64}]  # type: ignore[assignment]
    return {**values, "version": 1, "kind": kind, "splits": {"train": {"all": old}}}


def opened(folder: Path, made: Manifest, **lies: Any) -> Manifest:
    values = json.loads(made.dumps())
    for key, value in lies.items():
        values[key] = {**values[key], **value} if isinstance(value, dict) else value
    (folder / "manifest.json").write_text(json.dumps(values))
    return DataSet(str(folder)).manifest


@pytest.mark.parametrize(
    ("fields", "domains", "attributes", "kind"),
    [
        ({"a": IMAGE, "b": IMAGE}, ("all",), (), "paired"),
        ({"image": IMAGE}, ("A", "B"), (), "unpaired"),
        ({"image": IMAGE}, ("all",), ("smiles",), "labelled"),
        ({"image": IMAGE, "labels": LABELS}, ("all",), ("smiles",), "labelled"),
        ({"image": IMAGE, "labels": LABELS}, ("all",), (), "fields"),
    ],
)
def test_schema_names_its_shape(fields: dict[str, Field], domains: Any, attributes: Any, kind: str) -> None:
    assert Schema(fields, attributes, domains=domains).kind == kind


def test_manifest_has_a_list_in_a_line_and_no_kind() -> None:
    text = manifest({"a": IMAGE, "b": IMAGE}).dumps()
    values = json.loads(text)
    assert (values["version"], "kind" in values) == (2, False)
    assert values["fields"]["a"] == {"channels": 3, "dtype": "uint8", "extension": "png", "height": 8, "width": 8}
    assert '     "name": ["all.tar"],\n' in text


def test_manifest_of_version_1_is_read_with_role_image(tmp_path: Path) -> None:
    values = as_version_1(manifest({"a": IMAGE, "b": IMAGE}), "paired")
    (tmp_path / "manifest.json").write_text(json.dumps(values))
    read = DataSet(str(tmp_path)).manifest
    assert {f.role for f in read.fields.values()} == {"image"}
    assert (read.kind, read.describe()) == ("paired", "paired, 8x8x3 uint8, train 2 samples")
    assert read.splits["train"]["all"].whole


def test_manifest_of_roles_is_of_version_2_and_survives(tmp_path: Path) -> None:
    made = manifest({"depth": DEPTH, "image": IMAGE, "labels": LABELS, "pose": POINTS}, clips=True)
    values = json.loads(made.dumps())
    assert (values["version"], "kind" in values) == (2, False)
    assert values["fields"]["depth"].keys() - values["fields"]["image"].keys() == {"role", "low", "high"}
    assert opened(tmp_path, made) == made
    assert made.describe() == (
        "fields, depth (map 8x8x1), image (8x8x3 uint8), labels (classes, 3), pose (points 5x3), clips, train 2 samples"
    )


def test_manifest_fingerprint_does_not_depend_on_what_it_says() -> None:
    """Runs on a data set of version 1 go on, whichever release wrote its manifest."""
    assert manifest({"image": IMAGE}).fingerprint == manifest({"image": IMAGE, "labels": LABELS}).fingerprint


LIES: dict[str, tuple[dict[str, Any], str]] = {
    "a role that is none": ({"role": "picture"}, "labels.role"),
    "no classes": ({"classes": 0, "names": [], "palette": [], "pairs": []}, "field labels of 0 classes"),
    "too few names": ({"names": ["sky"]}, "with 1 names of 3 classes"),
    "a colour of two": ({"palette": [[0, 0], [1, 1], [2, 2]]}, "with a colour that is none"),
    "a pair beyond": ({"pairs": [[1, 3]]}, r"pairs \(\(1, 3\),\); expected .* below 3"),
    "a pair of one": ({"pairs": [[1, 1]]}, "with pairs"),
    "an id of 17 bits": ({"ignore": 65536}, "id 65536 ignored"),
    "as text": ({"extension": "txt"}, "stored as 'txt'; expected classes stored as png"),
    "floats": ({"dtype": "float32"}, "field labels of 8x8x1 float32"),
    "a flow": ({"kind": "flow"}, "a classes of kind flow"),
    "a range without end": ({"low": 0, "high": float("inf")}, "inf, not a finite number"),
    "half a range": ({"low": 1}, "a range from 1.0 to None"),
    "in another's pixels": ({"frame": "pose"}, "in the pixels of 'pose'"),
}


@pytest.mark.parametrize("case", LIES)
def test_manifest_with_a_field_that_cannot_be_is_refused(case: str, tmp_path: Path) -> None:
    made = manifest({"image": IMAGE, "labels": LABELS, "pose": POINTS})
    lie, cause = LIES[case]
    labels = {**made.fields["labels"].as_json(), **lie}
    with pytest.raises(Exception, match=cause) as caught:
        opened(tmp_path, made, fields={"labels": labels})
    assert type(caught.value).__name__ in ("DataError", "ConfigError")


OLD: dict[str, tuple[dict[str, Any], str]] = {
    "roles": ({"fields": {"image": LABELS.as_json()}}, "version 1; expected version 2"),
    "clips": ({"clips": True}, "version 1; expected version 2"),
    "another kind": ({"kind": "paired"}, r"fields \['image'\]"),
    "a list for a kind": ({"kind": ["labelled"]}, "another form"),
    "no kind": ({"kind": None}, "kind None"),
    "a strange kind": ({"kind": "odd"}, "kind 'odd'"),
    "columns": ({"splits": json.loads(manifest({"image": IMAGE}).dumps())["splits"]}, "another form"),
    "shards of nothing": ({"splits": {"train": {"all": {"index": "i", "index_sha256": "0", "shards": [{}]}}}}, "form"),
}


@pytest.mark.parametrize("case", OLD)
def test_manifest_of_version_1_that_cannot_be_is_refused(case: str, tmp_path: Path) -> None:
    lie, cause = OLD[case]
    (tmp_path / "manifest.json").write_text(json.dumps(as_version_1(manifest({"image": IMAGE}), "labelled") | lie))
    with pytest.raises(DataError, match=cause):
        DataSet(str(tmp_path))


@pytest.mark.parametrize("version", [0, 3, True, "2", None, [2]])
def test_manifest_of_another_version_is_refused(version: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected version 1 to 2"):
        opened(tmp_path, manifest({"image": IMAGE}), version=version)


def test_field_as_json_is_read_as_the_same_field() -> None:
    for field in (IMAGE, LABELS, POINTS, DEPTH):
        assert from_dict(Field, json.loads(json.dumps(field.as_json()))) == field
        assert not list(contradictions(field))


# ---- what a method needs ----

PIX2PIXHD = Needs({"image": "image", "labels": "classes", "instances?": "instances"})
SCENE = Schema({"image": IMAGE, "labels": LABELS})


def test_needs_of_roles_are_checked_against_the_schema() -> None:
    assert PIX2PIXHD.lacks(SCENE) is None
    assert PIX2PIXHD.reads(SCENE) == {"image", "labels"}
    richer = Schema({**SCENE.fields, "instances": Field("png", 1, "uint16", 8, 8, "instances"), "depth": DEPTH})
    assert PIX2PIXHD.lacks(richer) is None
    assert PIX2PIXHD.reads(richer) == {"image", "labels", "instances"}


def test_needs_name_the_field_that_is_missing_and_how_to_shard_it() -> None:
    lack = PIX2PIXHD.lacks(Schema({"image": IMAGE}))
    assert lack
    assert (lack.found, lack.expected) == ("no field labels, but image (image)", "a field labels of role classes")
    assert "--layout fields --field labels:classes=labels/{key}.png" in lack.fix


def test_needs_name_a_field_of_another_role_also_where_it_is_optional() -> None:
    lack = PIX2PIXHD.lacks(Schema({**SCENE.fields, "instances": IMAGE}))
    assert lack
    assert (lack.found, lack.expected) == ("field instances of role image", "one of role instances")


def test_needs_of_points_read_the_picture_that_they_are_in() -> None:
    needs = Needs({"pose": "points"})
    schema = Schema({"image": IMAGE, "pose": POINTS, "labels": LABELS})
    assert needs.lacks(schema) is None
    assert needs.reads(schema) == {"pose", "image"}
    assert Needs({"pose": "vector"}).lacks(schema)


def test_needs_of_frames_are_clips() -> None:
    needs = Needs({"image": "image"}, frames=3)
    lack = needs.lacks(Schema({"image": IMAGE}))
    assert lack
    assert (lack.found, "{clip}/{frame}" in lack.fix) == ("single samples", True)
    assert needs.lacks(Schema({"image": IMAGE}, clips=True)) is None


COMMON = {
    "paired": Schema({"a": IMAGE, "b": IMAGE}),
    "unpaired": Schema({"image": IMAGE}, domains=("A", "B")),
    "labelled": Schema({"image": IMAGE}, ("bold",)),
}


@pytest.mark.parametrize("name", METHODS)
def test_needs_of_each_method_fit_one_common_shape_and_name_the_others(name: str) -> None:
    needs = METHODS[name].method.needs
    assert [kind for kind, schema in COMMON.items() if not needs.lacks(schema)] == [needs.kind]
    for kind, schema in COMMON.items():
        if lack := needs.lacks(schema):
            assert (lack.found, lack.expected) == (f"{kind} samples", f"{needs.kind} ones")


def test_needs_name_fields_as_a_batch_has_them() -> None:
    assert METHODS["pix2pix"].method.needs.in_batch == ("a", "b")
    assert METHODS["cyclegan"].method.needs.in_batch == ("a", "b")
    assert METHODS["stargan"].method.needs.in_batch == ("image",)
    assert Needs({"image": "image", "labels": "classes"}, domains=2).in_batch == ("a", "a.labels", "b", "b.labels")


def test_needs_are_met_by_a_data_set_that_has_more() -> None:
    more = {"labels": LABELS, "pose": POINTS}
    for name, kind in (("pix2pix", "paired"), ("cyclegan", "unpaired"), ("stargan", "labelled")):
        schema = COMMON[kind]
        needs = METHODS[name].method.needs
        assert needs.lacks(replace(schema, fields={**schema.fields, **more})) is None
        assert needs.reads(replace(schema, fields={**schema.fields, **more})) == frozenset(schema.fields)


def test_data_set_may_serve_methods_of_several_shapes() -> None:
    """It is named after one, and has the fields of two."""
    both = Schema({"a": IMAGE, "b": IMAGE, "image": IMAGE}, ("bold",))
    for name in ("pix2pix", "stargan"):
        assert METHODS[name].method.needs.lacks(both) is None
    lack = METHODS["cyclegan"].method.needs.lacks(both)
    assert lack is not None
    assert (lack.found, lack.expected) == ("paired samples", "unpaired ones")
