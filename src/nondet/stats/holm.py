"""Several tests at once."""

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for being several, in their order: of those at most `level`, some are false in at most `level`
    of all studies, however the tests depend on each other.

    The k-th smallest of m is multiplied by m - k + 1, and is never smaller than the one before it, nor above 1.
    Source: Holm 1979, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 6.
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted
