"""Writing checkpoints: what the step waits for, full disks, crashes at any byte, and what is kept.

pytest tests/integration/test_writer.py
"""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from i2i_core.batch import Batch
from i2i_core.checkpoints import checkpoint, trained
from i2i_core.checkpoints.checkpoint import Snapshot
from i2i_core.checkpoints.writer import MOST_WITHOUT_ROOM, Writer
from i2i_core.config.run import TrainConfig
from i2i_core.errors import RunError, Stopped, TakenOverError
from i2i_core.runs.folder import CheckpointFolder, RunFolder, images_of, name_at
from i2i_core.storage.folder import writing
from i2i_core.storage.retry import PATIENCE
from i2i_core.training.loop import Loop
from i2i_core.training.sync import World

from ..support.runs import KilledError, assert_equal, config_of, latest, loop_of, prompt, run_until, state_of
from ..support.workers import on_workers

FILES, CHECKSUMS, BEST = CheckpointFolder.FILES, CheckpointFolder.CHECKSUMS, RunFolder.BEST
FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="no /dev/full")


def small(config: TrainConfig, images: int) -> Snapshot:
    return Snapshot(images, config, {"w": torch.full((9,), float(images))}, {}, {"images": images}, {"m": 1.0})


def best_at(images: int) -> dict[str, Any]:
    return {"metric": "there_and_back", "value": 0.5, "checkpoint": name_at(images)}


class Slow(RunFolder):
    """Storage whose writes begin once the gate is open."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.gate, self.begun = Event(), Event()
        self.order: list[str] = []

    def write(self, path: str, data: bytes) -> None:
        self.begun.set()
        assert self.gate.wait(60), "the step waits for storage"
        self.order.append(path)
        super().write(path, data)


@pytest.fixture
def config(labelled: str, storage: str) -> TrainConfig:
    return config_of("stargan", labelled, storage, monitoring__keep_last=9)


@pytest.fixture
def slow(storage: str) -> Slow:
    return Slow(f"{storage}/run")


def test_writer_lets_a_newer_checkpoint_replace_the_one_that_waits(
    config: TrainConfig, slow: Slow, said: list[str]
) -> None:
    writer = Writer(slow, 9)
    writer.put(small(config, 12), None)
    assert slow.begun.wait(60)
    writer.put(small(config, 24), None)
    writer.put(small(config, 36), None)
    slow.gate.set()
    writer.wait()
    assert slow.whole_checkpoints() == [name_at(12), name_at(36)]
    assert len(said) == 1
    assert f"{name_at(24)} is left out" in said[0]


class LateToBegin(RunFolder):
    """Storage where a checkpoint is made into bytes once the gate is open: until then it lies in memory."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.gate, self.begun = Event(), Event()

    def remove_checkpoint(self, name: str) -> None:
        self.begun.set()
        assert self.gate.wait(60), "the step waits for storage"
        super().remove_checkpoint(name)


def test_writer_does_not_overwrite_a_waiting_snapshot_by_a_later_one(labelled: str, storage: str) -> None:
    """The third takes the place of the second, and the fourth that of the third, while the first is being written."""
    run = LateToBegin(f"{storage}/run")
    loop = loop_of(config_of("stargan", labelled, storage, monitoring__keep_last=9), run=run)
    batches, states = loop.read(0), {}
    for _ in range(4):
        loop.step((loop.step.place(batch) for batch in batches), loop.progress)
        states[loop.progress.images] = copy.deepcopy(loop.method.networks.state_dict())
        loop.keeper.save()
        assert run.begun.wait(60)
    run.gate.set()
    loop.keeper.writer.wait()
    written = run.whole_checkpoints()
    assert [images_of(name) for name in written] == [min(states), max(states)]
    for name in written:
        saved, _, _ = checkpoint.read(run.checkpoint(name)).networks()
        assert_equal({key: saved[key] for key in states[images_of(name)]}, states[images_of(name)])
    loop.monitor.close(True)


