"""`make bench`: this checkout, an earlier commit and the published stack, side by side over HTTP in one run."""
