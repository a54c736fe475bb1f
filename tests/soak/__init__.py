"""Longer tests of a whole service: random mutations of what it reads (`fuzz`), and an hour of mixed traffic (`soak`)."""
