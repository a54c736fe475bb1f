"""Faces through time: detections to tracks, and many answers of one face to one."""
