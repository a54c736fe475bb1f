"""Validation pictures made worse: what each condition costs, and from where on it is worth a warning."""
