"""A generator as an MLflow model: a folder that makes videos wherever ``mlflow.pyfunc.load_model`` loads it.

Reads a folder that train_s3dnerf wrote (generator.safetensors, card.json) and the speech weights that its card names;
writes, in MLflow's own layout: both, the code that runs them (``flows/pyfunc_model.py`` and a copy of the package
``s3dnerf``), the signature, an example of an input, and the packages that a new environment needs, pinned as
requirements.lock pins them. ``flows/champion.py`` registers it.

Not packed are files whose owners do not let them be passed on: insightface's models and the Basel Face Model. Where a
generator's settings name them, they must lie where the settings say on the machine that loads the model, too.
"""

from __future__ import annotations

import importlib.metadata
import io
import json
import re
import shutil
import tempfile
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.mlflow_client import MlflowError
from s3dnerf.core.rates import RATE_HZ
from s3dnerf.core.user_folder import found_for_user
from s3dnerf.settings.schema import Settings
from stages.code_lock import ROOT

WRAPPER = Path(__file__).with_name("pyfunc_model.py")
FILES = ("generator.safetensors", "card.json")
HEARING = {"whisper": "whisper_model", "wav2vec2": "model"}  # speech backend → the setting that names its weights
FACES = {"insightface": ("insightface", "onnxruntime")}  # face backend → the packages that it needs besides
LOCK = "requirements.lock"
EXAMPLE_S = 0.48
SYNTHETIC = "Every video that this model makes is synthetic and must be labelled so."
# what a call may ask for beside the portrait and the speech, with what it gets without: TalkingHead.animate's own
PARAMS = {
    "motion": "gentle",
    "views": "one",
    "yaw_deg": 0.0,
    "pitch_deg": 0.0,
    "blinks": True,
    "crop": False,
    "mark": False,
    "face": "only",
    "background": "white",
}


class PackageError(MlflowError):
    """A generator cannot be made an MLflow model; the message says what is missing."""


def card_settings(model: Path) -> tuple[dict[str, Any], Settings]:
    """A generator's card, and the settings in it. Raises PackageError, SettingsError."""
    from s3dnerf.synthesis.synthesizer import SynthesisError, load_card, trained_settings

    try:
        card = load_card(model)
        return card, trained_settings(card)
    except SynthesisError as error:
        raise PackageError(str(error)) from error
    except (json.JSONDecodeError, KeyError) as error:
        raise PackageError(
            f"{model / 'card.json'}: got {error} — expected the card that train_s3dnerf writes"
        ) from None


def speech_weights(settings: Settings, root: Path) -> dict[str, Path]:
    """``speech.<field>`` → the file or folder, absolute, of the weights that the speech backend of ``settings`` needs;
    empty for one without. Relative names mean the folder ``root``; else, as for TalkingHead, the working folder or the
    user's.

    Raises PackageError where it is missing.
    """
    field = HEARING.get(settings.speech.backend)
    named = getattr(settings.speech, field) if field else None
    if field is None or named is None:
        return {}
    inside = root / named
    path = inside if inside.exists() else Path(found_for_user(named) or named)
    if not path.exists():
        raise PackageError(
            f"{inside}: no such file — expected the weights of the speech backend, as the card names them"
        )
    return {f"speech.{field}": path.resolve()}


def _plain(name: str) -> str:
    """A package's name as PyPI compares names."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(lock: Path = ROOT / LOCK) -> dict[str, str]:
    """Package → version, of a lock's lines ``name==version``, without those whose marker is about other machines."""
    from packaging.requirements import Requirement

    lines = (line.partition("#")[0].strip() for line in lock.read_text(encoding="utf-8").splitlines())
    wanted = (Requirement(line) for line in lines if "==" in line)
    return {
        _plain(each.name): str(each.specifier).removeprefix("==")
        for each in wanted
        if each.marker is None or each.marker.evaluate()
    }


def requirements(settings: Settings, pinned: Mapping[str, str], project: Path = ROOT / "pyproject.toml") -> list[str]:
    """The packages that making a video needs, in alphabetical order: the project's own dependencies, MLflow, and those
    of the face backend.

    Raises PackageError for one that ``pinned`` lacks.
    """
    given = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["dependencies"]
    names = {_plain(re.split(r"[^\w.-]", text, maxsplit=1)[0]) for text in given}
    names |= {"mlflow", *FACES.get(settings.align.backend, ())}
    unknown = sorted(names - pinned.keys())
    if unknown:
        raise PackageError(f"{LOCK}: does not pin {unknown[0]}, which making a video needs: resolve the lock again")
    return sorted(names)


