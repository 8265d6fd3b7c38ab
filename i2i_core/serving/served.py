"""Answer requests with one model: fields and bytes become controls and tensors, batches go through the networks, and
images come out as PNG. Nothing here knows HTTP or Ray.

x_CHW one image in [-1, 1], x_BCHW several; z_BZ codes.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from i2i_core.data.format.manifest import DataSet
from i2i_core.errors import ConfigError, UserError, counted
from i2i_core.fields import Field
from i2i_core.images.codec import encode
from i2i_core.images.sheet import to_array
from i2i_core.methods.base import Direction, Values, sides
from i2i_core.methods.controls import Code, Examples, Labels
from i2i_core.networks.shapes import SizeError
from i2i_core.serving.images import ids_of, picture_of
from i2i_core.serving.refusing import Refused
from i2i_core.sizes import MOST_SIDE
from i2i_core.sizes import sides as sides_of
from i2i_core.storage.retry import StorageError
from i2i_core.tensors import repeatable
from i2i_core.translation.codes import check_encodable
from i2i_core.translation.loading import Loading, Sizing, as_taken
from i2i_core.translation.model import Model
from i2i_core.translation.padding import at_any_size, cropped
from i2i_core.translation.targets import parse_target_of
from i2i_core.translation.translator import enough_memory

logger = logging.getLogger(__name__)

MOST_EXAMPLES = 8
MOST_SAMPLE = 10**9
MOST_CODE = 10.0
"""Largest number of a code that is taken, of either sign."""
MOST_TEXT = 10_000
"""Characters of a field."""
PNG, NPY = "image/png", "application/x-npy"


@dataclass(frozen=True)
class Ask:
    """Hold what a request asks of a model.

    Attributes:
        fields: texts by name.
        image: file of the input; None: there is none.
        like: files of images that the output is to be like.
        seconds: time that is left for it.
    """

    fields: Mapping[str, str] = field(default_factory=dict)
    image: bytes | None = None
    like: tuple[bytes, ...] = ()
    seconds: float = math.inf


@dataclass(frozen=True)
class Answer:
    """Hold an image that was made.

    Attributes:
        data: its file.
        media: type of the file.
        together: images that were made with it.
        seconds: time that the networks took for all of them.
    """

    data: bytes
    media: str
    together: int
    seconds: float


@dataclass(frozen=True)
class Job:
    """Hold an image that is to be made, on the host.

    Attributes:
        direction: way in which it is made.
        output: name of the output that is wanted.
        inputs: by name, without the first axis.
        controls: by name, without the first axis.
        key: seed of its noise.
        dtype: type of the values of its file.
    """

    direction: Direction
    output: str
    inputs: Values
    controls: Values
    key: str
    dtype: str

    @property
    def kind(self) -> tuple[Any, ...]:
        """Give what all images of a batch share."""
        shapes = [(name, tuple(x.shape)) for part in (self.inputs, self.controls) for name, x in part.items()]
        return (self.direction, *shapes)


class Served:
    """Make images of requests with a loaded model.

    Attributes:
        name: the model's name.
        model: its networks.
    """

    def __init__(self, name: str, model: Model, most_pixels: int) -> None:
        self.name, self.model, self.method, self.most_pixels = name, model, model.method, most_pixels
        self.classes = self._classes()

    def _classes(self) -> Mapping[str, Field]:
        """Describe the label maps among the inputs, as the run's data set does.

        Raises:
            ConfigError: the method takes something else than one image or label map, or none; or its data set, which
                names the classes, is out of reach.
        """
        taken, found = self.method.inputs, dict[str, Field]()
        if len(taken) > 1 or {*taken.values()} - {"image", "classes"}:
            what = ", ".join(f"{name} ({role})" for name, role in taken.items())
            expected, fix = "one image or label map, or none", "Translate with translate.py."
            raise ConfigError(f"RUN {self.name}", f"a method that takes {what}", expected, fix)
        for name in (name for name, role in taken.items() if role == "classes"):
            data = self.model.trained.config.data
            try:
                found[name] = DataSet(data.uri, data.shards_at).manifest.fields[name]
            except (OSError, UserError, StorageError, KeyError) as error:
                reason = f"a data set that cannot be read ({type(error).__name__})"
                fix = f"Put its manifest.json where the run read it: {data.uri}."
                raise ConfigError(f"RUN {self.name}", reason, "the data set that names the classes", fix) from None
        return found

    # ---- what the model takes ----

    @property
    def directions(self) -> tuple[Direction, ...]:
        return ("AtoB", "BtoA") if self.method.two_way else ("AtoB",)

    @property
    def varies(self) -> bool:
        """Tell whether the outputs of one input differ by a sample's number."""
        return bool(self.method.control(Code)) or (self.method.dropout_is_noise and self.method.at_test.dropout)

    def about(self) -> dict[str, Any]:
        """Describe the model for clients: what it takes, and what it makes. No place of a file is in it."""
        trained, method = self.model.trained, self.method
        height, width = sides_of(trained.stage.size) if trained.stage.size else (0, 0)
        return {
            "name": self.name,
            "method": trained.config.method,
            "images": trained.images,
            "size": [height, width],
            "inputs": {way: self._input(way) for way in self.directions},
            "outputs": {way: [*sides(method, way)[1]] for way in self.directions},
            "controls": [*self._controls()],
        }

    def _input(self, way: Direction) -> dict[str, Any] | None:
        taken = sides(self.method, way)[0]
        for name, role in taken.items():
            if role == "classes":
                about = self.classes[name]
                names = about.names or tuple(str(i) for i in range(about.classes))
                colours = [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in about.palette] or [""] * about.classes
                palette = [{"name": n, "colour": c} for n, c in zip(names, colours, strict=True)]
                return {"kind": "classes", "channels": 1, "palette": palette}
            return {"kind": "image", "channels": self.method.channels()[name], "palette": []}
        return None

    def _controls(self) -> list[dict[str, Any]]:
        """List the fields of a request beside the image, each with its kind and its bounds."""
        method, found = self.method, list[dict[str, Any]]()
        if method.control(Labels):
            sets = [{"names": [*s.titles], "exclusive": s.exclusive} for s in method.label_sets]
            found.append({"name": "target", "kind": "labels", "required": True, "sets": sets})
        if method.control(Examples):
            found.append({"name": "like", "kind": "images", "required": True, "most": MOST_EXAMPLES})
        elif method.encodes:
            found.append({"name": "like", "kind": "images", "required": False, "most": 1})
        if method.control(Code):
            found.append({"name": "code", "kind": "numbers", "required": False, "count": method.code_length})
        if self.varies:
            found.append({"name": "sample", "kind": "number", "required": False, "least": 0, "most": MOST_SAMPLE})
        if method.inputs:
            found.append({"name": "longer_side", "kind": "number", "required": False, "least": 1, "most": MOST_SIDE})
        if method.two_way:
            found.append({"name": "direction", "kind": "choice", "required": False, "choices": [*self.directions]})
        if len(method.outputs) > 1:
            found.append({"name": "output", "kind": "choice", "required": False, "choices": [*method.outputs]})
        return found

    # ---- from a request to a job ----

    def job(self, ask: Ask) -> Job:
        """Read a request.

        Raises:
            Refused: 413, 415 or 422, for the first thing in it that is wrong.
        """
        known = {control["name"]: control for control in self._controls()}
        texts = {name: text for name, text in ask.fields.items() if text.strip()}
        for name, text in texts.items():
            if name not in known or known[name]["kind"] == "images":
                expected = f"fields of this model: {', '.join(known) or 'none'}"
                kind = "text" if name in known else "a field of that name"
                raise Refused(422, name[: MOST_EXAMPLES * 10], kind, expected, "Leave it out, or look at /models.")
            if len(text) > MOST_TEXT:
                raise Refused(422, name, f"{len(text):,} characters", f"at most {MOST_TEXT:,}", "Shorten it.")
        way: Any = _choice("direction", texts, self.directions)
        taken, made = sides(self.method, way)
        key = str(_whole("sample", texts, 0, 0, MOST_SAMPLE))
        loading = Loading(Sizing(longer=_whole("longer_side", texts, 0, 1, MOST_SIDE)))
        inputs, dtype = dict[str, Tensor](), "uint8"
        if taken:
            inputs, dtype = self._read(ask.image, taken, loading)
        elif ask.image is not None:
            raise Refused(422, "image", "an image", "none: this model makes images of no others", "Leave it out.")
        controls = self._told(texts, ask.like, way, key, loading)
        return Job(way, _choice("output", texts, [*made]), inputs, controls, key, dtype)

    def _read(self, data: bytes | None, taken: Mapping[str, str], loading: Loading) -> tuple[dict[str, Tensor], str]:
        """Read the input, and give the type of the output's values."""
        ((name, role),) = taken.items()
        if data is None:
            raise Refused(422, "image", "nothing", "an image", "Send the file as the field image.")
        if role == "classes":
            ids = ids_of(picture_of(data, "image", self.most_pixels), "image", self.classes[name])
            x = torch.from_numpy(np.ascontiguousarray(ids.transpose(2, 0, 1)))
            height, width = self._sized(loading, *ids.shape[:2])
            return {name: functional.interpolate(x[None].double(), (height, width), mode="nearest")[0].long()}, "uint8"
        x, dtype = self._image(data, "image", self.method.channels()[name], loading)
        return {name: x}, dtype

    def _image(self, data: bytes, name: str, channels: int, loading: Loading) -> tuple[Tensor, str]:
        picture = picture_of(data, name, self.most_pixels)
        self._sized(loading, *picture.pixels.shape[:2])
        try:
            found = as_taken(picture, channels, loading, name)
        except UserError as error:
            raise Refused.of(error, name) from None
        except ValueError as error:
            raise Refused(422, name, str(error), "an image that the model takes", "Convert it.") from None
        return found.x, found.dtype

    def _sized(self, loading: Loading, height: int, width: int) -> tuple[int, int]:
        """Compute the size that an image is brought to. Raises Refused where it would be too large."""
        try:
            height, width = loading.sizing.of(height, width)
        except ValueError:
            height, width = MOST_SIDE, MOST_SIDE
        if height * width > self.most_pixels:
            expected = f"a size of at most {self.most_pixels:,} pixels"
            raise Refused(413, "longer_side", str(loading.sizing.longer), expected, "Give a smaller number.")
        return height, width

    def _told(
        self, texts: Mapping[str, str], like: Sequence[bytes], way: Direction, key: str, loading: Loading
    ) -> dict[str, Tensor]:
        """Read the method's controls: labels, a code, examples."""
        method, told = self.method, dict[str, Tensor]()
        if name := method.named(Labels):
            told[name] = self._labels(texts.get("target", ""))
        if name := method.named(Examples):
            if not like:
                raise Refused(422, "like", "nothing", "images that the output is to be like", "Send some as like.")
            told[name] = torch.stack(self._liked(like, MOST_EXAMPLES, way, loading))
        if name := method.named(Code):
            if "code" in texts and like:
                raise Refused(422, "code", "like beside it", "one of the two", "Leave one of them out.")
            if like and method.encodes:
                (x_CHW,) = self._liked(like, 1, way, Loading())
                try:
                    check_encodable(method, x_CHW, "like")
                except UserError as error:
                    raise Refused.of(error, "like") from None
                with torch.inference_mode(), repeatable():
                    told[name] = method.encode(x_CHW[None].to(next(method.parameters())), way)[0].float().cpu()
            elif "code" in texts:
                told[name] = _numbers("code", texts["code"], method.code_length)
            else:
                told[name] = method.draw_codes([key])[0].float().cpu()
        if like and not (method.control(Examples) or method.encodes):
            expected = "none: this model takes no image to be like"
            raise Refused(422, "like", counted(len(like), "image"), expected, "Leave it out.")
        return told

    def _labels(self, text: str) -> Tensor:
        first = self.method.label_sets[0].titles[0]
        if not text:
            known = ", ".join(title for labels in self.method.label_sets for title in labels.titles)
            raise Refused(422, "target", "nothing", f"labels of the output ({known})", f"For example target={first}.")
        try:
            target = parse_target_of(text, self.method.label_sets)
        except UserError as error:
            raise Refused.of(error, "target") from None
        if target.edit:
            fix = "Name all that is to be on, without signs."
            raise Refused(422, "target", repr(text), "labels, not a change of an image's own", fix)
        return torch.from_numpy(target.vector(None)).float()

    def _liked(self, like: Sequence[bytes], most: int, way: Direction, loading: Loading) -> list[Tensor]:
        """Read the images (C, H, W) that an output is to be like, all of one size."""
        if len(like) > most:
            raise Refused(422, "like", counted(len(like), "image"), f"at most {most}", "Leave some out.")
        channels = self.method.channels()[next(iter(sides(self.method, way)[1]))]
        found = [self._image(data, "like", channels, loading)[0] for data in like]
        if len({x.shape for x in found}) > 1:
            sizes = ", ".join(f"{x.shape[2]} x {x.shape[1]}" for x in found)
            raise Refused(422, "like", f"images of {sizes} pixels", "images of one size", "Resize them to one size.")
        return found

    # ---- from jobs to images ----

    def answer(self, asks: Sequence[Ask], begun: Sequence[float] | None = None) -> list[Answer | Refused]:
        """Answer requests, those of one kind in one batch. Whatever is wrong with one does not touch the others.

        Args:
            begun: when each of them arrived, by `time.monotonic`; None: now.
        """
        begun = [time.monotonic()] * len(asks) if begun is None else begun
        found: list[Answer | Refused] = [_fault()] * len(asks)
        groups: dict[tuple[Any, ...], list[int]] = {}
        jobs: dict[int, Job] = {}
        for i, ask in enumerate(asks):
            if time.monotonic() > begun[i] + ask.seconds:
                found[i] = late(ask.seconds)
                continue
            try:
                jobs[i] = self.job(ask)
            except Refused as refused:
                found[i] = refused
            except Exception:
                logger.exception("a request of the model %s cannot be read", self.name)
            else:
                groups.setdefault(jobs[i].kind, []).append(i)
        for same in groups.values():
            for i, one in zip(same, self._made([jobs[i] for i in same]), strict=True):
                found[i] = one
        return found

    def _made(self, jobs: Sequence[Job]) -> list[Answer | Refused]:
        """Make the images of jobs of one kind."""
        start = time.monotonic()
        try:
            outputs = self._translated(jobs)
        except SizeError as error:
            height, width = next(iter(jobs[0].inputs.values())).shape[-2:]
            size, fix = f"{width} x {height} pixels", f"Resize it to {error.listed}."
            return [Refused(422, "image", size, error.expected, fix)] * len(jobs)
        except ValueError as error:
            if "memory" in str(error) and len(jobs) > 1:
                return [one for job in jobs for one in self._made([job])]
            fix = "Send a smaller image, or give longer_side."
            return [Refused(422, "image", "an image that the networks do not take", str(error), fix)] * len(jobs)
        except Exception:
            logger.exception("the networks of the model %s failed", self.name)
            return [_fault()] * len(jobs)
        spent = time.monotonic() - start
        return [self._encoded(y_CHW, job, len(jobs), spent) for y_CHW, job in zip(outputs, jobs, strict=True)]

    def _translated(self, jobs: Sequence[Job]) -> list[Tensor]:
        """Run the networks, once for all jobs."""
        method, first = self.method, jobs[0]
        weight = next(method.parameters())
        taken = sides(method, first.direction)[0]

        def stacked(name: str, part: Sequence[Values]) -> Tensor:
            x = torch.stack([values[name] for values in part])
            return x.to(weight) if x.is_floating_point() else x.to(weight.device)

        batch = {name: stacked(name, [job.inputs for job in jobs]) for name in first.inputs}
        told = {name: stacked(name, [job.controls for job in jobs]) for name in first.controls}
        keys = [job.key for job in jobs]

        def make(inputs: Values, controls: Values) -> Values:
            return method.translate(inputs, controls, first.direction, keys=keys)

        with torch.inference_mode(), enough_memory("send a smaller image"), repeatable():
            found, padding = at_any_size(make, batch, taken, told)
        crop = {job.output: cropped(found[job.output], batch, taken, padding).float().cpu() for job in jobs}
        return [crop[job.output][i] for i, job in enumerate(jobs)]

    def _encoded(self, y_CHW: Tensor, job: Job, together: int, spent: float) -> Answer:
        channels = len(y_CHW)
        dtype = "uint16" if job.dtype == "uint16" and channels == 1 else "uint8"
        array = to_array(y_CHW, dtype if channels <= 4 else "float32")
        data, kind = (encode(array, "png"), PNG) if channels <= 4 else (encode(array, "npy"), NPY)
        return Answer(data, kind, together, spent)


