"""A generator that is shared: what is written, what is left out, and that it makes the same images when it is read.

pytest tests/unit/test_sharing.py
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from i2i_core.checkpoints import checkpoint, starting
from i2i_core.checkpoints.checkpoint import About, Origin, Snapshot, named_tensors, networks_bytes
from i2i_core.config.run import TrainConfig
from i2i_core.errors import CheckpointError, ConfigError
from i2i_core.methods import build_from
from i2i_core.runs.folder import CheckpointFolder, RunFolder
from i2i_core.sharing import card, folder, hub
from i2i_core.sharing.folder import fetched, generator, origins
from i2i_core.storage.folder import Folder
from i2i_core.storage.paths import sha256
from i2i_core.tensors import tensors_of
from i2i_core.translation.model import from_pretrained, load
from pipelines import share

from ..support.runs import config_of
from ..support.translating import files, go, noise, save, untrained

SHARED = {"README.md", "config.json", "networks.safetensors", "metrics.json", "i2i.json", "checksums.json"}
NASTY = "a](javascript:alert(1))<script>alert(1)</script>|`*_\n---\nx: y"


@pytest.fixture(scope="module")
def shared(pix2pix: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of pix2pix's generator."""
    place = tmp_path_factory.mktemp("shared") / "generator"
    folder.write(Folder(str(place)), generator(pix2pix, "apache-2.0").files, False, "REPO")
    return place


def copied(place: Path, to: Path) -> Path:
    shutil.copytree(place, to)
    return to


def begun(data: str, place: Path, init_from: str, ema: bool = False) -> str:
    """A checkpoint of a run that began with other weights, which are not there to be checked."""
    config = config_of("pix2pix", data, str(place))
    config = replace(config, training=replace(config.training, init_from=init_from))
    networks = build_from("pix2pix", config.hyper, seed=3).networks
    average = torch.nn.ModuleDict({"G": build_from("pix2pix", config.hyper, seed=4).networks["G"]}) if ema else None
    tensors, aliases = named_tensors(networks, average)
    checkpoint.write(RunFolder(f"{place}/run"), Snapshot(36, config, tensors, aliases, {}, {}))
    return f"{place}/run"


def sealed(place: Path, name: str, data: bytes) -> None:
    """Replace a file, and its checksum with it, as somebody does who means harm."""
    (place / name).write_bytes(data)
    sums = json.loads((place / "checksums.json").read_text())
    (place / "checksums.json").write_text(json.dumps(sums | {name: sha256(data)}))


# ---- what is written ----


