"""Send a run's numbers, pictures and warnings to TensorBoard, Weights & Biases and MLflow.

One thread of the tracker uses a board. Weights & Biases and MLflow are packages of their own (extras `wandb` and
`mlflow`), which read WANDB_* and MLFLOW_* of the worker's environment.
"""

from __future__ import annotations

import importlib
import io
import itertools
import logging
import os
import re
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import numpy as np
import torch

from i2i_core.config.flat import flat
from i2i_core.config.monitoring import MonitoringConfig
from i2i_core.config.run import TrainConfig
from i2i_core.credentials import check_address, redacted
from i2i_core.errors import ConfigError
from i2i_core.names import shortened
from i2i_core.runs.folder import RunFolder
from i2i_core.storage.leftovers import TemporaryFolder
from i2i_core.storage.paths import absolute
from i2i_core.storage.remote import write_all

logger = logging.getLogger(__name__)

PROJECT = "i2i"
"""The project of Weights & Biases and the experiment of MLflow, where the environment names none."""
COMPARED = ("method", "preset", "hyper", "training")
"""The parts of a configuration that TensorBoard compares runs by."""
_files = itertools.count()
"""Numbers event files of this process, so that each has its own name."""


class Board(Protocol):
    """Show a run in one place. Any call may raise what the board's service raises."""

    def scalars(self, images: int, values: Mapping[str, float]) -> None: ...

    def picture(self, images: int, pixels_HWC: np.ndarray) -> None: ...

    def text(self, images: int, title: str, text: str) -> None: ...

    def close(self, finished: bool) -> None: ...


class TensorBoard:
    """Write TensorBoard's event files into the run's folder. For a remote folder they are kept in a temporary one,
    which `flush` copies.

    Each call opens the file, appends to it and closes it, so that its errors reach the caller: torch's own writer hits
    errors in a thread, which prints a traceback and never writes again. Imports are made in the tracker's thread: they
    take a tenth of torch's time, and a launch, which writes nothing, does without them.
    """

    def __init__(self, run: RunFolder) -> None:
        self.run = run
        self.temporary = None if run.local else TemporaryFolder("tensorboard")
        self.name = f"events.out.tfevents.{time.time():010.0f}.{socket.gethostname()}.{os.getpid()}.{next(_files)}"

    @cached_property
    def within(self) -> str:
        """The path of the event files in the run's folder, in which TensorBoard finds them: none, so that it calls the
        run by the folder's name; `tensorboard/` where an earlier program began there."""
        return f"{self.run.EVENTS}/" if self.run.names(self.run.EVENTS) else ""

    @property
    def file(self) -> Path:
        """The local file that is written."""
        return Path(self.temporary.name, self.name) if self.temporary else Path(self.run.path(self.within), self.name)

    def scalars(self, images: int, values: Mapping[str, float]) -> None:
        from torch.utils.tensorboard.summary import scalar

        self._append(images, [scalar(name, value) for name, value in values.items()])

    def describe(self, images: int, parameters: Mapping[str, Any], metric: str) -> None:
        """Write a configuration as a text, and its hyper-parameters for the page that compares runs by them.

        Args:
            images: trained on so far.
            parameters: by dotted name.
            metric: a scalar that the page lists beside them; "" for none.
        """
        from torch.utils.tensorboard.summary import hparams
        from torch.utils.tensorboard.summary import text as text_summary

        listed = "\n".join(f"    {name}: {value}" for name, value in parameters.items())
        compared = {name: value for name, value in parameters.items() if name.split(".")[0] in COMPARED}
        plain = {k: v if isinstance(v, bool | int | float | str) else str(v) for k, v in compared.items()}
        self._append(images, [text_summary("configuration", listed), *hparams(plain, {metric: 0.0} if metric else {})])

    def picture(self, images: int, pixels_HWC: np.ndarray) -> None:
        from torch.utils.tensorboard.summary import image

        self._append(images, [image("samples", torch.from_numpy(pixels_HWC), dataformats="HWC")])

    def text(self, images: int, title: str, text: str) -> None:
        from torch.utils.tensorboard.summary import text as text_summary

        self._append(images, [text_summary(title, text)])

    def _append(self, images: int, summaries: Sequence[Any]) -> None:
        """Append whole records, or after an error none."""
        from tensorboard.compat.proto.event_pb2 import Event
        from torch.utils.tensorboard import RecordWriter

        if self.run.local:
            self.run.make(self.within)
        with open(self.file, "ab", buffering=0) as out:
            whole, records = out.tell(), io.BytesIO()
            events = [] if whole else [Event(wall_time=time.time(), file_version="brain.Event:2")]
            events += [Event(wall_time=time.time(), step=images, summary=summary) for summary in summaries]
            for event in events:
                RecordWriter(records).write(event.SerializeToString())
            try:
                write_all(out, records.getvalue())
            except OSError:
                with suppress(OSError):
                    out.truncate(whole)
                raise

    def flush(self) -> None:
        """Copy what was written so far to the run's folder, if that is remote."""
        if not self.run.local and self.file.exists():
            self.run.write(f"{self.within}{self.name}", self.file.read_bytes())

    def close(self, finished: bool) -> None:
        """Do nothing: no file is open."""

    def forget(self) -> None:
        """Remove the temporary folder, if there is one."""
        if self.temporary:
            self.temporary.cleanup()


