"""Write parts of a page: escaped text, rows of a table, pictures within the page."""

from __future__ import annotations

import html
import io
from base64 import b64encode
from collections.abc import Iterable, Sequence
from typing import Any

from PIL import Image

from i2i_core.credentials import redacted
from i2i_core.images.codec import decode
from i2i_core.names import printable, printable_text


def escaped(value: Any) -> str:
    """Escape text for HTML, without the passwords of addresses in it."""
    return html.escape(printable_text(redacted(str(value))))


def cell_text(value: Any) -> str:
    """Format a value of a table."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else printable(str(value))


def table_rows(lines: Iterable[tuple[str, Sequence[Any]]]) -> str:
    """Write rows of a table, each with its class; numbers stand to the right. The class `head` is for heads."""
    written, heads = [], list[str]()
    for kind, cells in lines:
        tag = "th" if kind == "head" else "td"
        heads = [str(cell) for cell in cells] if kind == "head" else heads
        right = [' class="n"' if isinstance(value, int | float) else "" for value in cells]
        of = [f' data-of="{escaped(head)}"' if head and tag == "td" else "" for head in heads] or [""] * len(cells)
        each = zip(right, of, map(cell_text, cells), strict=False)
        found = [f"<{tag}{side}{head}>{escaped(text)}</{tag}>" for side, head, text in each]
        written.append(f'<tr class="{kind}">{"".join(found)}</tr>')
    return "\n".join(written)


def png_source(png: bytes) -> str:
    """Give the bytes of a PNG as the source of an image on a page."""
    return f"data:image/png;base64,{b64encode(png).decode()}"


def picture(png: bytes) -> Image.Image:
    """Decode a PNG file to RGB. Raises ValueError where it cannot be decoded."""
    pixels = decode(png, "png")
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).convert("RGB")


def jpeg_source(image: Image.Image, quality: int = 85) -> str:
    """Give a picture as the source of an image on a page, as JPEG."""
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return f"data:image/jpeg;base64,{b64encode(out.getvalue()).decode()}"
