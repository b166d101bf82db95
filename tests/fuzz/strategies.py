"""Owns what hostile input is made of."""

from __future__ import annotations

import itertools
import json
from typing import Any

from hypothesis import strategies as st

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=40)
"""Lone surrogates and NUL among it."""
NUMBERS = (
    st.integers()
    | st.sampled_from([0, -1, 2**31, 2**53, 2**63, 2**64, 10**30, -(2**63) - 1])
    | st.floats(allow_nan=False, allow_infinity=False)
)
"""Those that JSON has; what it has not is in `ODD_JSON`."""
SCALARS = st.none() | st.booleans() | NUMBERS | ANY_TEXT
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4), max_leaves=8
)

_ODD = (
    b"[" * 5000, b"[" * 20_000 + b"]" * 20_000, b'{"a":' * 5000 + b"1" + b"}" * 5000, b"NaN", b"Infinity", b"-Infinity",
    b"1" * 5000, b"1e999", b"-1e999", b"1e-999", b'"\\ud800"', b'"\\udfff\\ud800"', b'"\\u0000"', b'"\x00"', b'"\xff"',
    b"\xef\xbb\xbf{}", b"", b" ", b"null", b"true", b"{}", b"[]", b"[[]]", b"[{}]", b'"', b"{", b'{"a":1,"a":2}',
    b"[1,]", b"\x00", b"0123", b"-0", b".5", b"+1", b"'a'", b"/**/{}", b"{}{}", b"[" + b"{}," * 2000 + b"{}]",
)  # fmt: skip
ODD_JSON = st.sampled_from(_ODD)
"""What breaks parsers, JSON or not."""


@st.composite
def objects(draw: st.DrawFn, members: dict[str, st.SearchStrategy[Any]]) -> bytes:
    """The text of an object whose members come in any order, some of them twice, some raw, some not at all."""
    names = draw(st.lists(st.sampled_from(sorted(members)), max_size=len(members) + 2))
    parts = []
    for name in names:
        raw = draw(st.none() | ODD_JSON) if draw(st.integers(0, 7)) == 0 else None
        value = json.dumps(draw(members[name])).encode() if raw is None else raw
        parts.append(json.dumps(name).encode() + b":" + value)
    return b"{" + b",".join(parts) + b"}"


@st.composite
def mutated(draw: st.DrawFn, data: st.SearchStrategy[bytes]) -> bytes:
    """Bytes of which a few are taken away, put in, doubled or changed."""
    changed = bytearray(draw(data))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(changed)))
        end = min(len(changed), at + draw(st.sampled_from([0, 1, 2, 8, 100])))
        how = draw(st.sampled_from(["delete", "insert", "double", "replace"]))
        if how == "delete":
            del changed[at:end]
        elif how == "insert":
            changed[at:at] = draw(st.binary(max_size=8))
        elif how == "double":
            changed[at:at] = changed[at:end]
        else:
            changed[at:end] = draw(st.binary(min_size=end - at, max_size=end - at))
    return bytes(changed)


@st.composite
def cut(draw: st.DrawFn, data: st.SearchStrategy[bytes]) -> list[bytes]:
    """Bytes in up to four pieces."""
    whole = draw(data)
    places = sorted(draw(st.lists(st.integers(0, len(whole)), max_size=3)))
    edges = [0, *places, len(whole)]
    return [whole[start:end] for start, end in itertools.pairwise(edges)]
