"""How to cite a page: a sentence for the methods of a paper, and BibTeX."""

from __future__ import annotations

from collections.abc import Sequence

from nondet.version import __version__

PAPER = """@inproceedings{summers2021nondeterminism,
  author = {Summers, Cecilia and Dinneen, Michael J.},
  title = {Nondeterminism and Instability in Neural Network Optimization},
  booktitle = {Proceedings of the 38th International Conference on Machine Learning},
  year = {2021},
}"""


SOFTWARE = f"""@software{{nondet,
  author = {{{{The nondet developers}}}},
  title = {{nondet}},
  version = {{{__version__}}},
}}"""


def cite(facts: str) -> tuple[str, Sequence[Sequence[str]]]:
    """Return the sentence, and the lines of each BibTeX entry. facts: what was run, from the top of the page."""
    text = (
        f"Run-to-run variability was measured with nondet {__version__} ({facts}), following the protocol of Summers "
        "and Dinneen (2021); intervals are 95 % intervals."
    )
    return text, [SOFTWARE.splitlines(), PAPER.splitlines()]
