"""A data set opens files of its own, and no others: whatever its manifest says, nothing else is asked for.

pytest tests/unit/test_places.py
"""

from __future__ import annotations

import io
import json
import os
import runpy
import shlex
import shutil
import sys
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

from i2i_core.config.data import DataConfig
from i2i_core.config.run import TrainConfig
from i2i_core.config.sweep import SweepConfig
from i2i_core.config.translation import TranslateOptions
from i2i_core.data.format.manifest import MOST_MANIFEST, DataSet
from i2i_core.data.format.places import no_path_below, storage_named
from i2i_core.data.format.shards import ShardOptions
from i2i_core.data.format.webdatasets import IndexOptions
from i2i_core.errors import ConfigError, DataError, UserError
from i2i_core.images.arrays import read_npz
from i2i_core.methods.pix2pix import Pix2Pix
from i2i_core.orchestration.sharding import index_webdataset
from i2i_core.orchestration.sweep import plan
from i2i_core.orchestration.translating import translate
from i2i_core.storage import remote
from i2i_core.storage.paths import sha256
from i2i_core.storage.remote import Remote, storage_of
from i2i_core.translation.inputs import open_inputs
from tests.support.runs import config_of, loop_of
from tests.support.weather import Weather

ROOT = Path(__file__).parents[2]
ATTRIBUTES = ("serif", "bold", "oblique", "mono")
INDEX = "index/train-000000.npz"


def put_index(folder: Path, data: bytes) -> None:
    """Another index of the train split, which the manifest agrees to."""
    (folder / INDEX).write_bytes(data)
    rewrite(folder, of_index(bytes=[len(data)], sha256=[sha256(data)]))


