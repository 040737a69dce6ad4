"""What exercises are checked with: one module a chapter, and the means to swap your own functions in.

`from bertlearn.course.checks import attention as check`, then `check.softmax(softmax)`.
"""

from bertlearn.course.exercise import Exercise, Result, Wrong
from bertlearn.course.swap import Comparison, compare_layers, use

__all__ = ["Comparison", "Exercise", "Result", "Wrong", "compare_layers", "use"]
