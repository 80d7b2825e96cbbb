"""Values of keys as the labels along a dimension."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np


def one_type(values: list[Any]) -> list[Any]:
    """Values as one coordinate holds them: numbers, with NaN for None, or booleans; anything else as text."""
    if all(isinstance(value, bool) for value in values):
        return values
    if all(value is None or (isinstance(value, int | float) and not isinstance(value, bool)) for value in values):
        return [np.nan if value is None else value for value in values]
    return ["" if value is None else value if isinstance(value, str) else _text(value) for value in values]


def _text(value: Any, limit: int = 80) -> str:
    """A value as JSON, or the digest of a long one."""
    text = json.dumps(value)
    return text if len(text) <= limit else f"sha256:{hashlib.sha256(text.encode()).hexdigest()[:16]}"
