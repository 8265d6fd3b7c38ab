"""Where a run is shown, and what becomes of one that diverges: real runs, W&B offline, MLflow on SQLite.

pytest tests/integration/test_trackers.py
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ray.util.metrics import Gauge
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from i2i_core.config.flat import flat
from i2i_core.config.run import TrainConfig
from i2i_core.credentials import redacted
from i2i_core.errors import ConfigError, RunError
from i2i_core.methods.at_test import SETTLED
from i2i_core.names import printable
from i2i_core.orchestration.worker import Gauges, train
from i2i_core.runs.folder import RunFolder, name_at
from i2i_core.training.loop import Loop
from i2i_core.training.monitoring import boards, trackers
from i2i_core.training.monitoring.boards import MLflow, taken_by_mlflow
from i2i_core.training.monitoring.trackers import Line, Tracker
from i2i_core.training.sync import World

from ..support.logs import collected
from ..support.runs import config_of, loop_of, noted, run_until
from ..support.workers import on_workers

EVERY = {"monitoring__log_every": 12}
"""A log after every update."""
SECRET = "not-to-be-told-7f3a"


def scalars_of(run: str) -> EventAccumulator:
    board = EventAccumulator(run)
    board.Reload()
    return board


def test_tensorboard_names_runs_by_their_folders_and_shows_their_configuration(labelled: str, storage: str) -> None:
    for name in ("faces", "older"):
        config = config_of("stargan", labelled, storage, launch__name=name, training__images=12, **EVERY)
        if name == "older":  # an earlier program began it
            Path(storage, name, "tensorboard").mkdir(parents=True)
            Path(storage, name, "tensorboard", "events.out.tfevents.1.before").write_bytes(b"")
        loop_of(config).train()
    boards = EventMultiplexer().AddRunsFromDirectory(storage)
    boards.Reload()
    assert {*boards.Runs()} == {"faces", "older/tensorboard"}
    (written,) = boards.Tensors("faces", "configuration/text_summary")
    text = written.tensor_proto.string_val[0].decode()
    assert "    training.images: 12\n    " in text
    assert f"hyper.lambda_rec: {config.hyper.lambda_rec}" in text
    told = HParamsPluginData.FromString(
        boards.SummaryMetadata("faces", "_hparams_/session_start_info").plugin_data.content
    )
    assert told.session_start_info.hparams["hyper.lambda_rec"].number_value == config.hyper.lambda_rec
    judged = HParamsPluginData.FromString(boards.SummaryMetadata("faces", "_hparams_/experiment").plugin_data.content)
    assert [metric.name.tag for metric in judged.experiment.metric_infos] == ["val/there_and_back"]
    assert "val/there_and_back" in boards.Runs()["faces"]["tensors"]


def test_tracker_shows_a_run_on_tensorboard(labelled: str, storage: str) -> None:
    loop_of(config_of("stargan", labelled, storage, monitoring__grid_every=24, **EVERY)).train()
    board = scalars_of(f"{storage}/run")
    shown = set(board.Tags()["scalars"])
    for player in ("D", "G"):
        assert {f"{player}/{name}" for name in ("loss", "grad_norm", "move_seconds", "lr")} <= shown
    assert "utilisation/cpu_cores" in shown
    assert "utilisation/gpu_percent" not in shown, "on a CPU"
    speed = ("images_per_second", "images_per_second_per_worker", "data_wait_share", "evaluation_seconds")
    assert {f"speed/{name}" for name in speed} <= shown
    assert {"D/gap", "checkpoint/stall_seconds", "diagnosis/spread", "diagnosis/D/blind", "val/there_and_back"} <= shown
    assert [event.step for event in board.Scalars("G/loss")] == [*range(12, 97, 12)]
    assert all(event.value > 0 for event in board.Scalars("G/move_seconds"))
    # Of what is made before the first move there is none: it says nothing of the run.
    assert [event.step for event in board.Scalars("diagnosis/spread")] == [36, 60, 84]


def collapsing(config: TrainConfig, world: World) -> Loop:
    """A generator whose images are all black."""
    loop = Loop(config, world, torch.device("cpu"))
    loop.method.networks["G"].register_forward_hook(lambda module, inputs, output: output * 0)
    assert loop.step.ema is not None
    loop.step.ema["G"].register_forward_hook(lambda module, inputs, output: output * 0)
    return loop


def stopping(world: World, config: TrainConfig) -> tuple[list[Any], str, list[str]]:
    """What it judged, how it ended, and what it said."""
    with collected() as said:
        loop = collapsing(config, world)
        logs = noted(loop)
        with pytest.raises(RunError) as caught:
            loop.train()
    judged = [(log.terms, log.weighted, log.spread) for log in logs]
    return judged, f"{loop.progress.images} {caught.value}\n{loop.monitor.diagnosis.state_dict()}", said


@pytest.mark.slow
@pytest.mark.processes
def test_collapse_stops_all_workers_alike_with_everything_saved(labelled: str, storage: str) -> None:
    over = {"monitoring__grid_every": 12, "monitoring__stop_on_collapse": True, "monitoring__checkpoint_every": 96}
    config = config_of("stargan", labelled, storage, **EVERY, **over)
    logs, (first, other), lines = zip(*on_workers(2, stopping, config), strict=True)
    assert first == other
    images = int(first.split()[0])
    assert images < 96
    assert "--stop-on-collapse asks: since 24 images made images are nearly all alike" in first
    assert loop_of(config).run.whole_checkpoints() == [name_at(images)]
    said = "\n".join(lines[0])
    assert said.count("WARNING: the run diverges: since 24 images made images are nearly all alike") == 1
    assert lines[1] == []
    waits = scalars_of(f"{storage}/run").Scalars("speed/data_wait_share_worst")
    assert all(0 <= event.value <= 1 for event in waits)
    assert logs[0] == logs[1]
    loop = collapsing(config_of("stargan", labelled, f"{storage}/alone", **EVERY, **over), World())
    alone = noted(loop)
    with pytest.raises(RunError):
        loop.train()
    (terms, weighted, _), first_alone = logs[0][0], alone[0]
    assert terms == pytest.approx(first_alone.terms, rel=1e-4, abs=1e-6), "norms among them"
    assert weighted == pytest.approx(first_alone.weighted, rel=1e-4, abs=1e-6)
    assert [spread for *_, spread in logs[0]] == [log.spread for log in alone]


def test_collapse_fails_a_run_with_the_reason_and_it_goes_on_without_the_flag(
    labelled: str, storage: str, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    over: dict[str, Any] = {"monitoring__grid_every": 12, **EVERY}
    config = config_of("stargan", labelled, storage, monitoring__stop_on_collapse=True, **over)
    made = collapsing(config, World())
    monkeypatch.setattr("i2i_core.orchestration.worker.Loop", lambda *args, **named: made)
    assert train(config, World(), torch.device("cpu"), "attempt") == {}
    status = made.run.read_json("status.json")
    assert status["state"] == "failed"
    assert "made images are nearly all alike" in status["error"]
    assert "the same command without it goes on" in status["error"]
    said.clear()
    rest = collapsing(config_of("stargan", labelled, storage, **over), World())
    assert rest.monitor.diagnosis.collapse, "what was said is remembered"
    rest.train()
    assert rest.progress.images == 96
    assert not any("nearly all alike" in line for line in said), "nor is it said again"
    texts = scalars_of(f"{storage}/run").Tags()["tensors"]
    assert any(name.startswith("diagnosis/collapsed") for name in texts)


def test_diagnosis_has_nothing_to_say_of_a_healthy_run(paired: str, storage: str, said: list[str]) -> None:
    """Grids of running statistics that are still near their beginning are all alike, and no sign."""
    over = {
        "training__images": 720,
        "training__batch": 12,
        "monitoring__grid_every": 48,
        "monitoring__stop_on_collapse": True,
    }
    said.clear()
    loop = loop_of(config_of("pix2pix", paired, storage, **over, **EVERY))
    logs = noted(loop)
    loop.train()
    judged = [log.images for log in logs if log.spread is not None]
    assert judged
    assert min(judged) >= SETTLED * 12
    assert loop.monitor.diagnosis.signs
    assert not any("diverges" in line for line in said)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    """MLflow's, once: it takes seconds to make."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"


