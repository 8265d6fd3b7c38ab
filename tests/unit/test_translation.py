"""Images through a checkpoint: names, bytes, targets, truths, and what is refused.

pytest tests/unit/test_translation.py
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import fsspec
import numpy as np
import pytest
import torch
from PIL import Image

from i2i_core.checkpoints.trained import load_trained
from i2i_core.config.translation import TranslateOptions
from i2i_core.data.format.manifest import DataSet
from i2i_core.data.reading.reader import Reader
from i2i_core.errors import ConfigError, DataError
from i2i_core.fields import Field
from i2i_core.images.sheet import to_array
from i2i_core.methods.pix2pix import Pix2Pix
from i2i_core.methods.stargan import StarGAN
from i2i_core.networks.stargan import StarGANGenerator
from i2i_core.orchestration import evaluating
from i2i_core.orchestration.translating import prepare_job, shown_rows
from i2i_core.translation import translator
from i2i_core.translation.inputs import Split
from i2i_core.translation.targets import parse_target
from i2i_core.translation.translator import GROUP, group_of
from pipelines import evaluate as evaluate_pipeline

from ..support.data import annotated_glyphs, png, write_tar, write_whole
from ..support.translating import files, go, noise, pixels, save, untrained

Captured = pytest.CaptureFixture[str]
Patch = pytest.MonkeyPatch
Message = Callable[..., str]
ATTRIBUTES = ("serif", "bold", "oblique", "mono")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Grey images of three sizes, one of them in a folder below."""
    folder = tmp_path / "photos"
    for i in range(11):
        save(folder / f"{i:02d}.png", noise(16, 16 + 4 * (i % 3), seed=i))
    save(folder / "below" / "x.jpg", noise(24, 16, seed=11))
    return folder


# ---------------------------------------------------------------- names and bytes


def test_translate_gives_outputs_the_inputs_names_and_sizes(stargan: str, photos: Path, tmp_path: Path) -> None:
    outcome = go(stargan, photos, tmp_path / "out", target="bold")
    made = files(tmp_path / "out")
    assert set(made) == {*(f"{i:02d}.png" for i in range(11)), "below/x.png"}
    assert (outcome.written, outcome.bad) == (12, ())
    for name in made:
        source = photos / name.replace("x.png", "x.jpg")
        assert pixels(made[name]).shape == pixels(source.read_bytes()).shape


def test_translate_writes_what_the_method_makes_of_the_image(stargan: str, photos: Path, tmp_path: Path) -> None:
    go(stargan, photos, tmp_path / "out", target="bold,mono")
    x = torch.from_numpy(pixels((photos / "01.png").read_bytes()) / 127.5 - 1)[None, None].float()
    method = load_trained(stargan, torch.device("cpu")).method
    made = to_array(method.image_from(x, target=torch.tensor([[0, 1, 0, 1]]))[0])[..., 0]
    found = pixels((tmp_path / "out" / "01.png").read_bytes())
    assert np.abs(found.astype(int) - made).max() <= 1, "equal up to the rounding of another batch size"


