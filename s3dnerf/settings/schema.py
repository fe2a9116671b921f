"""Typed settings: what ``params.yaml`` may say, one class a section, checked before any work.

Defaults are the ``paper`` preset (the values of the method, full corpora) but for the name of its protocol. The files
in ``s3dnerf/settings/presets/`` say only what differs. ``params.yaml`` always holds every value, so that a
report can quote the settings that made it: ``s3dnerf preset NAME`` writes it.

Reads: a mapping (from YAML or JSON). Raises: :class:`SettingsError` naming the field and what it accepts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from s3dnerf.settings.checking import opt
from s3dnerf.settings.consistency import check_together
from s3dnerf.settings.protocols import CUSTOM, NAMES

PRESETS = ("tiny", "sample", "mini", "paper")
CORPORA = ("hdtf", "lrs2", "mead", "portraits")
LEAST_FOLLOW_FRAMES = 9.0  # measured: benchmarks/sync.py --boxes
VARIANTS = ("full", "naive", "feature_concat", "no_deform", "no_sync")


@dataclass(frozen=True)
class RawSettings:
    """Where the raw corpora lie. A folder, or null for a corpus that is not used."""

    hdtf: str | None = opt("raw/HDTF", "HDTF folder: clips/ or videos/, and HDTF_dataset/ with the 15 annotation lists")
    lrs2: str | None = opt("raw/LRS2", "LRS2 folder that holds mvlrs_v1/")
    mead: str | None = opt("raw/MEAD", "MEAD folder that holds one folder a person (M003/video/front/…)")
    portraits: str | None = opt(None, "a plain folder of one-person videos (AD-NeRF and GeneFace videos, or your own)")


@dataclass(frozen=True)
class SampleSettings:
    """The synthetic speakers that replace the corpora where nobody has them."""

    enabled: bool = opt(False, "make synthetic corpora under data/<preset>/sample (raw.* must point there)")
    hdtf_train_speakers: int = opt(8, "synthetic people in HDTF's layout, for training", ge=1, le=500)
    hdtf_test_speakers: int = opt(10, "further synthetic people in HDTF's layout, for testing", ge=1, le=500)
    hdtf_train_s: float = opt(8.0, "seconds of annotated speech of each training person", ge=1.5, le=600)
    hdtf_test_s: float = opt(3.0, "seconds of annotated speech of each test person", ge=1.5, le=600)
    lrs2_speakers: int = opt(8, "synthetic people in LRS2's layout (160 px, 25 fps)", ge=2, le=500)
    lrs2_utterances: int = opt(3, "utterances of each LRS2 person", ge=1, le=100)
    lrs2_s: float = opt(3.0, "seconds of an LRS2 utterance, about", ge=1.0, le=60)
    mead_speakers: int = opt(4, "synthetic people in MEAD's layout (30 fps, audio apart)", ge=1, le=500)
    mead_clips: int = opt(2, "clips of each MEAD person", ge=1, le=100)
    mead_s: float = opt(2.4, "seconds of a MEAD clip, about", ge=1.0, le=60)
    hdtf_px: int = opt(320, "height and width of the annotated crop of a synthetic HDTF video", ge=160, le=1080)
    mead_px: int = opt(320, "height of a synthetic MEAD video", ge=160, le=1080)


@dataclass(frozen=True)
class IngestSettings:
    """Raw layouts to clip records: cutting, splits, packs, and how much may fail."""

    clip_s: float = opt(10.0, "longest clip; a longer interval is cut", ge=1.0, le=10.0)
    min_clip_s: float = opt(1.0, "a shorter clip is excluded as too_short", ge=0.4, le=10.0)
    pack_clips: int = opt(64, "clips in a pack, at most", ge=1, le=64)
    max_failed_fraction: float = opt(
        0.2, "share of a corpus's clips that a stage may quarantine before it fails", ge=0.0, le=1.0
    )
    max_train_clips_per_video: int = opt(0, "at most so many clips of one HDTF video (0: all)", ge=0)
    hdtf_test_speakers: tuple[str, ...] = opt(
        (), "people of HDTF never trained on, by name; empty: chosen by hdtf_test_fraction"
    )
    hdtf_test_fraction: float = opt(
        0.1, "share of HDTF's people held out when none are named (by a hash of the name)", ge=0.0, le=0.9
    )
    lrs2_val_fraction: float = opt(
        0.2, "share of LRS2's folders held out to judge the lip-sync networks", ge=0.0, le=0.9
    )
    mead_split: str = opt(
        "sentence", "MEAD: by sentence (official, evaluation only) or by identity", choices=("sentence", "identity")
    )
    mead_test_fraction: float = opt(
        1.0, "mead_split identity: share of MEAD's people held out (by a hash of the name)", ge=0.0, le=1.0
    )
    mead_views: tuple[str, ...] = opt(("front",), "MEAD views taken; the others are excluded as view_not_used")
    same_person: tuple[tuple[str, ...], ...] = opt((), "names that are one person, a list each: they share a split")


@dataclass(frozen=True)
class ResampleSettings:
    """The 25 Hz clock and 16 kHz mono sound."""

    silence_dbfs: float = opt(
        -60.0, "a clip whose sound stays below this level is quarantined as silent", ge=-120, le=0
    )
    max_audio_gap_s: float = opt(
        0.5, "sound may end this much before the picture (padded); beyond: audio_too_short", ge=0, le=10
    )


@dataclass(frozen=True)
class AlignSettings:
    """Detection, 68 landmarks and one similarity a clip, to 256×256."""

    backend: str = opt("insightface", "face detector and landmarks", choices=("dlib", "insightface"))
    model_dir: str | None = opt("weights/insightface/buffalo_l", "insightface: folder of the model pack")
    size_px: int = opt(256, "height and width of the aligned frame", choices=(256,))
    detect_every: int = opt(10, "full detection every n-th frame, tracking between", ge=1, le=250)
    detect_px: int = opt(480, "longer side of the picture the detector sees", ge=120, le=2160)
    crop_factor: float = opt(2.3, "side of the crop in units of the face's landmark extent", ge=1.2, le=4.0)
    crop_factor_min: float = opt(1.9, "… but down to this where the picture would end inside the crop", ge=1.2, le=4.0)
    min_face_px: int = opt(48, "a smaller face is quarantined as face_too_small", ge=16, le=1024)
    max_missing_fraction: float = opt(
        0.1, "share of frames in which the face may be lost before face_lost", ge=0.0, le=0.9
    )
    crf: int = opt(14, "x264 quality of the aligned all-intra clip (lower is better)", ge=0, le=40)


@dataclass(frozen=True)
class MasksSettings:
    """3-D reconstruction: 257 coefficients, camera and inner-face mask."""

    backend: str = opt(
        "deep3d",
        "deep3d: the network with BFM 2009; fitted: our own morphable model fitted to landmarks",
        choices=("deep3d", "fitted"),
    )
    network: str | None = opt("weights/deep3d/epoch_20.pth", "Deep3DFaceRecon checkpoint (deep3d backend)")
    morphable_model: str | None = opt(
        "weights/deep3d/BFM_model_front.mat",
        "BFM_model_front.mat, with similarity_Lm3D_all.mat beside it (deep3d backend)",
    )
    batch: int = opt(16, "frames a forward pass of the network (deep3d backend)", ge=1, le=1024)
    smooth_frames: float = opt(
        1.0, "standard deviation of the smoothing of angles and translation along the clip", ge=0, le=10
    )
    fit_every: int = opt(1, "fit every n-th frame and interpolate between (fitted backend)", ge=1, le=10)


@dataclass(frozen=True)
class LipsSettings:
    """Lip boxes from landmarks 48–67."""

    scale: float = opt(1.4, "side of the square box in units of the lips' extent over the clip", ge=1.0, le=3.0)
    follow_frames: float = opt(
        0.0, "lip crops follow the head, smoothed by so many frames (9 or more); 0: one box a clip", ge=0.0, le=250.0
    )


@dataclass(frozen=True)
class SpeechSettings:
    """Speech tokens at 50 Hz and the expert's mel; sound that is out of step with the picture."""

    backend: str = opt(
        "wav2vec2", "what makes tokens (logmel needs no weights)", choices=("wav2vec2", "whisper", "logmel")
    )
    model: str | None = opt("facebook/wav2vec2-base-960h", "hub name found in the local cache, or a folder (wav2vec2)")
    whisper_model: str | None = opt("weights/whisper_tiny_en.safetensors", "converted file, hub name, folder (whisper)")
    whisper_layer: int = opt(3, "encoder layer whose states are the tokens (whisper; tiny has 4)", ge=1, le=32)
    batch: int = opt(4, "clips a forward pass", ge=1, le=64)
    sync_filter: str = opt(
        "off",
        "who estimates a clip's offset: syncnet (SyncNet v2), mouth (its opening against the sound)",
        choices=("off", "syncnet", "mouth"),
    )
    sync_action: str = opt(
        "shift", "a clip out of step: its sound is shifted, or the clip excluded", choices=("shift", "exclude")
    )
    sync_unsure: str = opt(
        "exclude", "a clip whose offset is not certain: kept as it is, or excluded", choices=("keep", "exclude")
    )
    sync_tolerance_frames: int = opt(1, "an offset up to so many frames counts as in step", ge=0, le=15)
    sync_max_frames: int = opt(6, "sync_action shift: a larger offset excludes the clip", ge=1, le=15)
    syncnet_confidence: float = opt(3.0, "sync_filter syncnet: an offset counts from this LSE-C on", ge=0.0, le=100.0)
    mouth_confidence: float = opt(2.5, "sync_filter mouth: … from so many deviations of chance on", ge=0.0, le=100.0)
    sync_weights: str | None = opt("weights/syncnet_v2.model", "SyncNet v2 weights (sync_filter syncnet)")


