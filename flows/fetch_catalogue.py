"""What ``s3dnerf fetch`` can download over HTTP: addresses, sizes, sha256 where it is known, licences, and which
setting says where each belongs.

A hash of 64 digits pins a file. Where only its first digits are known those are checked, and the whole hash of the
first download is noted in ``weights/fetched.json`` and asked of every later one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from flows.download import RemoteFile
from s3dnerf.settings.schema import Settings

HUB = "https://huggingface.co/facebook/wav2vec2-base-960h/resolve/22aad52d435eb6dbaf354bdad9b0da84ce7d6156/"
WHISPER = "https://huggingface.co/openai/whisper-tiny.en/resolve/87c7102498dcde7456f24cfd30239ca606ed9063/"
BUFFALO_L = "https://github.com/deepinsight/insightface/releases/download/v0.7/buffalo_l.zip"
TORCHVISION = "https://download.pytorch.org/models/"
SYNCNET = "http://www.robots.ox.ac.uk/~vgg/software/lipsync/data/syncnet_v2.model"


@dataclass(frozen=True)
class Item:
    """Weights that one or more files over HTTP hold.

    Attributes
    ----------
    setting, default : section.field that says where they belong, and where they go when it says nothing
    form : what the setting names: a file; or a folder with the files, a zip's content, or a hub model's files
    """

    title: str
    licence: str
    setting: str
    default: str
    form: Literal["file", "folder", "zip", "hub"]
    files: tuple[RemoteFile, ...]

    @property
    def size_bytes(self) -> int:
        """All its files together."""
        return sum(file.size_bytes for file in self.files)


CATALOGUE = {
    "wav2vec2": Item(
        "wav2vec 2.0 base, 960 h",
        "Apache-2.0",
        "speech.model",
        "facebook/wav2vec2-base-960h",
        "hub",
        (
            RemoteFile(f"{HUB}config.json", "d3ec255c063d9f95057b553b19c20135b259875834a4fe9deb218a6be25b4cf3", 1596),
            RemoteFile(
                f"{HUB}preprocessor_config.json",
                "b225d617c025463b9e157e06afea8b90dc7078fc70b013c533328423e0486b4a",
                159,
            ),
            RemoteFile(
                f"{HUB}model.safetensors",
                "8aa76ab2243c81747a1f832954586bc566090c83a0ac167df6f31f0fa917d74a",
                377_607_901,
            ),
        ),
    ),
    "whisper-hub": Item(
        "Whisper tiny.en, all of it, OpenAI's own repository",
        "Apache-2.0",
        "speech.whisper_model",
        "openai/whisper-tiny.en",
        "hub",
        (
            RemoteFile(
                f"{WHISPER}config.json", "b5366317df280f79e6cc366f259f379674f81a8721d458acf2e00680ccb10b1d", 1937
            ),
            RemoteFile(
                f"{WHISPER}model.safetensors",
                "db59695928ded6043adaef491a53ef4e12da9611184d77c53baa691a60b958ad",
                151_060_136,
            ),
        ),
    ),
    "insightface": Item(
        "insightface's model pack buffalo_l",
        "research only, non-commercial",
        "align.model_dir",
        "weights/insightface/buffalo_l",
        "zip",
        (RemoteFile(BUFFALO_L, "80ffe37d8a5940d59a7384c201a2a38d4741f2f3c51eef46ebb28218a7b0ca2f", 288_621_354),),
    ),
    "syncnet": Item(
        "SyncNet v2",
        "research only",
        "evaluate.syncnet_weights",
        "weights/syncnet_v2.model",
        "file",
        (RemoteFile(SYNCNET, "961e8696f888fce4f3f3a6c3d5b3267cf5b343100b238e79b2659bff2c605442", 54_600_000),),
    ),
    "vgg19": Item(
        "torchvision's VGG-19",
        "BSD-3-Clause",
        "train.vgg_weights",
        "weights/vgg19.pth",
        "file",
        (
            RemoteFile(
                f"{TORCHVISION}vgg19-dcbb9e9d.pth",
                "dcbb9e9dad569fff7a846263a77324fc34978fea2bfb039c012d710e1776ae44",
                574_673_361,
            ),
        ),
    ),
    "alexnet": Item(  # LPIPS's heads with it, out of a package: flows.fetch.PACKAGES has the same name
        "torchvision's AlexNet, for LPIPS",
        "BSD-3-Clause",
        "evaluate.lpips_weights",
        "weights/lpips",
        "folder",
        (
            RemoteFile(
                f"{TORCHVISION}alexnet-owt-7be5be79.pth",
                "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
                244_408_911,
            ),
        ),
    ),
}
# setting, backend → what `s3dnerf fetch NAME` calls its weights
NEEDS = {
    ("align.backend", "insightface"): "insightface",
    ("evaluate.identity", "insightface"): "insightface",
    ("masks.backend", "deep3d"): "deep3d",
    ("speech.backend", "wav2vec2"): "wav2vec2",
    ("speech.backend", "whisper"): "whisper",
    ("speech.sync_filter", "syncnet"): "syncnet",
    ("evaluate.judge", "syncnet"): "syncnet",
    ("evaluate.lpips", "alexnet"): "lpips",
    ("evaluate.fid", "inception"): "fid",
    ("evaluate.fvd", "i3d"): "fvd",
    ("train.perceptual", "vgg19"): "vgg19",
    ("train.perceptual", "vgg16"): "lpips",
}


def name_to_fetch(settings: Settings, setting: str, backend: str) -> str:
    """What ``s3dnerf fetch`` calls the weights of a backend, as the settings name them: of Whisper there are two."""
    model = settings.speech.whisper_model
    return "whisper-hub" if backend == "whisper" and model and not is_file_name(model) else NEEDS[setting, backend]


def is_file_name(model: str) -> bool:
    """Whether a model is named as one file, and not as a folder or a hub name."""
    return model.endswith(".safetensors")


def place_of(item: Item, settings: Settings | None) -> str:
    """Where an item belongs: as its setting says, or at its usual place where that says nothing or names a file that
    is not the item's.
    """
    section, field = item.setting.split(".")
    place = getattr(getattr(settings, section), field) if settings else None
    return place if place and not (item.form == "hub" and is_file_name(place)) else item.default


DEEP3D_STEPS = """\
deep3d: its files are given by their owners alone, under their licences (BFM 2009: non-commercial, no redistribution):
  1. Ask the University of Basel for the Basel Face Model 2009 (faces.dmi.unibas.ch/bfm): 01_MorphableModel.mat.
  2. Clone github.com/sicxu/Deep3DFaceRecon_pytorch: its folder BFM has five more files of the model.
  3. Get Exp_Pca.bin, the expression basis, and the checkpoint epoch_20.pth, from the links in that README.
  4. Put 01_MorphableModel.mat, Exp_Pca.bin and epoch_20.pth into that folder BFM.
  5. s3dnerf fetch deep3d --from Deep3DFaceRecon_pytorch/BFM
