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


def software() -> str:
    """nondet itself, in this version."""
    return f"""@software{{nondet,
  author = {{{{The nondet developers}}}},
  title = {{nondet}},
  version = {{{__version__}}},
}}"""


def cite(facts: str) -> tuple[str, Sequence[Sequence[str]]]:
    """The sentence, and the lines of each entry of a bibliography. facts: what was run, as the page begins."""
    text = (
        f"Variability from run to run was measured with nondet {__version__} ({facts}), by the protocol of Summers and "
        "Dinneen (2021); intervals are 95 % intervals."
    )
    return text, [software().splitlines(), PAPER.splitlines()]