def rewrite(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    values = json.loads((folder / "manifest.json").read_text())
    change(values)
    (folder / "manifest.json").write_text(json.dumps(values))


def first_shard(**values: Any) -> Callable[[dict[str, Any]], object]:
    columns = {name: [value] for name, value in values.items()}
    return lambda m: m["splits"]["train"]["all"]["shards"].update(columns)


def of_index(**columns: list[Any]) -> Callable[[dict[str, Any]], object]:
    return lambda m: m["splits"]["train"]["all"]["index"].update(columns)


@pytest.fixture
def own(labelled: str, tmp_path: Path) -> Path:
    """A labelled data set that a test may alter."""
    return Path(shutil.copytree(labelled, tmp_path / "own"))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Everything that a remote filesystem is asked for from now on."""
    paths: list[str] = []

    def ask(self: Remote, name: str, path: str, *args: Any, **kwargs: Any) -> Any:
        paths.append(path)
        return getattr(self.fs, name)(path, *args, **kwargs)

    monkeypatch.setattr(Remote, "_ask", ask)
    monkeypatch.setattr(Remote, "cat_ranges", lambda self, paths_, *_, **__: paths.extend(paths_))
    monkeypatch.setattr(Remote, "pour", lambda self, path, *_: paths.append(path))
    return paths


def files_of(folder: Path) -> dict[str, bytes]:
    """What is in a folder and those below, by path."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def far(own: Path) -> Iterator[str]:
    """The same data set in the memory of this process, which is a remote filesystem."""
    memory = fsspec.filesystem("memory")
    for name, data in files_of(own).items():
        memory.pipe_file(f"/far/{name}", data)
    yield "memory://far"
    memory.rm("/far", recursive=True)


# ---- names ----

OUT = {
    "climbs": "../x.tar",
    "climbs from below": "a/../../x.tar",
    "climbs when decoded": "%2e%2e/x.tar",
    "climbs when decoded twice": "%252e%252e/x.tar",
    "this folder": "./x.tar",
    "two slashes": "a//x.tar",
    "a folder": "a/",
    "absolute": "/etc/x.tar",
    "empty": "",
    "a drive": "C:/x.tar",
    "a drive of another system": "C:x.tar",
    "a share": "\\\\host\\share\\x.tar",
    "a share of slashes": "//host/share/x.tar",
    "backslashes": "a\\..\\..\\x.tar",
    "a null": "x\0.tar",
    "a line": "x\n.tar",
    "a chain": "simplecache::s3://bucket/x.tar",
    "a zip": "zip://x.tar::s3://bucket/x.zip",
    "a chain of names": "x.tar::memory://other/x.tar",
    "a bucket": "s3://bucket/x.tar",
    "a server": "http://127.0.0.1:9/x.tar",
    "a server with a secret": "https://user:secret@host/x.tar",
    "a file of another machine": "file://host/x.tar",
    "a URL with one slash": "file:/etc/x.tar",
    "a program": "github://org/x.tar",
    "a URL that climbs": "file:///data/../etc/x.tar",
    "too long": "x" * 300 + ".tar",
}
"""Names that stay in no folder, on any filesystem."""


def check_refusal(error: UserError, where: str, name: str) -> None:
    """It names the manifest, the shard, what is allowed and what to do."""
    assert isinstance(error, DataError)
    assert error.where == f"{where}/manifest.json"
    assert ("secret" in name) or repr(name[:200])[:-1] in error.found
    assert "secret" not in str(error)
    assert "in the folder of the data set" in error.expected
    assert "--index" in error.fix or "--shards-at" in error.fix


@pytest.mark.parametrize("allowed", [(), ("/data", "s3://other")])
@pytest.mark.parametrize("case", OUT)
def test_places_of_a_local_data_set_are_not_elsewhere(case: str, own: Path, allowed: tuple[str, ...]) -> None:
    for change in (first_shard(name=OUT[case]), of_index(name=[OUT[case]])):
        before = (own / "manifest.json").read_text()
        rewrite(own, change)
        with pytest.raises(DataError) as caught:
            DataSet(str(own), allowed)
        check_refusal(caught.value, str(own), OUT[case])
        (own / "manifest.json").write_text(before)


@pytest.mark.parametrize("case", [*OUT, "a local file"])
def test_places_of_a_remote_data_set_are_not_elsewhere(case: str, far: str, asked: list[str]) -> None:
    name = {**OUT, "a local file": "file:///etc/x.tar"}[case]
    memory = fsspec.filesystem("memory")
    values = json.loads(memory.cat_file("/far/manifest.json"))
    first_shard(name=name)(values)
    memory.pipe_file("/far/manifest.json", json.dumps(values).encode())
    with pytest.raises(DataError) as caught:
        DataSet(far, ["/etc", "s3://bucket", "memory://elsewhere"])
    check_refusal(caught.value, far, name)
    assert set(asked) == {"/far/manifest.json"}


def test_places_take_no_bucket_for_a_folder_of_that_name(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bucket").mkdir()
    shutil.copy(own / "train-000000.tar", tmp_path / "bucket/x.tar")
    monkeypatch.chdir(tmp_path)
    rewrite(own, first_shard(name="s3://bucket/x.tar"))
    with pytest.raises(DataError, match="of another storage"):
        DataSet(str(own), ["s3://bucket"])


@pytest.mark.parametrize("name", ["x.tar", "a/b/x.tar", "x y.tar", "50%.tar", "é.tar", "a..b.tar", "x#1.tar", "~x.tar"])
def test_places_lie_below_a_folder(name: str) -> None:
    assert not no_path_below(name)


@pytest.mark.parametrize("name", ["x.tar?list=1", "x.tar#y"])
def test_places_of_a_web_address_have_no_query(name: str) -> None:
    assert no_path_below(name, "https")


def test_places_tell_storages_apart_by_protocol_and_host() -> None:
    assert storage_named("s3a://b/x") == storage_named("s3://b/y") == ("s3", "b")
    assert storage_named("/x/y") == storage_named("file:///z") == ("file", "")
    different = ["http://h/x", "https://h/x", "https://h:8443/x", "https://u@h/x", "s3://b/x", "gs://b/x", "file://h/x"]
    assert len({storage_named(url) for url in different}) == len(different)


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (first_shard(sha256="../../x"), "checksum '../../x'"),
        (first_shard(sha256="A" * 64), "checksum"),
        (first_shard(bytes=1 << 63), "samples in 9223372036854775808 bytes"),
        (first_shard(samples=10**12), "1000000000000 samples in"),
        (lambda m: m["splits"].update({"../x": m["splits"].pop("val")}), "a split or domain '../x'"),
        (lambda m: m["splits"].update({"a\nb": m["splits"].pop("val")}), "a split or domain"),
        (lambda m: m["fields"]["image"].update(extension="/../x"), "stored as '/../x'"),
    ],
)
def test_places_refuse_names_that_are_paths(change: Callable[..., object], cause: str, own: Path) -> None:
    """A cache's files are called by checksums, a refined data set's by splits and endings."""
    rewrite(own, change)
    with pytest.raises(DataError) as caught:
        DataSet(str(own))
    assert cause in caught.value.found


# ---- links and other files ----


