"""What validation pictures say of raw outputs: temperatures, thresholds, intervals, and constants of tracks."""
