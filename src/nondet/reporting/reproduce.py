"""What is said about trainings that do not reproduce: where they diverge, why, and the fix."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nondet.analysis.reproduce.parting import differ
from nondet.errors import spelled
from nondet.reporting.finding import MOST, Finding, Part, capital, named
from nondet.sources import source_called

if TYPE_CHECKING:
    from nondet.analysis.reproduce.audit import Audit, Row
    from nondet.analysis.reproduce.causes import Finding as Found
    from nondet.analysis.reproduce.diverge import Diverged
    from nondet.analysis.reproduce.ladder import Origin
    from nondet.analysis.reproduce.resume import Resumed


HELD = "With everything from outside held fixed, no two runs diverged, and no single cause makes them diverge."


def diverged_words(found: Diverged) -> str:
    """Return the verdict in a few sentences, and whether a fix works."""
    return " ".join(filter(None, [_diverged(found), _proof(found), _differs(found)]))


def _differs(found: Diverged) -> str:
    """Say how the environments of two compared runs differ."""
    if not found.against or (found.differs and found.origins):  # if there is an origin, its fix names them
        return ""
    if not found.differs:
        return "The two environments are the same in everything that was recorded."
    pairs = [f"{name} ({mine} here, {theirs} there)" for name, (mine, theirs) in found.differs.items()]
    return f"The two environments differ in {'; '.join(pairs)}."


def _proof(found: Diverged) -> str:
    proof = found.proof
    if proof is None:
        return ""
    if proof.holds:
        return (
            f"Proved: without the fix ({proof.fix}) two runs diverge, and with it {proof.runs} are "
            "equal to the last bit."
        )
    if not proof.unmended:
        return f"The fix ({proof.fix}) is not proved: two runs without it are also equal."
    return f"The fix ({proof.fix}) does not work: runs with it diverge as well."


def _diverged(found: Diverged) -> str:
    looked = _window(found)
    if found.why:
        return f"Inconclusive: {spelled(found.why)}."
    if found.verdict == "none":
        equal = f"{found.script} and {found.against}" if found.against else f"{found.runs} runs of {found.script}"
        after = "" if found.whole else " Nothing is known about what comes after."
        return f"None found: {equal} are equal to the last bit in {looked}.{after}"
    if not found.what:
        return (
            f"Inconclusive: {found.script} takes no training step that can be seen and has no array at its end, so "
            "there is nothing to compare."
        )
    two = f"{found.script} and {found.against}" if found.against else f"Two runs of {found.script}"
    begin = f"{two} diverge {_where(found)}: {differ(found.what)} first."
    if found.chance:
        begin = f"{two} are equal, but by chance: others can diverge {_where(found)}, where {differ(found.what)} first."
    if not found.origins:
        return f"Inconclusive. {begin} {HELD}"
    return " ".join([begin, *(_origin(origin, first=not n) for n, origin in enumerate(found.origins))])


def _where(found: Diverged) -> str:
    if found.window is None:
        return "at the end"
    if found.step is not None and found.step > found.window[1]:
        return "after the last step"
    return f"at step {found.step}"


def _window(found: Diverged) -> str:
    if found.window is None:
        return "everything that the script has at its end"
    steps = f"steps {found.window[0]} to {found.window[1]}"
    return steps + (f" and {found.evaluations} evaluations" if found.evaluations else "")


def _origin(origin: Origin, first: bool) -> str:
    """Describe one cause, its line and its fix."""
    cause, operation = origin.cause, origin.operation
    begin = "The origin" if first else "Another origin"
    said = f"{begin} is {origin.site or 'outside your own code'}: {cause.what} ({cause.name})."
    if operation is not None:
        back = f", in the backward pass ({operation.backward})" if operation.backward else ""
        module = f" of {operation.module}" if operation.module else ""
        said += (
            f" There {operation.name or 'the forward pass'}{module}{back} returns a different result for "
            "the same inputs"
        )
        if operation.ulps is not None:
            said += f", by up to {operation.ulps:.3g} units in the last place ({operation.difference:.2g})"
        said += "."
    elif origin.call:
        call = origin.call if "\n" not in origin.call else origin.call.splitlines()[0] + " ..."
        said += f" It calls {call}." if origin.kind and "." in call and " " not in call else f" The line is: {call}."
    if origin.names:
        said += f" After it {', '.join(origin.names)} {'differs' if len(origin.names) == 1 else 'differ'}."
    return f"{said} The fix: {cause.mend}."


HEAD = ("source", "draws", "reaches", "leaks into", "verdict")


def sentence_alone(found: Diverged | Resumed) -> list[Part]:
    """Return the verdict, without a table."""
    return [Part(below=[found.sentence])]


def audit_parts(found: Audit) -> list[Part]:
    """Return the table of sources, the findings, and the settings that were ignored and change nothing here."""
    rows = [
        (
            row.name,
            "" if row.draws is None else f"{row.draws:,}",
            {True: "yes", False: "no", None: "?"}[row.reaches],
            ", ".join(row.leaks_into),
            row.verdict,
        )
        for row in found.sources
    ]
    told = [
        (f"Ignored setting, harmless here{f' ({one.site})' if one.site else ''}: {one.cause.what}.")
        for one in found.told
    ]
    return [Part(HEAD if rows else (), rows, [*audit_findings(found), *told, audit_words(found)])]


def audit_findings(found: Audit) -> list[str]:
    """Return a sentence or two for each finding: what was seen, the likely cause, the fix."""
    said = [_row(row) for row in found.sources if row.verdict in ("dead", "leaks")]
    for one in found.findings:
        said.append(f"{_cause(one)}. Seen: {one.seen}. The fix: {one.cause.mend}.")
    if isinstance(found.unexplained, str):
        said.append(f"Unexplained: {found.unexplained}.")
    elif found.unexplained:
        said.append(
            f"Unexplained: two runs diverge with everything held fixed. {_origin(found.unexplained, first=True)}"
        )
    return said


def _cause(one: Found) -> str:
    return f"{f'{one.site}: ' if one.site else ''}{one.cause.what} ({one.cause.name})"


def _row(row: Row) -> str:
    if row.verdict == "leaks":
        return (
            f"LEAKS: another seed of {row.name} changes {' and '.join(row.leaks_into)} as well, so its effect is not "
            f"its own. Likely one seed, or one generator, is used for both; give {row.name} its own."
        )
    why = source_called(row.name).causes if row.name.isidentifier() else ""
    return f"DEAD: another seed of {row.name} gives the same training to the last bit. Likely causes: {why}."


def audit_words(found: Audit) -> str:
    """Return the verdict in one sentence."""
    looked = f"{found.steps} {found.unit}" if found.steps else "what the script has at its end"
    if not found.whole:
        looked = f"the first {looked}, and nothing is known about the later ones"
    if found.inconclusive:
        return f"Inconclusive: {found.inconclusive}."
    number = len(audit_findings(found))
    if not number:
        return f"Clean: nothing was found in {found.runs} runs, in {looked}."
    return f"{number} finding{'s' if number > 1 else ''} in {found.runs} runs, in {looked}."


def resumed_words(found: Resumed) -> str:
    """Return the verdict on a training that stops and resumes."""
    k = found.steps
    if found.verdict == "inconclusive":
        return f"Inconclusive: {spelled(found.why)}."
    if found.verdict == "resumes":
        again = f"{k} more" if found.start in (0, k) else f"{2 * k - found.start} more from step {found.start}"
        return (
            f"{k} steps, a stop, and {again} give the weights of {2 * k} steps to the last bit. "
            "Nothing is known about a "
            "stop at another step."
        )
    first, *others = found.differences
    where = f" The state is kept at {found.saved}." if found.saved else ""
    so_far = f" The weights after {2 * k} steps are equal all the same." if found.equal else ""
    more = f" Then {', '.join(f'{one.state} (step {one.step})' for one in others)}." if others else ""
    return (
        f"The resumed training differs: {first.state} first, before step {first.step}.{more}{so_far}{where} The fix: "
        f"{first.mend}."
    )


def of_diverged(found: Diverged) -> Finding:
    """Say whether two runs diverge, where, why, and the fix."""
    two = f"{named(found.script)} and {named(found.against)}" if found.against else f"Two runs of {named(found.script)}"
    caveats = [] if found.whole else ["Nothing is known about what comes after the steps that were looked at."]
    if found.why:
        return Finding(f"Inconclusive: {two} show nothing.", (f"{capital(spelled(found.why))}.",))
    if found.verdict == "none":
        return Finding(f"{two} are equal to the last bit.", (f"Compared: {_window(found)}.",), tuple(caveats))
    if not found.what:
        return Finding(f"Inconclusive: {named(found.script)} leaves nothing to compare.", (_diverged(found),))
    parting = f"{two} {'are equal by chance: others can ' if found.chance else ''}diverge {_where(found)}"
    if not found.origins:
        return Finding(f"Inconclusive: {parting}.", (f"What differs first: {found.what}.", HELD))
    first = found.origins[0]
    more = [
        f"The cause: {first.cause.what} ({first.cause.name}), at {first.site or 'a line outside your own code'}.",
        f"The fix: {first.cause.mend}.",
        _proof(found),
    ]
    if len(found.origins) > 1:
        caveats.append(f"There are {len(found.origins)} causes; this is the first.")
    return Finding(f"{parting}.", (*filter(None, more),), tuple(caveats))


def of_audit(found: Audit) -> Finding:
    """Say how many things were found, and the first of them."""
    caveats = () if found.whole else ("Nothing is known about what comes after the steps that were looked at.",)
    if found.inconclusive:
        return Finding(
            f"Inconclusive: the audit of {named(found.name)} shows nothing.", (f"{capital(found.inconclusive)}.",)
        )
    said = [row for row in found.sources if row.verdict in ("dead", "leaks")]
    number = len(audit_findings(found))
    if not number:
        return Finding(f"Clean: nothing was found in {named(found.name)}.", (audit_words(found),), caveats)
    headline = f"{number} finding{'s' if number > 1 else ''} in {named(found.name)}."
    parts = [(verdict, [row.name for row in said if row.verdict == verdict]) for verdict in ("dead", "leaks")]
    words = {"dead": "reach nothing: another seed gives the same training", "leaks": "change other sources too"}
    more = [f"Sources that {words[verdict]}: {', '.join(names)}." for verdict, names in parts if names]
    if found.unexplained:
        more.append("Unexplained: two runs diverge with everything held fixed.")
    if found.findings:
        one = found.findings[0]
        more.append(f"{_cause(one)}; the fix: {one.cause.mend}.")
    return Finding(headline, tuple(more[:MOST]), caveats)


def of_resumed(found: Resumed) -> Finding:
    """Say whether a training that stops and resumes equals one without a stop; if not, which state is lost."""
    name = named(found.script)
    if found.verdict == "inconclusive":
        return Finding(f"Inconclusive: resuming {name} shows nothing.", (f"{capital(spelled(found.why))}.",))
    only = f"This applies only to a stop after {found.steps} steps."
    if found.verdict == "resumes":
        return Finding(f"{name} resumes to the last bit.", (), (only,))
    first, *others = found.differences
    more = [f"The fix: {first.mend}."]
    if others:
        more.append(f"These differ next: {', '.join(one.state for one in others)}.")
    if found.equal:
        more.append("The weights are equal all the same, so far.")
    if found.saved:
        more.append(f"The state is kept at {found.saved}.")
    return Finding(
        f"{name} does not resume: {first.state} differs first, before step {first.step}.", tuple(more), (only,)
    )
