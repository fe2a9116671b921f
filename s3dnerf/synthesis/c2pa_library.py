"""The library that writes and reads C2PA Content Credentials (c2pa-python), kept off the network.

It is a package of its own that a small install may lack: :func:`why_missing` says so.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

from s3dnerf.core.errors import S3DNeRFError

# IPTC's word for what a trained model made
TRAINED_MEDIA = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
# extended key usages of certificates that C2PA's specification accepts; the library by itself knows the first alone
KEY_USAGES = {
    "emailProtection": "1.3.6.1.5.5.7.3.4",
    "documentSigning": "1.3.6.1.5.5.7.3.36",
    "C2PA claim signing": "1.3.6.1.4.1.62558.2.1",
}
IN_MEMORY_MB = 64  # of what is written; a longer video goes through the folder for temporary files (TMPDIR)


class MissingLibrary(S3DNeRFError, RuntimeError):
    """c2pa-python is not here."""


def why_missing() -> str:
    """Why the library cannot be used, in words; '' where it can."""
    try:
        c2pa_library()
    except MissingLibrary as missing:
        return str(missing)
    return ""


def c2pa_library() -> ModuleType:
    """The module ``c2pa``. Raises MissingLibrary."""
    try:
        return importlib.import_module("c2pa")
    except ModuleNotFoundError:
        raise MissingLibrary("c2pa-python is not installed (pip install c2pa-python)") from None
    except (ImportError, OSError, RuntimeError) as error:  # its part that is no Python, on another system
        raise MissingLibrary(f"c2pa-python cannot be used here: {str(error)[:200]}") from error


def offline_context(trust_pem: str | None = None) -> Any:
    """c2pa's settings for signing and reading without a network: no manifest, no certificate's state and no identity is
    looked up.

    Parameters
    ----------
    trust_pem : certificates of issuers that are trusted, PEM; None: nobody's

    Raises C2paError for text that holds no certificate.
    """
    c2pa = c2pa_library()
    settings: dict[str, Any] = {
        "core": {
            "allowed_network_hosts": [],
            "decode_identity_assertions": False,
            "backing_store_memory_threshold_in_mb": IN_MEMORY_MB,
        },
        "trust": {"trust_config": "".join(f"{usage}\n" for usage in KEY_USAGES.values())},
        "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
    }
    if trust_pem is not None:
        settings["trust"]["trust_anchors"] = trust_pem
    return c2pa.Context(c2pa.Settings.from_dict(settings))
