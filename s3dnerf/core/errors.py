"""The base class of every error that this project raises on purpose, and those that several parts raise.

An error of ours says what was expected, what came and what to do; a program may end with its message alone. Each one is
also a ValueError, RuntimeError or OSError, so that ``except ValueError`` around the library does what a reader expects.
"""

from __future__ import annotations

from pathlib import Path


class S3DNeRFError(Exception):
    """Something that a person can put right: the message says what was expected, what came and what to do."""


class PassingFault(S3DNeRFError, RuntimeError):
    """The machine failed, not the file it worked on: a killed process, a time-out, memory or a mount that is gone.

    Whatever was being made must neither be kept nor counted against its input; trying again may succeed.
    """


class SettingsError(S3DNeRFError, ValueError):
    """A setting is unknown, of the wrong type or out of range; the message says what is accepted."""


class InputRefused(S3DNeRFError, ValueError):
    """What a person gave a command cannot be used: nothing was made. The command line ends with status 2, as for a
    setting that there is not.
    """


class MissingWeights(S3DNeRFError, RuntimeError):
    """A weight file that a setting asks for is not there.

    Attributes
    ----------
    setting, path, where, licence : str
        The setting that names the file, the file, where to get it, and under which licence it is given.
    """

    def __init__(self, setting: str, path: str | Path | None, where: str, licence: str, instead: str = "") -> None:
        self.setting, self.path, self.where, self.licence = setting, str(path), where, licence
        found = "null" if path is None else f"{path}: no such file or folder"
        text = f"{setting}: {found}\n  where to get it: {where}\n  licence: {licence}"
        super().__init__(text + (f"\n  without it: {instead}" if instead else ""))