@dataclass(frozen=True)
class SyncSettings:
    """The lip-sync expert and judge (3.4)."""

    steps: int = opt(200_000, "training steps", ge=1)
    judge_steps: int = opt(100_000, "training steps of the judge", ge=1)
    batch: int = opt(64, "windows a step", ge=2, le=4096)
    lr: float = opt(1e-4, "Adam step size", ge=1e-7, le=1.0)
    margin: float = opt(0.5, "triplet margin η of eq. 7", ge=0.0, le=2.0)
    frames: int = opt(5, "T, frames a window", choices=(5,))
    crop_px: int = opt(96, "side of a lip crop", choices=(48, 96))
    width: int = opt(64, "channels of the first convolution", ge=4, le=256)
    embed: int = opt(512, "embedding size", ge=16, le=1024)
    audio: str = opt(
        "mel",
        "what the audio tower reads: mel columns, or the speech backend's tokens (ours)",
        choices=("mel", "tokens"),
    )
    grey: bool = opt(False, "average the colours of a lip crop first: few speakers' colours mislead")
    gate: float = opt(
        0.9,
        "held-out accuracy below which λ_sync must be 0 (below 0.5 it stops nothing: preset tiny alone)",
        ge=0.0,
        le=1.0,
    )
    hdtf_val_fraction: float = opt(0.1, "share of HDTF's training people held out to judge the expert", ge=0.0, le=0.9)
    eval_trials: int = opt(2000, "held-out trials", ge=10, le=1_000_000)
    eval_every: int = opt(2000, "steps between held-out evaluations", ge=1)
    checkpoint_every: int = opt(2000, "steps between checkpoints", ge=1)
    expert_seed: int = opt(1, "seed of the expert", ge=0)
    judge_seed: int = opt(2, "seed of the judge", ge=0)
    processes: int = opt(1, "data-parallel processes", ge=1, le=1024)
    precision: str = opt("fp32", "autocast precision", choices=("fp32", "bf16"))


