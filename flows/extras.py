"""Which extra of the package brings what a command lacks: ``pip install s3dnerf`` alone has what makes and measures
videos, the pipeline's packages are in extras.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re

from s3dnerf.core.errors import S3DNeRFError

NAME = "s3dnerf"
# modules whose package is called otherwise; of the others module and package have one name
PACKAGE_OF = {"ruamel": "ruamel.yaml", "PIL": "pillow", "pillow_heif": "pillow-heif", "yt_dlp": "yt-dlp"}
BROUGHT_BY = {"gradio_client": "gradio", "decord": "decord2"}  # asked for under another name, or by another package
OF_PROJECT = "pipeline"


class PackageMissing(S3DNeRFError, ImportError):
    """A command needs a package that no installed extra has brought."""


def plain(name: str) -> str:
    """A package's name in the one spelling that compares.

    >>> plain("Espeakng_Loader")
    'espeakng-loader'
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def extras_of_package() -> dict[str, tuple[str, ...]]:
    """Extra → the packages that it brings, as the installed metadata says; empty where the package is not installed."""
    try:
        needs = importlib.metadata.requires(NAME) or []
    except importlib.metadata.PackageNotFoundError:
        return {}
    found: dict[str, list[str]] = {}
    for need in needs:
        package = plain(re.split(r"[^\w.-]", need, maxsplit=1)[0])
        for extra in re.findall(r"""extra == ["']([\w-]+)["']""", need):
            found.setdefault(extra, []).append(package)
    return {extra: tuple(packages) for extra, packages in found.items()}


def missing_package(error: ModuleNotFoundError) -> PackageMissing | None:
    """One sentence for a module of another project that is not there; None for a module of ours, which is a fault."""
    module = (error.name or "").partition(".")[0]
    if not module or module in (NAME, "flows", "stages"):
        return None
    names = {plain(PACKAGE_OF.get(module, module)), plain(BROUGHT_BY.get(module, module))}
    having = [extra for extra, packages in extras_of_package().items() if names & set(packages)]
    extra = having[0] if having else OF_PROJECT
    return PackageMissing(
        f"needs {module}, which is not installed: pip install '{NAME}[{extra}]' (in the project's folder: make setup)"
    )


def require_module(module: str) -> None:
    """Raises ModuleNotFoundError where a module is not there that another process would need."""
    if importlib.util.find_spec(module) is None:
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)