def test_places_follow_a_link_out_of_a_data_set_where_allowed(own: Path, tmp_path: Path) -> None:
    (tmp_path / "else").mkdir()
    (own / "train-000000.tar").rename(tmp_path / "else/x.tar")
    (own / "train-000000.tar").symlink_to(tmp_path / "else/x.tar")
    with pytest.raises(DataError, match=r"a link to .*else/x\.tar") as caught:
        DataSet(str(own)).check_shards("train")
    flag, _, at = caught.value.fix.partition(": --shards-at ")
    assert flag
    DataSet(str(own), [at]).check_shards("train")
    assert DataSet(str(own), [at]).path("train-000000.tar") == f"{own}/train-000000.tar"


def test_places_follow_links_within_and_to_a_data_set(own: Path, tmp_path: Path) -> None:
    (own / "below").mkdir()
    (own / "train-000000.tar").rename(own / "below/x.tar")
    (own / "train-000000.tar").symlink_to("below/x.tar")
    (tmp_path / "name").symlink_to(own)
    for place in (own, tmp_path / "name"):
        data = DataSet(str(place))
        data.check_shards("train")
        data.rows("train").keys()


def test_places_look_through_a_linked_folder_and_index(own: Path, tmp_path: Path) -> None:
    (own / INDEX).rename(tmp_path / "i.npz")
    (own / INDEX).symlink_to(tmp_path / "i.npz")
    with pytest.raises(DataError, match=r"a link to .*i\.npz"):
        DataSet(str(own)).check_shards("train")
    with pytest.raises(DataError, match=r"a link to .*i\.npz"):
        DataSet(str(own)).rows("train").keys()
    DataSet(str(own), [str(tmp_path)]).rows("train").keys()
    (own / INDEX).unlink()
    (tmp_path / "i.npz").rename(own / INDEX)
    (own / "below").symlink_to(tmp_path)
    rewrite(own, first_shard(name="below/x.tar"))
    with pytest.raises(DataError, match=r"a link to .*x\.tar"):
        DataSet(str(own), [str(tmp_path / "elsewhere")]).check_shards("train")


@pytest.mark.parametrize("name", ["train-000000.tar", INDEX, "manifest.json"])
@pytest.mark.parametrize("kind", ["pipe", "folder", "device"])
def test_places_open_plain_files_alone(name: str, kind: str, own: Path) -> None:
    (own / name).unlink()
    if kind == "pipe":
        os.mkfifo(own / name)
    elif kind == "folder":
        (own / name).mkdir()
    else:
        (own / name).symlink_to("/dev/zero")
    with pytest.raises(DataError, match="no plain file"):
        DataSet(str(own), ["/dev"]).check_shards("train")


# ---- shards that lie elsewhere, by a flag ----


@pytest.fixture
def apart(labelled: str, tmp_path: Path) -> tuple[str, str]:
    """Tars in one folder and their index in another: the data set, and what --shards-at is given."""
    (tmp_path / "tars").mkdir()
    for path in Path(labelled).glob("*.tar"):
        shutil.copy(path, tmp_path / "tars")
    goal = ShardOptions(out=str(tmp_path / "set"))
    index_webdataset(IndexOptions(index=str(tmp_path / "tars")), goal, ATTRIBUTES, workers=0)
    return str(tmp_path / "set"), str(tmp_path / "tars")


def test_shards_at_another_folder_serve_every_command(
    apart: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    said: list[str],
) -> None:
    data, at = apart
    runs = str(tmp_path / "runs")
    with pytest.raises(DataError, match="--shards-at"):
        config_of("stargan", data, runs)
    config = config_of("stargan", data, runs, data__shards_at=(at,), training__images=36)
    config = TrainConfig.loads(config.dumps(), "config.json")
    loop_of(config).train()
    longer = config.with_section("training", images=48)
    said.clear()
    loop_of(longer).train()
    assert any("resumed from" in line for line in said)
    run = f"{runs}/run"
    options = TranslateOptions(input=data, out=str(tmp_path / "made"), target="bold", most=2, shards_at=(at,))
    assert translate(run, options).written == 2
    argv = ["evaluate.py", run, "--data", data, "--split", "train", "--metrics", "l1", "--most", "8"]
    for more, code in (["--shards-at", at], 0), ([], 2):
        monkeypatch.setattr(sys, "argv", [*argv, "--cpu", *more])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(ROOT / "pipelines/evaluate.py"), run_name="__main__")
        assert ended.value.code == code, capsys.readouterr()
    base = TrainConfig.of("stargan", "demo", {"data.uri": data, "data.shards_at": [at], "hyper.image_size": 16})
    assert plan(base, SweepConfig(early_stop=False)).base.data.shards_at == (at,)


