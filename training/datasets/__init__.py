"""Labelled pictures: how they are read, split, explored and prepared as crops."""
