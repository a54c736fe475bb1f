"""From prepared crops and a recipe to trained weights."""