It makes BFM_model_front.mat and lays all files where the settings look. No code of that repository is run."""
FID_STEPS = """\
fid: Inception-v3 of the FID reference. Its whole hash is not known here, only that it begins with 6726825d, so that it
is not downloaded without being looked at:
  1. Get pt_inception-2015-12-05-6726825d.pth from github.com/mseitzer/pytorch-fid, releases, fid_weights (or take the
     one that pytorch-fid has left in ~/.cache/torch/hub/checkpoints).
  2. Put it under weights/. sha256sum of it begins with 6726825d.
  3. In params.yaml: evaluate.fid: inception, and evaluate.fid_weights: its path. s3dnerf doctor then lists it."""
FVD_STEPS = """\
fvd: I3D as a TorchScript program, the file i3d_torchscript.pt that published FVDs are computed with. It is a
program, so that it is not downloaded without being looked at:
  1. Get it from the link in github.com/universome/fvd-comparison, or as auxiliary/i3d_torchscript.pt of the hub's
     repository ByteDance/LatentSync-1.6.
  2. Put it at weights/i3d_torchscript.pt.
  3. In params.yaml: evaluate.fvd: i3d, and evaluate.fvd_weights: its path. s3dnerf doctor then lists it."""
# what s3dnerf fetch explains and does not download
STEPS = {"deep3d": DEEP3D_STEPS, "fid": FID_STEPS, "fvd": FVD_STEPS}
