"""Real synthesised speech with phoneme and word times, from espeak-ng (the ``espeakng-loader`` package carries it)."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from s3dnerf.corpora.synthetic import espeak

MALE = (
    "m1",
    "m2",
    "m3",
    "m4",
    "m5",
    "m6",
    "m7",
    "m8",
    "Andy",
    "Michael",
    "Denis",
    "Gene",
    "Jacky",
    "Lee",
    "Mike",
    "adam",
    "david",
    "edward",
    "john",
    "max",
    "paul",
    "quincy",
    "travis",
    "victor",
)
FEMALE = ("f1", "f2", "f3", "f4", "f5", "Alicia", "Annie", "belinda", "linda", "steph", "steph2", "steph3", "shelby")
ACCENTS = ("en-us", "en-us", "en-us", "en-gb-x-rp", "en-gb-scotland")


@dataclass(frozen=True)
class Voice:
    """An espeak-ng voice with variant, pitch and pitch range 0–99, and speed in words a minute."""

    name: str
    pitch: int = 50
    range: int = 50
    rate_wpm: int = 165


@dataclass
class Speech:
    """What was said, on one clock.

    Attributes
    ----------
    samples : float32 (n,)
        Sound in [−1, 1].
    rate_hz : int
    phonemes : list of (espeak-ng mnemonic, start_s, end_s)
    words : list of (word, start_s, end_s)
    """

    samples: np.ndarray
    rate_hz: int
    phonemes: list[tuple[str, float, float]] = field(default_factory=list)
    words: list[tuple[str, float, float]] = field(default_factory=list)

    @property
    def duration_s(self) -> float:
        """Length of the sound in seconds."""
        return len(self.samples) / self.rate_hz


def synthesise(texts: list[str], voice: Voice, seed: int = 1) -> list[Speech]:
    """Say ``texts`` in order in a fresh espeak-ng: the same texts, voice and seed give the same samples.

    Raises RuntimeError with espeak-ng's message when it cannot start or has no such voice.
    """
    import espeakng_loader

    request = {
        "voice": voice.name,
        "pitch": voice.pitch,
        "range": voice.range,
        "rate_wpm": voice.rate_wpm,
        "seed": seed,
        "texts": texts,
    }
    command = [
        sys.executable,
        "-I",
        "-S",
        str(Path(espeak.__file__)),
        espeakng_loader.get_library_path(),
        espeakng_loader.get_data_path(),
    ]
    done = subprocess.run(command, input=json.dumps(request).encode(), capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"espeak-ng: {done.stderr.decode(errors='replace').strip()[-500:]}")
    head, _, tail = done.stdout.partition(b"\n")
    answer = json.loads(head)
    sound = np.frombuffer(tail, "<i2").astype(np.float32) / 32768.0
    speeches, first = [], 0
    for text, said in zip(texts, answer["utterances"], strict=True):
        samples = sound[first : first + said["samples"]]
        first += said["samples"]
        speeches.append(_timed(text, samples, answer["rate_hz"], said["events"]))
    return speeches


def _timed(text: str, samples: np.ndarray, rate_hz: int, events: list[list]) -> Speech:
    """A Speech from espeak-ng's events: each phoneme lasts until the next, each word until the next."""
    end = len(samples) / rate_hz
    phonemes = [(e[4], e[1] / rate_hz) for e in events if e[0] == espeak.EVENT_PHONEME]
    quiet = np.flatnonzero(np.abs(samples) > 0.004)
    sound_end = min(end, (quiet[-1] + 1) / rate_hz) if len(quiet) else end
    return Speech(
        samples,
        rate_hz,
        [(p, s, phonemes[i + 1][1] if i + 1 < len(phonemes) else end) for i, (p, s) in enumerate(phonemes)],
        _words(text, [(e[2] - 1, e[1] / rate_hz) for e in events if e[0] == espeak.EVENT_WORD], sound_end),
    )


def _words(text: str, starts: list[tuple[int, float]], end: float) -> list[tuple[str, float, float]]:
    """Words with their times from (character, second) at which each begins; words that espeak-ng says as one share its
    time by length.
    """
    words: list[tuple[str, float, float]] = []
    for i, (first, start) in enumerate(starts):
        last, stop = starts[i + 1] if i + 1 < len(starts) else (len(text), end)
        together = [word.strip(".,!?") for word in text[first:last].split()]
        letters = sum(map(len, together))
        for word in together:
            share = (stop - start) * len(word) / letters
            words.append((word, start, start + share))
            start, letters = start + share, letters - len(word)
    return words


def join(speeches: list[Speech], gap_s: float, lead_s: float = 0.0) -> Speech:
    """Speeches one after the other with ``gap_s`` of silence between and ``lead_s`` before. Raises ValueError for
    none.
    """
    if not speeches:
        raise ValueError("join: no speech given")
    rate = speeches[0].rate_hz
    pieces, phonemes, words = [np.zeros(round(lead_s * rate), np.float32)], [], []
    for i, speech in enumerate(speeches):
        if i:
            pieces.append(np.zeros(round(gap_s * rate), np.float32))
        start = sum(map(len, pieces)) / rate
        phonemes += [(p, start + a, start + b) for p, a, b in speech.phonemes]
        words += [(w, start + a, start + b) for w, a, b in speech.words]
        pieces.append(speech.samples)
    return Speech(np.concatenate(pieces), rate, phonemes, words)


def cut(speech: Speech, duration_s: float) -> Speech:
    """The first ``duration_s``, padded with silence where the speech is shorter; a word or phoneme that starts later is
    dropped.
    """
    count = round(duration_s * speech.rate_hz)
    samples = np.zeros(count, np.float32)
    samples[: min(count, len(speech.samples))] = speech.samples[:count]
    inside = [
        [(name, a, min(b, duration_s)) for name, a, b in track if a < duration_s]
        for track in (speech.phonemes, speech.words)
    ]
    return Speech(samples, speech.rate_hz, inside[0], inside[1])


def room(speech: Speech, gain: float, noise_dbfs: float, seed: int) -> Speech:
    """The speech as a microphone in a quiet room hears it: gain, low-passed noise, 5 ms fades at both ends."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal(len(speech.samples)).astype(np.float32)
    noise = 0.5 * (noise + np.roll(noise, 1)) * np.float32(10 ** (noise_dbfs / 20) * np.sqrt(2))
    samples = speech.samples * np.float32(gain) + noise
    fade = min(len(samples) // 2, round(0.005 * speech.rate_hz))
    if fade:
        ramp = np.linspace(0, 1, fade, dtype=np.float32)
        samples[:fade] *= ramp
        samples[-fade:] *= ramp[::-1]
    return Speech(np.clip(samples, -1, 1), speech.rate_hz, speech.phonemes, speech.words)


def loudness(speech: Speech, times_s: np.ndarray) -> np.ndarray:
    """Smoothed loudness (0–1, relative to the loudest 5 %) at ``times_s``: what nods follow."""
    window = round(0.12 * speech.rate_hz)
    power = np.convolve(speech.samples**2, np.hanning(window) / np.hanning(window).sum(), "same")
    level = np.sqrt(np.maximum(power, 0.0))
    at = np.clip((np.asarray(times_s) * speech.rate_hz).astype(int), 0, len(level) - 1)
    return np.clip(level[at] / max(float(np.quantile(level, 0.95)), 1e-6), 0.0, 1.0)
