"""Which part of the code each module belongs to, and which installed packages can change what a part makes.

A part has one version (``stages/versions.yaml``). A stage depends on the versions of the parts that its imports reach:
a change in ``s3dnerf/sync/held_out.py`` (part ``train_sync``) leaves the generator alone, one in
``s3dnerf/sync/towers.py`` (part ``sync_networks``) does not. Of backends that exclude each other only the one in force
counts.
"""

from __future__ import annotations

from s3dnerf.core.errors import S3DNeRFError

# part → modules, or packages with all that is in them; the longest name that fits decides
PARTS: dict[str, tuple[str, ...]] = {
    "framework": ("s3dnerf", "s3dnerf.core", "s3dnerf.settings", "stages"),
    "tensors": ("s3dnerf.core.shapes", "s3dnerf.core.weight_files"),
    "clip_packs": ("s3dnerf.video.packs",),
    "encode": ("s3dnerf.video.encoding", "s3dnerf.video.child"),
    "decode": ("s3dnerf.video", "s3dnerf.speech.audio"),
    "sample": ("s3dnerf.corpora.synthetic", "stages.sample"),
    "ingest": ("s3dnerf.corpora", "stages.ingest"),
    "resample": ("stages.resample",),
    "align": ("stages.align",),
    "faces": ("s3dnerf.faces",),
    "warping": ("s3dnerf.faces.warping",),
    "face_regions": ("s3dnerf.faces.types",),
    "backends.dlib": ("s3dnerf.faces.dlib_backend", "s3dnerf.faces.dlib_files"),
    "backends.insightface": ("s3dnerf.faces.insightface_backend",),
    "masks": ("stages.masks",),
    "reconstruction": ("s3dnerf.faces.camera", "s3dnerf.faces.recon"),
    "backends.fitted": ("s3dnerf.faces.recon.fit", "s3dnerf.faces.recon.contour"),
    "backends.deep3d": ("s3dnerf.faces.recon.deep3d", "s3dnerf.faces.recon.network", "s3dnerf.faces.recon.crop"),
    "lips": ("s3dnerf.faces.lips", "stages.lips"),
    "speech": ("s3dnerf.speech", "stages.speech"),
    "mel": ("s3dnerf.speech.mel", "s3dnerf.sync.speech_activity"),
    "backends.logmel": ("s3dnerf.speech.logmel",),
    "backends.wav2vec2": ("s3dnerf.speech.wav2vec2",),
    "backends.whisper": ("s3dnerf.speech.whisper", "s3dnerf.speech.whisper_weights", "s3dnerf.speech.ctranslate2"),
    "sync_filter": ("s3dnerf.sync.filtering", "s3dnerf.sync.mouth_offset"),
    "sync_offsets": ("s3dnerf.sync.offsets",),
    "syncnet": ("s3dnerf.sync.syncnet", "s3dnerf.sync.mfcc"),
    "sync_networks": ("s3dnerf.sync",),
    "train_sync": (
        "s3dnerf.sync.held_out",
        "s3dnerf.sync.monitor",
        "s3dnerf.training.train_sync",
        "s3dnerf.training.sync_augment",
        "s3dnerf.training.sync_data",
        "s3dnerf.training.sync_eval",
        "stages.train_sync",
    ),
    "training": (
        "s3dnerf.training.checkpoints",
        "s3dnerf.training.curves",
        "s3dnerf.training.distributed",
        "s3dnerf.training.jobs",
        "s3dnerf.training.optimiser",
        "stages.training",
    ),
    "clip_arrays": ("s3dnerf.training.clips",),
    "model": ("s3dnerf.model",),
    "train_s3dnerf": ("s3dnerf.training", "stages.train_s3dnerf"),
    "synthesis": ("s3dnerf.synthesis",),
    "metrics": ("s3dnerf.metrics", "s3dnerf.sync.judge"),
    "evaluate": (
        "s3dnerf.evaluation",
        "s3dnerf.reporting.clip_pictures",
        "s3dnerf.reporting.clip_video",
        "s3dnerf.reporting.region_ratios",
        "stages.evaluate",
        "stages.evaluate_out",
        "stages.evaluated_clips",
    ),
    "report": ("s3dnerf.reporting", "stages.report"),
    "report_pictures": ("s3dnerf.reporting.png",),
}

# parts that exclude each other: the setting whose value is the one that counts
ALTERNATIVES = {
    "backends.dlib": ("align.backend", "dlib"),
    "backends.insightface": ("align.backend", "insightface"),
    "backends.fitted": ("masks.backend", "fitted"),
    "backends.deep3d": ("masks.backend", "deep3d"),
    "backends.logmel": ("speech.backend", "logmel"),
    "backends.wav2vec2": ("speech.backend", "wav2vec2"),
    "backends.whisper": ("speech.backend", "whisper"),
}

# these look, check and list on every run, so that nothing of theirs can be stale
ALWAYS_RUN = ("check", "inventory")
STAGES = (
    "sample", "ingest", "resample", "align", "masks", "lips", "speech", "train_sync", "train_s3dnerf",
    "evaluate", "report",
)  # fmt: skip
# modules that check what is stale, keep what was made or choose the kind of processor, and so decide no output
NOT_OUTPUT = (
    "stages.code_hash", "stages.code_parts", "stages.code_lock", "stages.stage_fields", "stages.environment",
    "stages.check", "stages.inventory", "stages.weight_hashes", "stages.store",
    "stages.content_store", "stages.out_keys", "stages.seeding", "s3dnerf.core.devices",
    "stages.made", "s3dnerf.core.machine", "s3dnerf.core.capacity", "s3dnerf.core.control_groups",
)  # fmt: skip

# module that is imported → packages on PyPI whose versions can change what comes out
PACKAGES: dict[str, tuple[str, ...]] = {
    "av": ("av",),
    "cv2": ("opencv-python-headless",),
    "decord": ("decord",),
    "dlib": ("dlib-bin",),
    "espeakng_loader": ("espeakng-loader",),
    "face_recognition_models": ("face-recognition-models",),
    "imageio_ffmpeg": ("imageio-ffmpeg",),
    "insightface": ("insightface",),
    "jinja2": ("jinja2",),
    "numpy": ("numpy",),
    "onnxruntime": ("onnxruntime",),
    "pandas": ("pandas", "pyarrow"),
    "PIL": ("pillow",),
    "python_speech_features": ("python_speech_features",),
    "safetensors": ("safetensors",),
    "scipy": ("scipy",),
    "skimage": ("scikit-image",),
    "torch": ("torch",),
    "transformers": ("transformers",),
}
# imported, and without an influence on any number or byte
HARMLESS = frozenset(
    # triton: each version of PyTorch for CUDA brings its own, and PyTorch's version counts
    {"jaxtyping", "beartype", "ruamel", "psutil", "filelock", "tqdm", "rich", "huggingface_hub", "markupsafe", "triton"}
)


class UnknownModule(S3DNeRFError, ValueError):
    """A module belongs to no part, or a package is neither listed as deciding nor as harmless."""


def part_of(module: str) -> str:
    """The part of a module of the project, by the longest name in :data:`PARTS` that fits.

    >>> part_of("s3dnerf.sync.towers"), part_of("s3dnerf.sync.monitor")
    ('sync_networks', 'train_sync')
    """
    fitting = [
        (len(name), part) for part, names in PARTS.items() for name in names if f"{module}.".startswith(f"{name}.")
    ]
    if not fitting:
        raise UnknownModule(f"{module}: in no part — add it to PARTS in stages/code_parts.py")
    return max(fitting)[1]