def test_writer_reuses_one_memory_for_checkpoints_in_turn(labelled: str, storage: str) -> None:
    loop = loop_of(config_of("stargan", labelled, storage, monitoring__checkpoint_every=12))
    prompt(loop).train()
    assert len(loop.keeper.writer.memories.free) == 1


def test_writer_waits_for_the_best(config: TrainConfig, slow: Slow) -> None:
    writer = Writer(slow, 9)
    writer.put(small(config, 12), None)
    assert slow.begun.wait(60)
    writer.put(small(config, 24), best_at(24))
    wait_for = writer.changed.wait_for

    def opening(until: Callable[[], bool]) -> bool:
        slow.gate.set()  # the lock is held: the writer takes nothing before `until` was asked
        return wait_for(until)

    writer.changed.wait_for = opening  # type: ignore[assignment, method-assign]
    writer.put(small(config, 36), best_at(24))
    writer.wait()
    assert slow.whole_checkpoints() == [name_at(12), name_at(24), name_at(36)]
    best = slow.best()
    assert best is not None
    assert best["checkpoint"] == name_at(24)


def test_writer_names_the_best_once_it_is_there(config: TrainConfig, slow: Slow) -> None:
    slow.gate.set()
    writer = Writer(slow, 9)
    writer.put(small(config, 12), best_at(12))
    writer.wait()
    writer.put(None, best_at(24))
    writer.wait()
    folder = f"checkpoints/{name_at(12)}"
    assert slow.order == [*(f"{folder}/{name}" for name in FILES), f"{folder}/{CHECKSUMS}", BEST]
    assert slow.read_json(BEST)["checkpoint"] == name_at(12)


def test_writer_lets_training_go_on_while_storage_hangs(labelled: str, storage: str) -> None:
    """The first write ends when the run is nearly over."""
    config = config_of("stargan", labelled, storage, monitoring__checkpoint_every=12, monitoring__keep_last=9)
    slow = Slow(f"{storage}/run")
    loop = loop_of(config, run=slow)

    def opening(batches: Iterator[Batch]) -> Iterator[Batch]:
        for batch in batches:
            if batch.images >= 84:
                slow.gate.set()
            yield batch

    loop.train(opening)
    whole = loop.run.whole_checkpoints()
    assert whole[0] == name_at(12)
    assert whole[-1] == name_at(96)
    assert name_at(36) not in whole
    board = EventAccumulator(f"{storage}/run")
    board.Reload()
    stalls = board.Scalars("checkpoint/stall_seconds")
    assert [event.step for event in stalls] == [12, 24, 36, 48, 60, 72, 84, 96]
    assert all(event.value > 0 for event in stalls)


class NoRoom(RunFolder):
    """Storage where writing one of the files meets a full disk: a real ENOSPC from the kernel."""

    def __init__(self, url: str, path: str) -> None:
        super().__init__(url)
        self.full = Path(self.path(path))

    def write(self, path: str, data: bytes) -> None:
        if Path(self.path(path)) == self.full:
            self.full.parent.mkdir(parents=True, exist_ok=True)
            self.full.with_name(writing(f".{self.full.name}")).symlink_to(FULL)
        super().write(path, data)


@needs_full
@pytest.mark.parametrize("name", ["networks.safetensors", CHECKSUMS])
def test_writer_on_a_full_disk_does_not_stop_training(name: str, labelled: str, storage: str, said: list[str]) -> None:
    config = config_of("stargan", labelled, storage)
    said.clear()
    loop = prompt(loop_of(config, NoRoom(f"{storage}/run", f"checkpoints/{name_at(72)}/{name}")))
    loop.train()
    assert loop.run.names_of_checkpoints() == [name_at(36), name_at(96)]
    warning = next(line for line in said if line.startswith("WARNING"))
    for part in (loop.run.at(f"checkpoints/{name_at(72)}"), "No space left", name_at(36), "training goes on"):
        assert part in warning


