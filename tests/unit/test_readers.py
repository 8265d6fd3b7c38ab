"""Files of ours that somebody changed: each reader gives the values, or one error that names the file.

pytest tests/unit/test_readers.py
"""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from safetensors.torch import save

from i2i_core import strict
from i2i_core.checkpoints import checkpoint
from i2i_core.config.run import TrainConfig
from i2i_core.config.sweep import SweepConfig
from i2i_core.data.format import shards
from i2i_core.data.format.manifest import DataSet
from i2i_core.data.format.table import IndexFile, Shard
from i2i_core.data.reading import order
from i2i_core.errors import DataError, RunError, UserError
from i2i_core.evaluation.families.distances import RealFeatures
from i2i_core.evaluation.judges.classifier import (
    Classifier,
    ClassifierInfo,
    Unfinished,
    load_classifier,
    save_classifier,
)
from i2i_core.evaluation.judges.palettes import read_palette
from i2i_core.fields import Field
from i2i_core.orchestration.sweep import SWEEP, SweepPlan, check_same_sweep
from i2i_core.runs.attempts import Attempt, begin, claim, holder
from i2i_core.runs.folder import CheckpointFolder, RunFolder, name_at
from i2i_core.search.space import Space, log_uniform
from i2i_core.search.study import NAME, STUDY, SearchedMetric, study_of
from i2i_core.storage.folder import Folder
from i2i_core.training.monitoring.boards import _id

from ..support.data import noise, put, shard

FEW, MANY = 8, 60
MARK = "what stands here is replaced"
DEEP = "[" * 100_000 + "]" * 100_000
TEXTS = (DEEP, DEEP[:100_000], "NaN", "-Infinity", "1e999", "9" * 5000, "9" * 25, '{"a": 1, "a": 2}', '"\\ud800"', "")
"""What may stand in the place of a value, as it is written."""
VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 1, 2.5, 2**63, 1e308, [], {}, [[]], [{}], {"x": 1}, ["x"], [None]),
    *("", "x", "../../x", "/etc/passwd", "a\\b", "a\0b", "\x1b[2J", "x" * 9999, "s3://other/x", "..", "images-1/../.."),
)
MOST_SAID = 5000
BOUND = 256 << 20
"""Bytes that a reader may take in Python for a file that is small."""

