"""How fast a portrait speaks: from ``animate`` to the first frame, and frames a second of the network, with the face
alone written to a file, and with the whole picture.

    python -m benchmarks.speed [--portrait photo.jpg] [--speech words.wav] [--seconds 10] [--device auto]
    python -m benchmarks.speed --prepare folder …      # here: what needs dlib and a sound reader
    python -m benchmarks.speed --inputs folder …       # there: on a machine that has torch, numpy, OpenCV and ffmpeg

The generator is the one in the package; nothing is trained. Without a portrait scikit-image's astronaut speaks, without
speech eSpeak NG does. Each way stands beside a named baseline of the same run: on a CPU one frame at a time, on a GPU
the same work without the recorded graph, and float32 beside bfloat16; there, frames are also compared with the CPU's.
Times are by the clock, after one run that is not counted, the device waited for: run it with nothing beside. Writes
benchmarks/results/speed_<device>.json and prints it.
"""

from __future__ import annotations

import argparse
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.model import machine, peak_mb
from benchmarks.record import origin, write
from s3dnerf.core.cores import usable_cores
from s3dnerf.core.devices import chosen_device, device_name
from s3dnerf.core.rates import RATE_HZ, SAMPLES_PER_FRAME
from s3dnerf.model.cameras import Camera
from s3dnerf.synthesis.blinks import blinking
from s3dnerf.synthesis.head_motion import poses_for
from s3dnerf.synthesis.portrait import PortraitFace
from s3dnerf.synthesis.replayed import Batches, Request
from s3dnerf.synthesis.synthesizer import Synthesizer, final_pixels
from s3dnerf.synthesis.talking_head import BATCH, PreparedPortrait, TalkingHead
from s3dnerf.synthesis.whole_picture import fitting

FACE_FIELDS = ("frame", "mask", "world_to_camera", "intrinsics", "box", "landmarks", "matrix")
STEADY_FRAMES = 1000
TEXT = "The quick brown fox jumps over the lazy dog, while five wizards brew a pot of very black coffee. "


