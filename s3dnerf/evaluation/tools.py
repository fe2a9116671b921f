"""The tools of the evaluation from the settings: face backend, sync judge, LPIPS network, face recogniser.

Reads the weights that the settings name; what is missing is None with its reason, which the metrics then carry.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from s3dnerf.core.devices import chosen_device
from s3dnerf.core.errors import MissingWeights
from s3dnerf.core.rates import FPS_HZ, SAMPLES_PER_FRAME
from s3dnerf.evaluation.feature_networks import feature_networks
from s3dnerf.evaluation.protocol import Tools
from s3dnerf.faces.detectors import face_backend
from s3dnerf.metrics import identity, lpips
from s3dnerf.settings.schema import Settings
from s3dnerf.video.packs import file_sha256


def load_tools(settings: Settings, judge_folder: str | Path, any_sound: bool = False) -> Tools:
    """Face backend, judge, LPIPS and recogniser of the settings.

    Parameters
    ----------
    judge_folder : of ``train_sync``'s judge
    any_sound : whether the judge is to read sound that no stage prepared: its speech backend must be here then

    Raises MissingWeights when the face backend itself is missing: without landmarks there is no protocol.
    """
    from s3dnerf.speech.wav2vec2 import SpeechModelError
    from s3dnerf.sync.judge import sync_judge
    from s3dnerf.sync.syncnet import SyncNetWeightsError

    chosen = settings.evaluate
    why: dict[str, str] = {}
    judge = network = recogniser = None
    device = chosen_device()
    key = chosen.judge
    try:
        judge = sync_judge(chosen, judge_folder)
        if chosen.judge == "trained":  # another training is another judge
            key += "-" + file_sha256(Path(judge_folder) / "weights.safetensors")[:8]
        if any_sound:
            judge.audio_of(np.zeros(FPS_HZ * SAMPLES_PER_FRAME, np.float32))
    except (SyncNetWeightsError, SpeechModelError, MissingWeights, FileNotFoundError, ValueError) as missing:
        judge, why["judge"] = None, str(missing).splitlines()[0]
    if chosen.lpips == "off":
        why["lpips"] = "switched off (evaluate.lpips: off): no AlexNet weights"
    else:
        try:
            network = lpips.load_lpips(chosen.lpips_weights or "").to(device)
        except lpips.LpipsWeightsError as missing:
            why["lpips"] = str(missing)
    if chosen.identity == "off":
        why["identity"] = "switched off (evaluate.identity: off)"
    else:
        try:
            recogniser = identity.load_recogniser(chosen.identity, settings.align.model_dir)
        except MissingWeights as missing:
            why["identity"] = str(missing).splitlines()[0]
    networks, lacking = feature_networks(chosen, network, why.get("lpips", ""))
    return Tools(
        faces=face_backend(settings.align),
        judge=judge,
        network=network,
        recogniser=recogniser,
        networks=networks,
        why=why | lacking,
        judge_key=key,
        identity_name=chosen.identity,
        landmark_every=chosen.landmark_every,
        picture_every=chosen.picture_every,
        identity_frames=chosen.identity_frames,
        lips=settings.lips,
    )
