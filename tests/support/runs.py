"""Small runs of the real loop, in this process."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from i2i_core.batch import Batch
from i2i_core.checkpoints import checkpoint
from i2i_core.checkpoints.checkpoint import Saved, Snapshot
from i2i_core.checkpoints.writer import Writer
from i2i_core.config.run import TrainConfig
from i2i_core.runs.folder import CheckpointFolder, RunFolder
from i2i_core.storage.paths import sha256
from i2i_core.training.loop import Loop
from i2i_core.training.monitoring.diagnosis import Change
from i2i_core.training.monitoring.readings import Reading
from i2i_core.training.preparing import prepare
from i2i_core.training.sync import World
from i2i_core.training.timing import Spent

from .methods import SMALL

EXACT = ("channels", "c_dim", "norm", "g_norm", "d_norm", "dropout")
"""What `SMALL` sets for exact comparisons, and the data or the preset decides here."""


def config_of(method: str, data: str, storage: str, **values: Any) -> TrainConfig:
    """A prepared configuration of a small method; `values` by dotted key with `__` for the dot."""
    small = {f"hyper.{k}": v for k, v in SMALL[method].items() if k not in EXACT}
    defaults: dict[str, Any] = {
        "data.uri": data,
        "data.loaders": 0,
        "training.batch": 6,
        "training.images": 96,
        "training.lr_schedule": "constant",
        "training.batch_norm": "worker",
        "training.ema_halflife": 50,
        "monitoring.evaluate_samples": 32,
        "evaluation.metrics": (),  # networks of others, which take a second
        "monitoring.grid_every": 0,
        "monitoring.checkpoint_every": 36,
        "launch.storage": storage,
        "launch.name": "run",
    }
    over = {key.replace("__", "."): value for key, value in values.items()}
    return prepare(TrainConfig.of(method, "demo", {**small, **defaults, **over}))


def as_version_1(config: dict[str, Any]) -> dict[str, Any]:
    """A `config.json` of today as programs wrote it when version 1 was current."""
    kept = {name: value for name, value in config.items() if name not in ("monitoring", "evaluation", "at_test")}
    output = {**config["at_test"], **config["evaluation"], **config["monitoring"]}
    data = {name: value for name, value in config["data"].items() if name != "order"}
    return {**kept, "data": data, "output": output, "version": 1}


def state_of_version_1(state: dict[str, Any]) -> dict[str, Any]:
    """A state of today as programs wrote it before it had parts."""
    names = {
        "histories": "pools",
        "due": "done",
        "bad_samples": "bad",
        "progress": "",
        "norm_batches": "",
        "version": "",
    }
    kept = {names.get(name, name): part for name, part in state.items() if names.get(name, name)}
    return {**kept, **state["progress"]}


def age(run: RunFolder, version: int) -> None:
    """Have a run that is there say what programs wrote that had the first order of samples."""
    for name in run.whole_checkpoints():
        folder = run.checkpoint(name)
        config = folder.read_json(folder.CONFIG)
        if version == 1:
            config = as_version_1(config)
            put_state(folder, state_of_version_1(checkpoint.read(folder).state()))
        else:
            del config["data"]["order"]
        config["data"]["lanes"] = config["training"]["batch"]  # which those programs filled in
        folder.write_json(folder.CONFIG, config)
        sums = folder.read_json(folder.CHECKSUMS)
        folder.write_json(folder.CHECKSUMS, {**sums, folder.CONFIG: sha256(folder.read(folder.CONFIG))})
        run.write(run.CONFIG, folder.read(folder.CONFIG))


def prompt(loop: Loop) -> Loop:
    """Have a loop wait for each checkpoint, so that none is left out, however slow the machine is."""
    writer = loop.keeper.writer
    put = writer.put

    def put_and_wait(snapshot: Snapshot | None, best: dict[str, Any] | None) -> None:
        put(snapshot, best)
        writer.join()

    writer.put = put_and_wait  # type: ignore[method-assign]
    return loop


def loop_of(config: TrainConfig, run: RunFolder | None = None, spent: Spent | None = None) -> Loop:
    return Loop(config, World(), torch.device("cpu"), run=run, spent=spent)


def latest(run: RunFolder) -> Saved:
    """The newest whole checkpoint of a run, which has one."""
    saved = checkpoint.latest(run)
    assert saved, f"no checkpoint in {run.url}"
    return saved


def put_state(folder: CheckpointFolder, state: dict[str, Any]) -> None:
    """Give a checkpoint another state, and the checksum of it."""
    data = io.BytesIO()
    torch.save(state, data)
    sums = folder.read_json(folder.CHECKSUMS)
    folder.write(folder.STATE, data.getvalue())
    folder.write_json(folder.CHECKSUMS, {**sums, folder.STATE: sha256(data.getvalue())})


def state_of(loop: Loop) -> dict[str, Any]:
    """Everything that a checkpoint of this moment would hold, flat."""
    snapshot = loop.keeper.snapshot()
    assert snapshot is not None
    return contents(snapshot)


def contents(snapshot: Snapshot) -> dict[str, Any]:
    """All that a checkpoint promises, flat: `networks.*` (`networks.ema.*`), `metrics.*`, and what is in state.pt."""
    return dict(leaves({"networks": snapshot.tensors, "metrics": snapshot.metrics, **snapshot.state}, ""))


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """What a nested state holds, by dotted path."""
    held = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    if not held:  # empty ones count
        yield name, value
    for key, each in held:
        yield from leaves(each, f"{name}.{key}" if name else str(key))


def assert_equal(a: dict[str, Any], b: dict[str, Any]) -> None:
    """Bit for bit."""
    assert a.keys() == b.keys()
    different = [name for name in a if not _same(a[name], b[name])]
    assert not different, {name: (a[name], b[name]) for name in different[:5]}


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    return bool(a == b) or (a != a and b != b)


class LateWriter(Writer):
    """Writes nothing before the run is over: the slowest writer there can be. None is left out."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.put_by: list[tuple[Snapshot | None, dict[str, Any] | None]] = []

    def put(self, snapshot: Snapshot | None, best: dict[str, Any] | None) -> None:
        self.put_by.append((snapshot, best))

    def wait(self) -> None:
        for snapshot, best in self.put_by:
            super().put(snapshot, best)
            super().wait()


