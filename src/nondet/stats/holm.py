"""Several tests at once."""

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for several tests, in the same order.

    If those at most `level` count as findings, at most a share `level` of all studies has a false one, however the
    tests depend on each other. The k-th smallest of m is multiplied by m - k + 1; it is at least as large as the one
    before it, and at most 1.
    Source: Holm 1979, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 6.
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted
