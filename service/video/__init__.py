"""Films: faces followed through every frame and drawn."""
