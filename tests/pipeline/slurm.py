"""A SLURM of two nodes on this host, for tests: Debian's slurmctld, slurmd and munge, as root, in one folder.

apt-get install --no-install-recommends slurmctld slurmd slurm-client munge
"""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import psutil

HOME = Path("/etc/slurm")  # where jobs look: Snakemake's plugin takes SLURM_CONF away
PROGRAMS = ("slurmctld", "slurmd", "sbatch", "squeue", "munged")
NODES = ("n1", "n2")
CONFIGURATION = """
ClusterName=test
SlurmctldHost=localhost
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CryptoType=crypto/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
GresTypes=gpu
MinJobAge=3600
ReturnToService=2
SlurmdTimeout=20
SlurmctldPort={port}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmdLogFile={folder}/slurmd-%n.log
SlurmdParameters=config_overrides
NodeName=n1 NodeHostname=localhost Port={first} CPUs=1 RealMemory=6000 Gres=gpu:1
NodeName=n2 NodeHostname=localhost Port={second} CPUs=1 RealMemory=6000 Gres=gpu:1
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str:
    """Why no SLURM can be set up here; empty if one can."""
    absent = [program for program in PROGRAMS if shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin") is None]
    if absent:
        return f"{', '.join(absent)} not installed; tests/slurm.py says how"
    if (HOME / "slurm.conf").exists():
        return "this host has a SLURM already"
    return "" if os.geteuid() == 0 else "a SLURM on one host needs root"


class Slurm:
    """The cluster."""

    def __init__(self, folder: Path, port: int = 26817):
        self.folder = folder
        for name in ("state", *(f"spool-{node}" for node in NODES)):
            (folder / name).mkdir(parents=True)
        ports = {"port": port, "first": port + 1, "second": port + 2}
        (folder / "slurm.conf").write_text(CONFIGURATION.format(folder=folder, **ports))
        lines = []
        for node in NODES:
            (folder / f"gpu-{node}").touch()
            lines.append(f"NodeName={node} Name=gpu File={folder}/gpu-{node}")
        (folder / "gres.conf").write_text("\n".join([*lines, ""]))
        self.daemons: dict[str, subprocess.Popen] = {}

    def __enter__(self):
        HOME.mkdir(exist_ok=True)
        for name in ("slurm.conf", "gres.conf"):
            (HOME / name).symlink_to(self.folder / name)
        socket = Path("/run/munge")
        if not (socket / "munge.socket.2").exists():
            socket.mkdir(mode=0o755, exist_ok=True)
            shutil.chown(socket, "munge", "munge")
            subprocess.run(["su", "-s", "/bin/bash", "munge", "-c", "/usr/sbin/munged --force"], check=True)
        self.start("slurmctld", "-D")
        for node in NODES:
            self.start_node(node)
        end = time.monotonic() + 60
        while self.ask("sinfo", "--noheader", "--format=%T %D").split() != ["idle", "2"]:
            assert time.monotonic() < end, (self.folder / "slurmctld.log").read_text()
            time.sleep(0.5)
        return self

    def __exit__(self, *_):
        self.ask("scancel", "--user=root")
        for name in list(self.daemons):
            self.kill(name)
        for name in ("slurm.conf", "gres.conf"):
            (HOME / name).unlink()

    def start(self, name, *arguments):
        """Start a daemon."""
        program = shutil.which(arguments[0] if arguments[0].startswith("slurm") else name, path="/usr/sbin:/usr/bin")
        rest = arguments[1:] if arguments[0].startswith("slurm") else arguments
        with open(self.folder / f"{name}.out", "a") as out:
            self.daemons[name] = subprocess.Popen([program, *rest], stdout=out, stderr=out)

    def start_node(self, node):
        """Start a node's daemon."""
        self.start(node, "slurmd", "-D", "-N", node)

    def kill(self, name):
        """Kill a daemon with all that it has started, as if its machine had lost its power."""
        daemon = self.daemons.pop(name)
        children = self.steps_of(name) + psutil.Process(daemon.pid).children(recursive=True)
        for process in [psutil.Process(daemon.pid), *children]:
            try:
                process.send_signal(signal.SIGKILL)
            except psutil.NoSuchProcess:
                continue
        daemon.wait()

    def steps_of(self, node):
        """The processes of the jobs on a node, which slurmstepd has started apart from its daemon."""
        found = []
        for process in psutil.process_iter(["name", "environ"]):
            if (process.info["environ"] or {}).get("SLURMD_NODENAME") == node:
                found.append(process)
                found += [each for each in process.parents() if each.name() == "slurmstepd"]
        return found

    def ask(self, *command):
        """What a client answers."""
        return subprocess.run(command, capture_output=True, text=True).stdout

    def jobs(self):
        """All jobs that there were, each as a dict of what scontrol says."""
        lines = self.ask("scontrol", "--oneliner", "show", "jobs").splitlines()
        return [dict(word.split("=", 1) for word in line.split() if "=" in word) for line in lines if line.strip()]
