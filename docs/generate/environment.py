"""``docs/reference/environment.md``: every environment variable that changes what the programs do, with the modules
that name it.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Mapping
from pathlib import Path

from docs.generate.markdown import generated, literal, table

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("s3dnerf", "stages", "flows")
# between processes of one command, not for a person to set
INTERNAL = frozenset({"S3DNERF_WATCHED", "S3DNERF_WATCHED_ROOT"})

# heading → variable → what it may be, what it does
OURS: dict[str, dict[str, tuple[str, str]]] = {
    "Where work runs": {
        "S3DNERF_RUNNER": (
            "`prefect` (default), `inline`",
            "Whether a stage is recorded as a flow run of Prefect, or runs without Prefect.",
        ),
        "S3DNERF_POOL": (
            "`auto` (default), `processes`, `dask://host:port`, `ray://host:port`",
            "Where the packs of a stage are worked on; `auto` takes a pool of processes where it repays its start.",
        ),
        "S3DNERF_WORKERS": (
            "a whole number from 1",
            "Packs at a time. Default: the cores that this process may use; with Dask or Ray, what the cluster has.",
        ),
        "S3DNERF_DEVICE": (
            "`auto` (default), `cpu`, `cuda`",
            "Where networks run; `auto` takes a GPU where there is one. The option `--device` comes first.",
        ),
        "S3DNERF_LAUNCH": (
            "a command",
            "How the processes of a training are started on several machines (docs/how-to/cluster.md).",
        ),
        "S3DNERF_SLURM": (
            "`partition=gpu gpus_per_node=4 time=1440`",
            "Trainings run as Slurm jobs with these options (docs/how-to/cluster.md).",
        ),
        "S3DNERF_VARIANTS_AT_ONCE": (
            "a whole number from 1",
            "Variants that `s3dnerf run --side-by-side` trains at a time. Default: as GPUs or cores allow.",
        ),
        "S3DNERF_LOADER_WORKERS": (
            "a whole number from 0",
            "Processes that make training samples. Default: up to 4 beside a GPU, none (a thread) on the processor.",
        ),
    },
    "What is kept and recorded": {
        "S3DNERF_STORE": (
            "`use` (default), `ignore`",
            "`ignore` makes everything anew and replaces what the store holds, as `dvc repro -f` does.",
        ),
        "S3DNERF_TRACKING": (
            "`mlflow` (default), `off`",
            "Whether stages are mirrored in MLflow (`mlflow.db`, or where `MLFLOW_TRACKING_URI` says).",
        ),
        "S3DNERF_SYSTEM_METRICS": (
            "`on` (default), `off`",
            "Whether MLflow's run of a training records the use of processor, memory and GPUs.",
        ),
        "S3DNERF_CAPACITY_CHECK": (
            "`on` (default), `off`",
            "Whether `make` looks at disk and memory before it installs (docs/how-to/install.md).",
        ),
        "S3DNERF_TRACEBACK": ("`1`", "An error is shown with the lines of code that it came from."),
    },
    "Downloads": {
        "S3DNERF_FETCH_FOLDER": (
            "a folder",
            "`s3dnerf fetch` takes files from it, by name or as `host/path`, without a network (docs/how-to/fetch.md).",
        ),
        "S3DNERF_FETCH_MIRROR": (
            "an address",
            "`s3dnerf fetch` asks this address, followed by `/host/path`, in place of each original one.",
        ),
    },
    "Certificates and keys": {
        "S3DNERF_CERTIFICATE": (
            "a PEM file",
            "The certificate for Content Credentials of videos (docs/how-to/content_credentials.md).",
        ),
        "S3DNERF_KEY": ("a PEM file", "The private key of that certificate."),
        "S3DNERF_SIGNING_KEY": ("a PEM file", "The private key that `s3dnerf audit sign` signs a report with."),
        "S3DNERF_SIGNERS": (
            "a public key's file, or a folder of them",
            "Whose signature `s3dnerf audit verify` asks for (docs/how-to/audit.md).",
        ),
    },
    "Retraining": {
        "S3DNERF_RETRAIN_BRANCH": ("a branch", "The branch that `s3dnerf retrain` trains where no option names one."),
        "S3DNERF_RETRAIN_REFERENCE": (
            "a folder or a git revision",
            "A report that a new generator is compared with as well, where no option names one.",
        ),
        "S3DNERF_WEBHOOK": (
            "an address",
            "Is notified how `s3dnerf retrain` went; Prefect's Secret block `s3dnerf-retrain-webhook` comes first.",
        ),
        "S3DNERF_HOME": ("a folder", "The project's folder in `prefect.yaml`, for `prefect deploy` and its workers."),
    },
}
OTHERS: dict[str, tuple[str, str]] = {
    "OMP_NUM_THREADS": ("`1` (set where it is not)", "Threads of a process: one, so that sums are in one order."),
    "MLFLOW_TRACKING_URI": ("an address", "MLflow's server; without it `mlflow.db` in the project."),
    "PREFECT_API_URL": ("an address", "Prefect's server; without it one on loopback, for the length of a `dvc repro`."),
    "PREFECT_API_KEY": ("a key", "Goes with each request to that server."),
    "PREFECT_API_AUTH_STRING": ("`user:password`", "Goes with each request to that server."),
    "CUDA_VISIBLE_DEVICES": ("numbers or identifiers of GPUs", "The GPUs that may be used."),
    "IMAGEIO_FFMPEG_EXE": ("a file", "Another ffmpeg than the package's; it is part of what decides an output."),
    "XDG_DATA_HOME": ("a folder", "Outside of a project weights lie in `s3dnerf/` below it (`~/.local/share`)."),
    "http_proxy": ("an address", "Honoured by downloads, as are `https_proxy` and `no_proxy`; servers of this machine "
                   "are asked directly."),
}  # fmt: skip

ABOUT = """\
They say where work runs, what is kept and where to ask. What decides a result is a [setting](settings.md); the one
variable here that does as well is `IMAGEIO_FFMPEG_EXE`. (On another kind of processor, or on a GPU, the last digits
of a result are others.)
"""


@functools.cache
def named_in() -> Mapping[str, tuple[str, ...]]:
    """Variable → the files that name it as a text of its own, those of prefect.yaml included."""
    found: dict[str, set[str]] = {}
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
                    found.setdefault(node.value, set()).add(path.relative_to(ROOT).as_posix())
    if "$S3DNERF_HOME" in (ROOT / "prefect.yaml").read_text(encoding="utf-8"):
        found["S3DNERF_HOME"] = {"prefect.yaml"}
    return {name: tuple(sorted(files)) for name, files in found.items()}


def page() -> str:
    """The page. Raises ValueError where the lists and the code differ: a variable that no module names, or one of ours
    that the lists lack.
    """
    listed = {name for part in OURS.values() for name in part}
    used = {name for name in named_in() if name.startswith("S3DNERF_")} - INTERNAL
    if used != listed or not OTHERS.keys() <= named_in().keys():
        missing, extra = sorted(used - listed), sorted((listed | OTHERS.keys()) - named_in().keys())
        raise ValueError(f"docs/generate/environment.py: missing {missing}, in no module {extra}")
    lines = generated("Environment variables", "`docs/generate/environment.py`, which is held against the code", ABOUT)
    for title, variables in {**OURS, "Of other programs": OTHERS}.items():
        rows = [
            (literal(name), values, linked(meaning), ", ".join(f"[{p}](../../{p})" for p in named_in()[name][:3]))
            for name, (values, meaning) in variables.items()
        ]
        lines += [f"## {title}", "", *table(("variable", "values", "what it does", "named in"), rows)]
    return "\n".join(lines).rstrip() + "\n"


def linked(text: str) -> str:
    """Text in which the pages of ``docs/`` are links from ``docs/reference``."""
    words = text.split(" ")
    for i, word in enumerate(words):
        name = word.strip("().,;")
        if name.startswith("docs/"):
            words[i] = word.replace(name, f"[{name}](../{name.removeprefix('docs/')})")
    return " ".join(words)
