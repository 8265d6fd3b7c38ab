"""Train a classifier on real images, of labels or of two domains, and let it judge whether translated images took on
their target: a ResNet-18, as StarGAN's authors have it (section 5.3), or a small network.

x_BCHW images in [-1, 1]; y_BA labels, 0 or 1 per attribute.
"""

from __future__ import annotations

import io
import json
import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from safetensors.torch import save as safetensors_bytes
from torch import Tensor, nn

from i2i_core import strict
from i2i_core.data.format.manifest import DataSet
from i2i_core.data.reading.stream import in_order
from i2i_core.errors import ConfigError, DataError, Stopped, nearest
from i2i_core.fields import Needs
from i2i_core.randomness import seed_from
from i2i_core.settings import to_dict
from i2i_core.sizes import Resizing, Size, sides
from i2i_core.storage.folder import Folder
from i2i_core.storage.near import corrected
from i2i_core.storage.remote import storage_of
from i2i_core.tensors import loaded, tensors_of

logger = logging.getLogger(__name__)

Network = Literal["small", "resnet18"]
GRID = 16
"""Positions per side of the small network: it cuts images into GRID x GRID patches, one for each position."""
MOST_PATCH = 4
"""Pixels per side of the largest patch; the small network judges at GRID to GRID * MOST_PATCH pixels."""
WIDTHS = (32, 48, 96, 128)
STRIDES = (1, 2, 1, 2)
BATCH = 64
LR: dict[Network, float] = {"small": 6e-3, "resnet18": 1e-3}
WEIGHT_DECAY = 0.02
SETTLING = 10
"""Batches at the end of the training that a ResNet's batch norm takes its statistics from."""
LEAST_RESNET, MOST_RESNET = 64, 224
"""Least and most pixels per side at which a ResNet judges; in between it judges at the images' own size."""
SEEN = 100_000
"""Most images seen in training: a bound on its time for data sets of any size."""
EPOCHS = 6
"""Epochs of the training, where these are not more than SEEN images."""
MOST_INFO = 1 << 20
"""Bytes of the JSON file beside a classifier's weights."""
KEPT = 20
"""Number of times that an unfinished training is written to its file."""
ABANDONED = 30 * 24 * 3600.0
"""Seconds after which an unfinished training in the user's cache is removed."""
MOST = 30_000
MOST_BYTES = 4 * 10**9
"""Most training images in memory, and most bytes of them."""


@dataclass(frozen=True)
class ClassifierInfo:
    """Describe a classifier: the JSON file beside its weights."""

    attributes: tuple[str, ...]
    exclusive: bool
    """True: an image has exactly one of the attributes (softmax); False: any of them (sigmoids)."""
    channels: int
    size: int
    """Pixels per side that images are resized to before they are judged."""
    data: str
    """Fingerprint of the training data set."""
    seed: int
    images: int = 0
    """Images seen in training."""
    held_out: str = ""
    """Split of the test; empty: the data has no other split than that of the training."""
    held_out_images: int = 0
    accuracy: float = 0.0
    """Share of held-out real images with every attribute right."""
    accuracies: tuple[float, ...] = ()
    """Share of held-out real images with each attribute right."""
    network: Network = "small"
    """The kind of network; files that do not say are `small`."""
    resizing: Resizing = Resizing()
    """Resizing of the real images to that size; files that do not name one were stretched, bicubic."""
    cut: tuple[int, ...] = ()
    """Height and width to which the real images came before they were resized to that size, where that differs: these
    are no squares, or were cut out without resizing."""