@pytest.mark.slow
@pytest.mark.processes
def test_mlflow_shows_a_run_and_goes_on_when_it_is_resumed(
    labelled: str, storage: str, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.tracking import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", SECRET)
    monkeypatch.setattr(trackers, "LEAVE", 240)
    over = {
        "monitoring__tracker": ("mlflow",),
        "monitoring__mlflow_uri": database,
        "monitoring__grid_every": 48,
        **EVERY,
    }
    config = config_of("stargan", labelled, storage, **over)
    client = MlflowClient(tracking_uri=database)
    run_until(config, 60)
    loop = loop_of(config)
    (run,) = client.search_runs([client.get_experiment_by_name("i2i").experiment_id])
    assert run.info.status == "FAILED", "it was cut off"
    loop.train()
    (again,) = client.search_runs([run.info.experiment_id])
    assert again.info.run_id == run.info.run_id == loop.run.read_json("trackers/mlflow.json")["id"]
    assert again.info.status == "FINISHED"
    steps = [metric.step for metric in client.get_metric_history(run.info.run_id, "G/loss")]
    assert sorted(set(steps)) == [*range(12, 97, 12)]
    assert steps.count(48) == 2, "told again from the checkpoint at 36 on"
    assert again.data.params["hyper.lambda_rec"] == "10.0"
    assert SECRET not in str(again.to_dictionary())
    assert {file.path for file in client.list_artifacts(run.info.run_id, "grids")} >= {"grids/images-000000000096.png"}
    assert not [*Path(loop.run.root).glob("events.*")], "it was not asked for"


@pytest.mark.processes
def test_wandb_shows_a_run_and_goes_on_when_it_is_resumed(
    labelled: str, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Offline: what `wandb sync` would send lies in the run's folder."""
    import wandb

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setattr(trackers, "LEAVE", 240)  # its own process starts slowly on a busy machine
    monkeypatch.setenv("SOME_TOKEN", SECRET)
    over = {"monitoring__tracker": ("tensorboard", "wandb"), "monitoring__grid_every": 48, **EVERY}
    config = config_of("stargan", labelled, storage, **over)
    run_until(config, 60)
    loop = loop_of(config)
    loop.train()
    wandb.teardown()  # its own process writes the last block after `finish` has returned: waits for its end
    ours = loop.run.read_json("trackers/wandb.json")["id"]
    runs = sorted(Path(loop.run.root, "wandb").glob("offline-run-*"))
    assert [run.name.rsplit("-", 1)[1] for run in runs] == [ours, ours]
    kept = [b"".join(file.read_bytes() for file in run.rglob("*") if file.is_file()) for run in runs]
    for data in kept:
        assert b"lambda_rec" in data
        assert b"G/grad_norm" in data
        assert SECRET.encode() not in data
    assert any(Path(run, "files", "media", "images").exists() for run in runs)


@pytest.mark.processes  # mlflow starts one when it is imported
def test_tracker_warns_once_of_a_board_that_is_away_and_the_run_goes_on(
    labelled: str, storage: str, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    over = {"monitoring__tracker": ("tensorboard", "mlflow"), "monitoring__mlflow_uri": "http://127.0.0.1:9", **EVERY}
    said.clear()
    loop_of(config_of("stargan", labelled, storage, **over)).train()
    warnings = [line for line in said if line.startswith("WARNING")]
    assert len(warnings) == 1
    assert warnings[0].startswith("WARNING: mlflow does not take what is logged")
    assert len(scalars_of(f"{storage}/run").Scalars("G/loss")) == 8


@pytest.mark.slow  # seconds, to import mlflow
@pytest.mark.processes
@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(exclude_categories=()), max_size=300))
@example("attribute_accuracy/Blond Hair")
@example("/../.")
def test_mlflow_takes_the_name_of_every_class(name: str) -> None:
    from mlflow.utils.validation import _validate_metric, _validate_metric_name

    told = taken_by_mlflow(printable(f"attribute_accuracy/{name}"))
    _validate_metric_name(told)
    _validate_metric(told, 1.0, 0, 0)
    assert taken_by_mlflow("G/loss") == "G/loss"


def test_tracker_shows_metrics_of_classes_of_any_name(labelled: str, storage: str) -> None:
    """Without the escapes, TensorBoard's files refuse a lone surrogate, and the run would end."""
    tracker = Tracker(loop_of(config_of("stargan", labelled, storage)).run)
    tracker.later(lambda: tracker.scalars(1, {"accuracy/a\x1b\udcff": 0.5}))
    tracker.close()
    assert scalars_of(f"{storage}/run").Scalars(r"accuracy/a\x1b\udcff")[0].value == 0.5


def test_tracker_warning_of_a_board_tells_no_password(
    labelled: str, storage: str, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://bob:{SECRET}@127.0.0.1:9")
    said.clear()
    config = config_of("stargan", labelled, storage, monitoring__tracker=("mlflow",))
    tracker = Tracker(loop_of(config).run, False, {"mlflow": MLflow(loop_of(config).run, config)})
    tracker.later(lambda: tracker.scalars(1, {"x": 1.0}))
    tracker.close()
    (warning,) = said
    assert "//127.0.0.1:9/api" in warning
    assert SECRET not in warning


def test_tracker_warning_of_storage_tells_no_password(storage: str, said: list[str]) -> None:
    run = RunFolder(storage)
    run.url = f"s3://bob:{SECRET}@bucket/run"
    tracker = Tracker(run, tensorboard=False)

    def full() -> None:
        raise OSError(f"no room at postgresql://server/db?user=bob&password={SECRET}")

    tracker.later(full)
    tracker.close()
    (warning,) = said
    assert warning.startswith("WARNING: s3://bucket/run: scalars and grids are not written (no room at postgresql:")
    assert SECRET not in warning


def test_mlflow_that_refuses_parameters_shows_the_run_without(
    labelled: str, storage: str, database: str, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    from mlflow.tracking import MlflowClient

    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "refused")
    monkeypatch.setattr(boards, "flat", lambda config: {"100%": "no name that it takes"})
    config = config_of("stargan", labelled, storage, monitoring__tracker=("mlflow",), monitoring__mlflow_uri=database)
    said.clear()
    run = loop_of(config).run
    board = MLflow(run, config)
    tracker = Tracker(run, False, {"mlflow": board})
    for images in (12, 24):
        tracker.later(lambda images=images: tracker.scalars(images, {"x": 1.0}))  # type: ignore[misc]
    tracker.close()
    client = MlflowClient(tracking_uri=database)
    (kept,) = client.search_runs([client.get_experiment_by_name("refused").experiment_id])
    assert kept.info.run_id == run.read_json("trackers/mlflow.json")["id"]
    assert kept.info.status == "FINISHED"
    assert [metric.step for metric in client.get_metric_history(kept.info.run_id, "x")] == [12, 24]
    (warning,) = said
    assert warning.startswith("WARNING: mlflow does not take the run's configuration (")


def test_mlflow_run_stays_one_where_its_id_is_kept_at_a_later_try(
    labelled: str, storage: str, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.tracking import MlflowClient

    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "later")
    config = config_of("stargan", labelled, storage, monitoring__tracker=("mlflow",), monitoring__mlflow_uri=database)
    run = loop_of(config).run
    board, in_the_way = MLflow(run, config), Path(run.root, "trackers")
    Path(run.root).mkdir(parents=True, exist_ok=True)
    in_the_way.write_text("no folder")
    with pytest.raises((FileExistsError, NotADirectoryError)):
        board.scalars(12, {"x": 1.0})
    in_the_way.unlink()
    board.scalars(24, {"x": 1.0})
    board.close(True)
    client = MlflowClient(tracking_uri=database)
    (kept,) = client.search_runs([client.get_experiment_by_name("later").experiment_id])
    assert kept.info.run_id == run.read_json("trackers/mlflow.json")["id"]
    assert kept.data.params["hyper.lambda_rec"] == "10.0"


class Stuck:
    """A board whose service never answers."""

    def __init__(self) -> None:
        self.never = Event()

    def scalars(self, images: int, values: Any) -> None:
        self.never.wait()

    picture = text = scalars

    def close(self, finished: bool) -> None: ...


def test_tracker_that_never_answers_does_not_hold_up_the_end(
    labelled: str, storage: str, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    monkeypatch.setattr(trackers, "LEAVE", 0.01)
    monkeypatch.setattr(trackers, "MOST_WAITING", 3)
    stuck = Stuck()
    run = loop_of(config_of("stargan", labelled, storage)).run
    tracker = Tracker(run, others={"stuck": stuck})
    for images in range(50):
        tracker.later(lambda images=images: tracker.scalars(images, {"x": 1.0}))  # type: ignore[misc]
    tracker.close()
    assert len(said) == 1
    assert "stuck has not taken all" in said[0]
    assert len(tracker.others["stuck"][1].jobs) <= 3 + 2
    assert len(scalars_of(run.root).Scalars("x")) == 50
    stuck.never.set()


def test_tracker_raises_an_unforgiven_error_at_the_next_log() -> None:
    line = Line("test", (OSError,), str)

    def wrong() -> None:
        raise ValueError("ours")

    line.put(wrong)
    assert line.end()
    with pytest.raises(ValueError, match="ours"):
        line.put(wrong)


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_tracker_that_is_not_installed_is_refused_before_the_run(
    name: str, labelled: str, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match=re.escape(f"pip install 'i2i[{name}]'")):
        config_of("stargan", labelled, storage, monitoring__tracker=(name,), monitoring__mlflow_uri="https://server")


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("", "--mlflow-uri"),
        ("https://me:secret@server", "MLFLOW_TRACKING_URI on every node"),
        ("postgresql://server/db?user=me&password=secret", "MLFLOW_TRACKING_URI on every node"),
    ],
)
def test_mlflow_needs_a_place_and_takes_no_password_in_it(
    uri: str, expected: str, labelled: str, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(ConfigError, match=expected) as caught:
        config_of("stargan", labelled, storage, monitoring__tracker=("mlflow",), monitoring__mlflow_uri=uri)
    assert "secret" not in str(caught.value)


def test_mlflow_database_is_the_same_for_every_worker(
    labelled: str, storage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = config_of("stargan", labelled, storage, monitoring__mlflow_uri="sqlite:///runs.db")
    assert config.monitoring.mlflow_uri == f"sqlite:///{tmp_path}/runs.db"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("GET https://bob:pw@host/a: refused", "GET https://host/a: refused"),
        ("postgresql://bob:p/w@x@host/db", "postgresql://host/db"),
        ("postgresql://bob:p@x/w@host/db", "postgresql://host/db"),
        ("'postgresql://h/db?user=x&password=y&sslmode=z'", "'postgresql://h/db?user=x&password=***&sslmode=z'"),
        ("at 's3://h/d?sig=y'", "at 's3://h/d?sig=***'"),
        ("host=h password='y z' user=x", "host=h password=*** user=x"),
        ("http://host:5000/files/a@b and s3://bucket/c@d", "http://host:5000/files/a@b and s3://bucket/c@d"),
    ],
)
def test_redacted_leaves_out_what_opens_an_address(text: str, told: str) -> None:
    assert redacted(text) == told
    assert redacted(told) == told


def test_parameters_leave_out_what_opens_a_storage(labelled: str, storage: str) -> None:
    config = config_of("stargan", labelled, storage)
    also = ("s3://key:secret@bucket/more", "s3://bucket/most")
    told = flat(config.with_section("data", uri="s3://key:secret@bucket/data", also=also))
    assert told["data.uri"] == "s3://bucket/data"
    assert told["data.also"] == ["s3://bucket/more", "s3://bucket/most"]
    assert told["hyper.lambda_rec"] == 10.0


@pytest.fixture
def set_to(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float, dict[str, str]]]:
    """What Ray's gauges are set to; the real ones are set as well, without a cluster."""
    noted: list[tuple[str, float, dict[str, str]]] = []
    right = Gauge.set

    def noting(gauge: Gauge, value: float, tags: dict[str, str]) -> None:
        right(gauge, value, tags)
        noted.append((gauge.info["name"], value, tags))

    monkeypatch.setattr(Gauge, "set", noting)
    return noted


def test_gauges_hold_what_is_logged(
    labelled: str, storage: str, set_to: list[tuple[str, float, dict[str, str]]]
) -> None:
    config = config_of("stargan", labelled, storage, **EVERY)
    train(config, World(), torch.device("cpu"), "attempt", gauges=Gauges("run"))
    of = {(name, tags["player"]): value for name, value, tags in set_to}
    assert {tags["run"] for _, _, tags in set_to} == {"run"}
    board = scalars_of(f"{storage}/run")
    for shown, gauge in (
        ("D/grad_norm", ("i2i_grad_norm", "D")),
        ("G/grad_norm", ("i2i_grad_norm", "G")),
        ("G/move_seconds", ("i2i_move_seconds", "G")),
        ("diagnosis/D/blind", ("i2i_diagnosis_blind", "D")),
        ("speed/images_per_second", ("i2i_speed_images_per_second", "")),
        ("val/there_and_back", ("i2i_val_there_and_back", "")),
    ):
        assert of[gauge] == pytest.approx(board.Scalars(shown)[-1].value)
