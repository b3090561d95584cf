# SPDX-License-Identifier: GPL-2.0-or-later
"""A Slurm cluster of this one machine, in a temporary folder: munged,
slurmctld and slurmd, on the loopback address."""

import contextlib
import getpass
import os
import platform
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from x64k import proc

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel")
PATIENCE_S = 60
# No cgroups: a container may have none, and nothing here needs them.
CONFIG = """\
ClusterName=x64k-test
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
ReturnToService=2
MailProg=/bin/true
SchedulerParameters=sched_interval=2
{node} NodeAddr=127.0.0.1 State=UNKNOWN
PartitionName=tests Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> list[str]:
    return [name for name in PROGRAMS if not shutil.which(name)]


def free_ports() -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(2)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def until(done, what: str, logs: Path) -> None:
    begin = time.monotonic()
    while not done():
        if time.monotonic() - begin > PATIENCE_S:
            said = "".join(f"--- {log.name}\n{log.read_text()[-3000:]}\n"
                           for log in sorted(logs.glob("*.log")))
            raise AssertionError(f"waited in vain for {what}\n{said}")
        time.sleep(0.2)


@contextlib.contextmanager
def running() -> Iterator[Path]:
    """Starts the daemons and ends them again; the path of slurm.conf, which
    SLURM_CONF is to name."""
    with tempfile.TemporaryDirectory(prefix="x64k-slurm-") as name, \
            contextlib.ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)     # munged insists
        (folder / "state").mkdir()
        (folder / "spool").mkdir()
        key = folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        host = platform.node().partition(".")[0]
        node = proc.output(["slurmd", "-C"]).splitlines()[0]
        config = folder / "slurm.conf"
        config.write_text(CONFIG.format(
            host=host, user=getpass.getuser(), ports=free_ports(),
            folder=folder, node=node))
        env = os.environ | {"SLURM_CONF": str(config)}

        def daemon(*argv: str) -> None:
            log = (folder / f"{argv[0]}.out.log").open("wb")
            child = proc.popen(argv, env=env, stdout=log, stderr=log)
            stack.callback(proc.stop, child)
            stack.callback(log.close)

        daemon("munged", "--foreground", "--num-threads=2",
               f"--socket={folder}/munge.socket", f"--key-file={key}",
               f"--pid-file={folder}/munged.pid",
               f"--log-file={folder}/munged.log",
               f"--seed-file={folder}/munged.seed")
        until((folder / "munge.socket").exists, "munged", folder)
        daemon("slurmctld", "-D", "-i")
        daemon("slurmd", "-D", "-N", re.match(r"NodeName=(\S+)", node)[1])

        def idle() -> bool:
            done = subprocess.run(["sinfo", "--noheader", "--format=%T"],
                                  env=env, capture_output=True, text=True)
            return done.stdout.strip() == "idle"

        until(idle, "an idle node", folder)
        yield config