def speech_of(path: Path | None, seconds: float) -> np.ndarray:
    """Samples at 16 kHz of so many seconds: of a file, or spoken by eSpeak NG."""
    if path is not None:
        from s3dnerf.speech.audio import read_sound

        samples = read_sound(path).samples
    else:
        from scipy.signal import resample_poly

        from s3dnerf.corpora.synthetic.speech import Voice, synthesise

        said = synthesise([TEXT], Voice("en-us"))[0]
        divisor = math.gcd(RATE_HZ, said.rate_hz)
        samples = resample_poly(said.samples, RATE_HZ // divisor, said.rate_hz // divisor)
    return np.resize(samples, round(seconds * RATE_HZ)).astype(np.float32)


def prepare(folder: Path, portrait: Path | None, speech: Path | None, seconds: float) -> None:
    """Keep a prepared portrait and speech as arrays, and what this machine's CPU makes of their first second."""
    head = TalkingHead.load(device="cpu")
    prepared, samples = head.prepare(portrait or astronaut()), speech_of(speech, seconds)
    folder.mkdir(parents=True, exist_ok=True)
    face = {name: getattr(prepared.face, name) for name in FACE_FIELDS}
    second = np.stack(list(head.animate(prepared, samples[:RATE_HZ], crop=True)))
    np.savez_compressed(folder / "inputs.npz", picture=prepared.picture, samples=samples, second=second, **face)


def astronaut() -> np.ndarray:
    """uint8 (512, 512, 3): Eileen Collins, NASA, public domain; comes with scikit-image."""
    from skimage.data import astronaut

    return astronaut()


def synchronise(device: torch.device) -> None:
    """Wait for the device's queue."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def clocked(work: Callable[[], Any], device: torch.device, repeats: int) -> float:
    """The median time of ``repeats`` runs, seconds, after one that is not counted."""
    times = []
    for number in range(repeats + 1):
        synchronise(device)
        begun = time.perf_counter()
        work()
        synchronise(device)
        if number:
            times.append(time.perf_counter() - begun)
    return statistics.median(times)


class Speaker:
    """A prepared portrait and speech, ready for any way of making its frames."""

    def __init__(self, head: TalkingHead, prepared: PreparedPortrait, samples: np.ndarray) -> None:
        self.head, self.prepared, self.samples = head, prepared, samples
        self.count, face = len(samples) // SAMPLES_PER_FRAME, prepared.face
        self.tokens = head.speech.tokens(samples[: self.count * SAMPLES_PER_FRAME])
        centre = np.asarray(face.box[:3], np.float64)
        self.poses = poses_for("gentle", face.world_to_camera, self.count, centre, samples)
        self.intrinsics = np.repeat(face.intrinsics[None], self.count, 0)
        self.shut = blinking(self.count)

    def identity(self, synthesizer: Synthesizer) -> Any:
        return synthesizer.portrait(*(getattr(self.prepared.face, name) for name in FACE_FIELDS[:-1]))

    def network(self, batch: int, bf16: bool = False) -> None:
        """All frames as arrays, as :class:`TalkingHead` makes them."""
        synthesizer = Synthesizer(self.head.synthesizer.generator, self.head.synthesizer.card, bf16)
        identity = self.identity(synthesizer)
        for _ in synthesizer.frames(identity, self.tokens, self.poses, self.intrinsics, batch, self.shut):
            pass

    def steady(self, batch: int, graph: bool, bf16: bool = False) -> float:
        """Seconds for :data:`STEADY_FRAMES` frames with open eyes, as arrays: a CUDA graph replayed, or every kernel
        launched by itself.
        """
        made, times = self.head.synthesizer, -(-STEADY_FRAMES // self.count)
        identity = self.identity(made)
        arrays = (np.tile(x, (times, *[1] * (x.ndim - 1))) for x in (self.tokens, self.poses, self.intrinsics))
        tokens, poses, intrinsics = (x.astype(np.float32) for x in arrays)
        camera = Camera(*(torch.from_numpy(x[:STEADY_FRAMES]).to(made.device) for x in (poses, intrinsics)))
        request = Request(partial(made.windows, tokens), camera, lambda number: None)
        batches = Batches(made.generator, identity, request, batch, final_pixels, bf16, graph)
        synchronise(made.device)
        begun = time.perf_counter()
        for _ in batches:
            pass
        return time.perf_counter() - begun

    def written(self, crop: bool, folder: Path) -> None:
        """A file with sound, from the prepared portrait and samples."""
        self.head.animate(self.prepared, self.samples, crop=crop).write(folder / "made.mp4")

    def first_frame(self, crop: bool) -> None:
        """From a prepared portrait and samples to the first frame: hearing, encoding, one batch."""
        next(iter(self.head.animate(self.prepared, self.samples, crop=crop)))


def command_to_file(picture: np.ndarray, samples: np.ndarray, device: str) -> float:
    """Seconds of ``s3dnerf synthesize`` as a person types it, files to file, program's start included."""
    from PIL import Image

    from s3dnerf.speech.audio import wav_bytes

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        Image.fromarray(picture).save(folder / "portrait.png")
        (folder / "speech.wav").write_bytes(wav_bytes(samples))
        words = ["--portrait", "portrait.png", "--speech", "speech.wav", "--out", "made.mp4", "--device", device]
        words = [str(folder / word) if "." in word else word for word in words]
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-m", "flows.cli", "synthesize", *words], check=True, capture_output=True)
        return time.perf_counter() - begun


def difference(made: Iterable[np.ndarray], wanted: np.ndarray) -> dict[str, float]:
    """Largest and mean difference of frames, in levels of 255."""
    found = np.abs(np.stack(list(made)).astype(int) - wanted)
    return {"most_levels": int(found.max()), "mean_levels": round(float(found.mean()), 5)}


def measured(head: TalkingHead, prepared: PreparedPortrait, samples: np.ndarray, repeats: int) -> dict[str, Any]:
    """Frames a second of every way, and the time to the first frame."""
    device = head.synthesizer.device
    speaker = Speaker(head, prepared, samples)
    batch, count = BATCH[device.type], speaker.count

    def fps(work: Callable[[], Any]) -> float:
        return round(count / clocked(work, device, repeats), 2)

    network = {str(b): fps(partial(speaker.network, b)) for b in sorted({1, 5, batch, 2 * batch})}
    result: dict[str, Any] = {
        "frames": count,
        "network_fps_by_batch": network,
        "first_frame_s": {
            "face alone": round(clocked(lambda: speaker.first_frame(True), device, repeats), 3),
            "whole picture": round(clocked(lambda: speaker.first_frame(False), device, repeats), 3),
        },
    }
    if device.type == "cuda":
        result["network_fps_bf16"] = fps(partial(speaker.network, batch, True))
        ways = {"graph": (True, False), "graph, bf16": (True, True), "no graph": (False, False)}
        ways["no graph, bf16"] = (False, True)
        steady = {
            name: {str(b): round(STEADY_FRAMES / speaker.steady(b, *way)) for b in (1, 5, 20)}
            for name, way in ways.items()
        }
        result["network_fps_steady_by_batch"] = {"frames": STEADY_FRAMES, **steady}
    height, width = prepared.picture.shape[:2]
    with tempfile.TemporaryDirectory() as folder:
        files = {
            name: fps(partial(speaker.written, crop, Path(folder)))
            for name, crop in (("face alone", True), (f"whole picture, {width}×{height}", False))
        }
    result |= {
        "fps_with_file": files,
        "peak_mb": round(peak_mb(device)),
    }
    return result


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--portrait", type=Path)
    parser.add_argument("--speech", type=Path)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--prepare", type=Path, help="only write the prepared inputs into this folder")
    parser.add_argument("--inputs", type=Path, help="a folder that --prepare wrote")
    given = parser.parse_args()
    torch.set_num_threads(usable_cores())
    if given.prepare:
        prepare(given.prepare, given.portrait, given.speech, given.seconds)
        return
    device = chosen_device(given.device, dashes="--")
    begun = time.perf_counter()
    head = TalkingHead.load(device=given.device)
    head.speech.tokens(np.zeros(RATE_HZ, np.float32))
    result: dict[str, Any] = {
        **origin("python -m benchmarks.speed " + " ".join(sys.argv[1:])),
        "machine": machine(device) | {"device": device_name(device)},
        "load_s": round(time.perf_counter() - begun, 2),
    }
    if given.inputs:
        kept = dict(np.load(given.inputs / "inputs.npz"))
        prepared = PreparedPortrait(kept["picture"], PortraitFace(*(kept[name] for name in FACE_FIELDS)))
        samples = kept["samples"]
    else:
        picture, samples = given.portrait or astronaut(), speech_of(given.speech, given.seconds)
        result["face_found_s"] = round(clocked(lambda: head.prepare(picture), device, given.repeats), 3)
        prepared = head.prepare(picture)
        result["command_to_file_s"] = round(command_to_file(prepared.picture, samples, given.device), 1)
    prepared = PreparedPortrait(fitting(prepared.picture), prepared.face)
    result |= measured(head, prepared, samples, given.repeats)
    if given.inputs and device.type == "cuda":
        exact = head.animate(prepared, samples[:RATE_HZ], crop=True)
        result["cuda_against_cpu"] = {"float32": difference(exact, kept["second"])}
        head.synthesizer.bf16 = True
        short = head.animate(prepared, samples[:RATE_HZ], crop=True)
        result["cuda_against_cpu"]["bfloat16"] = difference(short, kept["second"])
    print(write(f"speed_{device.type}", result))


if __name__ == "__main__":
    main()