@dataclass(frozen=True)
class ModelSettings:
    """S³D-NeRF's blocks (3.1–3.3)."""

    slot_dim: int = opt(256, "D_slot: width of the aggregated embedding", ge=8, le=1024)
    encoder_width: int = opt(64, "channels of D⁰; doubled a level up to 8×", ge=4, le=256)
    plane_channels: int = opt(32, "C, channels of a plane", ge=2, le=128)
    slot_grid: int = opt(16, "H_s = W_s, cells of the slot grid", ge=2, le=64)
    slot_iterations: int = opt(3, "slot attention iterations", ge=1, le=10)
    heads: int = opt(8, "heads of the cross attention", ge=1, le=16)
    speech_tokens: int = opt(16, "speech tokens around each frame", ge=2, le=64)
    deform_widths: tuple[int, ...] = opt((256, 128, 64, 128, 256), "widths of the U-shaped deformation MLP")
    deform_bound: float = opt(0.2, "largest |Δx| as a fraction of the box's half side", ge=0.0, le=1.0)
    position_octaves: int = opt(6, "octaves of the position code", ge=0, le=12)
    decoder_width: int = opt(64, "width of the tri-plane decoder", ge=8, le=256)
    feature_channels: int = opt(32, "features a ray carries, the first three are colour", ge=3, le=128)
    coarse_samples: int = opt(48, "stratified samples a ray", ge=2, le=256)
    fine_samples: int = opt(48, "importance samples a ray", ge=0, le=256)
    raw_px: int = opt(64, "side of the rendered feature image", ge=8, le=256)
    image_px: int = opt(256, "side of what super-resolution paints; the final frame has 256²", ge=32, le=256)
    superres_width: int = opt(128, "channels of the super-resolution blocks", ge=8, le=512)
    carry_source: bool = opt(
        False, "super-resolution reads the source where the rendered points come from, not in place (ours)"
    )
    mouth_width: int = opt(
        0,
        "ours: speech tells where the lips stand; that guides the deformation, and a painter of the mouth with so many "
        "channels (0: neither)",
        ge=0,
        le=128,
    )
    lip_gain: float = opt(
        1.0,
        "ours: what speech tells of the lips' motion is multiplied by this (1: the most probable lips, which are an "
        "average and move too little)",
        ge=0.0,
        le=2.0,
    )
    discriminator_width: int = opt(64, "channels of the discriminator at full resolution", ge=4, le=256)


