"""The document of a study of tracks, `tracks.json`."""

from __future__ import annotations

from typing import Final

from service.models.evaluation import TrackEvaluation
from service.models.manifest import TrackCalibration
from training.evaluation.documents import Served

TRACKS: Final = "tracks.json"


class TrackStudy(TrackEvaluation, Served):
    """What was fitted on all films of a model's predictions, and what was measured."""

    calibration: TrackCalibration
    """Fitted on all films."""

    @property
    def evaluation(self) -> TrackEvaluation:
        """What was measured, as it is recorded beside a model."""
        return TrackEvaluation(**{name: getattr(self, name) for name in TrackEvaluation.model_fields})
