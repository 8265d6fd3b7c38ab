"""A classifier of real images, of labels or of two domains, which judges whether translated ones took on their target:
a ResNet-18, as StarGAN's authors have it (section 5.3), or a small network.

x_BCHW images in [-1, 1]; y_BA labels, 0 or 1 per attribute.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load as safetensors_load
from safetensors.torch import save as safetensors_bytes
from torch import Tensor, nn

from i2i_core.data.format.manifest import DataSet
from i2i_core.data.reading.stream import in_order
from i2i_core.errors import ConfigError, DataError, nearest
from i2i_core.fields import Needs
from i2i_core.randomness import seed_from
from i2i_core.settings import from_dict, to_dict
from i2i_core.sizes import Resizing, Size, sides
from i2i_core.storage.remote import storage_of

Network = Literal["small", "resnet18"]
GRID = 16
"""Positions per side on which the small network works: images are cut into GRID x GRID patches, one position each."""
MOST_PATCH = 4
"""Pixels per side of the largest patch; images are judged at GRID to GRID * MOST_PATCH pixels."""
WIDTHS = (32, 48, 96, 128)
STRIDES = (1, 2, 1, 2)
BATCH = 64
LR: dict[Network, float] = {"small": 6e-3, "resnet18": 1e-3}
WEIGHT_DECAY = 0.02
SETTLING = 10
"""Batches that a ResNet's statistics are taken from in the end."""
LEAST_RESNET, MOST_RESNET = 64, 224
"""Pixels per side at which a ResNet judges: as images have, from this many to that many."""
SEEN = 100_000
"""Images seen in training, which bounds its time whatever the size of the data set."""
EPOCHS = 6
"""Passes over a small data set that are enough; fewer over one so large that they would be more than SEEN."""
MOST = 30_000
MOST_BYTES = 4 * 10**9
"""Training images held in memory, and what they may take."""


@dataclass(frozen=True)
class ClassifierInfo:
    """What a classifier is: the JSON beside its weights."""

    attributes: tuple[str, ...]
    exclusive: bool
    """Exactly one attribute each (softmax), instead of any of them (sigmoids)."""
    channels: int
    size: int
    """Pixels that images are resized to before they are judged."""
    data: str
    """Fingerprint of the data set it was trained on."""
    seed: int
    images: int = 0
    """Images seen in training."""
    held_out: str = ""
    """Split it was tested on; none: the data has but one."""
    held_out_images: int = 0
    accuracy: float = 0.0
    """Share of held-out real images with every attribute right."""
    accuracies: tuple[float, ...] = ()
    """Share of held-out real images with each attribute right."""
    network: Network = "small"
    """What it is made of; files that do not say are `small`."""
    resizing: Resizing = Resizing()
    """How its real images came to that size; files that do not say were stretched, bicubic."""


class Classifier(nn.Module):
    """Images (B, channels, H, W) of any size -> logits (B, A)."""

    def __init__(self, info: ClassifierInfo) -> None:
        super().__init__()
        self.info = info
        self.net = _resnet18(info) if info.network == "resnet18" else _small(info)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        size = (self.info.size, self.info.size)
        if x_BCHW.shape[-2:] != size:
            x_BCHW = F.interpolate(x_BCHW, size, mode="bicubic", antialias=True, align_corners=False)
        return self.net(x_BCHW)

    @torch.no_grad()
    def judge(self, x_BCHW: Tensor) -> Tensor:
        """(B, A) bool: the attributes it sees; where they exclude each other, the likeliest one.

        Raises:
            ConfigError: images of another number of channels.
        """
        self._check(x_BCHW.shape[1])
        weight = next(self.parameters())
        logits = self.eval()(x_BCHW.to(weight))
        return F.one_hot(logits.argmax(1), logits.shape[1]).bool() if self.info.exclusive else logits > 0

    def check(self, data: DataSet) -> None:
        """Raises ConfigError unless it can judge images of that data set."""
        self._check(data.manifest.fields["image"].channels)

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
        """Whether it is such a network, trained on that data set to judge images of that size, so resized."""
        wanted = (data.manifest.fingerprint, network, judged_size(image_size, network), resizing)
        return (self.info.data, self.info.network, self.info.size, self.info.resizing) == wanted

    def columns(self, names: Sequence[str]) -> list[int]:
        """Where attributes stand in what `judge` gives. Raises ConfigError when it does not know one."""
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
    """He et al. 2016, untrained; its first layer takes the channels there are."""
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
    """The side at which images of that size are judged. The small network: whole patches, GRID to GRID * MOST_PATCH
    pixels; a ResNet: the shorter side, LEAST_RESNET to MOST_RESNET pixels (smaller images are enlarged).

    Raises:
        ConfigError: too small to judge.
    """
    side = min(sides(image_size))
    if side < GRID:
        raise ConfigError("--train-classifier", f"images of {side} px", f"{GRID} px or more", "Use larger images.")
    if network == "resnet18":
        return min(max(side, LEAST_RESNET), MOST_RESNET)
    return GRID * min(side // GRID, MOST_PATCH)


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
    progress: Callable[[int], None] | None = None,
) -> Classifier:
    """A classifier of all the data set's attributes, or of its two domains, trained on real images of a split and
    tested on held-out ones.

    Binary cross entropy per attribute, or cross entropy where they are classes; AdamW with one cycle
    of the learning rate; images as they are, for a flip could change a label. The same arguments give the same
    classifier on equal hardware (a ResNet on a GPU: up to the order of its sums).

    Args:
        image_size: of the images to judge; see `judged_size`.
        network: `resnet18`, or `small`, which is fast on two cores.
        resizing: how real images come to their size: as in the training of the method to judge.
        seen: images in all, over as many epochs as that takes.
        progress: called with the number of images after each step.

    Raises:
        DataError: the data set has neither labels nor domains, or no such split.
        ConfigError: images too small.
    """
    manifest, device = data.manifest, device or torch.device("cpu")
    two = len(manifest.domains) == 2
    if not two and not manifest.attributes:
        fix = "Leave --train-classifier out."
        expected = "labelled or unpaired ones, to train a classifier on"
        raise DataError(f"data {data.uri}", f"{manifest.kind} samples", expected, fix)
    size, channels = judged_size(image_size, network), manifest.fields["image"].channels
    names, exclusive = manifest.attributes, manifest.exclusive
    if two:
        names, exclusive = manifest.domains, True
    info = ClassifierInfo(
        names, exclusive, channels, size, manifest.fingerprint, seed, seen, network=network, resizing=resizing
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_from("classifier", seed))
        classifier = Classifier(info).to(device)
    x, y = _in_memory(data, split, size, resizing)
    _fit(classifier, x.to(device), y.to(device), seen, seed, progress)
    held_out = next((s for s in ("val", "test") if s in manifest.splits and s != split), "")
    if held_out:
        classifier.info = _tested(classifier, held_out, *_in_memory(data, held_out, size, resizing))
    return classifier


