"""Decodes damaged images of every format and depth, for the eye and exactly, each an array or a ValueError.

    python -m tests.support.fuzz_images NOTE SEED CASES [FIRST]

A process of its own, which imports no torch, and may be killed by what it decodes. The number of each case is written
to the file NOTE before it is decoded; case N of a seed is always the same, so FIRST = N and CASES = 1 repeat it. Prints
a JSON object: counts by format, what else was raised, what was imported, memory.
"""

from __future__ import annotations

import json
import random
import re
import resource
import struct
import sys
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

from i2i_core.images.codec import ImageOptions, decode_picture, prepare
from i2i_core.images.exact import ids_of, read_exact, wide_ids

from .pictures import SIGNATURE, chunk, peak, samples

MEMORY = 2 << 30
"""Bytes of address space beyond what the process has when it begins."""
SECONDS = 30
"""Of CPU, for a case."""
_SPECIAL = (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\0\0\xff\xff", b"\1\0\0\0")


def chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """Name and content of the chunks of a healthy PNG."""
    out, at = [], len(SIGNATURE)
    while at < len(data):
        (size,) = struct.unpack_from(">I", data, at)
        out.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
        at += size + 12
    return out


def damaged(data: bytes, r: random.Random, others: list[bytes]) -> bytes:
    """Bytes changed, cut out, doubled, replaced by another file's, or missing at the end."""
    b = bytearray(data)
    for _ in range(r.choice([1, 1, 1, 2, 4, 16])):
        at = r.randrange(max(1, min(len(b), r.choice([64, 64, 400, 10**9]))))
        how = r.random()
        if how < 0.45:
            b[at : at + 1] = bytes([r.randrange(256)])
        elif how < 0.65:
            b[at : at + 4] = r.choice(_SPECIAL)
        elif how < 0.75:
            del b[at : at + r.randrange(1, 40)]
        elif how < 0.85:
            b[at:at] = b[at : at + r.randrange(1, 40)]
        elif how < 0.95:
            other = r.choice(others)
            start = r.randrange(len(other))
            b[at : at + 8] = other[start : start + r.randrange(1, 40)]
        else:
            del b[at:]
    return bytes(b)


def damaged_png(data: bytes, r: random.Random, others: list[bytes]) -> bytes:
    """Damage under right checksums: in a chunk, in the filtered rows, or in the order of the chunks."""
    parts = chunks(data)
    which = r.randrange(len(parts))
    name, content = parts[which]
    how = r.random()
    if name == b"IDAT" and how < 0.5:
        parts[which] = name, zlib.compress(damaged(zlib.decompress(content), r, others))
    elif name == b"IHDR" and how < 0.9:
        at = r.choice([3, 3, 7, 7, 8, 9, 12, 10, 0, 4])
        parts[which] = name, content[:at] + bytes([r.choice([0, 1, 2, 4, 6, 8, 12, 13, 16, 255])]) + content[at + 1 :]
    elif how < 0.8:
        parts[which] = name, damaged(content, r, others)
    else:
        parts.insert(r.randrange(len(parts)), parts.pop(which))
    return SIGNATURE + b"".join(chunk(name, content) for name, content in parts)


def case(healthy: dict[str, tuple[str, bytes]], seed: int, number: int) -> tuple[str, str, bytes]:
    """Name of the healthy file, end of its name, damaged bytes."""
    r = random.Random(f"{seed}-{number}")
    name = r.choice(list(healthy))
    end, data = healthy[name]
    others = [data for _, data in healthy.values()]
    made = damaged_png if data.startswith(SIGNATURE) and r.random() < 0.7 else damaged
    return name, r.choice(["tga", "npy", "png"]) if r.random() < 0.05 else end, made(data, r, others)


def one(end: str, data: bytes) -> str:
    try:
        picture = decode_picture(data, end)
        if picture.pixels.size < 10**6:
            prepare(picture, ImageOptions(load_size=8))
        return "array"
    except ValueError:
        return "ValueError"
    except BaseException as error:
        return f"{type(error).__name__}: {str(error)[:80]}"


def exactly(end: str, data: bytes) -> str:
    """The same bytes read as ids and as numbers."""
    try:
        x = read_exact(data, end)
        wide_ids(x) if x.shape[2] in (3, 4) else ids_of(x)
        return "array"
    except ValueError:
        return "ValueError"
    except BaseException as error:
        return f"read exactly, {type(error).__name__}: {str(error)[:80]}"


def main(note: str, seed: int, cases: int, first: int = 0) -> dict[str, Any]:
    healthy = samples()
    pages = int(re.search(r"VmSize:\s+(\d+)", Path("/proc/self/status").read_text())[1]) << 10  # type: ignore[index]
    resource.setrlimit(resource.RLIMIT_AS, (pages + MEMORY, pages + MEMORY))
    before = peak()
    seen: Counter[str] = Counter()
    other: dict[str, str] = {}
    with Path(note).open("w") as told:
        for number in range(first, first + cases):
            told.seek(0)
            told.write(f"{number:<12}")
            told.flush()
            name, end, data = case(healthy, seed, number)
            used = int(resource.getrusage(resource.RUSAGE_SELF).ru_utime) + SECONDS
            resource.setrlimit(resource.RLIMIT_CPU, (used, resource.RLIM_INFINITY))
            came = one(end, data)
            seen[f"{name.split()[0]} {came}"] += 1
            for what in (came, exactly(end, data)):
                if what not in ("array", "ValueError"):
                    other[f"case {number} of seed {seed}, {name}"] = what
    imported = [name for name in ("torch", "torchvision", "ray") if name in sys.modules]
    return {"seen": seen, "other": other, "imported": imported, "MiB": (peak() - before) >> 20}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], *map(int, sys.argv[2:]))))