@needs_full
def test_writer_without_room_for_the_last_checkpoint_names_the_one_before(labelled: str, storage: str) -> None:
    config = config_of("stargan", labelled, storage)
    loop = prompt(loop_of(config, run=NoRoom(f"{storage}/run", f"checkpoints/{name_at(96)}/state.pt")))
    with pytest.raises(RunError, match=rf"{name_at(96)} could not be written .*last whole checkpoint is {name_at(72)}"):
        loop.train()
    rest = loop_of(config)
    assert rest.progress.images == 72
    rest.train()
    assert trained.find(rest.run.url).url.endswith(name_at(96))


def ending(world: World, config: TrainConfig) -> str:
    """Stopped by the other worker's wish; then without room for the last checkpoint."""
    loop = Loop(config, world, torch.device("cpu"))
    if world.rank == 1:
        loop.ask("stop")
    with pytest.raises(Stopped) as stopped:
        loop.train()
    no_room = NoRoom(loop.run.url, f"checkpoints/{name_at(96)}/state.pt")
    rest = Loop(config, world, torch.device("cpu"), run=no_room)
    assert rest.progress.images == loop.progress.images
    with pytest.raises(RunError) as full:
        rest.train()
    # There `checkpoints` is a file: rank 0 alone learns of it.
    blocked_run = RunFolder(f"{config.launch.storage}/blocked")
    often = config.with_section("monitoring", checkpoint_every=12)
    third = Loop(often, world, torch.device("cpu"), run=blocked_run)
    with pytest.raises(RunError) as blocked:
        third.train()
    assert third.progress.images < third.length
    return f"{stopped.value}\n{full.value}\n{blocked.value}"


@needs_full
@pytest.mark.processes
def test_writer_ends_all_workers_alike(labelled: str, storage: str) -> None:
    config = config_of("stargan", labelled, storage, monitoring__checkpoint_every=96)
    RunFolder(storage).write("blocked/checkpoints", b"a file in the way")
    first, other = on_workers(2, ending, config)
    assert first == other
    assert "stopped after 24 of 96 images" in first
    assert f"the last whole checkpoint is {name_at(24)}" in first
    assert "could not be written (Not a directory)" in first


@needs_full
def test_writer_reports_a_full_disk_for_best_json(config: TrainConfig, storage: str, said: list[str]) -> None:
    loop = loop_of(config, NoRoom(f"{storage}/run", BEST))
    loop.train()
    assert loop.run.whole_checkpoints()[-1] == name_at(96)
    assert any("best.json could not be written" in line for line in said)


def test_writer_ends_the_run_with_one_message_where_another_try_does_not_help(
    config: TrainConfig, said: list[str]
) -> None:
    loop = loop_of(config)
    Path(loop.run.root).mkdir(parents=True)
    Path(loop.run.root, "checkpoints").touch()
    with pytest.raises(RunError, match=rf"{name_at(36)} could not be written \(Not a directory\); there is no whole"):
        loop.train()
    assert loop.progress.images < 96, "it does not train on for nothing"
    assert not [line for line in said if "WARNING" in line]


def test_writer_error_does_not_hide_what_ended_the_run(config: TrainConfig, storage: str, said: list[str]) -> None:
    run = RunFolder(f"{storage}/run")
    run.write("checkpoints", b"a file in the way")
    writer = Writer(run, 1)
    writer.put(small(config, 12), None)
    writer.close()
    assert len(said) == 1
    assert name_at(12) in said[0]


class Crashing(RunFolder):
    """Storage of a process that dies when the n-th file is written up to a byte: nothing is written after."""

    def __init__(self, url: str, files: int, bytes_: int) -> None:
        super().__init__(url)
        self.files, self.bytes = files, bytes_

    def write(self, path: str, data: bytes) -> None:
        self.files -= 1
        if self.files >= 0:
            return super().write(path, data)
        place = Path(self.path(path))
        place.parent.mkdir(parents=True, exist_ok=True)
        place.with_name(writing(f".{place.name}")).write_bytes(data[: self.bytes])
        raise KilledError