class Classifier(nn.Module):
    """Classify images (B, channels, H, W) of any size: logits (B, A)."""

    def __init__(self, info: ClassifierInfo) -> None:
        super().__init__()
        self.info = info
        self.net = _resnet18(info) if info.network == "resnet18" else _small(info)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.net(_squared(x_BCHW, self.info.size))

    @torch.no_grad()
    def judge(self, x_BCHW: Tensor) -> Tensor:
        """Tell which attributes images have, (B, A) bool; of attributes that exclude each other the likeliest.

        Raises:
            ConfigError: images of another number of channels.
        """
        self._check(x_BCHW.shape[1])
        weight = next(self.parameters())
        logits = self.eval()(x_BCHW.to(weight))
        return F.one_hot(logits.argmax(1), logits.shape[1]).bool() if self.info.exclusive else logits > 0

    def check(self, data: DataSet) -> None:
        """Raise ConfigError unless the classifier can judge images of that data set."""
        for domain in data.manifest.domains:
            self._check(data.manifest.fields_in(domain)["image"].channels)

    def _check(self, channels: int) -> None:
        if channels != self.info.channels:
            found, expected = f"images of {channels} channels", f"{self.info.channels}, as it was trained on"
            raise ConfigError("--classifier", found, expected, "Train one on this data: --train-classifier.")

    def fits(
        self,
        data: DataSet,
        image_size: Size,
        network: Network = "small",
        resizing: Resizing = Resizing(),
    ) -> bool:
        """Tell whether the classifier is such a network, trained on that data for images of that size, so resized."""
        size, cut = judged_size(image_size, network), cut_of(image_size, resizing)
        wanted = (data.manifest.fingerprint, network, size, resizing, cut)
        return (self.info.data, self.info.network, self.info.size, self.info.resizing, self.info.cut) == wanted

    def columns(self, names: Sequence[str]) -> list[int]:
        """Find the columns of attributes in the result of `judge`. Raise ConfigError for an unknown attribute."""
        for name in names:
            if name not in self.info.attributes:
                found = f"a classifier of {' '.join(self.info.attributes)}"
                fix = f"Train one on this data: --train-classifier. {nearest(name, self.info.attributes)}"
                raise ConfigError("--classifier", found, f"one that knows {name!r}", fix)
        return [self.info.attributes.index(name) for name in names]


def _small(info: ClassifierInfo) -> nn.Module:
    patch = info.size // GRID
    inputs = (info.channels * patch**2, *WIDTHS)
    blocks = [_block(i, o, s) for i, o, s in zip(inputs, WIDTHS, STRIDES, strict=False)]
    head = nn.Linear(WIDTHS[-1], len(info.attributes))
    return nn.Sequential(nn.PixelUnshuffle(patch), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)


def _resnet18(info: ClassifierInfo) -> nn.Module:
    """Build the network of He et al. 2016, untrained, with a first layer for the images' channels."""
    from torchvision.models import resnet18  # late: seconds to import

    network = resnet18(weights=None, num_classes=len(info.attributes))
    if info.channels != 3:
        network.conv1 = nn.Conv2d(info.channels, 64, 7, 2, 3, bias=False)
        nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
    return network


def _block(inputs: int, outputs: int, stride: int) -> nn.Module:
    conv = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


