"""The project on machines as people have them: `make setup`, the demo's first stages and `make test-fast` in each.

    python -m benchmarks.machines [--tests] [SITUATION …]

Behind a proxy that refuses, in a checkout of another user's (needs root), from a ZIP, in a folder with spaces and a
question mark, moved after use, copied after use. Each begins with a clone of HEAD and an environment to which this
Python's packages are lent, so that what `make setup` installs from its lock is there already and no network is needed.
The stages are those up to `ingest`, at preset `tiny`. Writes benchmarks/results/machines.json; no times.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.record import origin, write
from flows.code_copies import SWITCHES
from flows.environment_paths import first_lines
from flows.git_calls import git_text
from flows.proxies import PROXIES

ROOT = Path(__file__).resolve().parent.parent
ODD = 'a folder, it\'s 50% "?" #1'
OTHER_USER = 54321
UNTIL = "ingest"


class Machine:
    """A clone of HEAD in a folder of its own, and the environment variables of its commands."""

    def __init__(self, place: Path, name: str = "project") -> None:
        self.place, self.folder = place, place / name
        git_text(ROOT, "clone", "-q", str(ROOT), str(self.folder))
        kept = {k: v for k, v in os.environ.items() if not k.startswith((*SWITCHES, "GIT_", "PIP_", "PYTHON"))}
        settings = place / "gitconfig"
        settings.write_text("[user]\n\tname = a person\n\temail = person@machine.invalid\n")
        ours = {"GIT_CONFIG_GLOBAL": str(settings), "GIT_CONFIG_NOSYSTEM": "1", "GIT_CEILING_DIRECTORIES": str(place)}
        self.environment = kept | ours | {"PYTHONDONTWRITEBYTECODE": "1"}

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command in the folder."""
        return subprocess.run(words, cwd=self.folder, env=self.environment, capture_output=True, text=True)

    def lend(self) -> None:
        """An environment whose packages are this Python's, but for the project's own."""
        lent = self.place / "lent"
        lent.mkdir(exist_ok=True)
        pip = importlib.util.find_spec("pip")
        assert pip is not None and pip.origin is not None
        for package in Path(pip.origin).parent.parent.iterdir():
            if not re.match(r"(__editable__|s3dnerf|flows|stages)", package.name) and package.suffix != ".pth":
                (lent / package.name).symlink_to(package)
        base = getattr(sys, "_base_executable", sys.executable)
        subprocess.run([base, "-m", "venv", "--without-pip", str(self.folder / ".venv")], check=True)
        packages = next((self.folder / ".venv" / "lib").glob("python*/site-packages"))
        (packages / "lent.pth").write_text(f"{lent}\n")
        # which `dvc queue start` starts by its name; written as pip does, so that it moves along as pip's do
        dvc = self.folder / ".venv" / "bin" / "dvc"
        dvc.write_bytes(
            first_lines(str(dvc.with_name("python"))) + b"from dvc.cli import main\nraise SystemExit(main())\n"
        )
        dvc.chmod(0o755)

    def first_stages(self) -> dict[str, Any]:
        """`make setup` and the graph as far as UNTIL. Raises SystemExit with what was printed where one fails."""
        python = str(Path(".venv") / "bin" / "python")
        path = f"{self.folder / '.venv' / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
        printed = ""
        for words in (
            ["make", "setup"],
            [python, "-m", "flows.cli", "preset", "tiny"],
            ["env", f"PATH={path}", python, "-m", "dvc", "repro", UNTIL],
        ):
            done = self.run(*words)
            printed = done.stdout + done.stderr
            if done.returncode:
                raise SystemExit(f"{self.folder}: {' '.join(words)} ended with {done.returncode}:\n{printed[-3000:]}")
        ran = re.findall(r"Running stage '(\w+)'", printed)
        return {"ran": ran, "skipped": re.findall(r"Stage '(\w+)' didn't change", printed), "prefect": self.recorded()}

    def recorded(self) -> bool:
        """Whether Prefect's database lies in the folder."""
        return (self.folder / ".prefect" / "prefect.db").is_file()

    def tests(self) -> str:
        """The last line of `make test-fast`, after those that name what failed."""
        said = self.run("make", "test-fast").stdout.strip().splitlines()
        return " | ".join([line for line in said if re.match("FAILED|ERROR", line)] + said[-1:])


