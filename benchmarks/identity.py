"""What limits identity: the measure of a run's generator, with one thing replaced at a time by the truth or left out.

    python -m benchmarks.identity [--params params.yaml] [--corpus hdtf] [--every 3]

Every n-th frame of the clips that are measured, by the recogniser of the settings (``evaluate.identity``), against the
same frame of the truth; by how far the head has turned from the portrait as well. Beside the generator stand the
portrait held still and the true video itself, some frames later: what a recogniser says of the same person, same
camera, same light. Reads a run's data (settings, preprocessed clips, generator); writes
benchmarks/results/identity_<preset>.json.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.record import origin, write
from s3dnerf.core.rates import FPS_HZ
from s3dnerf.evaluation.protocol import metric_landmarks
from s3dnerf.evaluation.tools import load_tools
from s3dnerf.model.cameras import Camera
from s3dnerf.model.s3dnerf import Rendered
from s3dnerf.settings.loading import load_settings
from s3dnerf.synthesis.source_frame import source_frame
from s3dnerf.synthesis.synthesizer import Synthesizer, frame_pixels, load_card, load_generator
from s3dnerf.training.clips import Clip, ClipFolder
from stages.evaluate import measured_records, portrait_of

BATCH, LATER = 5, (1, 3, 10)
EDGES_DEGREES = (0.0, 3.0, 6.0, 9.0, 180.0)
OURS, SAME = "the generator", "the portrait's own frame, its true lips"


def turned_degrees(a: np.ndarray, b: np.ndarray) -> float:
    """The angle between two cameras' rotations: poses (3, 4).

    >>> quarter = np.array([[0.0, -1, 0, 5], [1, 0, 0, 5], [0, 0, 1, 5]])
    >>> round(turned_degrees(np.eye(4)[:3], quarter), 6)
    90.0
    """
    cosine = (np.trace(a[:, :3] @ b[:, :3].T) - 1.0) / 2.0
    return float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))


def only_moved(rendered: Rendered) -> Rendered:
    """With what the final frame is painted over in its place: the source, moved."""
    assert rendered.picture is not None
    rendered.fine = rendered.picture
    return rendered


def rendered_frames(
    made: Synthesizer,
    clip: Clip,
    source: int,
    numbers: np.ndarray,
    true_lips: bool = False,
    finish: Callable[[Rendered], Rendered] = lambda rendered: rendered,
) -> np.ndarray:
    """Frames ``numbers`` of a clip by the portrait of frame ``source``: uint8 (k, 256, 256, 3)."""
    identity, windows = portrait_of(made, clip, source), made.windows(clip.tokens, 0, len(clip.frames))
    frames = []
    for first in range(0, len(numbers), BATCH):
        part = numbers[first : first + BATCH]
        camera = Camera(*(torch.from_numpy(x[part]).float() for x in (clip.world_to_camera, clip.intrinsics)))
        lips = torch.from_numpy(clip.landmarks[part]).float() if true_lips else None
        with torch.inference_mode():
            made_now = made.generator.render(identity, windows[part], camera, landmarks=lips)
        frames.append(frame_pixels(finish(made_now)))
    return np.concatenate(frames)


def versions(made: Synthesizer, clip: Clip, source: int, numbers: np.ndarray) -> dict[str, np.ndarray]:
    """Name → frames that stand in the places of the truth's frames ``numbers``."""
    painter = made.generator.mouth
    found = {
        OURS: rendered_frames(made, clip, source, numbers),
        "with the true lips": rendered_frames(made, clip, source, numbers, true_lips=True),
        "the source moved, nothing painted": rendered_frames(made, clip, source, numbers, finish=only_moved),
    }
    made.generator.mouth = None
    found["without the mouth's painter"] = rendered_frames(made, clip, source, numbers)
    made.generator.mouth = painter
    found["the portrait held still"] = np.repeat(clip.frames[source][None], len(numbers), 0)
    for later in LATER:
        name = f"the true video {1000 * later // FPS_HZ} ms later"
        found[name] = clip.frames[np.minimum(numbers + later, len(clip.frames) - 1)]
    return found


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--corpus", default="hdtf")
    parser.add_argument("--every", type=int, default=3)
    given = parser.parse_args()
    settings = load_settings(given.params)
    folder = ClipFolder(settings.data_dir, given.corpus)
    tools = load_tools(settings, settings.data_dir / "train_sync" / "judge")
    if tools.recogniser is None:
        raise SystemExit(f"no recogniser: {tools.why.get('identity', 'evaluate.identity is off')}")
    generator = settings.data_dir / "train_s3dnerf" / settings.train.variants[0]
    made = Synthesizer(load_generator(generator), load_card(generator))
    rows: list[tuple[str, str, float, float]] = []  # version, person, angle in degrees, identity
    records = [record for record in measured_records(settings, []) if record["corpus"] == given.corpus]
    people = list(dict.fromkeys(record["speaker"] for record in records))
    for record in records:
        clip = folder.load(record, max_frames=int(settings.evaluate.clip_s * FPS_HZ))
        source = source_frame(clip.landmarks, settings.evaluate.source_frame)
        numbers = np.arange(0, len(clip.frames), given.every)
        compared = {name: (numbers, frames) for name, frames in versions(made, clip, source, numbers).items()}
        own = np.array([source])
        compared[SAME] = own, rendered_frames(made, clip, source, own, true_lips=True)
        truth = dict(zip(range(len(clip.frames)), metric_landmarks(clip.frames, tools.faces)))
        for name, (places, frames) in compared.items():
            for place, frame, landmarks in zip(places, frames, metric_landmarks(frames, tools.faces)):
                if not (np.isfinite(landmarks).all() and np.isfinite(truth[place]).all()):
                    continue
                likeness = tools.recogniser.similarity(
                    tools.recogniser.describe(frame, landmarks),
                    tools.recogniser.describe(clip.frames[place], truth[place]),
                )
                angle = turned_degrees(clip.world_to_camera[place], clip.world_to_camera[source])
                rows.append((name, record["speaker"], angle, likeness))
        print(f"{record['clip']} done", flush=True)
    result: dict[str, Any] = {
        **origin(f"python -m benchmarks.identity --every {given.every}", "git", "hardware"),
        "recogniser": tools.recogniser.name,
        "people": len(people),
        "versions": {},
    }
    for name in dict.fromkeys(row[0] for row in rows):
        mine = [row for row in rows if row[0] == name]
        by_person = [np.mean([row[3] for row in mine if row[1] == person]) for person in people]
        by_angle = {}
        for low, high in zip(EDGES_DEGREES, EDGES_DEGREES[1:]):
            within = [row[3] for row in mine if low <= row[2] < high]
            if within:
                by_angle[f"{low:.0f} to {high:.0f}°"] = {
                    "mean": round(float(np.mean(within)), 3),
                    "frames": len(within),
                }
        result["versions"][name] = {"mean": round(float(np.mean(by_person)), 3), "turned": by_angle}
    print(write(f"identity_{settings.preset}", result))


if __name__ == "__main__":
    main()
