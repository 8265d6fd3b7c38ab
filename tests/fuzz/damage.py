"""Damages bytes: bits, lengths and values of JSON changed, parts cut out, doubled or exchanged, nasty words put in.

Case N of a seed is always the same.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from ..support.fuzz_images import damaged

WORDS = (
    *(b"NaN", b"-Infinity", b"1e999", b"-1", b"0", b"1" + b"0" * 30, b"9" * 5000, b"-0.0", b"0x10", b"null", b"true"),
    *(b"\0", b"\n", b"\r\n", b"\t", b"\x1b[2J", b"\xff\xfe", b"\xed\xa0\x80", b"\\ud800", b"\\u0000", b"\xe2\x80\xae"),
    *(
        b"../",
        b"/etc/passwd",
        b"a" * 300,
        b"[" * 2000,
        b'{"a":' * 2000,
        b'"',
        b"'",
        b"{",
        b"}",
        b"[]",
        b",",
        b":",
        b"=",
    ),
    *(b"--", b"-", b"*a", b"&a", b"!!python/object:os.system", b"<<", b"%", b"auto", b"none", b"1:2", b"inf", b"\\"),
)
"""Words that readers of text stumble over."""
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 10**9, 2**31, 2**63, 10**30, -(10**30), 0.5, 1e308, float("nan"), float("inf")),
    *(
        "",
        "a",
        "../a",
        "/a",
        "s" * 300,
        "\x00",
        "\x1b[2J",
        "\ud800",
        "auto",
        "1",
        [],
        {},
        [[]],
        [None],
        [1, "a"],
        {"": 0},
    ),
)
"""Values of other kinds and sizes than any file has."""


def damage(data: bytes, r: random.Random, others: list[bytes]) -> bytes:
    """Damage the bytes of a healthy input in one of several ways."""
    how = r.random()
    if how < 0.5 and (made := damaged_json(data, r)) is not None:
        return made
    if how < 0.75:
        return damaged(data, r, others)
    b = bytearray(data)
    for _ in range(r.choice([1, 1, 2, 4])):
        at = r.randrange(len(b) + 1)
        b[at : at + r.choice([0, 0, 1, 4, 30])] = r.choice(WORDS)
    return bytes(b)


def damaged_json(data: bytes, r: random.Random) -> bytes | None:
    """Replace, remove, exchange or add values of JSON; None where the bytes hold none."""
    try:
        values = json.loads(data)
    except ValueError:
        return None
    for _ in range(r.choice([1, 1, 1, 2, 3])):
        places = list(places_of(values))
        if not places:
            break
        owner, key = r.choice(places)
        if (how := r.random()) < 0.6:
            owner[key] = deepcopy(r.choice(VALUES))
        elif how < 0.75:
            del owner[key]
        elif how < 0.9:
            other, name = r.choice(places)
            owner[key] = deepcopy(other[name])
        elif isinstance(owner, dict):
            owner[r.choice(["", "a", "../a", "x" * 300, "\n"])] = deepcopy(r.choice(VALUES))
        else:
            owner.insert(0, deepcopy(r.choice(VALUES)))
    return json.dumps(values).encode()


def places_of(value: Any) -> Iterator[tuple[Any, Any]]:
    """Give each place in nested values where one stands: what holds it, and by which name or number."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from places_of(value[key])
