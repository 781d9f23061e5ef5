"""Compare what an answer returned with what is right, and write both as words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

TOLERANCE = 1e-4
SHOWN = 160  # characters of a value that a message quotes


def shortened(text: str) -> str:
    """Cut a text to the length that a message may quote."""
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def quoted(value: Any) -> str:
    """Write a value as a message shows it: rounded, on one line, not too long."""
    try:
        return _quoted(value)
    except Exception:
        return f"a {type(value).__name__}"


def _quoted(value: Any) -> str:
    if isinstance(value, torch.Tensor) and value.numel() == 1 and value.ndim == 0:
        value = value.item()
    if isinstance(value, torch.Tensor):
        listed = value.detach().flatten()[:6].tolist()
        dots = ", …" if value.numel() > 6 else ""
        numbers = ", ".join(quoted(number) for number in listed)
        return shortened(f"a tensor {tuple(value.shape)} of [{numbers}{dots}]")
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, (list, tuple)) and len(value) <= 20:
        inner = ", ".join(quoted(item) for item in value)
        return shortened(f"[{inner}]" if isinstance(value, list) else f"({inner})")
    return shortened(" ".join(repr(value).split()))


def difference(found: Any, expected: Any) -> str:
    """Say how two values differ, or nothing where they agree up to rounding.

    Tensors, arrays and numbers are compared by value; lists and tuples item by item.
    """
    try:
        return _difference(found, expected)
    except Exception as error:
        kind = type(error).__name__
        return f"found something that cannot be compared ({kind}): {quoted(found)}"


def _difference(found: Any, expected: Any) -> str:
    if isinstance(expected, (torch.Tensor, float)):
        return _numbers_differ(found, expected)
    if isinstance(expected, (list, tuple)):
        return _items_differ(found, expected)
    if isinstance(expected, Mapping):
        return _entries_differ(found, expected)
    if isinstance(expected, (set, frozenset)) and isinstance(found, (list, tuple)):
        found = set(found)
    if isinstance(found, (torch.Tensor, np.generic)):
        found = found.item()
    return "" if found == expected else _both(found, expected)


def _both(found: Any, expected: Any) -> str:
    return f"found {quoted(found)}, expected {quoted(expected)}"


def _numbers_differ(found: Any, expected: Any) -> str:
    right = torch.as_tensor(expected).detach()
    numeric = (torch.Tensor, np.ndarray, np.generic, float, int, list, tuple)
    if not isinstance(found, numeric):
        kind = type(found).__name__
        return f"found a {kind} ({quoted(found)}), expected {quoted(expected)}"
    values = torch.as_tensor(found).detach().cpu()
    if values.shape != right.shape:
        return f"found shape {tuple(values.shape)}, expected shape {tuple(right.shape)}"
    values, right = values.double(), right.double()
    if not torch.isfinite(values).all() and torch.isfinite(right).all():
        return f"found what is not finite, {quoted(found)}, expected {quoted(expected)}"
    close = torch.allclose(
        values, right, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True
    )
    return "" if close else _both(found, expected)


def _items_differ(found: Any, expected: Sequence[Any]) -> str:
    array = isinstance(found, (torch.Tensor, np.ndarray)) and found.ndim > 0
    if not array and not isinstance(found, (list, tuple)):
        return f"found a {type(found).__name__}, expected {quoted(expected)}"
    if len(found) != len(expected):
        return (
            f"found {len(found)} items, expected {len(expected)}: "
            f"{quoted(found)} against {quoted(expected)}"
        )
    items = found.tolist() if array else found
    pairs = zip(items, expected, strict=True)
    for place, (one, other) in enumerate(pairs):
        problem = _difference(one, other)
        if problem:
            return f"item {place}: {problem}"
    return ""


def _entries_differ(found: Any, expected: Mapping[Any, Any]) -> str:
    if not isinstance(found, Mapping):
        return f"found a {type(found).__name__}, expected a dict"
    if set(found) != set(expected):
        return (
            f"found the keys {quoted(list(found))}, expected {quoted(list(expected))}"
        )
    for key, value in expected.items():
        problem = _difference(found[key], value)
        if problem:
            return f"{key!r}: {problem}"
    return ""