@dataclass(frozen=True)
class PhaseSettings:
    """A stretch of the generator's training: how its target frames are drawn, and the weight of each loss (the λ of
    eq. 9; the defaults are the paper's, for the whole of the training).
    """

    share: float = opt(1.0, "share of train.steps; the shares of all phases add up to 1", ge=0.0, le=1.0)
    frames: str = opt(
        "consecutive",
        "the T target frames of a sample: consecutive, or from anywhere in the clip (ours: more mouths a step)",
        choices=("consecutive", "anywhere"),
    )
    pix: float = opt(1.0, "weight of the pixel loss", ge=0.0)
    per: float = opt(0.01, "weight of the perceptual loss", ge=0.0)
    adv: float = opt(1.0, "weight of the adversarial loss", ge=0.0)
    sync: float = opt(0.5, "weight of the lip-sync loss", ge=0.0)
    deform: float = opt(0.001, "weight of the deformation loss", ge=0.0)
    mouth: float = opt(0.0, "weight of the final frame's mean absolute difference in the lip box (ours)", ge=0.0)
    flow: float = opt(0.0, "weight of the rendered flow's distance from the source's landmarks, pixels² (ours)", ge=0.0)


@dataclass(frozen=True)
class TrainSettings:
    """Training of the generator (3.5)."""

    variants: tuple[str, ...] = opt(("full",), "variants of table 3 to train: " + ", ".join(VARIANTS))
    steps: int = opt(400_000, "training steps", ge=1)
    batch: int = opt(8, "samples a step over all processes; each is one source and T target frames", ge=1, le=1024)
    accumulate: int = opt(
        1, "parts of a process's share of the batch, one after the other: less memory, the same step", ge=1, le=1024
    )
    frames: int = opt(5, "T, consecutive target frames a sample", choices=(5,))
    lr_generator: float = opt(1e-4, "Adam step size of the generator", ge=1e-7, le=1.0)
    lr_discriminator: float = opt(2e-4, "Adam step size of the discriminator", ge=1e-7, le=1.0)
    gradient_clip: float = opt(1.0, "largest gradient norm", ge=1e-3, le=1e3)
    ema: float = opt(0.999, "decay of the averaged generator", ge=0.0, le=0.99999)
    adam_beta1: float = opt(0.0, "Adam's β₁ of the generator (the discriminator's is 0)", ge=0.0, le=0.999)
    lr_final: float = opt(
        1.0, "step sizes at the last step, as a fraction (half cosine over the last half; 1: constant)", ge=0.0, le=1.0
    )
    phases: tuple[PhaseSettings, ...] = opt((PhaseSettings(),), "stretches of the training, one after the other")
    lips_pix_weight: float = opt(
        1.0, "weight of the lip box's pixels in the pixel loss (1: the paper's plain ℓ2)", ge=1.0, le=100.0
    )
    outside_rays: float = opt(
        1.0, "share of the rays outside the target's face that a step renders (1: all)", ge=0.0, le=1.0
    )
    r1: float = opt(5.0, "weight of the R1 penalty", ge=0.0)
    r1_every: int = opt(16, "steps between R1 penalties", ge=1)
    perceptual: str = opt(
        "vgg19",
        "vgg19 (the paper's), vgg16, or stand_in: a fixed random pyramid and the frozen expert's features",
        choices=("vgg19", "vgg16", "stand_in"),
    )
    vgg_weights: str | None = opt("weights/vgg19.pth", "that network's weights: torchvision's file, or s3dnerf fetch's")
    checkpoint_every: int = opt(1000, "steps between checkpoints", ge=1)
    strip_every: int = opt(5000, "steps between pictures of training samples", ge=1)
    processes: int = opt(4, "data-parallel processes", ge=1, le=1024)
    precision: str = opt("bf16", "autocast precision", choices=("fp32", "bf16"))
    compile: bool = opt(False, "torch.compile the convolutional networks; needs a C++ compiler, on a GPU Triton")