class WeightsAndBiases:
    """Show a run on Weights & Biases. Its id there is kept in the run's folder, so that a resumed run goes on under it.

    Nothing about the machine is sent: no environment, command line, git state or console output.
    """

    def __init__(self, run: RunFolder, config: TrainConfig) -> None:
        self.folder, self.config = run, config
        self._run: Any = None

    @property
    def run(self) -> Any:
        if self._run is None:
            import wandb

            elsewhere = "WANDB_DIR" in os.environ or not self.folder.local
            self._run = wandb.init(
                project=os.environ.get("WANDB_PROJECT", PROJECT),
                id=_id(self.folder, "wandb", lambda: uuid4().hex[:12]),
                name=shortened(self.config.run_name, MOST_WANDB),
                resume="allow",
                config=flat(self.config),
                settings=wandb.Settings(
                    silent=True,
                    console="off",
                    disable_git=True,
                    disable_code=True,
                    x_disable_meta=True,
                    x_disable_machine_info=True,
                ),
                dir=None if elsewhere else self.folder.root,
            )
            # Their own step must rise; a run that goes on from a checkpoint tells some images twice.
            self._run.define_metric("images")
            self._run.define_metric("*", step_metric="images")
        return self._run

    def scalars(self, images: int, values: Mapping[str, float]) -> None:
        self.run.log({"images": images, **values})

    def picture(self, images: int, pixels_HWC: np.ndarray) -> None:
        import wandb

        self.run.log({"images": images, "samples": wandb.Image(pixels_HWC)})

    def text(self, images: int, title: str, text: str) -> None:
        self.run.alert(title, f"{images:,} images: {text}")

    def close(self, finished: bool) -> None:
        if self._run is not None:
            self._run.finish(exit_code=0 if finished else 1)


