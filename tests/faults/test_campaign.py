"""The crash campaign, in small: `benchmarks/crash.py` runs, finds nothing, and goes on where it stopped."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from fault_tools import environment

TOOL = Path(__file__).parents[2] / "benchmarks" / "crash.py"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs fork, and Linux's signal at a parent's death")
def test_a_small_campaign(tmp_path: Path) -> None:
    """Some dozens of kills and errors in four kinds of studies: nothing lost, corrupt, trained again or different."""

    def campaign(kills: int) -> list[list[str]]:
        options = ["--kinds", "plain,onset,text,workers", "--kills", str(kills), "--folder", str(tmp_path)]
        done = subprocess.run(
            [sys.executable, str(TOOL), *options], capture_output=True, text=True, env=environment(), timeout=600
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines()[2:]]

    rows = campaign(40)
    assert [row[0] for row in rows] == ["plain", "onset", "text", "workers", "all"]
    assert all(row[3:] == ["0"] * 4 for row in rows)
    assert int(rows[-1][1]) >= 40
    assert int(rows[-1][2]) > 0
    tried = (tmp_path / "tried.jsonl").read_text().splitlines()
    more = campaign(44)
    assert int(more[-1][1]) >= 44
    after = (tmp_path / "tried.jsonl").read_text().splitlines()
    assert after[: len(tried)] == tried
    assert len({json.loads(line)["try"] for line in after}) == len(after)
