"""How far the answers of a runtime may lie from an exported network's golden ones."""

from __future__ import annotations

from typing import Final

TOLERANCE: Final = {
    "f32": {"expectation": 0.05, "other": 0.005},
    "bf16": {"expectation": 1.0, "other": 0.05},
    "f16": {"expectation": 1.0, "other": 0.05},
    "int8": {"expectation": 0.5, "other": 0.02},
}
"""By precision, of expectations in steps (see `service.models.manifest.Tolerance`) and of every other output."""