@pytest.mark.parametrize(("run", "options"), [("stargan", {"target": "bold"}), ("pix2pix", {"size": 16})])
def test_translate_writes_the_same_bytes_for_any_batch(
    run: str, options: dict[str, object], photos: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    made = []
    for batch in (1, 5, 32):
        go(request.getfixturevalue(run), photos, tmp_path / str(batch), batch=batch, **options)
        made.append(files(tmp_path / str(batch)))
    assert made[0] == made[1] == made[2]
    assert len(made[0]) == 12


def test_translator_groups_have_one_shape_whatever_the_batch(
    stargan: str, photos: Path, tmp_path: Path, monkeypatch: Patch
) -> None:
    """A convolution of another batch size may round in another way; so there is no other size."""
    seen: list[int] = []
    inner = StarGANGenerator.forward
    monkeypatch.setattr(StarGANGenerator, "forward", lambda self, x, c: seen.append(len(x)) or inner(self, x, c))
    for batch in (1, 5, 32):
        go(stargan, photos, tmp_path / "out", batch=batch, target="bold")
    assert set(seen) == {GROUP}
    assert group_of(translator.Image(0, {"image": torch.zeros(3, 256, 256)}, "uint8")) == GROUP
    assert group_of(translator.Image(0, {"image": torch.zeros(3, 257, 256)}, "uint8")) == 1


@pytest.mark.slow
@pytest.mark.ray
def test_translate_writes_the_same_bytes_with_workers_and_refuses_too_many(
    stargan: str, photos: Path, labelled: str, tmp_path: Path, told: Message, ray_here: None
) -> None:
    """Of images, of a refined data set, of what is measured."""
    synthetic = annotated_glyphs(tmp_path / "synthetic")
    simgan = untrained("simgan", synthetic, tmp_path / "simgan")
    save(photos / "tall.png", noise(18, 17))
    place = [stargan, "--input", photos, "--target", "bold", "--workers"]
    assert "at most the cluster's 2 CPUs" in told(*place, 3, "--out", tmp_path / "3")
    (photos / "odd.png").write_text("text")
    two = go(stargan, photos, tmp_path / "2", target="bold", workers=2, batch=3)
    go(simgan, synthetic, tmp_path / "shards-2", shards=True, split="train", workers=2, batch=3)
    measure = ["--data", labelled, "--split", "test", "--metrics", "efficientnet_frechet", "--most", 80]
    measure += ["--statistics", tmp_path / "real", "--out"]
    told(stargan, *measure, tmp_path / "m2.json", "--workers", 2, pipeline=evaluate_pipeline, code=0)
    told(stargan, *measure, tmp_path / "m1.json", pipeline=evaluate_pipeline, code=0)
    found = [json.loads((tmp_path / f"m{n}.json").read_text()) for n in (1, 2)]
    assert found[0]["metrics"] == found[1]["metrics"]
    assert {"there_and_back", "efficientnet_frechet"} < set(found[0]["metrics"])
    states = [f["families"]["efficientnet"]["real_features"]["state"] for f in found]
    assert states == ["read", "computed"], "two workers found them, one reads them"
    assert (tmp_path / "m1-samples.png").read_bytes() == (tmp_path / "m2-samples.png").read_bytes()
    one = go(stargan, photos, tmp_path / "1", target="bold")
    assert files(tmp_path / "1") == files(tmp_path / "2")
    assert (one.bad, one.written) == (two.bad, two.written)
    assert [bad.key for bad in one.bad] == ["odd"]
    go(simgan, synthetic, tmp_path / "shards-1", shards=True, split="train")
    assert files(tmp_path / "shards-1") == files(tmp_path / "shards-2")


def test_translate_seeds_noise_by_the_images_name(paired: str, tmp_path: Path) -> None:
    """Dropout is on at test time: the same picture under two names comes out in two ways, each time the same."""
    run = untrained("pix2pix", paired, tmp_path / "runs", hyper__image_size=32, hyper__dropout=0.5, training__batch=1)
    for place in ("in/a.png", "in/b.png", "alone/b.png"):
        save(tmp_path / place, noise(32, 32, 3))
    go(run, tmp_path / "in", tmp_path / "out")
    go(run, tmp_path / "alone", tmp_path / "again")
    out, again = files(tmp_path / "out"), files(tmp_path / "again")
    assert out["b.png"] == again["b.png"]
    assert out["a.png"] != out["b.png"]


def test_translate_of_a_list_takes_paths_beside_it_and_full_ones(stargan: str, photos: Path, tmp_path: Path) -> None:
    listed = photos / "some.txt"
    listed.write_text(f"03.png\n\n{photos}/01.png\nbelow/x.jpg\n")
    go(stargan, listed, tmp_path / "out", target="none")
    assert set(files(tmp_path / "out")) == {"03.png", "01.png", "x.png"}


def test_translate_takes_most_and_size(stargan: str, photos: Path, tmp_path: Path) -> None:
    go(stargan, photos, tmp_path / "out", target="bold", most=3, size=20)
    made = files(tmp_path / "out")
    assert set(made) == {"00.png", "01.png", "02.png"}
    assert [pixels(made[f"0{i}.png"]).shape for i in range(3)] == [(20, 20), (20, 25), (20, 30)], "of 16, 20, 24 by 16"


def test_translate_writes_to_any_filesystem(stargan: str, photos: Path) -> None:
    go(stargan, photos, "memory://made/here", target="bold", most=2)
    fs = fsspec.filesystem("memory")
    names = sorted(path.rsplit("/", 1)[-1] for path in fs.find("/made/here"))
    assert names == ["00.png", "01.png"]


def test_translate_leaves_outputs_below_the_input_alone(stargan: str, photos: Path) -> None:
    first = go(stargan, photos, photos / "out", target="bold")
    again = go(stargan, photos, photos / "out", target="bold")
    assert first.written == again.written == 12


def test_translate_converts_to_the_checkpoints_channels_and_keeps_the_depth(stargan: str, tmp_path: Path) -> None:
    """A grey checkpoint: colour by luma, transparency over white, 16 bits stay 16 bits, floats stay floats."""
    folder = tmp_path / "in"
    save(folder / "rgb.png", noise(16, 16, 3))
    save(folder / "clear.png", np.dstack([noise(16, 16, 3), np.zeros((16, 16), np.uint8)]))
    save(folder / "white.png", np.full((16, 16), 255, np.uint8))
    save(folder / "deep.png", noise(16, 16, dtype="uint16"))
    save(folder / "float.npy", np.linspace(-1, 1, 256, dtype=np.float32).reshape(16, 16))
    go(stargan, folder, tmp_path / "out", target="bold")
    made = files(tmp_path / "out")
    assert pixels(made["rgb.png"]).shape == (16, 16)
    assert made["clear.png"] == made["white.png"]
    deep = pixels(made["deep.png"])
    assert deep.dtype == np.uint16
    assert (deep % 257 != 0).any(), "more than 256 levels"
    assert np.load(io.BytesIO(made["float.npy"])).dtype == np.float32


# ---------------------------------------------------------------- data sets, targets, truths


def test_translate_of_a_split_names_outputs_by_its_keys(pix2pix: str, paired: str, tmp_path: Path) -> None:
    go(pix2pix, paired, tmp_path / "out", split="val")
    keys = set(DataSet(paired).rows("val").keys())
    assert set(files(tmp_path / "out")) == {*(f"{key}.png" for key in keys)}


def test_target_with_signs_changes_the_sources_own_label(stargan: str, labelled: str, tmp_path: Path) -> None:
    go(stargan, labelled, tmp_path / "out", target="+bold,-serif", most=12)
    data = DataSet(labelled)
    reader = Reader(data, "test", "all")
    method = load_trained(stargan, torch.device("cpu")).method
    for row in range(12):
        x = torch.from_numpy(pixels(reader.read([row], 0)[0]) / 127.5 - 1)[None, None].float()
        label = reader.rows.labels([row])[0]
        label[ATTRIBUTES.index("bold")], label[ATTRIBUTES.index("serif")] = 1, 0
        made = to_array(method.image_from(x, target=torch.from_numpy(label)[None])[0])[..., 0]
        found = pixels((tmp_path / "out" / f"{reader.key(row)}.png").read_bytes())
        assert np.abs(found.astype(int) - made).max() <= 1


def test_split_truth_of_a_glyph_is_the_same_character_with_the_target_label(labelled: str) -> None:
    split = Split(DataSet(labelled), "test", StarGAN)
    for i, name in enumerate(split.names):
        character, style = name.split("-", 1)
        target = split.labels[i].copy()
        target[ATTRIBUTES.index("bold")] = 1
        twin = split.twin(i, target)
        assert twin is not None
        bold = style if "bold" in style else style.replace("-regular", "").replace("-oblique", "")
        words = {*bold.split("-"), "bold", *(["oblique"] if "oblique" in style else [])}
        assert split.names[twin].split("-", 1)[0] == character
        assert set(split.names[twin].split("-")[1:]) == words
    impossible = np.array([1, 0, 0, 1], np.uint8)
    assert split.twin(0, impossible) is None


def test_split_that_serves_two_methods_gives_each_its_own_fields(tmp_path: Path) -> None:
    sides = {"a": png(), "b": png(), "image": png()}
    write_tar(tmp_path / "all.tar", {"k": {f"{name}.png": data for name, data in sides.items()}})
    fields = {name: Field("png", 3, "uint8", 4, 5) for name in sides}
    more = {"labels": [(1, 0)], "attributes": ("fair", "dark")}
    data = write_whole(tmp_path, ["k"], fields, **more)
    pair, labelled = (Split(data, "test", method, "BtoA") for method in (Pix2Pix, StarGAN))
    assert (pair.fetch(0, "a")[0], pair.truth(0, None)) == (sides["b"], (sides["a"], "png"))
    assert (labelled.fetch(0, "image")[0], labelled.truth(0, None)) == (sides["image"], None)


def test_translate_of_a_data_set_without_labels_is_as_of_a_folder(stargan: str, tmp_path: Path) -> None:
    image = noise(16, 16)
    save(tmp_path / "in/k.png", image)
    write_tar(tmp_path / "all.tar", {"k": {"image.png": (tmp_path / "in/k.png").read_bytes()}})
    write_whole(tmp_path, ["k"], {"image": Field("png", 1, "uint8", 16, 16)})
    go(stargan, tmp_path / "in", tmp_path / "folder", target="bold")
    go(stargan, tmp_path, tmp_path / "set", target="bold")
    assert files(tmp_path / "folder")["k.png"] == files(tmp_path / "set")["k.png"]
    with pytest.raises(ConfigError, match="for images without these labels"):
        go(stargan, tmp_path, tmp_path / "set", target="+bold")


def test_split_of_keys_that_are_no_identities_gives_no_truth(labelled: str) -> None:
    for rename in (lambda i, name: f"image-{i}", lambda i, name: str(i)):
        split = Split(DataSet(labelled), "test", StarGAN)
        split.names = [rename(i, name) for i, name in enumerate(split.names)]
        assert all(split.twin(i, split.labels[j]) is None for i in range(5) for j in range(5))


def test_contact_sheet_shows_what_the_target_changes_and_has_a_truth(
    stargan: str, labelled: str, tmp_path: Path, monkeypatch: Patch
) -> None:
    from i2i_core.orchestration import translating

    shown = []
    draw = translating.contact_sheet
    monkeypatch.setattr(translating, "contact_sheet", lambda columns: shown.append(columns) or draw(columns))
    go(stargan, labelled, tmp_path / "out", target="+serif")
    (columns,) = shown
    assert list(columns) == ["source", "translation +serif", "truth"]
    split = Split(DataSet(labelled), "test", StarGAN)
    sans = [i for i, c in enumerate(split.labels) if not c[ATTRIBUTES.index("serif")] and not c[3]][:8]
    reader = split.reader
    for i, source, made, truth in zip(sans, *columns.values(), strict=True):
        target = split.labels[i].copy()
        target[0] = 1
        assert np.array_equal(to_array(source)[..., 0], pixels(reader.read([i], 0)[0]))
        assert np.array_equal(to_array(truth)[..., 0], pixels(reader.read([split.twin(i, target)], 0)[0]))
        written = (tmp_path / "out" / f"{split.names[i]}.png").read_bytes()
        assert np.array_equal(to_array(made)[..., 0], pixels(written))


def test_contact_sheet_of_pairs_shows_their_truth(
    pix2pix: str, paired: str, tmp_path: Path, monkeypatch: Patch
) -> None:
    from i2i_core.orchestration import translating

    shown = []
    draw = translating.contact_sheet
    monkeypatch.setattr(translating, "contact_sheet", lambda columns: shown.append(columns) or draw(columns))
    go(pix2pix, paired, tmp_path / "out", most=5)
    reader = Reader(DataSet(paired), "test", "all")
    for column, field in (("source", 0), ("truth", 1)):
        images = [to_array(x) for x in shown[0][column]]
        assert [x.tolist() for x in images] == [pixels(b).tolist() for b in reader.read(range(5), field)]


@pytest.mark.parametrize(
    ("text", "own", "label"),
    [
        ("bold,serif", [0, 0, 1, 0], [1, 1, 0, 0]),
        ("mono", [1, 1, 1, 0], [0, 0, 0, 1]),
        ("none", [1, 1, 1, 0], [0, 0, 0, 0]),
        ("+bold", [1, 0, 1, 0], [1, 1, 1, 0]),
        ("-serif,+mono", [1, 0, 1, 0], [0, 0, 1, 1]),
        ("-serif", [0, 1, 0, 0], [0, 1, 0, 0]),
    ],
)
def test_target_is_parsed_by_name(text: str, own: list[int], label: list[int]) -> None:
    assert parse_target(text, ATTRIBUTES, False).label(np.array(own, np.uint8)).tolist() == label


@pytest.mark.parametrize(
    ("text", "exclusive", "says"),
    [
        ("bald", False, "Did you mean bold"),
        ("", False, "attributes: serif, bold, oblique, mono"),
        ("bold,+serif", False, "with a sign, or names without"),
        ("bold,bold", False, "each name once"),
        ("+bold,-bold", False, "each name once"),
        ("serif,bold", True, "one class"),
        ("+bold", True, "one class"),
        ("none", True, "one class"),
    ],
)
def test_target_that_cannot_be_is_refused(text: str, exclusive: bool, says: str) -> None:
    with pytest.raises(ConfigError, match="--target") as refused:
        parse_target(text, ATTRIBUTES, exclusive)
    assert says in str(refused.value)


def test_target_is_one_class_of_exclusive_ones() -> None:
    assert parse_target("bold", ATTRIBUTES, True).label(None).tolist() == [0, 1, 0, 0]


# ---------------------------------------------------------------- the command line


def test_translate_names_leaves_out_and_counts_an_unreadable_image(
    stargan: str, photos: Path, tmp_path: Path, told: Message
) -> None:
    (photos / "04.png").write_bytes(b"not an image")
    (photos / "empty.png").write_bytes(b"")
    place = [stargan, "--input", photos, "--out", tmp_path / "out", "--target", "bold"]
    said = told(*place, code=1)
    assert "left out, 2:\n  04: cannot identify" in said
    assert "  empty: the file is empty" in said
    assert "11 images in" in said
    assert "04.png" not in files(tmp_path / "out")
    told(*place, "--bad", "skip", code=0)


def test_translate_fails_on_nothing_but_unreadable_images(stargan: str, tmp_path: Path, told: Message) -> None:
    (tmp_path / "list.txt").write_text("gone.png\n")
    said = told(
        stargan, "--input", tmp_path / "list.txt", "--out", tmp_path / "o", "--target", "bold", "--bad", "skip", code=1
    )
    assert "not one image could be translated (gone: no such file)" in said


def test_translate_names_wrong_inputs(stargan: str, pix2pix: str, labelled: str, paired: str, photos: Path,
                                tmp_path: Path, told: Message) -> None:  # fmt: skip
    out = ["--out", tmp_path / "out"]
    (tmp_path / "void").mkdir()
    (tmp_path / "file").write_text("")
    bold = ["--target", "bold"]
    assert "a run or one of its checkpoints" in told("--input", photos, *out)
    assert "nothing at that place" in told(tmp_path / "no", "--input", photos, *out, *bold)
    assert "Name it with --input" in told(stargan, *out, *bold)
    assert "--out: found nothing" in told(stargan, "--input", photos, *bold)
    assert "--input and --out: found nothing" in told(stargan, *bold)
    assert "which is --input" in told(stargan, "--input", photos, "--out", photos, *bold)
    assert "nothing at that place" in told(stargan, "--input", tmp_path / "no", *out, *bold)
    assert "without images" in told(stargan, "--input", tmp_path / "void", *out, *bold)
    assert "an empty list" in told(stargan, "--input", tmp_path / "file", *out, *bold)
    assert "writing fails" in told(stargan, "--input", photos, "--out", tmp_path / "file" / "x", *bold)
    assert "paired samples; expected labelled" in told(stargan, "--input", paired, *out, *bold)
    assert "a split 'tset'" in told(stargan, "--input", labelled, "--split", "tset", *out, *bold)
    assert "attributes: serif, bold" in told(stargan, "--input", photos, *out)
    assert "Did you mean bold" in told(stargan, "--input", photos, *out, "--target", "blod")
    assert "images without labels" in told(stargan, "--input", photos, *out, "--target=-serif")
    assert "Leave --target out" in told(pix2pix, "--input", paired, *out, *bold)
    assert "--workers: found 0" in told(stargan, "--input", photos, *out, *bold, "--workers", 0)
    assert "one of them, or neither" in told(stargan, "--input", photos, *out, *bold, "--gpu", "--cpu")
    assert "--bath" in told(stargan, "--input", photos, *out, "--bath", 3)


def test_translate_refuses_names_that_collide(stargan: str, photos: Path, tmp_path: Path, told: Message) -> None:
    place = [stargan, "--out", tmp_path / "out", "--target", "bold", "--input"]
    save(photos / "00.jpg", noise(16, 16))
    said = told(*place, photos)
    assert "00.jpg" in said
    assert "00.png" in said
    (photos / "list.txt").write_text("x/a.png\ny/a.png\n")
    assert "names that differ" in told(*place, photos / "list.txt")


def test_translate_refuses_channels_the_networks_cannot_take(pix2pix: str, tmp_path: Path, told: Message) -> None:
    save(tmp_path / "c" / "five.npy", noise(16, 16, 5))
    said = told(pix2pix, "--input", tmp_path / "c", "--out", tmp_path / "out")
    assert "image five: found 5 channels; expected 3" in said


def test_evaluate_prints_and_writes_what_it_measured(
    stargan: str, pix2pix: str, labelled: str, paired: str, tmp_path: Path, told: Message, monkeypatch: Patch
) -> None:
    def run(*arguments: object, code: int = 0) -> str:
        return told(*arguments, code=code, pipeline=evaluate_pipeline)

    assert "Name both" in run(stargan, code=2)
    assert "expected paired" in run(pix2pix, "--data", labelled, code=2)
    said = run(pix2pix, "--data", paired, "--out", tmp_path / "deep" / "p.json")
    values = json.loads((tmp_path / "deep" / "p.json").read_text())
    assert values["metrics"]["l1"]["images"] == 36
    assert f"{values['metrics']['psnr_nothing']['value']:.4f}" in said
    assert "not asked for: --metrics lpips inception efficientnet efficientnet_pairs" in said
    few = ["--most", 4, "--metrics", "efficientnet_frechet", "--statistics", tmp_path / "features"]
    assert "warning: efficientnet_frechet: 4 images; 1,280 are needed" in run(pix2pix, "--data", paired, *few)
    assert values["checkpoint"]["images"] == 36
    assert set(values["families"]) == {"basic"}
    assert [len(values["shown"][kind]) for kind in ("best", "median", "worst")] == [4, 4, 4]
    assert f"written to {tmp_path / 'deep' / 'p.json'} {tmp_path / 'deep' / 'p-samples.png'}" in said
    run(pix2pix, "--data", paired, "--metrics", "colour", "--out", tmp_path / "c.json")
    assert Image.open(tmp_path / "c-colour.png").width > 300
    assert "--metrics: found 'clour'" in run(pix2pix, "--data", paired, "--metrics", "clour", code=2)
    assert "--segmentation" in run(pix2pix, "--data", paired, "--metrics", "fcn", "--label-side", "a", code=2)
    monkeypatch.setattr(evaluating, "SEEN", 256)
    judge = ["--classifier", tmp_path / "judge.safetensors", "--classifier-network", "small"]
    assert "a saved classifier" in run(stargan, "--data", labelled, *judge, code=2)
    assert "no classifier judges" in run(pix2pix, "--data", paired, *judge, code=2)
    said = run(stargan, "--data", labelled, "--classifier", "foo://x", code=2)
    assert "foo://x: found a URL that cannot be opened" in said
    (tmp_path / "file").write_text("")
    assert "--out: found" in run(pix2pix, "--data", paired, "--out", tmp_path / "file" / "p.json", code=2)
    first = run(stargan, "--data", labelled, "--train-classifier", *judge, "--out", tmp_path / "l.json")
    again = run(stargan, "--data", labelled, "--train-classifier", *judge)
    assert "classifier of this data" in again
    assert [x for x in first.splitlines() if x.startswith("+")] == [x for x in again.splitlines() if x.startswith("+")]
    values = json.loads((tmp_path / "l.json").read_text())
    assert values["classifier"]["data"] == DataSet(labelled).manifest.fingerprint == values["data"]["fingerprint"]
    assert values["classifier"]["images"] == 256


def test_contact_sheet_of_a_folder_shows_its_first_images(stargan: str, photos: Path) -> None:
    options = TranslateOptions(input=str(photos), out=str(photos / "out"), target="bold")
    job = prepare_job(stargan, load_trained(stargan, torch.device("cpu")), options)
    assert shown_rows(job, range(12)) == frozenset(range(8))
    assert shown_rows(job, range(3)) == frozenset(range(3))


# ---------------------------------------------------------------- what is said before it begins


def test_cautions_name_the_split_and_the_others(stargan: str, labelled: str, tmp_path: Path, said: list[str]) -> None:
    go(stargan, Path(labelled), tmp_path / "out", target="bold", most=2)
    assert f"input: the 36 samples of split test of {labelled} (it also has train, val: --split NAME)" in said


def test_cautions_count_folders_and_compare_sizes(pix2pix: str, tmp_path: Path, said: list[str]) -> None:
    """The advised size is taken; then nothing is left to be said of sizes."""
    for place in ("photos/a/1.png", "photos/a/2.png", "photos/b/3.png"):
        save(tmp_path / place, noise(32, 32, seed=1))
    go(pix2pix, tmp_path / "photos", tmp_path / "out")
    assert any(line.startswith("input: 3 images in 2 folders: ") for line in said)
    (size,) = (line for line in said if "own size" in line)
    assert "the first at 32x32 pixels (width x height); the run trained at 16x16: --size 16 resizes them" in size
    said.clear()
    go(pix2pix, tmp_path / "photos", tmp_path / "other", size=16)
    assert not [line for line in said if "own size" in line]


def test_cautions_say_that_a_folder_is_in_use(stargan: str, photos: Path, tmp_path: Path, said: list[str]) -> None:
    go(stargan, photos, tmp_path / "new", target="bold", most=1)
    assert not [line for line in said if "already" in line]
    save(tmp_path / "out" / "x.png", noise(4, 4))
    go(stargan, photos, tmp_path / "out", target="bold", most=1)
    assert f"{tmp_path / 'out'} holds 1 file already; those of the same names are replaced" in said


def test_translate_leaves_no_empty_folder_where_an_image_cannot_be(paired: str, tmp_path: Path) -> None:
    save(tmp_path / "in/x.npy", noise(16, 16, 5))
    run = untrained("pix2pix", paired, tmp_path)
    with pytest.raises(DataError, match="5 channels"):
        go(run, tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "kept").mkdir()
    with pytest.raises(DataError, match="5 channels"):
        go(run, tmp_path / "in", tmp_path / "kept")
    assert (tmp_path / "kept").exists(), "it was there before"


def test_translate_refuses_an_output_folder_that_is_called_like_an_image(paired: str, tmp_path: Path) -> None:
    save(tmp_path / "x.png", noise(16, 16))
    with pytest.raises(ConfigError, match=r"y\.PNG, the name of an image; expected a folder"):
        go(untrained("pix2pix", paired, tmp_path), tmp_path / "x.png", tmp_path / "y.PNG")