def late(seconds: float) -> Refused:
    """Refuse a request whose time is over."""
    return Refused(504, "request", f"no image after {seconds:.3g} s", "one", "Send a smaller image, or send it later.")


def _fault() -> Refused:
    return Refused(500, "request", "a fault of the server", "an image", "Its log says more: tell who runs it.")


def _choice(name: str, texts: Mapping[str, str], choices: Sequence[str]) -> str:
    found = texts.get(name, choices[0])
    if found not in choices:
        raise Refused(422, name, repr(found), f"one of {', '.join(choices)}", f"For example {name}={choices[0]}.")
    return found


def _whole(name: str, texts: Mapping[str, str], default: int, least: int, most: int) -> int:
    if name not in texts:
        return default
    text = texts[name].strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 12 and least <= int(text) <= most):
        raise Refused(422, name, repr(text), f"a whole number from {least} to {most:,}", f"For example {name}={least}.")
    return int(text)


def _numbers(name: str, text: str, count: int) -> Tensor:
    """Read a code z (Z,)."""
    expected = f"{counted(count, 'number')} from {-MOST_CODE:g} to {MOST_CODE:g}, with commas between"
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        found = []
    if len(found) != count or not all(-MOST_CODE <= x <= MOST_CODE for x in found):
        raise Refused(422, name, repr(text), expected, "Leave it out for a drawn one.")
    return torch.tensor(found)
