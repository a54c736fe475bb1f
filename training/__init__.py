"""Training: from a folder of labelled pictures to a model in the store."""
