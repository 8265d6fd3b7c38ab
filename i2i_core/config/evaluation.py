"""Declare what to measure and how networks make images: sections that train.py, evaluate.py and translate.py share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from i2i_core.settings import check_at_least, check_choice, check_numbers, flag, setting
from i2i_core.sizes import MOST_SIDE
from i2i_core.storage.paths import absolute


@dataclass(frozen=True)
class AtTestOptions:
    """Choose how networks with batch norm or dropout make images: in translations, evaluations and grids."""

    test_norm: Literal["auto", "image", "running"] = setting("auto", resume="free")
    """Statistics of batch norm when networks make images. image normalises each image by its own, as training does with
    one image per worker; running uses the running statistics of training. auto takes the run's own setting; without
    one, image if at least half of the training images were normalised alone (one image per worker and micro-batch),
    else running."""
    test_dropout: Literal["auto", "on", "off"] = setting("auto", resume="free")
    """Dropout when networks make images, with a mask seeded by each image's name. auto takes the run's own setting;
    without one, on for methods whose noise is dropout (pix2pix), off for the others."""

    def __post_init__(self) -> None:
        check_choice(self, "test_norm", ("auto", "image", "running"))
        check_choice(self, "test_dropout", ("auto", "on", "off"))


@dataclass(frozen=True)
class EvaluationConfig:
    """Choose what to measure, and the files of the networks that judge."""

    metrics: tuple[str, ...] = setting((), resume="free")
    """Metrics or families to measure besides `basic`, which is always measured (docs/evaluation.md); a metric brings
    its family."""
    classifier: str = setting("", resume="free")
    """File of a classifier of real images, which evaluate.py --train-classifier makes; it judges translations of
    labelled or unpaired data."""
    inception: str = setting("", resume="free")
    """File of the Inception weights for FID, KID and Inception Score. Without it, the standard weights are fetched
    once."""
    lpips_network: Literal["alex", "vgg"] = setting("alex", resume="free")
    """Network of LPIPS, AlexNet or VGG; numbers of the two cannot be compared."""
    lpips_weights: str = setting("", resume="free")
    """File of that network's ImageNet weights, named as in torchvision. Without it, they are fetched once."""
    segmentation: str = setting("", resume="free")
    """File of a torchvision segmentation network that reads photos, for the metric `fcn` of label -> photo."""
    palette: str = setting("cityscapes", resume="free")
    """Colours of the classes in label images: cityscapes, or a JSON file (docs/evaluation.md)."""
    label_side: Literal["auto", "a", "b"] = setting("auto", resume="free")
    """Side of the pairs that holds the label images of `fcn`; auto takes the side whose pixels lie near the palette's
    colours."""
    segmentation_height: int = setting(0, resume="free", most=MOST_SIDE)
    """Height in pixels to resize photos to for the segmentation network; 0 leaves their size."""
    kid_subsets: int = setting(100, resume="free", most=100_000)
    """Random subsets over which KID is averaged."""
    kid_subset_size: int = setting(1000, resume="free", most=10_000)
    """Images in each subset of KID; at most as many as there are."""
    is_splits: int = setting(10, resume="free", most=10_000)
    """Parts of the images over which Inception Score is averaged."""
    statistics: str = setting("", resume="free")
    """Folder that keeps features of real images for the next evaluation. Without it, the user's cache keeps them."""

    def __post_init__(self) -> None:
        check_numbers(self)
        check_at_least(self, 1, "kid_subsets", "is_splits")
        check_at_least(self, 2, "kid_subset_size")
        check_at_least(self, 0, "segmentation_height")
        check_choice(self, "lpips_network", ("alex", "vgg"))
        check_choice(self, "label_side", ("auto", "a", "b"))


def located(evaluation: EvaluationConfig) -> EvaluationConfig:
    """Make the paths of files absolute, since workers have folders of their own. Raise ConfigError as `absolute`."""
    names = ["classifier", "inception", "lpips_weights", "segmentation", "statistics"]
    names += ["palette"] if evaluation.palette != "cityscapes" else []
    files: dict[str, Any] = {name: absolute(getattr(evaluation, name), flag(name)) for name in names}
    return replace(evaluation, **files)