def _in_memory(data: DataSet, split: str, size: int, resizing: Resizing) -> tuple[Tensor, Tensor]:
    """Images (N, C, size, size) as float16, and labels (N, A) as float32; of unpaired data, as many of each domain."""
    manifest = data.manifest
    two = len(manifest.domains) == 2
    fields = ("a", "b") if two else ("image",)
    shape = (manifest.fields["image"].channels, size, size)
    most = min(MOST, MOST_BYTES // (2 * len(fields) * math.prod(shape)))
    most = min(most, *(data.shard_set(split, domain).samples for domain in manifest.domains))
    images, labels, n = torch.empty((len(fields), most, *shape), dtype=torch.float16), [], 0
    needs = Needs({"image": "image"})
    for batch in in_order(data, split, size, most=most, size=256, resizing=resizing, needs=needs):
        for i, name in enumerate(fields):
            images[i, n : n + len(batch.keys)] = batch[name]
        labels.append(torch.empty(0) if two else batch["labels"])
        n += len(batch.keys)
    if not n:
        raise DataError(f"data {data.uri}", f"no image of {split} that can be read", "some", "Shard the images again.")
    x = images[:, :n].flatten(0, 1)
    return x, torch.eye(2).repeat_interleave(n, dim=0) if two else torch.cat(labels).float()


def _fit(
    classifier: Classifier, x: Tensor, y: Tensor, seen: int, seed: int, progress: Callable[[int], None] | None
) -> None:
    steps = max(1, seen // BATCH)
    lr = LR[classifier.info.network]
    optimiser = torch.optim.AdamW(classifier.parameters(), lr, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, lr, total_steps=steps)
    classifier.train().to(memory_format=torch.channels_last)
    for rows in _rows(len(x), steps, seed):
        logits, truth = classifier(x[rows].float().to(memory_format=torch.channels_last)), y[rows]
        if classifier.info.exclusive:
            loss = F.cross_entropy(logits, truth.argmax(1))
        else:
            loss = F.binary_cross_entropy_with_logits(logits, truth)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if progress:
            progress(len(rows))
    if classifier.info.network == "resnet18":
        _settle(classifier, x, seed)
    classifier.eval().to(memory_format=torch.contiguous_format)


@torch.no_grad()
def _settle(classifier: Classifier, x: Tensor, seed: int) -> None:
    """Batch norms' statistics of the weights as they ended: means over SETTLING batches. What was followed in a short
    training is of weights that are gone, and through the layers of a ResNet such errors add up."""
    for module in classifier.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # the mean of all
    for rows in _rows(len(x), SETTLING, seed):
        classifier(x[rows].float().to(memory_format=torch.channels_last))


def _rows(n: int, steps: int, seed: int) -> Iterable[Tensor]:
    """Batches of row numbers: one seeded permutation after the other."""
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
    """Writes `PATH` (weights, safetensors) and `PATH.json` (what it is)."""
    tensors = {name: tensor.cpu().contiguous() for name, tensor in classifier.state_dict().items()}
    fs, place = storage_of(path)
    fs.makedirs(place.rpartition("/")[0], exist_ok=True)
    fs.pipe_file(place, safetensors_bytes(tensors))
    fs.pipe_file(f"{place}.json", (json.dumps(to_dict(classifier.info), indent=1) + "\n").encode())


def has_classifier(path: str) -> bool:
    """Whether a classifier was saved there."""
    fs, place = storage_of(path)
    return bool(fs.exists(place) and fs.exists(f"{place}.json"))


def load_classifier(path: str) -> Classifier:
    """The classifier that `save_classifier` wrote.

    Raises:
        ConfigError: nothing there, or files that are no classifier.
    """
    fix = "Name a file that evaluate.py wrote, or train one with --train-classifier."
    if not has_classifier(path):
        raise ConfigError("--classifier", f"no {path} with {path}.json beside it", "a saved classifier", fix)
    fs, place = storage_of(path)
    try:
        info = from_dict(ClassifierInfo, json.loads(fs.cat_file(f"{place}.json")), f"{path}.json")
        classifier = Classifier(info)
        classifier.load_state_dict(safetensors_load(fs.cat_file(place)))
    except (ValueError, RuntimeError, TypeError, SafetensorError) as error:
        raise ConfigError("--classifier", f"{path}, which is none ({error})", "a saved classifier", fix) from None
    return classifier.eval()