def noted(loop: Loop) -> list[Reading]:
    """The logs that a loop judges, as they come."""
    logs: list[Reading] = []
    right = loop.monitor.diagnosis.read

    def read(log: Reading) -> list[Change]:
        logs.append(log)
        return right(log)

    loop.monitor.diagnosis.read = read  # type: ignore[method-assign]
    return logs


class KilledError(Exception):
    """What the tests interrupt a run with."""


def run_until(config: TrainConfig, images: int) -> None:
    """Trains, and is cut off at the first batch past `images`, in the middle of an update: later than the last
    checkpoint."""

    def cut(batches: Iterator[Batch]) -> Iterator[Batch]:
        for batch in batches:
            if batch.images >= images:
                raise KilledError
            yield batch

    with pytest.raises(KilledError):
        prompt(loop_of(config)).train(cut)


def ended(config: TrainConfig, world: World = World()) -> tuple[list[Reading], dict[int, dict[str, Any]]]:  # noqa: B008
    """A run to its end, by the latest writer: its logs, and what its checkpoints hold, by images; those rank 0's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("i2i_core.training.loop.Writer", LateWriter)
        loop = Loop(config, world, torch.device("cpu"))
        logs = noted(loop)
        loop.train()
    assert isinstance(loop.keeper.writer, LateWriter)
    return logs, {one.images: contents(one) for one, _ in loop.keeper.writer.put_by if one}


def cut_after(run: str, copy: str, images: int) -> None:
    """A copy of a run as it was when it had this checkpoint and no later one."""
    shutil.copytree(run, copy)
    RunFolder(copy).discard_after(images)


def numbers(log: Reading) -> list[Any]:
    """What a log says of the objectives, in its order."""
    return [log.images, *log.terms.items(), *log.weighted.items(), log.spread]


def compare_resumed(
    config_in: Callable[[str], TrainConfig], storage: str, world: World
) -> tuple[dict[int, dict[str, Any]], list[int]]:
    """Compares runs resumed from every checkpoint with the run left alone: later checkpoints, and logs.

    Args:
        config_in: of the run, called `run`, in a storage.

    Returns:
        What the checkpoints of the whole run hold, on rank 0, and the images that it was resumed at.
    """
    logs, whole = ended(config_in(f"{storage}/whole"), world)
    starts = world.from_leader([*whole][:-1])
    for images in starts:
        if world.leads:
            cut_after(f"{storage}/whole/run", f"{storage}/{images}/run", images)
        world.gather(None)  # it is there
        rest_logs, rest = ended(config_in(f"{storage}/{images}"), world)
        assert list(rest) == [later for later in whole if later > images]
        for later, held in rest.items():
            assert_equal(whole[later], held)
        assert [numbers(log) for log in rest_logs] == [numbers(log) for log in logs if log.images > images]
    return whole, starts
