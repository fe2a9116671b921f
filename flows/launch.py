"""How a training's processes are started: plain Python for one, ``torchrun`` on this machine for several, or what
``$S3DNERF_LAUNCH`` says, where a cluster has a way of its own.

The template is a command line; in its words are replaced

- ``{command}``: what each process runs, ``-m <module> --job <file>``; a word of its own, and the only one that must be
  there
- ``{python}``: this Python
- ``{processes}``: how many there are over all machines, ``train.processes`` or ``sync.processes``
- ``{job}``: a name of this run alone, for a rendezvous
- ``{head}``: the name of the machine that the launcher is started on; of a Slurm job (``flows/slurm.py``) its first
  node

It lives in the environment, so that moving a training to other machines makes nothing stale. For instance, on two nodes
of four GPUs::

    export S3DNERF_LAUNCH="srun --nodes 2 --ntasks-per-node 1 --gpus-per-node 4 {python} -m torch.distributed.run
      --nnodes 2 --nproc-per-node 4 --rdzv-backend c10d --rdzv-endpoint {head}:29500 --rdzv-id {job} {command}"
"""

from __future__ import annotations

import logging
import os
import shlex
import socket
import string
import subprocess
import sys
import uuid

from s3dnerf.core.errors import SettingsError
from s3dnerf.core.processes import die_with_parent

logger = logging.getLogger(__name__)

VARIABLE = "S3DNERF_LAUNCH"
FIELDS = ("command", "python", "processes", "job", "head")


def checked_template() -> list[str]:
    """The words of ``$S3DNERF_LAUNCH``; none where it is not set. Raises SettingsError for one that cannot be filled
    in.
    """
    text = os.environ.get(VARIABLE, "")
    accepted = ", ".join(f"{{{name}}}" for name in FIELDS)
    try:
        words = shlex.split(text)
        named = [name for word in words for _, name, _, _ in string.Formatter().parse(word) if name is not None]
    except ValueError as error:
        raise SettingsError(f"${VARIABLE}: {error} — expected a command line with {accepted}") from error
    unknown = sorted(set(named) - set(FIELDS))
    if unknown:
        raise SettingsError(f"${VARIABLE}: unknown {{{unknown[0]}}} — accepted: {accepted}")
    if words and "{command}" not in words:
        raise SettingsError(f"${VARIABLE}: {{command}} is missing — it must stand there as a word of its own")
    return words


def command_line(module: str, arguments: list[str], processes: int) -> list[str]:
    """The command that starts ``python -m module arguments…`` on so many processes. Raises SettingsError."""
    command = ["-m", module, *arguments]
    template = checked_template()
    if not template:
        torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        return [sys.executable, *(torchrun if processes > 1 else []), *command]
    fields = {
        "python": sys.executable,
        "processes": processes,
        "job": f"s3dnerf-{uuid.uuid4().hex[:12]}",
        "head": socket.gethostname(),
    }
    line: list[str] = []
    for word in template:
        line += command if word == "{command}" else [word.format(command=shlex.join(command), **fields)]
    return line


def launch(module: str, arguments: list[str], processes: int) -> None:
    """Start a training module and wait for its end; its lines are shown, and in the record.

    Raises RuntimeError when it fails (what it printed stands above), SettingsError for a template that is wrong.
    """
    line = command_line(module, arguments, processes)
    # DistributedDataParallel warns from C++, where Python's filters do not reach, that it looks for unused parameters
    environment = {"TORCH_CPP_LOG_LEVEL": "ERROR", **os.environ}
    try:
        process = subprocess.Popen(
            line,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            errors="replace",
            env=environment,
            preexec_fn=die_with_parent,
        )
    except OSError as error:
        raise RuntimeError(f"{line[0]}: cannot be started ({error.strerror}) — see ${VARIABLE}") from error
    with process:
        assert process.stdout is not None
        try:
            for said in process.stdout:
                logger.info("%s", said.rstrip())
        except BaseException:
            process.kill()
            raise
    code = process.returncode
    if code:
        raise RuntimeError(f"{module} ended with status {code}; its last lines stand above")
