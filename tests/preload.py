"""What a process has imported from which those of the tests of training are forked, and holds for good.

Its objects are kept from the garbage collector, which would write into each of them, and so give each fork a copy of all.
Nothing of the project is imported, whose imports are tested.
"""

import gc

import matplotlib.pyplot as plt
import pytest
import tensorflow as tf

__all__ = ["plt", "pytest", "tf"]

gc.collect()
gc.freeze()