def refusing_proxy(place: Path) -> tuple[Machine, dict[str, Any]]:
    """Every proxy variable names a port at which nobody listens."""
    machine = Machine(place)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        proxy = f"http://127.0.0.1:{free.getsockname()[1]}"
    machine.environment |= {spelt: proxy for name in PROXIES for spelt in (name, name.upper())}
    machine.lend()
    return machine, machine.first_stages()


def another_users(place: Path) -> tuple[Machine, dict[str, Any]]:
    """The checkout belongs to somebody else: git's advice is given, and followed."""
    machine = Machine(place)
    machine.lend()
    for path in (machine.folder, *machine.folder.rglob("*")):
        os.chown(path, OTHER_USER, OTHER_USER, follow_symlinks=False)
    refused = machine.run("make", "demo").stderr
    advice = re.search(r"git (config --global --add safe.directory) (.+)", refused)
    if advice is None:
        raise SystemExit(f"no advice of git's in: {refused}")
    machine.run("git", *advice[1].split(), advice[2].strip("'"))
    return machine, {"refused": refused.splitlines(), **machine.first_stages()}


def from_a_zip(place: Path) -> tuple[Machine, dict[str, Any]]:
    """No git history: said before anything is installed, with what to do, which is then done."""
    machine = Machine(place)
    shutil.rmtree(machine.folder / ".git")
    refused = machine.run("make", "demo").stderr
    way_out = re.search(r"begin a history here: (.+)", refused)
    if (machine.folder / ".venv").exists() or way_out is None:
        raise SystemExit(f"something was installed, or no way out was named: {refused}")
    machine.run("sh", "-c", way_out[1])
    machine.lend()
    return machine, {"refused": refused.splitlines(), **machine.first_stages()}


def odd_folder(place: Path) -> tuple[Machine, dict[str, Any]]:
    """A folder with spaces, quotes and a question mark."""
    machine = Machine(place, ODD)
    machine.lend()
    return machine, machine.first_stages()


def moved(place: Path, copied: bool = False) -> tuple[Machine, dict[str, Any]]:
    """Moved (or copied) after use to a folder of another name: nothing is made again."""
    machine = Machine(place)
    machine.lend()
    before, first = machine.first_stages(), machine.folder
    machine.folder = place / "another place"
    shutil.copytree(first, machine.folder, symlinks=True) if copied else first.rename(machine.folder)
    after = machine.first_stages()
    where = machine.run(str(machine.folder / ".venv" / "bin" / "s3dnerf"), "code", "status").stderr
    return machine, {"before": before, **after, "code of its own": not where}


SITUATIONS: dict[str, Callable[[Path], tuple[Machine, dict[str, Any]]]] = {
    "behind a proxy that refuses": refusing_proxy,
    "another user's checkout": another_users,
    "from a ZIP": from_a_zip,
    "a folder with spaces and a question mark": odd_folder,
    "moved after use": moved,
    "copied after use": lambda place: moved(place, copied=True),
}


def main() -> None:
    """Go through the situations and write the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("situations", nargs="*", metavar="SITUATION", help=f"of: {', '.join(SITUATIONS)}; none: all")
    parser.add_argument("--tests", action="store_true", help="run make test-fast in each as well: minutes")
    given = parser.parse_args()
    result: dict[str, Any] = {}
    for name in given.situations or SITUATIONS:
        if name == "another user's checkout" and os.geteuid() != 0:
            result[name] = "not shown: needs root"
            continue
        with tempfile.TemporaryDirectory(prefix="s3dnerf-machines-") as place:
            machine, found = SITUATIONS[name](Path(place).resolve())
            result[name] = found | ({"test-fast": machine.tests()} if given.tests else {})
        print(f"{name}: {result[name]}", flush=True)
    command = f"python -m benchmarks.machines {' '.join(sys.argv[1:])}".strip()
    print(write("machines", {**origin(command, "git", "hardware"), "situations": result}))


if __name__ == "__main__":
    main()
