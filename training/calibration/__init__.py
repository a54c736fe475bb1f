"""Raw outputs of validation pictures to a calibration: temperatures, thresholds, intervals, and constants of tracks."""
