"""Before runs are added to a study, set its damaged files aside, so that they are made again."""

from __future__ import annotations

from nondet.io import locks
from nondet.io.files import read_plain, write_file
from nondet.study.checks import unsound_runs
from nondet.study.names import links
from nondet.study.states import wrong_states
from nondet.study.store import set_aside
from nondet.study.study import Study


def set_damaged_aside(study: Study) -> list[str]:
    """Move the files of damaged runs and trunks away, so that these are trained again; return a sentence on each."""
    found: list[str] = []
    with locks.folder_lock(study.folder):
        for key, error in unsound_runs(study, study.store.keys()):
            study.store.set_aside(key)
            found.append(f"{error}: set aside, to be trained again")
        for path, why in wrong_states(study).items():
            if path.parent.name == "partial" and not path.is_dir():
                path.unlink(missing_ok=True)
                found.append(f"{why}: removed, and not resumed")
            else:
                set_aside(path, study.folder)
                found.append(f"{why}: set aside, to be trained again")
        for path in links(study.folder):
            write_file(path, read_plain(path), replace=True)
            found.append(f"{path} was a link: a copy of the file it pointed to is in its place")
    return found