@pytest.mark.parametrize("bytes_", [0, 1, 100, 10**9])
@pytest.mark.parametrize("files", range(len(FILES) + 1))
def test_write_that_crashes_at_any_byte_leaves_the_checkpoint_before(
    files: int, bytes_: int, config: TrainConfig, storage: str
) -> None:
    run = RunFolder(f"{storage}/run")
    checkpoint.write(run, small(config, 12))
    crashing = Crashing(run.url, files, bytes_)
    with pytest.raises(KilledError):
        checkpoint.write(crashing, small(config, 24))
    assert latest(run).name == name_at(12)
    assert trained.find(run.url).url.endswith(name_at(12))
    writer = Writer(run, 1)
    writer.put(small(config, 36), None)
    writer.wait()
    assert run.names_of_checkpoints() == [name_at(36)], "what the crash left is gone"
    assert not list(Path(run.root).rglob("*.writing"))


@pytest.fixture(scope="module")
def ended(labelled: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    """The storage of a run with checkpoints at 36, 72 and 96, and its last state."""
    storage = str(tmp_path_factory.mktemp("ended"))
    loop = prompt(loop_of(config_of("stargan", labelled, storage, monitoring__keep_last=9)))
    loop.train()
    return storage, state_of(loop)


def altered(data: bytes) -> bytes:
    return data[:-2] + bytes([data[-2] ^ 1]) + data[-1:]


@pytest.mark.parametrize("files", range(len(FILES) + 1))
def test_write_that_crashes_leaves_a_run_that_goes_on_as_if_it_had_not(
    files: int, ended: tuple[str, dict[str, Any]], labelled: str, storage: str
) -> None:
    """The crash is in the writing of 72; the same files are written over by the run that goes on."""
    whole, state = ended
    shutil.copytree(whole, storage)
    folder = Path(storage, "run", "checkpoints")
    shutil.rmtree(folder / name_at(96))
    (Path(storage) / "run" / BEST).unlink()
    for name in [*FILES, CHECKSUMS][files:]:
        (folder / name_at(72) / name).rename(folder / name_at(72) / f".{name}.writing")
    resumed = prompt(loop_of(config_of("stargan", labelled, storage, monitoring__keep_last=9)))
    assert resumed.progress.images == 36
    resumed.train()
    assert resumed.run.whole_checkpoints() == [name_at(36), name_at(72), name_at(96)]
    assert not list(folder.rglob("*.writing"))
    assert_equal(state, state_of(resumed))


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda data: data[:-3],
    "altered": altered,
    "empty": lambda data: b"",
}
DAMAGED = [
    *((name, how) for name in (*FILES, CHECKSUMS) for how in DAMAGE),
    *((name, "missing") for name in FILES),
    *((CHECKSUMS, text) for text in ("{}", "[1]", "null", '"config.json"', "\xff")),
]


@pytest.mark.parametrize(("name", "how"), DAMAGED)
def test_latest_names_a_damaged_checkpoint_and_uses_the_one_before(
    name: str, how: str, ended: tuple[str, dict[str, Any]], labelled: str, storage: str, said: list[str]
) -> None:
    shutil.copytree(ended[0], storage)
    path = Path(storage, "run", "checkpoints", name_at(96), name)
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes(DAMAGE[how](path.read_bytes()) if how in DAMAGE else how.encode("latin1"))
    said.clear()
    resumed = loop_of(config_of("stargan", labelled, storage))
    assert resumed.progress.images == 72
    assert said[0].startswith("WARNING")
    assert name_at(96) in said[0]
    assert how == "null" or name in said[0]
    assert resumed.state.best.found is None, "it was the damaged one"


def test_prune_lets_damaged_checkpoints_push_no_whole_one_out(
    ended: tuple[str, dict[str, Any]], labelled: str, storage: str
) -> None:
    shutil.copytree(ended[0], storage)
    run = RunFolder(f"{storage}/run")
    for images in (72, 96):
        Path(run.root, "checkpoints", name_at(images), "state.pt").write_bytes(b"")
    run_until(config_of("stargan", labelled, storage, monitoring__keep_last=1, monitoring__checkpoint_every=12), 54)
    assert run.names_of_checkpoints() == [name_at(48)]
    assert latest(run).name == name_at(48)


