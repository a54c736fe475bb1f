"""Names for the arrays that travel between the parts."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
"""A picture, RGB [height, width, 3], or a batch of them, values from 0 to 255."""
Floats = npt.NDArray[np.float32]
"""What networks take and answer."""
Doubles = npt.NDArray[np.float64]
"""What statistics and geometry are computed in."""
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
