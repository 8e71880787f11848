"""What a study may make a command say or do. A study may come from a stranger, so all of it is treated as data.

Advice is composed word by word from fields that are checked and quoted; no stored sentence is printed as something to
type. A file or a folder that only the study names is neither run nor read until the user agrees.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING

from nondet.errors import BadInput
from nondet.runners.script import Script
from nondet.running.asked import Asked
from nondet.running.request import Request
from nondet.sources import in_all
from nondet.study.design import Condition, varying
from nondet.study.mirror import shown
from nondet.tasks import is_file, names

if TYPE_CHECKING:
    from nondet.study.study import Study
    from nondet.tasks.task import Task


def go_on(study: Study) -> str:
    """Return the command that continues a study: what was asked for last, which trains all that is missing."""
    try:
        return _command(study, Asked.of(study.asked).words())
    except BadInput:  # an older version did not record it
        return commands(study)[0]


def commands(study: Study) -> list[str]:
    """Return the commands that make such a study: one for each onset and number of runs that its conditions have."""
    groups = groupby(sorted(study.conditions, key=lambda c: (c.onset, c.runs)), key=lambda c: (c.onset, c.runs))
    asked = [_of_conditions(study, list(members)) for _, members in groups]
    if study.crossed is not None and set(study.crossed.vary) <= set(study.sources):
        asked += [Asked(2, study.crossed.vary, (), study.crossed.levels, None, None)]
    rule = study.until
    if rule is not None and len(asked) == 1:
        begin, limit = int(rule.begin), int(rule.limit)
        asked = [Asked(begin, asked[0].vary, asked[0].onsets, None, str(rule.expression), limit)]
    return [_command(study, one.words()) for one in asked] or [_command(study, [])]


def _of_conditions(study: Study, members: Sequence[Condition]) -> Asked:
    """Return what a command asks for to get these conditions, which share one onset and number of runs."""
    everything = in_all(study.sources)
    names = ["all" if c.vary == everything else "+".join(s for s in c.vary if s in study.sources) for c in members]
    onset = members[0].onset
    usual = [*varying(study.sources, onset), "all"]
    vary = [] if sorted(names) == sorted(usual) else [name for name in names if name]
    return Asked(int(members[0].runs), vary, [int(onset)] if onset else [], None, None, None)


def _command(study: Study, asked: Sequence[str]) -> str:
    """Return `nondet run` with these options, for a shell; with TASK if the study does not say what its task is."""
    try:
        if "command" in study.request:
            words = Script.of(study.request).command_words([*asked, f"--study={shown(study.folder)}"], study.width)
            return shlex.join(map(printable, words))
        request = Request.of(study.request)
        if request.task not in names() and not is_file(request.task):
            raise BadInput(f"unknown task {request.task!r}")
        words = request.command_words(asked, int(study.width))
    except (BadInput, KeyError, TypeError, ValueError):
        words = ["nondet", "run", "TASK", *asked]
    return shlex.join(printable(word) for word in [*words, "--study", shown(study.folder)])


def printable(text: str) -> str:
    """Return a text that a terminal cannot take as commands: every unprintable character is replaced."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def request_in(study: Study, data: str | None, agreed: bool, *, way_out: str, given: Task | None = None) -> Request:
    """Return the task that a study was asked for with; BadInput if it does not say, or if no file contains it.

    given: the task itself, if a program has it. agreed: whether to run a file, or read a folder, that only the study
    names.
    """
    if not study.request:
        raise BadInput(f"{study.folder} does not say what made it; give the `nondet run` command again first")
    request = replace(Request.of(study.request), given=given)
    if is_file(request.task) and not agreed:
        raise BadInput(
            f"the task of {study.folder} is the file {printable(request.task)}, which is code and was not run; if you "
            "trust it, add <<run_task>>"
        )
    if request.data is not None and data is None and not agreed:
        raise BadInput(
            f"the study {study.folder} names a folder of data, {printable(request.data)}, which was not read; if you "
            f"trust it, add <<data={shlex.quote(printable(request.data))}>>"
        )
    if not request.is_task:
        raise BadInput(
            f"{study.folder} is a study of the task {printable(request.task)!r}, which a program defined and no file "
            f"contains; {way_out}"
        )
    return replace(request, data=data or request.data)