class MLflow:
    """Show a run on MLflow. Its id there is kept in the run's folder, so that a resumed run goes on under it."""

    def __init__(self, run: RunFolder, config: TrainConfig) -> None:
        self.folder, self.config = run, config
        self._begun = ""  # the id of a run that is new
        self._client: Any = None

    @property
    def client(self) -> Any:
        if self._client is None:
            for name, value in IMPATIENT.items():
                os.environ.setdefault(name, value)
            from mlflow.tracking import MlflowClient

            uri = self.config.monitoring.mlflow_uri or os.environ["MLFLOW_TRACKING_URI"]
            client = MlflowClient(tracking_uri=uri)
            self.id = _id(self.folder, "mlflow", lambda: self._begin(client, uri))
            client.update_run(self.id, status="RUNNING")
            self._client = client
            if self._begun:
                self._tell_parameters(client)
        return self._client

    def _begin(self, client: Any, uri: str) -> str:
        """Create a run and return its id: one run, even where the run's folder takes the id only at a later try."""
        if self._begun:
            return self._begun
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        known = client.get_experiment_by_name(name)
        experiment = known.experiment_id if known else client.create_experiment(name, artifacts_beside(uri))
        self._begun = str(client.create_run(experiment, run_name=self.config.run_name).info.run_id)
        return self._begun

    def _tell_parameters(self, client: Any) -> None:
        """Send the configuration. Where MLflow refuses it, log that and show the run without."""
        from mlflow.entities import Param

        values = [Param(key, str(value)) for key, value in flat(self.config).items()]
        try:
            for start in range(0, len(values), MOST_PARAMETERS):
                client.log_batch(self.id, params=values[start : start + MOST_PARAMETERS])
        except Exception as error:  # of MLflow and of what it reaches its server with: many kinds
            logger.warning(f"mlflow does not take the run's configuration ({short(error)}); it is shown without")

    def scalars(self, images: int, values: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now, client = int(time.time() * 1000), self.client
        told = {taken_by_mlflow(name): value for name, value in values.items()}
        client.log_batch(self.id, metrics=[Metric(name, value, now, images) for name, value in told.items()])

    def picture(self, images: int, pixels_HWC: np.ndarray) -> None:
        client = self.client
        client.log_image(self.id, pixels_HWC, artifact_file=self.folder.grid(images))

    def text(self, images: int, title: str, text: str) -> None:
        client = self.client
        client.set_tag(self.id, title.replace("/", "."), f"{images:,} images: {text}")

    def close(self, finished: bool) -> None:
        if self._client is not None:
            self._client.set_terminated(self.id, "FINISHED" if finished else "FAILED")


IMPATIENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
"""Defaults of MLflow's environment: by itself it would try a server that is away for many minutes."""
MOST_WANDB = 128
"""Characters of a name that Weights & Biases takes."""
MOST_MLFLOW = 250
"""Characters of a metric's name that MLflow takes."""
MOST_PARAMETERS = 100
"""The most parameters in one request to MLflow."""
EXTERNAL: dict[str, Callable[[RunFolder, TrainConfig], Board]] = {"wandb": WeightsAndBiases, "mlflow": MLflow}
"""Boards that are packages of their own, by --tracker."""


def artifacts_beside(uri: str) -> str | None:
    """Return where the pictures of a new experiment go: beside a SQLite file, for which MLflow would take the worker's
    folder; None for a server, which decides itself."""
    return str(Path(uri.removeprefix("sqlite:///")).parent / "mlartifacts") if uri.startswith("sqlite:///") else None


def taken_by_mlflow(name: str) -> str:
    """Turn a metric's name, in which a class of the data may stand, into one that MLflow takes: it refuses all metrics
    of a request for one name."""
    plain = re.sub(r"/+", "/", re.sub(r"[^\w.\- /]", "_", name))
    parts = shortened(plain, MOST_MLFLOW).strip("/").split("/")
    return "/".join("_" if part in (".", "..") else part for part in parts)


def _id(run: RunFolder, name: str, make: Callable[[], str]) -> str:
    """Return the run's id on a board: the one kept in its folder, else a new one, which is kept."""
    path = f"{run.TRACKERS}/{name}.json"
    known: dict[str, str] = run.noted(path, dict[str, str]) or {}
    if "id" not in known:
        known = {"id": make()}
        run.write_json(path, known)
    return known["id"]


def short(error: Exception) -> str:
    """Shorten an error to its first line, without the passwords of addresses."""
    return redacted((str(error).strip().splitlines() or [type(error).__name__])[0])[:300]


def checked(monitoring: MonitoringConfig) -> MonitoringConfig:
    """Check before any worker starts that every tracker can be used, and make local paths absolute.

    Raises:
        ConfigError: a package is not installed; MLflow has no place to log to, or one with a password in it.
    """
    for name in monitoring.tracker:
        if name in EXTERNAL:
            try:
                importlib.import_module(name)
            except ImportError as error:
                found = f"{name}, which cannot be imported ({error})"
                fix = f"Install it on every node: pip install 'i2i[{name}]'; or leave it out of --tracker."
                raise ConfigError("--tracker", found, "a package that is installed", fix) from None
    uri = monitoring.mlflow_uri
    check_address(uri, "--mlflow-uri")
    if "mlflow" in monitoring.tracker and not uri and not os.environ.get("MLFLOW_TRACKING_URI"):
        found, expected = "mlflow without --mlflow-uri", "where it logs to"
        fix = "Give --mlflow-uri https://SERVER or sqlite:////shared/mlflow.db, or set MLFLOW_TRACKING_URI everywhere."
        raise ConfigError("--tracker", found, expected, fix)
    if uri.startswith("sqlite:///"):
        uri = "sqlite:///" + absolute(uri.removeprefix("sqlite:///"), "--mlflow-uri")
    elif uri and "://" not in uri:
        uri = absolute(uri, "--mlflow-uri")
    return replace(monitoring, mlflow_uri=uri)