Read = Callable[[bytes], Any]


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in plain values: the keys that lead there."""
    yield at
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(inner, (*at, key))


def put_at(value: Any, at: tuple[Any, ...], new: Any) -> Any:
    """The values with another one at a place."""
    if not at:
        return new
    value = copy.copy(value)
    value[at[0]] = put_at(value[at[0]], at[1:], new) if at[1:] else new
    return value


def without(value: Any, at: tuple[Any, ...]) -> Any:
    """The values without what stands at a place."""
    value = copy.copy(value)
    if len(at) > 1:
        value[at[0]] = without(value[at[0]], at[1:])
    elif at:
        del value[at[0]]
    return value


def damaged(data: bytes) -> st.SearchStrategy[bytes]:
    """Bytes that were changed, cut or grown; of JSON also with a value that was removed, or of another type."""
    try:
        values = json.loads(data)
    except ValueError:
        return changed(data)
    at = st.sampled_from(list(places(values)))
    objects = [(*place, "more") for place in places(values) if isinstance(at_place(values, place), dict)]
    return st.one_of(
        changed(data),
        st.builds(lambda place: as_json(without(values, place)), at),
        st.builds(lambda place, new: as_json(put_at(values, place, new)), at, st.sampled_from(VALUES)),
        st.builds(
            lambda place, text: as_json(put_at(values, place, MARK)).replace(b'"%s"' % MARK.encode(), text.encode()),
            at,
            st.sampled_from(TEXTS),
        ),
        st.sampled_from(objects or [()]).map(lambda place: as_json(put_at(values, place, 1))),
    )


@st.composite
def changed(draw: st.DrawFn, data: bytes) -> bytes:
    """Bytes with one that was changed, cut off somewhere, or with more in their midst."""
    at = draw(st.integers(0, max(0, len(data) - 1)))
    new, end = draw(st.sampled_from([(0, len(data)), (1, at + 1), (3, at)]))
    return data[:at] + draw(st.binary(min_size=new, max_size=new)) + (data[end:] if new else b"")


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode()


def at_place(value: Any, place: tuple[Any, ...]) -> Any:
    for key in place:
        value = value[key]
    return value


def check(read: Read, good: bytes, name: str, examples: int, kinds: tuple[type[Exception], ...] = (UserError,)) -> None:
    """Whatever becomes of a file, it is read, or there is one error that names it and says what to do."""
    read(good)

    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(damaged(good))
    def hold(data: bytes) -> None:
        try:
            read(data)
        except kinds as error:
            caught = error
        else:
            return
        assert name in str(caught)
        assert len(str(caught)) < MOST_SAID
        assert getattr(caught, "fix", "what was raised is no UserError")

    if examples > FEW:
        tracemalloc.start()
    try:
        hold()
        assert tracemalloc.get_traced_memory()[1] < BOUND
    finally:
        tracemalloc.stop()


QUICK_AND_LONG = [FEW, pytest.param(MANY, marks=pytest.mark.slow)]
amounts = pytest.mark.parametrize("examples", QUICK_AND_LONG)


# ---- the one place ----


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (DEEP.encode(), "more than 32 lists"),
        (b"[" * 40 + b"]" * 40, "more than 32 lists"),
        (b"NaN", "nan, not a finite number"),
        (b"[1e999]", "inf, not a finite number"),
        (b"9" * 5000, "digits"),
        (b"-" + b"9" * 25, "a number of 84 bits"),
        (b'{"a": 1, "a": 2}', "twice 'a'"),
        (b'"\xff"', "byte 0xff at 1, not UTF-8"),
        ('"é"'.encode("utf-16"), "not UTF-8"),
        (b"{", "Expecting"),
        (b"[1]" + b" " * 100, "103 bytes, over the limit of 100"),
    ],
)
def test_strict_refuses_what_was_not_written(text: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        strict.loads(text, most=100 if b" " * 9 in text else strict.MOST_BYTES)
    assert type(caught.value) is ValueError, "no kind of the parser's"


def test_strict_takes_what_is_written() -> None:
    for value in ([], {"a": [1, -(2**63), 2**64, 0.5, None, True, "é"]}, json.loads("[" * 32 + "1" + "]" * 32)):
        assert strict.loads(json.dumps(value)) == value
    assert np.isnan(strict.loads("[NaN]", finite=False)[0])


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({"state": 5}, "f.json.state: found 5"),
        ({"state": "x", "images": True}, "f.json.images: found True"),
        ({"state": "x", "metrics": {"l1": "0"}}, "f.json.metrics.l1: found '0'"),
        ([], r"f.json: found \[\]"),
    ],
)
def test_strict_names_the_key_of_a_wrong_type(value: Any, found: str) -> None:
    from i2i_core.runs.folder import Status

    with pytest.raises(DataError, match=found) as caught:
        strict.read(json.dumps(value), Status, "f.json", "Do this.")
    assert caught.value.fix == "Do this."


# ---- a data set ----


@amounts
@pytest.mark.parametrize("file", ["manifest.json", "index", "refined"])
def test_data_set_reads_a_changed_file_or_names_it(file: str, examples: int, tmp_path: Path) -> None:
    for n in range(3):
        put(tmp_path / f"in/{n}.png", noise(4, 8, 3))
    shard("ab", tmp_path / "in", tmp_path / "out", split=(1.0, 0.0, 0.0))
    manifest = tmp_path / "out/manifest.json"
    (index,) = (tmp_path / "out/index").iterdir()
    place, values = (index if file == "index" else manifest), json.loads(manifest.read_text())

    def read(data: bytes) -> None:
        place.write_bytes(data)
        if file == "refined":  # an index that its manifest vouches for
            place.write_text(json.dumps(values))
            index.write_bytes(data)
            of = values["splits"]["train"]["all"]["index"]
            of["sha256"], of["bytes"] = [hashlib.sha256(data).hexdigest()], [len(data)]
            place.write_text(json.dumps(values))
        found = DataSet(str(tmp_path / "out"))
        for split in found.manifest.splits:
            found.check_shards(split)
        found.manifest.describe()

    check(read, (manifest if file == "manifest.json" else index).read_bytes(), str(tmp_path / "out"), examples)


@amounts
def test_shards_part_is_read_or_written_again(examples: int, tmp_path: Path) -> None:
    output, name = Folder(str(tmp_path)), "train-000000.tar"
    output.write(name, b"x" * 100)
    output.write(shards.index_name(name), b"x" * 50)
    field = Field("png", 3, "uint8", 4, 4)
    part = shards.FinishedShard(
        Shard(name, 2, 100, "0" * 64), {"image": field}, "a", ["b: c"], IndexFile(shards.index_name(name), 50, "1" * 64)
    )
    plan = SimpleNamespace(jobs=[SimpleNamespace(name=name)])

    def read(data: bytes) -> None:
        output.write(f"{shards.PARTS}/{name}.json", data)
        for found in shards._done(plan, output).values():  # type: ignore[arg-type]
            assert (found.shard.name, found.index.name) in ((name, shards.index_name(name)), (name, ""))
            assert found.labels == tuple(map(int, found.labels))

    read(part.dumps())
    assert shards._done(plan, output) == {name: part}  # type: ignore[arg-type]
    check(read, part.dumps(), "", examples, ())


@pytest.mark.parametrize(("tar", "index"), [("../x.tar", ""), ("", "../x.npz"), ("../x.tar", "../x.npz")])
def test_shards_part_that_names_a_file_elsewhere_is_none(tar: str, index: str, tmp_path: Path) -> None:
    output, name = Folder(str(tmp_path / "out")), "train-000000.tar"
    for place, size in ((name, 100), ("../x.tar", 100), (shards.index_name(name), 50), ("../x.npz", 50)):
        output.write(place, b"x" * size)
    files = Shard(tar or name, 2, 100, "0" * 64), IndexFile(index or shards.index_name(name), 50, "1" * 64)
    output.write(f"{shards.PARTS}/{name}.json", shards.FinishedShard(files[0], index=files[1]).dumps())
    plan = SimpleNamespace(jobs=[SimpleNamespace(name=name)])
    assert shards._done(plan, output) == {}  # type: ignore[arg-type]


# ---- configurations ----


@amounts
@pytest.mark.parametrize("file", ["config.json", "some.json", "some.yaml"])
def test_config_reads_a_changed_file_or_names_it(file: str, examples: int) -> None:
    text = TrainConfig.of("pix2pix", "demo").dumps().encode()
    if file == "some.yaml":
        text = b"method: pix2pix\npreset: demo\nhyper:\n  lr: 2e-4\ndata: {uri: x, also: [y, z]}\n"

    def read(data: bytes) -> None:
        if file == "config.json":
            TrainConfig.loads(data, file).run_name  # noqa: B018
        else:
            TrainConfig.filled(data, file)

    check(read, text, file, examples)


# ---- a run ----

OF_RUN: dict[str, Any] = {
    "status.json": {"state": "finished", "attempt": "old", "images": 9, "metrics": {"l1": 0.5}, "error": ""},
    "best.json": {"checkpoint": name_at(5), "metric": "l1", "value": 0.5, "size": [16, 16]},
    "evaluations.json": [{"images": 5, "metrics": {"l1": 0.5}}, {"images": 9, "metrics": {}}],
    "attempts/000003.json": vars(Attempt("old", "m", "h", 1, "then")),
    "stop": "old",
    "trackers/wandb.json": {"id": "x"},
}


@amounts
@pytest.mark.parametrize("file", OF_RUN)
def test_run_goes_on_whatever_became_of_a_small_file(file: str, examples: int, tmp_path: Path) -> None:
    run, count = RunFolder(str(tmp_path)), 0
    good = OF_RUN[file].encode() if file == "stop" else json.dumps(OF_RUN[file]).encode()

    def launch(data: bytes) -> None:
        nonlocal count
        count += 1
        run.remove(run.ATTEMPTS, run.STATUS, run.STOP)
        run.write(f"{run.ATTEMPTS}/000002.json", json.dumps(vars(Attempt("older"))).encode())
        run.write(f"{run.ATTEMPTS}/notes.json", b"of somebody")
        run.write(file, data)
        assert run.best() is None, "no such checkpoint is there"
        assert all(type(seen["images"]) is int and type(seen["metrics"]) is dict for seen in run.evaluations())
        assert type(_id(run, "wandb", lambda: "new")) is str
        assert run.exists(run.STOP) is (file == "stop")
        assert not run.exists(run.STOP) or run.asks_to_stop("mine") in (True, False)
        claim(run, mine := f"mine {count}", since=run.modified(f"{run.ATTEMPTS}/000002.json") + 60)
        found = holder(run)
        assert found
        assert found.attempt == mine
        begin(run, mine, b"{}")
        assert run.status() == {"state": "running", "attempt": mine}
        assert not run.exists(run.STOP)

    check(launch, good, "", examples, ())


def test_run_says_once_which_small_file_is_damaged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = RunFolder(str(tmp_path))
    run.write(run.STATUS, b'{"state": 5}')
    with caplog.at_level(logging.WARNING):
        assert run.status() == run.status() == {}
    (line,) = caplog.messages
    assert f"{tmp_path}/status.json.state: found 5 (int); expected str" in line


@pytest.mark.parametrize("name", ["../other/checkpoints/images-1", "..", "/etc", "images-1/../images-1", "images-1\n"])
def test_run_best_names_no_folder_elsewhere(name: str, tmp_path: Path) -> None:
    run = RunFolder(str(tmp_path))
    run.write(run.in_checkpoint("images-1", CheckpointFolder.CHECKSUMS), b"{}")
    for best, found in (("images-1", True), (name, False)):
        run.write_json(run.BEST, {"checkpoint": best, "metric": "l1"})
        assert bool(run.best()) is found


# ---- a checkpoint ----


def saved_at(folder: CheckpointFolder) -> dict[str, bytes]:
    """A checkpoint of made-up tensors; its files."""
    state = {"version": 2, "progress": {"images": 5}, "x": torch.zeros(2)}
    torch.save(state, at := Path(folder.root, "state"))
    metadata = {"aliases": '{"G.b": "G.a"}', "norm_batches": '{"4": 8}', "stage": "0"}
    return {
        CheckpointFolder.CONFIG: TrainConfig.of("pix2pix", "demo").dumps().encode(),
        CheckpointFolder.NETWORKS: save({"G.a": torch.ones(2, 3), "ema.G.a": torch.ones(2, 3)}, metadata),
        CheckpointFolder.STATE: at.read_bytes(),
        CheckpointFolder.METRICS: b'{"l1": 0.5, "none": NaN}',
    }


@amounts
@pytest.mark.parametrize("file", [*CheckpointFolder.FILES, CheckpointFolder.CHECKSUMS])
def test_checkpoint_reads_a_changed_file_or_names_it(file: str, examples: int, tmp_path: Path) -> None:
    """Also one whose checksums are made right again: somebody changed it on purpose."""
    folder = CheckpointFolder(str(tmp_path / name_at(5)))
    folder.make()
    files = saved_at(folder)
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    for name, data in files.items():
        folder.write(name, data)

    def read(data: bytes) -> None:
        folder.write(file, data)
        if file != folder.CHECKSUMS:
            folder.write_json(folder.CHECKSUMS, {**sums, file: hashlib.sha256(data).hexdigest()})
        saved = checkpoint.read(folder)
        saved.config()
        saved.networks()
        saved.metrics()
        saved.state()
        assert saved.stage == 0

    good = json.dumps(sums).encode() if file == folder.CHECKSUMS else files[file]
    check(read, good, folder.url, examples)


def test_checkpoint_opens_no_file_that_its_checksums_name_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"x")
    folder = CheckpointFolder(str(tmp_path / name_at(5)))
    folder.make()
    files = saved_at(folder)
    for name, data in files.items():
        folder.write(name, data)
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    folder.write_json(folder.CHECKSUMS, {**sums, "../secret": "0" * 64})
    assert checkpoint.read(folder).files == files


@amounts
@pytest.mark.parametrize("key", ["aliases", "norm_batches", "stage"])
def test_checkpoint_reads_a_changed_header_or_names_it(key: str, examples: int, tmp_path: Path) -> None:
    good = {"aliases": b'{"G.b": "G.a"}', "norm_batches": b'{"4": 8}', "stage": b"0"}
    config = TrainConfig.of("pix2pix", "demo").dumps().encode()

    def read(data: bytes) -> None:
        text = {**{name: value.decode() for name, value in good.items()}, key: data.decode("latin-1")}
        files = {CheckpointFolder.NETWORKS: save({"G.a": torch.ones(2)}, text), CheckpointFolder.CONFIG: config}
        found = checkpoint.Saved(f"{tmp_path}/{name_at(5)}", files, "")
        _, _, batches = found.networks()
        assert all(size > 0 < images for size, images in (batches or {}).items())
        assert found.stage == 0

    check(read, good[key], "networks.safetensors", examples)


# ---- what judges ----


@amounts
@pytest.mark.parametrize("file", ["x", "x.json"])
def test_classifier_reads_a_changed_file_or_names_it(file: str, examples: int, tmp_path: Path) -> None:
    info = ClassifierInfo(("bold", "slant"), False, 1, 16, "data", 0)
    save_classifier(Classifier(info), str(tmp_path / "x"))
    good = (tmp_path / file).read_bytes()

    def read(data: bytes) -> None:
        (tmp_path / file).write_bytes(data)
        found = load_classifier(str(tmp_path / "x"))
        assert found.judge(torch.zeros(1, 1, 16, 16)).shape == (1, 2)

    check(read, good, str(tmp_path / "x"), examples)


@amounts
def test_classifier_training_begins_anew_whatever_became_of_its_file(examples: int, tmp_path: Path) -> None:
    unfinished = Unfinished(str(tmp_path / "x"))
    unfinished.keep("of", {"done": 3, "parts": [{"w": torch.zeros(4)}]})

    def read(data: bytes) -> None:
        unfinished.folder.write(unfinished.name, data)
        assert unfinished.read("of") is None or unfinished.read("of").keys() >= set()  # type: ignore[union-attr]

    check(read, unfinished.folder.read(unfinished.name), "", examples, ())


@amounts
def test_real_features_are_computed_again_whatever_became_of_their_file(examples: int, tmp_path: Path) -> None:
    kept = RealFeatures(str(tmp_path), {"of": "x"}, 3)
    kept.keep(kept.definition, ["a", "b"], np.ones((2, 3), np.float32))
    place = tmp_path / kept.file

    def read(data: bytes) -> None:
        place.write_bytes(data)
        found = RealFeatures(str(tmp_path), {"of": "x"}, 3).of(["a"])
        assert found is None or found.shape == (1, 3)

    check(read, place.read_bytes(), "", examples, ())


@amounts
def test_palette_reads_a_changed_file_or_names_it(examples: int, tmp_path: Path) -> None:
    place = tmp_path / "palette.json"
    classes = [{"name": "road", "color": [1, 2, 3]}, {"name": "sky", "color": [4, 5, 6], "ignore": False}]

    def read(data: bytes) -> None:
        place.write_bytes(data)
        read_palette(str(place))

    check(read, json.dumps({"classes": [*classes, {"name": "x", "color": [0, 0, 0]}]}).encode(), str(place), examples)


# ---- a sweep ----


@amounts
def test_sweep_reads_a_changed_file_or_names_it(examples: int, tmp_path: Path) -> None:
    space = Space("pix2pix", {"hyper.lr": log_uniform(1e-5, 1e-2, "the test")}, metrics=("l1",))
    base, folder = TrainConfig.of("pix2pix", "demo", {"data.order": order.VERSION}), Folder(str(tmp_path))
    plan = SweepPlan(base, SweepConfig(), space, (SearchedMetric("l1", "lower"),), folder, 600, 100)

    def read(data: bytes) -> None:
        folder.write(SWEEP, data)
        check_same_sweep(plan, resume=True)

    check(read, json.dumps(plan.saved).encode(), str(tmp_path), examples)


@amounts
def test_study_reads_a_changed_line_or_names_the_file(examples: int, tmp_path: Path) -> None:
    place = tmp_path / STUDY
    study = optuna.create_study(study_name=NAME, storage=JournalStorage(JournalFileBackend(str(place))))
    for number in range(2):
        trial = study.ask()
        trial.suggest_float("hyper.lr", 1e-5, 1e-2, log=True)
        trial.suggest_categorical("hyper.norm", ["a", "b"])
        notes = {"evaluations": [[5, {"l1": 0.5}]], "images": 5, "run": "x", "reason": "", "outcome": "finished"}
        for name, value in notes.items():
            trial.set_user_attr(name, value)
        study.tell(trial, float(number))
    lines = place.read_bytes().splitlines()
    for line in lines if examples > FEW else lines[:: len(lines) // 4]:
        at = lines.index(line)

        def read(data: bytes, at: int = at) -> None:
            place.write_bytes(b"\n".join([*lines[:at], data, *lines[at + 1 :], b""]))
            for one in study_of(Folder(str(tmp_path))).trials:
                assert type(one.user_attrs.get("reason", "")) is str

        check(read, line, STUDY, examples if examples == FEW else examples // len(lines))


def test_sweep_whose_driver_file_is_damaged_ends_with_one_error(tmp_path: Path) -> None:
    from i2i_core.search.study import DRIVER, Search

    search = object.__new__(Search)
    search.sweep, search.driver = Folder(str(tmp_path)), "mine"
    search.sweep.write_json(DRIVER, {"driver": "mine"})
    search._check_ours()
    for data in (b"[]", b"{", b'{"driver": 5}', DEEP.encode(), b'{"driver": "another"}'):
        search.sweep.write(DRIVER, data)
        with pytest.raises(RunError, match=str(tmp_path)):
            search._check_ours()
