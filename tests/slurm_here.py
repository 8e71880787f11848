"""A Slurm of one machine, for the time of a block: munged, slurmctld and slurmd with files and ports of their own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel")

CONF = """
ClusterName=here
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctld}
SlurmdPort={d}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={at}/munge/socket
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
MpiDefault=none
SwitchType=switch/none
StateSaveLocation={at}/state
SlurmdSpoolDir={at}/spool
SlurmctldPidFile={at}/slurmctld.pid
SlurmdPidFile={at}/slurmd.pid
SlurmctldLogFile={at}/slurmctld.log
SlurmdLogFile={at}/slurmd.log
PreemptMode=REQUEUE
PreemptType=preempt/partition_prio
KillWait=5
OverTimeLimit=0
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=4000
PartitionName=main Nodes={host} Default=YES State=UP PriorityTier=1 MaxTime=60
PartitionName=urgent Nodes={host} State=UP PriorityTier=10 MaxTime=60 PreemptMode=OFF
"""


def lacking() -> str:
    """What is not installed here, or why it cannot be started."""
    gone = [name for name in PROGRAMS if shutil.which(name) is None]
    return f"no {gone[0]}" if gone else "" if os.geteuid() == 0 else "only root starts it"


def _port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def slurm(at: Path) -> Generator[Path]:
    """The path of its configuration, for SLURM_CONF; everything is stopped at the end of the block."""
    for name in ("state", "spool", "munge"):
        (at / name).mkdir(parents=True)
    key = at / "munge" / "key"
    key.write_bytes(os.urandom(1024))
    for path, mode in ((at / "munge", 0o755), (key, 0o400)):
        path.chmod(mode)
    conf = at / "slurm.conf"
    conf.write_text(CONF.format(host=socket.gethostname(), at=at, ctld=_port(), d=_port()))
    environ = os.environ | {"SLURM_CONF": str(conf)}
    munge = ["munged", "--foreground", "--force", f"--key-file={key}", f"--socket={at}/munge/socket"]
    munge += [f"--{what}-file={at}/munge/{what}" for what in ("pid", "seed", "log")]
    started: list[subprocess.Popen[bytes]] = []
    try:
        for words in (munge, ["slurmctld", "-D"], ["slurmd", "-D"]):
            with (at / f"{words[0]}.out").open("wb") as out:
                started.append(subprocess.Popen(words, env=environ, stdout=out, stderr=out))
            time.sleep(1.0)
        end = time.monotonic() + 60
        while b"idle" not in subprocess.run(["sinfo", "-h", "-o", "%T"], env=environ, capture_output=True).stdout:
            if time.monotonic() > end:
                raise TimeoutError((at / "slurmctld.log").read_text()[-2000:])
            time.sleep(0.5)
        yield conf
    finally:
        subprocess.run(["scancel", "--user=root", "--full"], env=environ, capture_output=True, timeout=30)
        for process in reversed(started):
            process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(15)
            process.kill()
