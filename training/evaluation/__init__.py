"""A model measured through the service's own answers, and the pages that report how good it is."""
