"""Which settings a stage really reads: a ``sitecustomize`` that records each field as it is read, by DVC's stage.

Every process of a run writes ``<RECORDED>/<stage>.<pid>``, a line a field. Copies of whole settings (``as_dict``), their
comparison and their checking are not reads, nor is what another library does to send them to a process.
"""

from __future__ import annotations

from pathlib import Path

SITECUSTOMIZE = """
import atexit, os, sys

READ = set()
COPIES = {"__eq__", "__hash__", "__post_init__", "check_together", "asdict", "_asdict_inner", "replace", "__repr__"}


def record():
    import dataclasses
    from s3dnerf.settings import schema

    whole = ("Settings", "PhaseSettings")  # sections are watched; who reads a phase has read train.phases
    for name, kind in list(vars(schema).items()):
        if isinstance(kind, type) and dataclasses.is_dataclass(kind) and name.endswith("Settings") and name not in whole:
            watch(kind, name.removesuffix("Settings").lower(), {field.name for field in dataclasses.fields(kind)})


def watch(kind, section, names):
    def read(self, name):
        code = sys._getframe(1).f_code
        if name in names and code.co_name not in COPIES and code.co_filename.startswith(os.getcwd()):
            READ.add(f"{section}.{name}")
        return object.__getattribute__(self, name)

    kind.__getattribute__ = read


class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "s3dnerf.settings.loading":
            sys.meta_path.remove(self)
            record()
        return None


def write():
    if READ:
        name = os.environ.get("DVC_STAGE", "none").partition("@")[0]
        with open(os.path.join(os.environ["RECORDED"], f"{name}.{os.getpid()}"), "w") as handle:
            handle.write("\\n".join(sorted(READ)))


if "RECORDED" in os.environ:
    sys.meta_path.insert(0, Finder())
    atexit.register(write)
"""


def recording(folder: Path) -> dict[str, str]:
    """The environment in which processes record what they read, into ``folder``."""
    (folder / "site").mkdir(parents=True)
    (folder / "site" / "sitecustomize.py").write_text(SITECUSTOMIZE)
    return {"PYTHONPATH": str(folder / "site"), "RECORDED": str(folder)}


def reads(folder: Path) -> dict[str, set[str]]:
    """DVC's stage (a variant's without its name) → fields read."""
    found: dict[str, set[str]] = {}
    for path in folder.glob("*.*"):
        found.setdefault(path.stem, set()).update(path.read_text().split())
    return found
