"""What every answer has in common: it is frozen, and a field that a newer service adds is left out of account."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Answer(BaseModel):
    """A part of an answer of the service."""

    model_config = ConfigDict(frozen=True, extra="ignore")
