"""What is done about a study's damaged files before it is added to: each is set aside, and made again."""

from __future__ import annotations

from nondet import claims
from nondet.belonging import require_own
from nondet.errors import Damaged
from nondet.files import read_plain, write_file
from nondet.ours import links
from nondet.sound import checked_run
from nondet.states import wrong_states
from nondet.store import set_aside
from nondet.study import Study


def set_damaged_aside(study: Study) -> list[str]:
    """Move the files of damaged runs and trunks out of the way, so that these are trained again; a sentence on each."""
    found: list[str] = []
    with claims.folder_lock(study.folder):
        planned = study.planned()
        for key in sorted(study.store.keys()):
            try:
                run = study.store.get(key)
                require_own(run.record, study.store.record_path(key), study.identity, study.environment)
                if key in planned:
                    checked_run(study, planned[key], run)
            except Damaged as error:
                study.store.set_aside(key)
                found.append(f"{error}: set aside, to be trained again")
        for path, why in wrong_states(study).items():
            if path.parent.name == "partial" and not path.is_dir():
                path.unlink(missing_ok=True)
                found.append(f"{why}: removed, and not gone on with")
            else:
                set_aside(path, study.folder)
                found.append(f"{why}: set aside, to be trained again")
        for path in links(study.folder):
            write_file(path, read_plain(path), replace=True)
            found.append(f"{path} was a link: a copy of the file it led to is in its place")
    return found
