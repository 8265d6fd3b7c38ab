"""A small classifier of real images, of labels or of two domains, which judges whether translated ones took on their
target.

x_BCHW images in [-1, 1]; y_BA labels, 0 or 1 per attribute.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load as safetensors_load
from safetensors.torch import save as safetensors_bytes
from torch import Tensor, nn

from i2i_core.data.batch import seed_from
from i2i_core.data.manifest import DataSet
from i2i_core.data.stream import in_order
from i2i_core.data.transforms import Size, sides
from i2i_core.errors import ConfigError, DataError, nearest
from i2i_core.settings import from_dict, to_dict
from i2i_core.storage import storage_of

GRID = 16
"""Positions per side on which the network works: images are cut into GRID x GRID patches, one position each."""
MOST_PATCH = 4
"""Pixels per side of the largest patch; images are judged at GRID to GRID * MOST_PATCH pixels."""
WIDTHS = (32, 48, 96, 128)
STRIDES = (1, 2, 1, 2)
BATCH = 64
LR = 6e-3
SEEN = 100_000
"""Images seen in training, which bounds its time whatever the size of the data set."""
EPOCHS = 6
"""Passes over a small data set that are enough; fewer over one so large that they would be more than SEEN."""
MOST = 30_000
"""Training images held in memory."""


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


class Classifier(nn.Module):
    """Images (B, channels, H, W) of any size -> logits (B, A)."""

    def __init__(self, info: ClassifierInfo) -> None:
        super().__init__()
        self.info = info
        patch = info.size // GRID
        inputs = (info.channels * patch**2, *WIDTHS)
        blocks = [_block(i, o, s) for i, o, s in zip(inputs, WIDTHS, STRIDES, strict=False)]
        head = nn.Linear(WIDTHS[-1], len(info.attributes))
        self.net = nn.Sequential(nn.PixelUnshuffle(patch), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)

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
        if x_BCHW.shape[1] != self.info.channels:
            found, expected = f"images of {x_BCHW.shape[1]} channels", f"{self.info.channels}, as it was trained on"
            raise ConfigError("--classifier", found, expected, "Train one on this data: --train-classifier.")
        weight = next(self.parameters())
        logits = self.eval()(x_BCHW.to(weight))
        return F.one_hot(logits.argmax(1), logits.shape[1]).bool() if self.info.exclusive else logits > 0

    def fits(self, data: DataSet, image_size: Size) -> bool:
        """Whether it was trained on that data set, to judge images of that size."""
        return self.info.data == data.manifest.fingerprint and self.info.size == judged_size(image_size)

    def columns(self, names: Sequence[str]) -> list[int]:
        """Where attributes stand in what `judge` gives. Raises ConfigError when it does not know one."""
        for name in names:
            if name not in self.info.attributes:
                found = f"a classifier of {' '.join(self.info.attributes)}"
                fix = f"Train one on this data: --train-classifier. {nearest(name, self.info.attributes)}"
                raise ConfigError("--classifier", found, f"one that knows {name!r}", fix)
        return [self.info.attributes.index(name) for name in names]


def _block(inputs: int, outputs: int, stride: int) -> nn.Module:
    conv = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


def judged_size(image_size: Size) -> int:
    """The side at which images of that size are judged: whole patches, GRID to GRID * MOST_PATCH pixels.

    Raises:
        ConfigError: too small to judge.
    """
    side = min(sides(image_size))
    if side < GRID:
        raise ConfigError("--train-classifier", f"images of {side} px", f"{GRID} px or more", "Use larger images.")
    return GRID * min(side // GRID, MOST_PATCH)


def train_classifier(
    data: DataSet,
    *,
    image_size: Size,
    split: str = "train",
    seen: int = SEEN,
    seed: int = 0,
    device: torch.device | None = None,
    progress: Callable[[int], None] | None = None,
) -> Classifier:
    """A classifier of all the data set's attributes, or of its two domains, trained on real images of a split and
    tested on held-out ones.

    Binary cross entropy per attribute, or cross entropy where they are classes; AdamW with one cycle
    of the learning rate. The same arguments give the same classifier on equal hardware.

    Args:
        image_size: of the images to judge; see `judged_size`.
        seen: images in all, over as many epochs as that takes.
        progress: called with the number of images after each step.

    Raises:
        DataError: the data set has neither labels nor domains, or no such split.
        ConfigError: images too small.
    """
    manifest, device = data.manifest, device or torch.device("cpu")
    if manifest.kind == "paired":
        fix = "Leave --train-classifier out."
        expected = "labelled or unpaired ones, to train a classifier on"
        raise DataError(f"data {data.uri}", f"{manifest.kind} samples", expected, fix)
    size, channels = judged_size(image_size), manifest.fields["image"].channels
    names, exclusive = manifest.attributes, manifest.exclusive
    if manifest.kind == "unpaired":
        names, exclusive = manifest.domains, True
    info = ClassifierInfo(names, exclusive, channels, size, manifest.fingerprint, seed, seen)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_from("classifier", seed))
        classifier = Classifier(info).to(device)
    x, y = _in_memory(data, split, size, MOST)
    _fit(classifier, x.to(device), y.to(device), seen, seed, progress)
    held_out = next((s for s in ("val", "test") if s in manifest.splits and s != split), "")
    if held_out:
        classifier.info = _tested(classifier, held_out, *_in_memory(data, held_out, size, MOST))
    return classifier


def _in_memory(data: DataSet, split: str, size: int, most: int) -> tuple[Tensor, Tensor]:
    """Images (N, C, size, size) as float16, and labels (N, A) as float32; of unpaired data, as many of each domain."""
    batches = list(in_order(data, split, size, most=most, size=256))
    if data.manifest.kind == "unpaired":
        x = torch.cat([batch[domain].half() for domain in ("a", "b") for batch in batches])
        return x, torch.eye(2).repeat_interleave(len(x) // 2, dim=0)
    x = torch.cat([batch["image"].half() for batch in batches])
    return x, torch.cat([batch["labels"] for batch in batches]).float()


def _fit(
    classifier: Classifier, x: Tensor, y: Tensor, seen: int, seed: int, progress: Callable[[int], None] | None
) -> None:
    steps = max(1, seen // BATCH)
    optimiser = torch.optim.AdamW(classifier.parameters(), LR, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LR, total_steps=steps)
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
    classifier.eval().to(memory_format=torch.contiguous_format)


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