@dataclass(frozen=True)
class EvaluateSettings:
    """What is measured, on which clips."""

    protocol: str = opt(
        CUSTOM,
        "name of the protocol; a named one fixes what decides what is measured (docs/reference/protocols.md)",
        choices=NAMES,
    )
    clip_s: float = opt(10.0, "seconds of each test clip that are measured", ge=0.8, le=10.0)
    max_clips_per_speaker: int = opt(0, "test clips of a person (0: all)", ge=0)
    source_frame: str = opt(
        "first",
        "the portrait: a clip's first frame, or calm: open eyes and the least open mouth of its first second (ours)",
        choices=("first", "calm"),
    )
    corpora: tuple[str, ...] = opt(("hdtf", "mead"), "corpora whose test clips are measured")
    judge: str = opt("syncnet", "syncnet: SyncNet v2; trained: train_sync's judge", choices=("syncnet", "trained"))
    syncnet_weights: str | None = opt("weights/syncnet_v2.model", "SyncNet v2 weights (judge: syncnet)")
    lpips: str = opt(
        "alexnet", "alexnet: LPIPS with its weights; off: reported as not measured", choices=("alexnet", "off")
    )
    lpips_weights: str | None = opt(
        "weights/lpips", "folder with alexnet.pth (torchvision) and lpips_alex.pth (linear heads)"
    )
    fid: str = opt(
        "off",
        "inception: KID and FID of a corpus by the FID reference's Inception-v3 as well; off: by AlexNet alone",
        choices=("inception", "off"),
    )
    fid_weights: str | None = opt(None, "Inception-v3 weights of the FID reference (fid: inception)")
    fvd: str = opt("off", "i3d: FVD of a corpus; off: reported as not measured", choices=("i3d", "off"))
    fvd_weights: str | None = opt(None, "I3D as a TorchScript program (fvd: i3d)")
    identity: str = opt("insightface", "recogniser for identity similarity", choices=("insightface", "dlib", "off"))
    landmark_every: int = opt(1, "landmarks on every n-th frame", ge=1, le=10)
    picture_every: int = opt(1, "SSIM, PSNR, LPIPS and CPBD on every n-th frame", ge=1, le=10)
    identity_frames: int = opt(5, "frames of a clip that the recogniser sees", ge=1, le=250)
    methods: str | None = opt(
        "data/methods", "other methods' videos, <method>/<corpus>/<raw clip>.mp4; a folder that need not exist"
    )
    bootstrap: int = opt(2000, "resamples for the intervals", ge=100, le=100_000)


@dataclass(frozen=True)
class ReportSettings:
    """The report's pictures."""

    people: bool = opt(
        False,
        "show people in index.html, which is meant for git: true where the corpora's licences let frames be passed on",
    )
    strips: int = opt(4, "test clips shown as videos and frames, a corpus: its worst and its best", ge=1, le=50)
    strip_frames: int = opt(6, "frames a strip", ge=2, le=20)


@dataclass(frozen=True)
class Settings:
    """Everything ``params.yaml`` says."""

    preset: str = opt("paper", "name of the preset; data lies under data/<preset>/", choices=PRESETS)
    seed: int = opt(0, "seed of everything that has no seed of its own", ge=0)
    raw: RawSettings = field(default_factory=RawSettings)
    sample: SampleSettings = field(default_factory=SampleSettings)
    ingest: IngestSettings = field(default_factory=IngestSettings)
    resample: ResampleSettings = field(default_factory=ResampleSettings)
    align: AlignSettings = field(default_factory=AlignSettings)
    masks: MasksSettings = field(default_factory=MasksSettings)
    lips: LipsSettings = field(default_factory=LipsSettings)
    speech: SpeechSettings = field(default_factory=SpeechSettings)
    sync: SyncSettings = field(default_factory=SyncSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    train: TrainSettings = field(default_factory=TrainSettings)
    evaluate: EvaluateSettings = field(default_factory=EvaluateSettings)
    report: ReportSettings = field(default_factory=ReportSettings)

    @property
    def data_dir(self) -> Path:
        """``data/<preset>``, relative to the repository root."""
        return Path("data") / self.preset

    def __post_init__(self) -> None:
        check_together(self, VARIANTS, CORPORA, LEAST_FOLLOW_FRAMES)
