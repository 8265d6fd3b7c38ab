"""Know the folders that sets of label maps come in: Cityscapes, ADE20K, COCO-Stuff, and those made for pix2pixHD.

Each is a set of fields with patterns, as `--layout fields` takes them, and the number of its classes. Whatever a flag
declares (`--classes`, `--ignore`, `--palette`) takes the place of what is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from i2i_core.data.folders.declared import Declared, FieldOptions, declared
from i2i_core.data.folders.listing import Listing, some
from i2i_core.errors import DataError

PHOTOS = ("jpg", "png", "jpeg", "JPG", "JPEG")


@dataclass(frozen=True)
class Known:
    """Describe a layout: patterns of its photos, its label maps, and its instance maps, which may be missing.

    A pattern without an ending stands for one with any ending of photos.
    """

    looks: str
    image: tuple[str, ...]
    labels: tuple[str, ...]
    instances: tuple[str, ...]
    classes: int
    ignore: int | None = None
    palette: str = ""


_OF_PIX2PIXHD = (("{split}_img/{key}",), ("{split}_label/{key}.png",), ("{split}_inst/{key}.png",))
KNOWN = {
    "cityscapes": Known(
        "Cityscapes as it is downloaded: leftImg8bit/SPLIT/CITY/*_leftImg8bit.png, and "
        "gtFine/SPLIT/CITY/*_gtFine_labelIds.png and *_gtFine_instanceIds.png",
        ("leftImg8bit/{split}/{key}_leftImg8bit",),
        ("gtFine/{split}/{key}_gtFine_labelIds.png",),
        ("gtFine/{split}/{key}_gtFine_instanceIds.png",),
        35, palette="cityscapes",
    ),
    "ade20k": Known(
        "ADE20K's scene parsing set: images/training/*.jpg and annotations/training/*.png, and validation",
        ("images/{split}/{key}",), ("annotations/{split}/{key}.png",), (), 151,
    ),
    "coco-stuff": Known(
        "COCO-Stuff as pixel maps: train_img/*.jpg, train_label/*.png and perhaps train_inst/*.png, and val_*",
        *_OF_PIX2PIXHD, 182, ignore=255,
    ),
    "pix2pixhd": Known(
        "folders made for pix2pixHD: train_img, train_label and perhaps train_inst, and test_*",
        *_OF_PIX2PIXHD, 35,
    ),
}  # fmt: skip
"""The layouts by name. Ids of ADE20K are taken as they are: 0 is unknown, and a class of its own."""


def fields_of(layout: str, listing: Listing, given: FieldOptions) -> FieldOptions:
    """Declare the fields of a layout by the files that are there.

    Args:
        layout: of KNOWN.
        listing: the input.
        given: what flags declare besides.

    Raises:
        DataError: no photo or no label map is where the layout has them.
    """
    known = KNOWN[layout]
    found = {
        "image": _pattern(known.image, listing, "image"),
        "labels": _pattern(known.labels, listing, "labels:classes"),
        "instances": _pattern(known.instances, listing, "instances:instances"),
    }
    for name in ("image", "labels"):
        if not found[name]:
            what = "photo" if name == "image" else "label map"
            missing = f"no {what} among {len(listing.files)} files ({some(sorted(listing.files))})"
            fix = "Name the folder that holds these folders; for other names, --layout fields takes patterns."
            raise DataError(f"--layout {layout} --input {listing.uri}", missing, known.looks, fix)
    roles = {"image": "image", "labels": "labels:classes", "instances": "instances:instances"}
    palette = given.palette or ((f"labels={known.palette}",) if known.palette and not given.classes else ())
    return replace(
        given,
        field=tuple(f"{roles[name]}={pattern}" for name, pattern in found.items() if pattern),
        classes=given.classes or (() if palette else (f"labels={known.classes}",)),
        ignore=given.ignore or ((f"labels={known.ignore}",) if known.ignore is not None else ()),
        palette=palette,
    )


def _pattern(patterns: Sequence[str], listing: Listing, field: str) -> str:
    """Choose the pattern, with an ending, that fits the most files; "" where none fits."""
    tried = [p for pattern in patterns for p in (_ended(pattern) if "." not in pattern else [pattern])]
    counts = {pattern: _fitting(f"{field}={pattern}", listing) for pattern in tried}
    best = max(tried, key=lambda pattern: counts[pattern], default="")
    return best if counts.get(best) else ""


def _ended(pattern: str) -> list[str]:
    return [f"{pattern}.{ending}" for ending in PHOTOS]


def _fitting(text: str, listing: Listing) -> int:
    looks = _known_pattern(text).regex
    return sum(1 for path in listing.files if looks.fullmatch(path))


def _known_pattern(text: str) -> Declared:
    classes = ("2",) if ":classes" in text else ()
    return declared(FieldOptions(field=(text,), classes=classes))[0]
