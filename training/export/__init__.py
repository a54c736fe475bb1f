"""Trained weights to a model of the store."""