def test_prune_leaves_what_is_no_checkpoint_alone_and_removes_attempts(config: TrainConfig, storage: str) -> None:
    run = RunFolder(f"{storage}/run")
    for images in (12, 24, 36):
        checkpoint.write(run, small(config, images))
    for path in ("notes.txt", "images-mine/x", f"{name_at(18)}/.state.pt.writing", f"{name_at(60)}/config.json"):
        run.write(f"checkpoints/{path}", b"x")
    writer = Writer(run, 2)
    writer.put(small(config, 48), best_at(12))
    writer.wait()
    assert run.names("checkpoints") == [*map(name_at, (12, 36, 48, 60)), "images-mine", "notes.txt"]
    run.discard_after(48)
    assert run.names("checkpoints") == [*map(name_at, (12, 36, 48)), "images-mine", "notes.txt"]


def test_prune_without_a_whole_checkpoint_removes_nothing(config: TrainConfig, storage: str) -> None:
    run = RunFolder(f"{storage}/run")
    run.write(f"checkpoints/{name_at(12)}/config.json", b"x")
    writer = Writer(run, 1)
    writer.put(None, best_at(12))
    writer._prune(24)
    writer.wait()
    assert run.names("checkpoints") == []
    assert not run.exists(BEST)


def test_checkpoint_metrics_that_are_not_numbers_are_read_back(config: TrainConfig, storage: str) -> None:
    loop = loop_of(config)
    loop.train()
    folder = loop.run.sub(f"checkpoints/{name_at(96)}")
    sums = folder.read_json(CHECKSUMS)
    data = b'{"there_and_back": NaN, "l1": Infinity}'
    folder.write("metrics.json", data)
    folder.write_json(CHECKSUMS, {**sums, "metrics.json": checkpoint.sha256(data)})
    resumed = loop_of(config)
    assert resumed.progress.images == 96
    assert resumed.state.evaluations.metrics["l1"] == float("inf")


@pytest.mark.parametrize("text", ["", "[]", "7", '{"metric": "x"}', '{"checkpoint": "images-000000000007"}'])
def test_best_that_cannot_be_read_is_known_from_the_state_and_written_again(
    text: str, ended: tuple[str, dict[str, Any]], labelled: str, storage: str
) -> None:
    shutil.copytree(ended[0], storage)
    Path(storage, "run", BEST).write_text(text)
    run = RunFolder(f"{storage}/run")
    assert run.best() is None
    assert trained.find(run.url).url.endswith(name_at(96))
    loop_of(config_of("stargan", labelled, storage)).train()
    best = run.best()
    assert best == latest(run).state()["best"]
    assert best
    assert best["checkpoint"] == name_at(96)


def test_best_of_a_checkpoint_that_is_already_there_is_noted(
    ended: tuple[str, dict[str, Any]], labelled: str, storage: str
) -> None:
    """A run that is over, measured again by another metric."""
    shutil.copytree(ended[0], storage)
    best = Path(storage, "run", BEST)
    best.write_text(json.dumps({**json.loads(best.read_text()), "metric": "another"}))
    slow = Slow(f"{storage}/run")
    slow.gate.set()
    loop = loop_of(config_of("stargan", labelled, storage), run=slow)
    loop.train()
    assert json.loads(best.read_text())["metric"] == "there_and_back"
    assert [
        path for path in slow.order if not path.startswith(("grids", "evaluations", "last_evaluation", "samples"))
    ] == [BEST]


def test_checkpoint_that_is_written_over_counts_again_once_it_is_whole(config: TrainConfig, storage: str) -> None:
    run = RunFolder(f"{storage}/run")
    checkpoint.write(run, small(config, 24))
    with pytest.raises(KilledError):
        checkpoint.write(Crashing(run.url, 1, 0), small(config, 24))
    assert run.whole_checkpoints() == []


