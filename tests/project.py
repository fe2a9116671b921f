"""A copy of this repository in a folder and a git history of its own, where tests run real ``dvc`` commands."""

from __future__ import annotations

import compileall
import functools
import subprocess
import sys
import time
from pathlib import Path
from py_compile import PycInvalidationMode

import psutil
import yaml

from flows.code_copies import clean_environment, copy_working_tree, graph_hashes, without_results
from s3dnerf.settings.loading import as_dict, preset_settings

ROOT = Path(__file__).resolve().parent.parent


ALONE = ("unshare", "--map-root-user", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")


@functools.cache
def without_network() -> tuple[str, ...]:
    """What to put before a command so that it has the loopback interface and no other; empty where this machine does
    not allow it.
    """
    try:
        works = subprocess.run([*ALONE, "true"], capture_output=True, timeout=20).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        works = False
    return ALONE if works else ()


class Project:
    """A copy of the repository with a git history of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        copy_working_tree(ROOT, folder)
        without_results(folder)
        # once for the many processes that will import it; by hash, since a file's time cannot tell two edits in a second
        for package in ("flows", "s3dnerf", "stages"):
            compileall.compile_dir(folder / package, quiet=1, invalidation_mode=PycInvalidationMode.CHECKED_HASH)
        self.commit("copy")

    def commit(self, message: str) -> None:
        """Everything that git does not ignore, as a commit."""
        who = ["-c", "user.name=test", "-c", "user.email=test@test.invalid"]
        for words in (["add", "-A"], [*who, "commit", "--allow-empty", "-qm", message]):
            subprocess.run(["git", *words], cwd=self.folder, check=True)

    def environment(self, **more: str) -> dict[str, str]:
        return clean_environment(**more)

    def settings(self, **changes: dict) -> None:
        """params.yaml: the tiny preset with these sections changed."""
        values = as_dict(preset_settings("tiny"))
        for section, fields in changes.items():
            values[section] |= fields
        (self.folder / "params.yaml").write_text(yaml.safe_dump(values))

    def repro(self, *words: str, **environment: str) -> str:
        """``dvc repro``, without a network where this machine allows it; what it printed. Fails the test when it
        fails.
        """
        done = subprocess.run(
            [*without_network(), sys.executable, "-m", "dvc", "repro", *words],
            cwd=self.folder,
            env=self.environment(**environment),
            capture_output=True,
            text=True,
        )
        said = done.stdout + done.stderr
        assert done.returncode == 0, said[-6000:]
        return said

    def start(self, **environment: str) -> subprocess.Popen:
        return subprocess.Popen([sys.executable, "-m", "dvc", "repro"], cwd=self.folder, env=self.environment(**environment),
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip

    def processes(self) -> list[psutil.Process]:
        """Whatever still runs in this project's folder."""
        found = []
        for process in psutil.process_iter():
            try:
                if Path(process.cwd()).is_relative_to(self.folder) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found

    def quiet(self, timeout_s: float = 20.0) -> bool:
        """Whether nothing is left running, within a moment."""
        end = time.monotonic() + timeout_s
        while self.processes() and time.monotonic() < end:
            time.sleep(0.1)
        return not self.processes()

    def hashes(self) -> dict[str, str]:
        """:func:`flows.code_copies.graph_hashes` of the preset tiny."""
        return graph_hashes(self.folder)
