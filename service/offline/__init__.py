"""Offline prediction: any number of photos, from folders, archives and buckets, to a table of their faces."""
