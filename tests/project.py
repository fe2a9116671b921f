"""A copy of this repository in a folder and a git history of its own, where tests run real ``dvc`` commands."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import yaml

from s3dnerf.settings.loading import as_dict, preset_settings
from s3dnerf.video.packs import file_sha256

ROOT = Path(__file__).resolve().parent.parent


class Project:
    """A copy of the repository with a git history of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        listed = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
        for name in listed.splitlines():
            if (ROOT / name).is_file() and not name.startswith(("reports/", "dvc.lock")):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name)
        subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
        self.commit("copy")

    def commit(self, message: str) -> None:
        """Everything that git does not ignore, as a commit."""
        who = ["-c", "user.name=test", "-c", "user.email=test@test.invalid"]
        for words in (["add", "-A"], [*who, "commit", "--allow-empty", "-qm", message]):
            subprocess.run(["git", *words], cwd=self.folder, check=True)

    def environment(self, **more: str) -> dict[str, str]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT", "S3DNERF", "MLFLOW", "DVC"))}
        return (
            clean
            | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONDONTWRITEBYTECODE": "1"}
            | more
        )

    def settings(self, **changes: dict) -> None:
        """params.yaml: the tiny preset with these sections changed."""
        values = as_dict(preset_settings("tiny"))
        for section, fields in changes.items():
            values[section] |= fields
        (self.folder / "params.yaml").write_text(yaml.safe_dump(values))

    def repro(self, *words: str, **environment: str) -> str:
        """``dvc repro``; what it printed. Fails the test when it fails."""
        done = subprocess.run(
            [sys.executable, "-m", "dvc", "repro", *words],
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
        """Out → hash of every stage but the report, and of the report's tables."""
        lock = yaml.safe_load((self.folder / "dvc.lock").read_text())["stages"]
        outs = {out["path"]: out["md5"] for name, stage in lock.items() if name != "report" for out in stage["outs"]}
        outs = {path: md5 for path, md5 in outs.items() if "/keys/" not in path}  # versions of code are in them
        reports = {
            name: file_sha256(self.folder / "reports/tiny" / name)
            for name in ("summary.json", "clips.parquet", "membership.parquet")
        }
        return outs | reports
