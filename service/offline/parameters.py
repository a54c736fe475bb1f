"""What is requested of every photo: the parameters of `POST /predict`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from service.models.manifest import Attribute


@dataclass(frozen=True, slots=True)
class Parameters:
    """Parameters of a prediction.

    `attributes` names those that are answered, None for all. `max_faces` is the largest number of faces, and `min_confidence`
    their least confidence, 0.5 to 1; None leaves both to the service. `at_least` are ages, 1 to 99, whose probability is
    answered.
    """

    attributes: Sequence[str] | None = None
    max_faces: int | None = None
    min_confidence: float | None = None
    at_least: tuple[int, ...] = ()
    landmarks: bool = False
    distribution: bool = False

    def includes(self, attribute: str) -> bool:
        """Whether an attribute is requested.

        Args:
            attribute: Its name.

        Returns:
            True of every attribute where none is named.
        """
        return self.attributes is None or attribute in self.attributes

    def query(self) -> dict[str, str]:
        """Convert to the query of a request.

        Returns:
            Values by name; those that are left open are missing.
        """
        values: dict[str, Any] = {
            "attributes": None if self.attributes is None else ",".join(self.attributes),
            "max_faces": self.max_faces,
            "min_confidence": self.min_confidence,
            "landmarks": json.dumps(self.landmarks) if self.landmarks else None,
            "distribution": json.dumps(self.distribution) if self.distribution else None,
            "at_least": ",".join(map(str, self.at_least)) or None,
        }
        return {name: str(value) for name, value in values.items() if value is not None}


ParametersOf = Callable[[Sequence[Attribute]], Parameters]
"""The parameters for a model that declares these attributes, and is allowed to answer them."""
