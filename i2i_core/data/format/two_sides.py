"""Tell what images a data set of pairs was cut from: those that held A and B (`--layout ab`)."""

from __future__ import annotations

from i2i_core.data.format.manifest import Manifest
from i2i_core.sizes import Size, sides


def cut_from(manifest: Manifest, size: Size) -> tuple[str, tuple[int, ...]]:
    """Say how A and B lay in the images that a data set's pairs were cut from, and give those images' proportions.

    Args:
        size: of training images; it counts where the pairs have several sizes.

    Returns:
        `row` or `column`, and height and width; empty, and (), for other data sets.
    """
    layout = manifest.made_by.get("layout")
    if not isinstance(layout, dict) or layout.get("layout") != "ab":
        return "", ()
    stored = manifest.fields["a"]
    height, width = (stored.height, stored.width) if stored.height and stored.width else sides(size)
    return ("column", (2 * height, width)) if layout.get("stacked") else ("row", (height, 2 * width))