def test_best_is_the_same_after_a_crash_before_it_was_called_so(labelled: str, storage: str) -> None:
    """An evaluation is not made again: what it found best is in the state of the checkpoint that it led to."""
    values = {"monitoring__evaluate_every": 24, "monitoring__keep_last": 9}
    prompt(loop_of(config_of("stargan", labelled, f"{storage}/whole", **values))).train()
    whole = RunFolder(f"{storage}/whole/run").best()
    assert whole
    at = images_of(whole["checkpoint"])
    shutil.copytree(f"{storage}/whole", f"{storage}/cut")
    run = RunFolder(f"{storage}/cut/run")
    run.remove(BEST)
    run.discard_after(at)
    loop_of(config_of("stargan", labelled, f"{storage}/cut", **values)).train()
    assert run.best() == whole


def test_writer_of_a_launch_that_was_taken_over_writes_and_removes_nothing(config: TrainConfig, storage: str) -> None:
    run, ours = RunFolder(f"{storage}/run"), True
    writer = Writer(run, 1, lambda: ours)
    writer.put(small(config, 12), best_at(12))
    writer.wait()
    for images in (24, 36):  # the other launch's
        checkpoint.write(run, small(config, images))
    ours = False
    writer.put(small(config, 48), best_at(48))
    with pytest.raises(TakenOverError):
        writer.wait()
    assert run.whole_checkpoints() == [name_at(images) for images in (12, 24, 36)]
    assert run.best() == best_at(12)


def test_writer_waits_for_room_five_times_and_for_as_long_as_it_may(
    config: TrainConfig, storage: str, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    monkeypatch.setenv(PATIENCE, "0")
    said.clear()
    asked: list[str] = []
    run = RunFolder(f"{storage}/run")
    writer = Writer(run, 9, stop=lambda: asked.append("stop"))
    for many in range(2 * MOST_WITHOUT_ROOM - 1):
        images = 12 * (many + 1)
        there_is_room = images == 48  # which begins the count anew
        writer.run = run if there_is_room else NoRoom(run.url, f"checkpoints/{name_at(images)}/state.pt")
        assert not asked
        writer.put(small(config, images), None)
        writer.join()
    assert asked == ["stop"]
    with pytest.raises(RunError, match=rf"{MOST_WITHOUT_ROOM} checkpoints in a row had no room.* is {name_at(48)}"):
        writer.wait()
    writer.close()
    assert len(said) == 3 + MOST_WITHOUT_ROOM - 1, "said once each, and the end by its error"
    monkeypatch.setenv(PATIENCE, "600")
    patient = Writer(run, 9, stop=lambda: asked.append("again"))
    for images in range(200, 200 + 2 * MOST_WITHOUT_ROOM):
        patient.run = NoRoom(run.url, f"checkpoints/{name_at(images)}/state.pt")
        patient.put(small(config, images), None)
        patient.join()
    assert asked == ["stop"]


def test_writer_that_lost_its_folder_to_another_launch_says_so(config: TrainConfig, storage: str) -> None:
    """The other removes what is half written here, so that writing fails before the question is asked again."""
    run, ours = RunFolder(f"{storage}/run"), [True]

    class Removed(RunFolder):
        def write(self, path: str, data: bytes) -> None:
            ours[0] = False
            raise FileNotFoundError(2, "No such file or directory", path)

    writer = Writer(Removed(run.url), 9, lambda: ours[0])
    writer.put(small(config, 12), None)
    with pytest.raises(TakenOverError):
        writer.wait()


def test_writer_of_a_launch_that_is_taken_over_meanwhile_leaves_no_checkpoint(
    config: TrainConfig, storage: str
) -> None:
    run, answers = RunFolder(f"{storage}/run"), iter([True, False])
    writer = Writer(run, 1, lambda: next(answers))
    writer.put(small(config, 12), best_at(12))
    with pytest.raises(TakenOverError):
        writer.wait()
    assert run.whole_checkpoints() == []
    assert not run.exists(BEST)