@pytest.mark.parametrize("method", ["pix2pix", "stargan", "bicyclegan", "cyclegan"])
def test_generator_that_was_shared_makes_the_same_images(
    method: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    run = request.getfixturevalue(method)
    place = tmp_path / "generator"
    folder.write(Folder(str(place)), generator(run).files, False, "REPO")
    before, after = load(run), from_pretrained(place)
    assert after.trained.images == before.trained.images
    channels = next(iter(before.method.channels().values()))
    x = torch.rand(2, channels, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    told = {"target": "bold"} if method == "stargan" else {}
    assert torch.equal(before.translate(x, **told), after.translate(x, **told))
    if method == "bicyclegan":
        assert torch.equal(before.encode(x), after.encode(x))
    if method == "cyclegan":
        assert torch.equal(before.translate(x, "BtoA"), after.translate(x, "BtoA"))


def test_generator_has_no_discriminator_and_no_state(shared: Path) -> None:
    assert {path.name for path in shared.iterdir()} == SHARED
    names = tensors_of((shared / "networks.safetensors").read_bytes())
    assert {name.partition(".")[0] for name in names} == {"G"}


def test_generator_of_an_average_is_the_average(paired: str, tmp_path: Path) -> None:
    run = begun(paired, tmp_path, "", ema=True)
    found = tensors_of(generator(run).files["networks.safetensors"])
    networks = build_from("pix2pix", load(run).trained.config.hyper, seed=4).networks
    expected = {name: tensor for name, tensor in networks.state_dict().items() if name.startswith("G.")}
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found)


def test_generator_says_no_place_of_the_machine(shared: Path, pix2pix: str) -> None:
    place = Path(pix2pix).parent
    for path in shared.iterdir():
        data = path.read_bytes()
        assert str(place).encode() not in data, path.name
        assert b"/tmp" not in data
    config = TrainConfig.loads((shared / "config.json").read_bytes(), "x")
    assert config.data.uri == "paired"
    assert config.launch.storage == "runs"


def test_generator_is_translated_with_like_a_run(shared: Path, pix2pix: str, tmp_path: Path) -> None:
    save(tmp_path / "in" / "a.png", noise(16, 16, 3))
    go(pix2pix, tmp_path / "in", tmp_path / "one")
    go(str(shared), tmp_path / "in", tmp_path / "two")
    assert files(tmp_path / "one") == files(tmp_path / "two")


# ---- the card ----


def header(text: str) -> Any:
    _, between, rest = text.split("---\n", 2)
    assert rest.strip()
    return yaml.safe_load(between)


def test_card_has_the_header_of_the_hub(shared: Path) -> None:
    text = (shared / "README.md").read_text()
    expected = {"library_name": "i2i", "pipeline_tag": "image-to-image", "tags": ["gan", "pix2pix"]}
    assert header(text) == expected | {"license": "apache-2.0"}
    assert "| images trained on | 36 |" in text
    assert "None was measured." in text


def test_card_keeps_every_name_a_text(shared: Path) -> None:
    """Of run, program, licence, metric, data set and what a run began with."""
    model = load(shared)
    config = TrainConfig.loads((shared / "config.json").read_bytes(), "x")
    about = About(1, NASTY, NASTY, NASTY, NASTY, NASTY, 3, NASTY, NASTY, (Origin(NASTY, NASTY),))
    metrics = [card.Measured(NASTY, 1.0, 3, NASTY, NASTY, NASTY)]
    text = card.card(about, config, metrics, {"grid.png": (b"", NASTY)}, 5, model.method)
    assert "<" not in text
    body = text.split("---\n", 2)[2]
    assert not re.search(r"(?<!\\)\]\(javascript", body)
    assert header(text)["license"] == "other"
    assert header(text).keys() == {"library_name", "pipeline_tag", "tags", "license", "license_name"}
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {3, 7}
    assert "x: y" not in text.splitlines()


def test_card_shows_metrics_and_pictures_of_a_run(paired: str, tmp_path: Path) -> None:
    run = RunFolder(untrained("pix2pix", paired, tmp_path))
    metric = {"value": 0.25, "images": 7, "better": "lower", "definition": "mean |G(a) - b|"}
    last = {"paired": {"images": 36, "split": "val", "metrics": {"l1": metric}, "warnings": []}}
    run.write_json(run.LAST_EVALUATION, last)
    for images in (12, 36, 48):
        save(Path(run.path(run.grid(images))), noise(8, 8, 3, seed=images))
    save(Path(run.path(run.SAMPLES)), noise(8, 8, 3))
    made = generator(run.url)
    text = made.files["README.md"].decode()
    assert r"| l1 | 0.25 | lower | 7 | val | mean \|G(a) - b\| |" in text
    assert "![fixed samples after 36 images](grid.png)" in text
    assert {"grid.png", "samples.png"} <= made.files.keys()
    assert not {"grid.png", "samples.png"} & generator(run.url, pictures=False).files.keys()
    Path(run.path(run.grid(36))).write_bytes(b"damaged")
    assert "grid.png" not in generator(run.url).files


# ---- licences ----


def test_generator_of_weights_of_others_needs_their_licence(paired: str, tmp_path: Path) -> None:
    first = begun(paired, tmp_path / "a", "authors:/far/facades.pth")
    with pytest.raises(ConfigError) as error:
        generator(first)
    assert "a run that began with the authors' facades.pth" in error.value.found
    made = generator(first, "bsd-2-clause")
    assert made.about.began_with == (Origin("the authors' facades.pth"),)
    assert "facades.pth" in made.files["README.md"].decode()
    assert b"/far" not in b"".join(made.files.values())


def test_origins_follow_runs_and_keep_licences_of_what_was_shared(
    paired: str, shared: Path, pix2pix: str, tmp_path: Path
) -> None:
    own = begun(paired, tmp_path / "a", pix2pix)
    assert generator(own).about.began_with == ()
    pulled = begun(paired, tmp_path / "b", str(shared))
    about = generator(pulled).about
    assert about.began_with == (Origin("run", "apache-2.0"),)
    assert about.licence == "apache-2.0"
    lost = load(begun(paired, tmp_path / "c", "/gone/away")).trained.config
    assert origins(lost) == [Origin("away, which cannot be read any more")]


def test_generator_that_is_shared_again_keeps_its_licence(shared: Path) -> None:
    assert generator(str(shared)).about.licence == "apache-2.0"
    with pytest.raises(ConfigError, match="it is kept"):
        generator(str(shared), "mit")


# ---- what is read ----


def test_pull_writes_the_same_files_and_no_other(shared: Path, told: Any, tmp_path: Path) -> None:
    place = copied(shared, tmp_path / "there")
    (place / "evil.py").write_text("raise SystemExit")
    (place / "state.pt").write_bytes(b"pickle")
    said = told("pull", place, tmp_path / "here", code=0, pipeline=share)
    assert "translate.py, evaluate.py and export.py take it like a run" in said
    assert files(tmp_path / "here") == files(shared)
    assert "which holds" in told("pull", place, tmp_path / "here", pipeline=share)
    told("pull", place, tmp_path / "here", "--overwrite", code=0, pipeline=share)


def test_pull_refuses_what_is_damaged(shared: Path, tmp_path: Path) -> None:
    for number, name in enumerate(sorted(SHARED - {"README.md"})):
        place = copied(shared, tmp_path / str(number))
        data = (place / name).read_bytes()
        (place / name).write_bytes(data[: len(data) // 2])
        with pytest.raises(CheckpointError):
            fetched(Folder(str(place)))
        (place / name).unlink()
        with pytest.raises(CheckpointError):
            fetched(Folder(str(place)))


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("i2i.json", b"{}", "no 'checkpoint'|no '"),
        ("i2i.json", b"[]", "i2i.json"),
        ("config.json", b'{"method": "os.system"}', "config.json"),
        ("networks.safetensors", b"\x80\x04.", "networks.safetensors"),
        ("metrics.json", b"{", "metrics.json"),
    ],
)
def test_pull_refuses_what_is_no_generator(shared: Path, tmp_path: Path, name: str, data: bytes, said: str) -> None:
    place = copied(shared, tmp_path / "x")
    sealed(place, name, data)
    with pytest.raises(CheckpointError, match=said):
        fetched(Folder(str(place))) and load(place).trained and generator(str(place))


def test_pull_of_a_run_says_what_to_do(pix2pix: str, told: Any, tmp_path: Path) -> None:
    assert "found no generator of this program" in told("pull", pix2pix, tmp_path / "x", pipeline=share)
    assert "found no generator of this program" in told("pull", tmp_path, tmp_path / "x", pipeline=share)
    assert not (tmp_path / "x").exists()


def test_training_goes_not_on_from_a_shared_generator_and_starts_from_it(shared: Path) -> None:
    with pytest.raises(CheckpointError, match=r"train\.py --init-from"):
        checkpoint.read(CheckpointFolder(str(shared))).state()
    start = starting.read(str(shared), ["G"], "pix2pix", load(shared).method)
    assert {name.partition(".")[0] for name in start.networks} == {"G"}


# ---- the commands ----


def test_push_dry_run_writes_what_would_be_sent(pix2pix: str, shared: Path, told: Any, tmp_path: Path) -> None:
    to = tmp_path / "dry"
    said = told("push", pix2pix, "owner/name", "--dry-run", to, "--licence", "apache-2.0", code=0, pipeline=share)
    assert "nothing was sent" in said
    assert files(to) == files(shared)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], "CHECKPOINT: found nothing"),
        (["RUN"], "REPO: found nothing"),
        (["nowhere", "./x"], "nothing at that place"),
        (["RUN", "./x", "--public"], "--public: found it for a folder"),
        (["RUN", "./x", "--licence", "a\nb"], "--licence: found 'a\\nb'"),
        (["RUN", "hub:x"], "REPO: found hub:x; expected hub:OWNER/NAME"),
        (["RUN", "here/x"], "which may be either"),
    ],
)
def test_push_answers_wrong_input(
    pix2pix: str, told: Any, flags: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    given = [pix2pix if flag == "RUN" else flag for flag in flags]
    assert said in told("push", *given, pipeline=share)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("owner/name", "owner/name"),
        ("hub:owner/name", "owner/name"),
        ("owner/name.v1_x-y", "owner/name.v1_x-y"),
        ("./owner/name", ""),
        ("/owner/name", ""),
        ("../owner", ""),
        ("owner/name/more", ""),
        ("name", ""),
        ("s3://owner/name", ""),
        ("owner/..", ""),
        ("owner/na me", ""),
    ],
)
def test_repository_is_told_from_a_folder(
    place: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert hub.repository(place) == name
    (tmp_path / "owner" / "name").mkdir(parents=True)
    if place == "owner/name":
        assert hub.repository(place) == ""


def test_networks_of_a_checkpoint_are_the_same_bytes_each_time() -> None:
    """Also with all that stands beside the tensors, whose order the library leaves open."""
    tensors = {"G.w": torch.arange(6.0).view(2, 3), "é": torch.ones(1)}
    snapshot = Snapshot(8, TrainConfig.of("pix2pix", "demo"), tensors, {"a": "G.w"}, {}, {}, {1: 3}, stage=2)
    written = {networks_bytes(snapshot) for _ in range(30)}
    assert len(written) == 1
    (data,) = written
    found = tensors_of(data)
    assert {name: x.tolist() for name, x in found.items()} == {name: x.tolist() for name, x in tensors.items()}
    assert int.from_bytes(data[:8], "little") % 8 == 0
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert header["__metadata__"] == {
        "aliases": '{"a": "G.w"}',
        "norm_batches": '{"1": 3}',
        "stage": "2",
    }
