"""What MLflow runs of a registered generator: a portrait and speech to an mp4 video.

MLflow copies this file into the model (``flows/model_package.py``), beside a copy of the package ``s3dnerf``, and runs
it where the model is loaded: it imports nothing else of this project. :func:`mlflow.pyfunc.load_model` gives an object
whose ``predict`` takes a table of two columns of bytes, ``portrait`` and ``speech``: what a picture's and a sound
file's contents are, never their paths, so that a served model opens no file of its server for a visitor.
"""

from __future__ import annotations

import base64
import binascii
import tempfile
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel


def contents(name: str, given: Any) -> bytes:
    """A file's contents as MLflow hands them on: bytes, or base64 of them as text. Raises SettingsError for anything
    else.
    """
    from s3dnerf.core.errors import SettingsError

    if isinstance(given, (bytes, bytearray)):
        return bytes(given)
    try:
        if isinstance(given, str):
            return base64.b64decode("".join(given.split()), validate=True)
    except (binascii.Error, ValueError):
        pass  # such as a path
    what = f"the text {given[:40]!r}" if isinstance(given, str) else f"a {type(given).__name__}"
    raise SettingsError(f"{name}: got {what} — expected a file's contents: bytes, or base64 of them")


class TalkingHeadModel(PythonModel):
    """:class:`s3dnerf.TalkingHead` as MLflow calls it."""

    def load_context(self, context: Any) -> None:
        """Read the generator from the model's files, and let it take its speech weights from there.

        ``context.artifacts``: ``generator``, a folder as train_s3dnerf writes it; ``speech.<field>``, the file or
        folder that this field of :class:`s3dnerf.settings.schema.SpeechSettings` names. Raises SynthesisError for a
        folder without a generator, SettingsError where ``S3DNERF_DEVICE`` names a device that is not there.
        """
        from s3dnerf import TalkingHead

        self.one_at_a_time = threading.Lock()  # MLflow's server calls from several threads
        self.head = TalkingHead.load(context.artifacts["generator"])
        settings, own = self.head.settings, "speech."
        weights = {name.removeprefix(own): at for name, at in context.artifacts.items() if name.startswith(own)}
        self.head.settings = replace(settings, speech=replace(settings.speech, **weights))

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """A video a row.

        Parameters
        ----------
        model_input : columns ``portrait`` and ``speech``: the contents of a picture's and of a sound file, as bytes or
            as base64
        params : options of :meth:`s3dnerf.TalkingHead.animate`, each with a default in the model's signature; of
            motions, ``gentle`` and ``still`` alone

        Returns
        -------
        DataFrame with the columns ``video`` (bytes of an mp4: H.264, 25 frames a second, with the speech), ``frames``
        (how many it has) and ``note`` (which of several sound tracks or channels was used, else empty).

        Raises SettingsError for another option, and what :meth:`s3dnerf.TalkingHead.animate` raises for a portrait or
        speech that cannot be used.
        """
        from s3dnerf.core.errors import SettingsError
        from s3dnerf.synthesis.head_motion import MOTIONS

        options = dict(params or {})
        if options.get("motion", MOTIONS[0]) not in MOTIONS:
            raise SettingsError(f"motion: got {options['motion']} — accepted: {', '.join(MOTIONS)}")
        rows = []
        for given in model_input[["portrait", "speech"]].to_dict("records"):
            with self.one_at_a_time, tempfile.TemporaryDirectory(prefix="s3dnerf-") as place:
                files = {name: Path(place) / name for name in given}
                for name, file in files.items():
                    file.write_bytes(contents(name, given[name]))
                said = self.head.animate(files["portrait"], files["speech"], **options)
                video = Path(place) / "video.mp4"
                count = said.write(video)
                rows.append({"video": video.read_bytes(), "frames": count, "note": said.note})
        return pd.DataFrame(rows, columns=["video", "frames", "note"])


set_model(TalkingHeadModel())
