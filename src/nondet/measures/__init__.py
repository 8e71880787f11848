"""The measures of a set of runs, as pure functions of numpy arrays.

Outputs are logits with axes `(N, n, c)` = (runs, examples, classes); labels are `(n,)` integers in `[0, c)`.
"""

from nondet.measures.variance import accuracy_variance, expected_variance
from nondet.stats.values import sd, sd_error

__all__ = ["accuracy_variance", "expected_variance", "sd", "sd_error"]