@pytest.mark.parametrize(("given", "allowed"), [("memory://", True), ("memory://near", True), ("memory://nea", False)])
def test_shards_at_urls_below_an_allowed_folder_are_read(far: str, given: str, allowed: bool) -> None:
    memory = fsspec.filesystem("memory")
    values = json.loads(memory.cat_file("/far/manifest.json"))
    first_shard(name="memory://near/x.tar")(values)
    memory.pipe_file("/far/manifest.json", json.dumps(values).encode())
    if not allowed:
        with pytest.raises(DataError, match="--shards-at memory://nea memory://near"):
            DataSet(far, [given])
        return
    memory.pipe_file("/near/x.tar", memory.cat_file("/far/train-000000.tar"))
    DataSet(far, [given]).check_shards("train")
    memory.rm("/near", recursive=True)


@pytest.mark.parametrize("given", ["", "simplecache::s3://b/x"])
def test_shards_at_is_a_plain_place(given: str) -> None:
    with pytest.raises(ConfigError, match="--shards-at"):
        DataConfig(shards_at=(given,))


def test_places_of_a_dry_run_ask_no_other_bucket_or_host(
    own: Path, s3: str, weather: Weather, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every request of s3fs goes through the weather; the web address is its own, and would be seen too."""
    monkeypatch.setitem(remote.S3, "retries", {"mode": "standard", "total_max_attempts": 1})
    fs, root = storage_of(f"{s3}/set")
    for name in ("s3://other-bucket/x.tar", "http://" + weather.endpoint.partition("://")[2] + "/x.tar"):
        rewrite(own, first_shard(name=name))
        for path, data in files_of(own).items():
            fs.pipe_file(f"{root}/{path}", data)
        weather.forget()
        argv = ["train.py", "--method", "stargan", "--preset", "demo", "--image-size", "16", "--d-layers", "3"]
        argv += ["--data", f"{s3}/set", "--shards-at", "s3://other-bucket", "http://x", "--dry-run"]
        monkeypatch.setattr(sys, "argv", argv)
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(ROOT / "pipelines/train.py"), run_name="__main__")
        assert ended.value.code == 2
        assert f"{s3}/set/manifest.json: found a file '{name}'" in capsys.readouterr().err
        assert weather.seen
        assert {seen.path.partition("/set/")[2] for seen in weather.seen} == {"manifest.json"}


def test_shards_at_the_same_bucket_are_read_where_allowed(own: Path, s3: str, weather: Weather) -> None:
    fs, root = storage_of(s3)
    rewrite(own, first_shard(name=f"{s3}/tars/x.tar"))
    for name, data in files_of(own).items():
        fs.pipe_file(f"{root}/set/{name}", data)
    fs.pipe_file(f"{root}/tars/x.tar", (own / "train-000000.tar").read_bytes())
    with pytest.raises(DataError, match="--shards-at") as caught:
        DataSet(f"{s3}/set")
    at = shlex.split(caught.value.fix)[-1]
    assert at == f"{s3}/tars"
    DataSet(f"{s3}/set", [at]).check_shards("train")


# ---- lists of images ----


@pytest.mark.parametrize("line", ["s3://bucket/x.png", "simplecache::file:///x.png", "file://host/x.png", "x.png::y"])
def test_list_of_images_names_those_of_its_own_storage(line: str, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(f"a.png\n{line}\n")
    with pytest.raises(DataError, match="of another storage"):
        open_inputs(str(tmp_path / "list.txt"), "", "test", Pix2Pix, "AtoB", "AtoB")


# ---- indexing ----


@pytest.mark.parametrize("name", ["C:x.tar", "a::b.tar", "a\\b.tar", "%2e%2e%2fx.tar"])
def test_indexing_refuses_tars_that_no_manifest_can_name(name: str, own: Path) -> None:
    (own / "train-000000.tar").rename(own / name)
    (own / "manifest.json").unlink()
    with pytest.raises(DataError, match="Rename it"):
        index_webdataset(IndexOptions(index=str(own)), ShardOptions(), ATTRIBUTES, workers=0)


def test_indexing_does_not_wait_for_a_pipe(own: Path) -> None:
    (own / "manifest.json").unlink()
    os.mkfifo(own / "train-9.tar")
    with pytest.raises(DataError, match="no plain file"):
        index_webdataset(IndexOptions(index=str(own)), ShardOptions(), ATTRIBUTES, workers=0)


def test_indexing_says_where_links_lead(own: Path, tmp_path: Path, said: list[str]) -> None:
    (tmp_path / "else").mkdir()
    (own / "train-000000.tar").rename(tmp_path / "else/x.tar")
    (own / "train-000000.tar").symlink_to(tmp_path / "else/x.tar")
    (own / "manifest.json").unlink()
    index_webdataset(IndexOptions(index=str(own)), ShardOptions(), ATTRIBUTES, workers=0)
    at = said[0].partition("--shards-at ")[2]
    assert at == str(tmp_path / "else")
    DataSet(str(own), [at]).check_shards("train")


# ---- indexes and manifests that are bombs ----


def npz(compression: int = zipfile.ZIP_STORED, **members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as file:
        for name, data in members.items():
            file.writestr(f"{name}.npy", data)
    return out.getvalue()


def npy(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=True)
    return out.getvalue()


def saying(shape: str, descr: str = "'|S4'", held: int = 64) -> bytes:
    """An .npy header of that shape, and so many bytes of values."""
    head = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + bytes(held)


def with_keys(own: Path, keys: bytes, compression: int = zipfile.ZIP_STORED) -> bytes:
    """The index with other keys."""
    index = DataSet(str(own)).rows("train").shard(0)
    rest = {name: npy(getattr(index, name)) for name in ("offset", "size", "bits")}
    return npz(compression, keys=keys, **rest)


ZEROS = np.zeros(1 << 25, "S1")
BOMBS: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "compressed": (
        lambda own: with_keys(own, npy(ZEROS), zipfile.ZIP_DEFLATED),
        "keys.npy is compressed",
    ),
    "bzip2": (lambda own: with_keys(own, npy(ZEROS), zipfile.ZIP_BZIP2), "keys.npy is compressed|at least 11"),
    "more than there is": (lambda own: with_keys(own, saying("(1000000000000,)")), "4000000000000 bytes, in 64 bytes"),
    "objects": (lambda own: with_keys(own, npy(np.array([{}] * 9, object))), "an array of object"),
    "fields": (lambda own: with_keys(own, npy(np.zeros(9, [("a", "i4")]))), "an array of "),
    "of nothing": (lambda own: with_keys(own, saying("(1000000000000,)", "'|S0'", held=0)), "an array of "),
    "a negative shape": (lambda own: with_keys(own, saying("(-1,)")), "an array of "),
    "a deep header": (lambda own: with_keys(own, saying("(" * 400 + ")" * 400)), "no index"),
    "a long header": (lambda own: with_keys(own, saying("(" + "1," * 2000 + ")")), "no index"),
    "longer than its samples": (lambda own: with_keys(own, npy(np.zeros(1 << 22, "S1"))), "at most"),
}


@pytest.mark.parametrize("case", BOMBS)
def test_index_that_is_a_bomb_is_one_error_and_takes_no_memory(case: str, own: Path) -> None:
    bomb, cause = BOMBS[case]
    put_index(own, bomb(own))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=cause) as caught:
            DataSet(str(own)).rows("train").keys()
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
    assert caught.value.where.endswith(("manifest.json", INDEX))


def test_index_arrays_are_read_as_numpy_wrote_them() -> None:
    rng = np.random.default_rng(0)
    wrote = {"a": rng.normal(size=(3, 4)), "b": np.asfortranarray(rng.normal(size=(3, 4))), "c": np.array("x")}
    wrote |= {"d": np.zeros((0, 2), np.uint8), "e": np.array(["a", "bc"])}
    out = io.BytesIO()
    np.savez(out, **wrote)
    read = read_npz(out.getvalue(), tuple(wrote))
    assert all(np.array_equal(read[name], wrote[name]) and read[name].dtype == wrote[name].dtype for name in wrote)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("[" * 100_000, "more than 32 lists in one another"),
        ('{"version": 1, "made_by": ' + "[" * 40 + "]" * 40 + "}", "in one another"),
        ('{"version": ' + "9" * 5000 + "}", "not JSON"),
    ],
)
def test_manifest_that_is_deep_is_one_error(text: str, cause: str, own: Path) -> None:
    (own / "manifest.json").write_text(text)
    with pytest.raises(DataError, match=cause):
        DataSet(str(own))


def test_manifest_that_is_too_long_is_not_read(own: Path) -> None:
    with (own / "manifest.json").open("ab") as file:
        file.truncate(MOST_MANIFEST + 1)  # a hole: it takes no room on the disk
    with pytest.raises(DataError, match=f"{MOST_MANIFEST + 1} bytes; expected a file of at most"):
        DataSet(str(own))
