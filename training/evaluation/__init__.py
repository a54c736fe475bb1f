"""A model measured through the service's own answers, and the pages that say how good it is."""