def with_dependencies(names: Iterable[str]) -> set[str]:
    """Packages and all that they depend on here, as far as they are installed."""
    from packaging.requirements import Requirement

    found, todo = set[str](), list(names)
    while todo:
        name = todo.pop()
        if name in found:
            continue
        try:
            needs = [Requirement(text) for text in importlib.metadata.requires(name) or []]
        except importlib.metadata.PackageNotFoundError:
            continue
        found.add(name)
        todo += [_plain(need.name) for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})]
    return found


def example() -> dict[str, bytes]:
    """A portrait (JPEG, 256×256, about 18 kB: a NASA photo that scikit-image brings, in the public domain) and half a
    second of a voice-like tone (WAV, 16 kHz).
    """
    import numpy as np
    from PIL import Image
    from skimage.data import astronaut

    from s3dnerf.speech.audio import wav_bytes

    picture, seconds = io.BytesIO(), np.arange(round(EXAMPLE_S * RATE_HZ)) / RATE_HZ
    Image.fromarray(astronaut()[:256, 96:352]).save(picture, "JPEG", quality=90)
    loudness = 0.3 + 0.2 * np.sin(2 * np.pi * 4 * seconds)
    voice = (np.sin(2 * np.pi * 150 * seconds) * loudness).astype(np.float32)
    return {"portrait": picture.getvalue(), "speech": wav_bytes(voice)}


def signature() -> Any:
    """MLflow's ModelSignature: columns in and out with their types, and :data:`PARAMS` with their defaults."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

    kinds = {bool: DataType.boolean, float: DataType.double, str: DataType.string}
    return ModelSignature(
        inputs=Schema([ColSpec(DataType.binary, "portrait"), ColSpec(DataType.binary, "speech")]),
        outputs=Schema(
            [ColSpec(DataType.binary, "video"), ColSpec(DataType.long, "frames"), ColSpec(DataType.string, "note")]
        ),
        params=ParamSchema([ParamSpec(name, kinds[type(value)], value) for name, value in PARAMS.items()]),
    )


@dataclass(frozen=True)
class ModelPackage:
    """What an MLflow model of a generator is made of; :meth:`of` finds it, :meth:`write` makes the model.

    Attributes
    ----------
    model : folder with generator.safetensors and card.json
    card : the generator's card
    settings : those that it was trained with
    weights : :func:`speech_weights`
    packages : what a new environment needs, ``name==version``
    constraints : the same for what these depend on
    """

    model: Path
    card: dict[str, Any]
    settings: Settings
    weights: dict[str, Path]
    packages: list[str]
    constraints: list[str]

    @classmethod
    def of(cls, model: Path, root: Path) -> ModelPackage:
        """All that the model of a generator's folder needs; nothing is written. ``root``: the folder that the card's
        relative paths of weights mean.

        Raises PackageError or SettingsError, for what is missing or cannot be read.
        """
        card, settings = card_settings(model)
        weights, pinned = speech_weights(settings, root), pins()
        named = requirements(settings, pinned)
        below = sorted((with_dependencies(named) & pinned.keys()) - set(named))
        packages, constraints = ([f"{name}=={pinned[name]}" for name in names] for names in (named, below))
        return cls(model, card, settings, weights, packages, constraints)

    def facts(self) -> dict[str, str]:
        """What people want to know of a model, by name: shown as its parameters."""
        return {
            "variant": str(self.card["variant"]),
            "steps": str(self.card["steps"]),
            "seed": str(self.card["seed"]),
            "clips": str(self.card["clips"]),
            "speech": self.settings.speech.backend,
            "faces": self.settings.align.backend,
            "masks": self.settings.masks.backend,
        }

    def write(self, out: Path, about: Any = None) -> None:
        """Write the model into the folder ``out``, which is new or empty.

        ``about``: MLflow's Model that says which run and logged model it belongs to; None: it belongs to none. Raises
        MlflowException, OSError.
        """
        import mlflow.pyfunc
        import pandas as pd

        with tempfile.TemporaryDirectory(prefix="s3dnerf-model-") as temporary:
            place = Path(temporary)
            generator, code = place / "generator", place / "s3dnerf"
            generator.mkdir()
            for name in FILES:
                shutil.copyfile(self.model / name, generator / name)
            # without the package's own generator, which is another one
            shutil.copytree(ROOT / "s3dnerf", code, ignore=shutil.ignore_patterns("__pycache__", "pretrained"))
            constraints = place / "constraints.txt"
            constraints.write_text("\n".join(self.constraints), encoding="utf-8")
            mlflow.pyfunc.save_model(
                out,
                python_model=str(WRAPPER),
                artifacts={name: path.as_uri() for name, path in {"generator": generator, **self.weights}.items()},
                code_paths=[str(code)],
                signature=signature(),
                input_example=pd.DataFrame([example()]),
                pip_requirements=[*self.packages, f"-c {constraints}"],
                metadata={"note": SYNTHETIC, **self.facts()},
                mlflow_model=about,
            )
