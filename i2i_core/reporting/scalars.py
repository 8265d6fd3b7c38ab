"""Read the numbers and texts of a run back from TensorBoard's event files."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from i2i_core.runs.folder import RunFolder
from i2i_core.sizes import said_bytes
from i2i_core.storage.leftovers import TemporaryFolder

logger = logging.getLogger(__name__)

MOST_EVENTS = 1 << 30
"""Bytes of a run's event files that are read; they hold its grids too."""
PREFIX = "events.out.tfevents."

Series = list[tuple[int, float]]
"""Images seen, and the value that was measured then, in order."""


@dataclass
class Events:
    """Hold what a run logged.

    Attributes:
        scalars: by name.
        texts: images seen, title and text of warnings, in their order.
        left_out: why there is less here than in the files; empty where there is not.
    """

    scalars: dict[str, Series] = field(default_factory=dict)
    texts: list[tuple[int, str, str]] = field(default_factory=list)
    left_out: str = ""


def read_events(run: RunFolder) -> Events:
    """Read a run's event files in the order in which its launches wrote them.

    A launch that resumes the run tells some images again: what it says counts, and what an earlier launch said of the
    same and of later images does not. A file whose last record is half written, as a kill leaves it, is read up to it.
    """
    events = Events()
    paths = [path for within in ("", RunFolder.EVENTS) for path in _files(run, within)]
    if (size := sum(run.size(path) for path in paths)) > MOST_EVENTS:
        events.left_out = f"event files of {said_bytes(size)}, of which at most {said_bytes(MOST_EVENTS)} are read"
        return events
    for path in sorted(paths, key=lambda path: path.rpartition("/")[2]):  # a name holds the time at which it began
        for number, event in enumerate(event for event in _events(run, path) if event.summary.value):
            if not number:  # a launch begins with its configuration, at the images that it goes on from
                _forget_after(events, event.step)
            _add(events, event)
    return events


def _files(run: RunFolder, within: str) -> list[str]:
    return [f"{within}/{name}".lstrip("/") for name in run.names(within) if name.startswith(PREFIX)]


def _events(run: RunFolder, path: str) -> Iterator[Any]:
    """Yield the events of a file."""
    from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
    from tensorboard.compat.proto.event_pb2 import Event

    with TemporaryFolder("events") as folder:
        if run.local:
            file = Path(run.path(path))
        else:
            file = Path(folder, "events")
            file.write_bytes(run.read(path))
        for record in RawEventFileLoader(str(file)).Load():
            try:
                yield Event.FromString(record)
            except Exception as error:  # of protobuf, whose class differs between its releases
                logger.debug(f"{run.at(path)}: a record is damaged ({error})")


def _add(events: Events, event: Any) -> None:
    for value in event.summary.value:
        kind, plugin = value.WhichOneof("value"), value.metadata.plugin_data.plugin_name
        if kind == "simple_value":
            events.scalars.setdefault(value.tag, []).append((event.step, value.simple_value))
        elif kind == "tensor" and plugin == "text" and value.tensor.string_val:
            title = value.tag.removesuffix("/text_summary")
            if title != "configuration":
                text = value.tensor.string_val[0].decode("utf-8", "replace")
                events.texts.append((event.step, title, text))


def _forget_after(events: Events, images: int) -> None:
    """Remove what was said of later images."""
    events.texts = [text for text in events.texts if text[0] <= images]
    for name, series in events.scalars.items():
        events.scalars[name] = [point for point in series if point[0] <= images]


@dataclass(frozen=True)
class Bucket:
    """Sum up neighbouring values of a curve: where they lie, their mean, least and largest."""

    images: float
    mean: float
    low: float
    high: float


def thinned(series: Sequence[tuple[int, float]], most: int) -> list[Bucket]:
    """Cut a curve to at most `most` buckets of neighbours; values that are not finite are left out."""
    finite = [(x, y) for x, y in series if math.isfinite(y)]
    each = max(1, -(-len(finite) // most))
    found = []
    for first in range(0, len(finite), each):
        xs, ys = zip(*finite[first : first + each], strict=True)
        found.append(Bucket(sum(xs) / len(xs), sum(ys) / len(ys), min(ys), max(ys)))
    return found