def judged_size(image_size: Size, network: Network = "small") -> int:
    """Compute the pixels per side at which images of a size are judged.

    The small network takes whole patches, GRID to GRID * MOST_PATCH pixels; a ResNet the shorter side, LEAST_RESNET to
    MOST_RESNET pixels (smaller images are enlarged).

    Raises:
        ConfigError: too small to judge.
    """
    side = min(sides(image_size))
    if side < GRID:
        raise ConfigError("--train-classifier", f"images of {side} px", f"{GRID} px or more", "Use larger images.")
    if network == "resnet18":
        return min(max(side, LEAST_RESNET), MOST_RESNET)
    return GRID * min(side // GRID, MOST_PATCH)


def cut_of(image_size: Size, resizing: Resizing) -> tuple[int, ...]:
    """Return height and width to which images of a size come first; () where they come to the judged size directly."""
    height, width = sides(image_size)
    return () if height == width and resizing.fit != "native" else (height, width)


def _squared(x_BCHW: Tensor, side: int) -> Tensor:
    """Resize images to a square, whatever their shape."""
    if x_BCHW.shape[-2:] == (side, side):
        return x_BCHW
    return F.interpolate(x_BCHW, (side, side), mode="bicubic", antialias=True, align_corners=False)


def check_trainable(data: DataSet) -> None:
    """Check that a classifier can be trained on a data set. Raises DataError where it has no labels and one domain."""
    if len(data.manifest.domains) < 2 and not data.manifest.attributes:
        fix = "Leave --train-classifier out."
        expected = "labelled or unpaired ones, to train a classifier on"
        raise DataError(f"data {data.uri}", f"{data.manifest.kind} samples", expected, fix)
    channels = [data.manifest.fields_in(domain)["image"].channels for domain in data.manifest.domains]
    if len({*channels}) > 1:
        found = f"domains of {' and '.join(map(str, channels))} channels"
        fix = "Leave --train-classifier out, or shard the images again with --channels 3, without --channels-b."
        raise DataError(f"data {data.uri}", found, "the same in both, for one classifier of them", fix)


def train_classifier(
    data: DataSet,
    *,
    image_size: Size,
    network: Network = "small",
    resizing: Resizing = Resizing(),
    split: str = "train",
    seen: int = SEEN,
    seed: int = 0,
    device: torch.device | None = None,
    unfinished: Unfinished | None = None,
    progress: Callable[[int], None] | None = None,
) -> Classifier:
    """Train a classifier of all attributes of a data set, or of its two domains, on the real images of a split, and
    test it on held-out ones.

    The loss is binary cross entropy per attribute, or cross entropy where attributes are classes; the optimiser AdamW
    with one cycle of the learning rate. Images are not augmented, for a flip could change a label. The same arguments
    give the same classifier on equal hardware (a ResNet on a GPU: up to the order of its sums), also where the training
    was interrupted and `unfinished` kept it.

    Args:
        image_size: of the images to judge; see `judged_size`.
        network: `resnet18`, or `small`, which is fast on two cores.
        resizing: how real images come to their size: as in the training of the method to judge.
        seen: images in all, over as many epochs as that takes.
        unfinished: keeps the training, and goes on with one that it kept.
        progress: called with the number of images after each step, and with those that were seen before.

    Raises:
        DataError: the data set has neither labels nor domains, or no such split.
        ConfigError: images too small.
        Stopped: `unfinished` was asked to stop; the training is kept.
    """
    manifest, device = data.manifest, device or torch.device("cpu")
    check_trainable(data)
    two = len(manifest.domains) == 2
    size, channels = judged_size(image_size, network), manifest.fields["image"].channels
    names, exclusive = manifest.attributes, manifest.exclusive
    if two:
        names, exclusive = manifest.domains, True
    info = ClassifierInfo(
        names, exclusive, channels, size, manifest.fingerprint, seed, seen, network=network, resizing=resizing,
        cut=cut_of(image_size, resizing),
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_from("classifier", seed))
        classifier = Classifier(info).to(device)
    x, y = _in_memory(data, split, info)
    _fit(classifier, x.to(device), y.to(device), split, unfinished, progress)
    held_out = next((s for s in ("val", "test") if s in manifest.splits and s != split), "")
    if held_out:
        classifier.info = _tested(classifier, held_out, *_in_memory(data, held_out, info))
    return classifier


def _in_memory(data: DataSet, split: str, info: ClassifierInfo) -> tuple[Tensor, Tensor]:
    """Read images (N, C, size, size), float16, and labels (N, A), float32; of unpaired data as many of each domain."""
    manifest, size, resizing = data.manifest, info.size, info.resizing
    cut = (info.cut[0], info.cut[1]) if info.cut else size
    two = len(manifest.domains) == 2
    fields = ("a", "b") if two else ("image",)
    shape = (manifest.fields["image"].channels, size, size)
    most = min(MOST, MOST_BYTES // (2 * len(fields) * math.prod(shape)))
    most = min(most, *(data.shard_set(split, domain).samples for domain in manifest.domains))
    images, labels, n = torch.empty((len(fields), most, *shape), dtype=torch.float16), [], 0
    needs = Needs({"image": "image"})
    for batch in in_order(data, split, cut, most=most, size=256, resizing=resizing, needs=needs):
        for i, name in enumerate(fields):
            images[i, n : n + len(batch.keys)] = _squared(batch[name], size)
        labels.append(torch.empty(0) if two else batch["labels"])
        n += len(batch.keys)
    if not n:
        raise DataError(f"data {data.uri}", f"no image of {split} that can be read", "some", "Shard the images again.")
    x = images[:, :n].flatten(0, 1)
    return x, torch.eye(2).repeat_interleave(n, dim=0) if two else torch.cat(labels).float()


class _Fit:
    """Hold a classifier's training between two steps: weights, optimiser, learning-rate schedule, steps done."""

    def __init__(self, classifier: Classifier) -> None:
        self.classifier, self.done, self.steps = classifier, 0, max(1, classifier.info.images // BATCH)
        lr = LR[classifier.info.network]
        self.optimiser = torch.optim.AdamW(classifier.parameters(), lr, weight_decay=WEIGHT_DECAY)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(self.optimiser, lr, total_steps=self.steps)
        classifier.train().to(memory_format=torch.channels_last)

    def step(self, x_BCHW: Tensor, y_BA: Tensor) -> None:
        """Make one update of the weights."""
        logits = self.classifier(x_BCHW.float().to(memory_format=torch.channels_last))
        if self.classifier.info.exclusive:
            loss = F.cross_entropy(logits, y_BA.argmax(1))
        else:
            loss = F.binary_cross_entropy_with_logits(logits, y_BA)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.schedule.step()
        self.done += 1

    def state(self) -> dict[str, Any]:
        """Give all that `restore` needs."""
        parts = (self.classifier, self.optimiser, self.schedule)
        return {"done": self.done, "parts": [part.state_dict() for part in parts]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back to a kept state, to the bit: tensors keep the memory format that they had."""
        weights, optimiser, schedule = state["parts"]
        self.classifier.load_state_dict(weights)
        self.optimiser.load_state_dict(optimiser)
        self.schedule.load_state_dict(schedule)
        self.done = int(state["done"])


class Unfinished:
    """Keep a classifier's training in a file while it lasts, so that the same command goes on with it.

    A training writes the file KEPT times, and when `stop` returns True. A file that is damaged, or of another training,
    is not used: a warning says so.

    Args:
        path: of the classifier; the file is `PATH.unfinished`.
        stop: called after each step; True: write the file and stop there.
    """

    def __init__(self, path: str, stop: Callable[[], bool] = lambda: False) -> None:
        self.folder, name = _place(path)
        self.name, self.stop = f"{name}.unfinished", stop

    def read(self, definition: str) -> dict[str, Any] | None:
        """Give the kept state of the training of that definition; None where there is none."""
        if not self.folder.exists(self.name):
            return None
        where = self.folder.at(self.name)
        try:
            kept = loaded(self.folder.read(self.name))
            kinds = {name: type(part) for name, part in kept.items()} if isinstance(kept, dict) else {}
            if kinds != {"definition": str, "state": dict}:
                raise ValueError("no state of a training")
        except (OSError, ValueError) as error:
            logger.warning(f"{where} is damaged ({error}): the classifier's training begins anew")
            return None
        if kept["definition"] == definition:
            state: dict[str, Any] = kept["state"]
            return state
        logger.warning(f"{where} is of another training: the classifier's training begins anew")
        return None

    def keep(self, definition: str, state: Mapping[str, Any]) -> None:
        """Write a training's state, with the definition of the training."""
        out = io.BytesIO()
        torch.save({"definition": definition, "state": dict(state)}, out)
        self.folder.write(self.name, out.getvalue())

    def remove(self) -> None:
        """Remove the file: the training is over."""
        if self.folder.exists(self.name):
            self.folder.remove(self.name)


def remove_abandoned(cache: str) -> None:
    """Remove the trainings that nobody has gone on with for ABANDONED seconds, and what killed ones left half written.

    Args:
        cache: folder whose files are all named by this program.
    """
    folder = Folder(cache)
    folder.remove_left()
    for place in Path(folder.root).glob("*.safetensors.unfinished"):
        with suppress(OSError):  # finished or removed meanwhile
            if not place.is_symlink() and time.time() - place.stat().st_mtime > ABANDONED:
                place.unlink()


def _fit(
    classifier: Classifier,
    x: Tensor,
    y: Tensor,
    split: str,
    unfinished: Unfinished | None,
    progress: Callable[[int], None] | None,
) -> None:
    """Train a classifier on images x, (N, C, size, size), with labels y, (N, A)."""
    fit, info = _Fit(classifier), classifier.info
    definition = json.dumps({"split": split, "device": x.device.type, **to_dict(info)}, sort_keys=True)
    if unfinished and (state := unfinished.read(definition)):
        try:
            fit.restore(state)
        except Exception as error:  # of a state that somebody changed: optimisers have many kinds
            found = f"a state that does not fit ({type(error).__name__})"
            where, fix = unfinished.folder.at(unfinished.name), "Remove the file: the training begins anew."
            raise ConfigError(where, found, "that of an unfinished training", fix) from None
        logger.info(f"classifier: goes on after {fit.done * BATCH:,} of {info.images:,} images")
        if progress:
            progress(fit.done * BATCH)
    for rows in islice(_rows(len(x), fit.steps, info.seed), fit.done, None):
        fit.step(x[rows], y[rows])
        if progress:
            progress(len(rows))
        stop = unfinished is not None and unfinished.stop()
        if unfinished and (stop or fit.done % max(1, fit.steps // KEPT) == 0):
            unfinished.keep(definition, fit.state())
        if stop and fit.done < fit.steps:
            raise Stopped(
                f"the classifier's training was stopped after {fit.done * BATCH:,} of {info.images:,} images. "
                "It is saved: the same command goes on."
            )
    if info.network == "resnet18":
        _settle(classifier, x, info.seed)
    classifier.eval().to(memory_format=torch.contiguous_format)


@torch.no_grad()
def _settle(classifier: Classifier, x: Tensor, seed: int) -> None:
    """Set batch norm's statistics to means over SETTLING batches with the final weights. The running statistics of a
    short training are of earlier weights, and through the layers of a ResNet such errors add up."""
    for module in classifier.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # the mean of all
    for rows in _rows(len(x), SETTLING, seed):
        classifier(x[rows].float().to(memory_format=torch.channels_last))


def _rows(n: int, steps: int, seed: int) -> Iterable[Tensor]:
    """Give batches of row numbers: one seeded permutation after the other."""
    generator = torch.Generator().manual_seed(seed_from("classifier order", seed))
    left = torch.empty(0, dtype=torch.long)
    for _ in range(steps):
        while len(left) < BATCH:
            left = torch.cat([left, torch.randperm(n, generator=generator)])
        yield left[:BATCH]
        left = left[BATCH:]


def _tested(classifier: Classifier, split: str, x: Tensor, y: Tensor) -> ClassifierInfo:
    right = torch.cat([classifier.judge(part.float()).cpu() for part in x.split(256)]) == y.bool()
    return replace(
        classifier.info,
        held_out=split,
        held_out_images=len(x),
        accuracy=right.all(1).double().mean().item(),
        accuracies=tuple(right.double().mean(0).tolist()),
    )


def save_classifier(classifier: Classifier, path: str) -> None:
    """Write `PATH` (weights, safetensors) and then `PATH.json` (what it is), each whole or not at all."""
    tensors = {name: tensor.cpu().contiguous() for name, tensor in classifier.state_dict().items()}
    folder, name = _place(path)
    folder.write(name, safetensors_bytes(tensors))
    folder.write(f"{name}.json", (json.dumps(to_dict(classifier.info), indent=1) + "\n").encode())


def _place(path: str) -> tuple[Folder, str]:
    folder, slash, name = path.rpartition("/")
    return Folder(folder or slash or "."), name


def has_classifier(path: str) -> bool:
    """Tell whether a classifier was saved at a path."""
    fs, place = storage_of(path)
    return bool(fs.exists(place) and fs.exists(f"{place}.json"))


def load_classifier(path: str) -> Classifier:
    """Load the classifier that `save_classifier` wrote.

    Raises:
        ConfigError: nothing there, or files that are no classifier.
    """
    fix = "Name a file that evaluate.py wrote, or train one with --train-classifier."
    if not has_classifier(path):
        found = f"no {path} with {path}.json beside it"
        raise ConfigError("--classifier", found, "a saved classifier", corrected(path, fix))
    fs, place = storage_of(path)
    info = strict.read(fs.cat_file(f"{place}.json"), ClassifierInfo, f"{path}.json", fix, ConfigError, MOST_INFO)
    try:
        if info.size != judged_size(info.size, info.network):
            raise ValueError(f"it judges at {info.size} px")
        with torch.device("meta"):  # the file's tensors take its place, and no others
            classifier = Classifier(info)
        classifier.load_state_dict(tensors_of(fs.cat_file(place)), assign=True)
    except (ValueError, RuntimeError, TypeError, ArithmeticError, OverflowError) as error:
        line = str(error).partition("\n")[0]
        raise ConfigError("--classifier", f"{path}, which is none ({line})", "a saved classifier", fix) from None
    return classifier.float().eval()
