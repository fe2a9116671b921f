"""The sound of a file as 16 kHz mono: which track, which channels, cut by time. The decoder's side of
:mod:`s3dnerf.speech.audio`; runs in the decoder's process.

The track is the one that the file marks as default; where none or several are marked, the loudest that has a voice.
Channels become one by their mean, but for two kinds: recordings whose channels cancel each other (one of two
microphones wired the other way round) are heard through the louder channel, and those with a centre channel that is not
silent through that, where films have their dialogue.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import cast

import av
import numpy as np
from av.stream import Disposition

from s3dnerf.video.encoding import VideoError
from s3dnerf.video.media import decoded_sound, open_media, packets, unit_of
from s3dnerf.video.track import Track

LOOK_S = 60.0  # so much of a track decides whether it has a voice, and how loud
CANCELLED = 0.05  # of the louder channel's power: below it the channels' mean has lost the sound (−13 dB)
SILENT_POWER = 1e-7  # −70 dB below full scale
# a voice's loudness swings as syllables come, two to eight a second; a tone's and a hum's does not
ENVELOPE_HZ, SYLLABLES_HZ, VOICE_SHARE = 100, (2.0, 8.0), 0.02
EXTRA = Disposition.comment | Disposition.hearing_impaired | Disposition.visual_impaired | Disposition.karaoke
EXTRA |= Disposition.descriptions | Disposition.dub


def _channels(path: str, number: int, rate_hz: int, first: int, last: int | None) -> tuple[np.ndarray, np.ndarray, str]:
    """Samples ``first`` … ``last`` of each channel of a track, float32 (channels, n) at ``rate_hz``; the power of each
    channel and of their mean over all that was decoded, float64 (channels + 1,); and the layout's name.

    Sample i is at i / rate of the file's timeline: gaps and a late start are filled with silence.
    """
    kept: list[np.ndarray] = []
    power, count, at, layout = np.zeros(0), 0, 0, ""
    faults: list[str] = []
    with open_media(path) as container:
        stream = container.streams.audio[number]
        start = container.start_time or 0
        for block, name in _resampled(path, container, stream, rate_hz, start, faults):
            layout = name
            if len(power) != len(block) + 1:
                power = np.zeros(len(block) + 1)
                count = 0
            both = np.vstack([block, block.mean(axis=0, keepdims=True)]).astype(np.float64)
            power += np.nansum(both**2, axis=1)
            count += block.shape[1]
            low, high = max(first - at, 0), block.shape[1] if last is None else min(last - at, block.shape[1])
            if high > low:
                kept.append(block[:, low:high])
            at += block.shape[1]
            if last is not None and at >= last:
                break
    if not layout and faults:
        raise VideoError(f"{path}: sound cannot be read: {'; '.join(faults[:2])}")
    if not kept or len({len(block) for block in kept}) == 1:
        whole = np.concatenate(kept, axis=1) if kept else np.zeros((max(len(power) - 1, 1), 0), np.float32)
    else:  # the number of channels changes midway: one channel from here
        whole = np.concatenate([block.mean(axis=0, keepdims=True) for block in kept], axis=1)
        power, layout = np.ones(2), "mono"
        count = 1
    return whole, power / max(count, 1), layout


def _resampled(
    path: str,
    container: av.container.InputContainer,
    stream: av.AudioStream,
    rate_hz: int,
    start_us: int,
    faults: list[str],
) -> Iterator[tuple[np.ndarray, str]]:
    """Blocks float32 (channels, n) of a track at ``rate_hz``, without gaps from the timeline's start on, and their
    layout.
    """
    graph: av.filter.Graph | None = None
    kind, done, time_base = None, 0, unit_of(stream)
    shift = Fraction(start_us, av.time_base) / time_base

    def pulled() -> Iterator[tuple[np.ndarray, str]]:
        nonlocal done
        while graph is not None:
            try:
                block = cast(av.AudioFrame, graph.pull())
            except (av.BlockingIOError, av.EOFError):
                return
            done += block.samples
            yield block.to_ndarray(), block.layout.name

    for packet in packets(container, stream, path, faults):
        for frame in decoded_sound(stream.codec_context, packet, path, faults):
            if graph is None or kind != (frame.format.name, frame.layout.name, frame.sample_rate):
                if graph is not None:
                    graph.push(None)
                    yield from pulled()
                kind = (frame.format.name, frame.layout.name, frame.sample_rate)
                graph = _resampler(frame, rate_hz, time_base, done)
            if frame.pts is not None:
                frame.pts -= round(shift)
            frame.time_base = time_base
            graph.push(frame)
            yield from pulled()
    if graph is not None:
        graph.push(None)
        yield from pulled()


def _resampler(frame: av.AudioFrame, rate_hz: int, time_base: Fraction, first: int) -> av.filter.Graph:
    """Sound of one kind to ``rate_hz`` by its timestamps: gaps and a late start become silence, sample ``first`` is the
    first.
    """
    graph = av.filter.Graph()
    graph.threads = 1
    layout = frame.layout.name
    nodes = [
        graph.add_abuffer(sample_rate=frame.sample_rate, format=frame.format.name, layout=layout, time_base=time_base),
        graph.add("aresample", f"{rate_hz}:async=1:min_hard_comp=0.01:first_pts={first}"),
        graph.add("aformat", f"sample_fmts=fltp:sample_rates={rate_hz}:channel_layouts={layout}"),
    ]
    graph.link_nodes(*nodes, graph.add("abuffersink")).configure()
    return graph


def one_channel(channels: np.ndarray, power: np.ndarray, layout: str) -> tuple[np.ndarray, str]:
    """Channels (c, n) as one, float32 (n,), and how, in words ('' for their mean).

    ``power``: of each channel and of their mean. ``layout``: FFmpeg's name (``stereo``, ``5.1`` …).
    """
    if len(channels) == 1:
        return channels[0], ""
    names = [channel.name for channel in av.AudioLayout(layout).channels] if layout else []
    if "FC" in names and len(names) == len(channels) and power[names.index("FC")] > SILENT_POWER:
        return channels[names.index("FC")], "the centre channel"
    loudest = int(np.argmax(power[:-1]))
    if power[-1] < CANCELLED * power[loudest] and power[loudest] > SILENT_POWER:
        return channels[loudest], "channels that cancel each other: the louder one alone"
    return channels.mean(axis=0), ""


def voice_share(samples: np.ndarray, rate_hz: int) -> float:
    """How much of a sound's loudness swings at the rate of syllables: 0 for a tone or silence, above 0.02 for speech.

    The power of the envelope's part between 2 and 8 Hz over the square of its mean. ``samples``: float32 (n,).
    """
    step = rate_hz // ENVELOPE_HZ
    blocks = len(samples) // step
    if blocks < ENVELOPE_HZ // 2:
        return 0.0
    envelope = np.sqrt(np.square(samples[: blocks * step].reshape(blocks, step).astype(np.float64)).mean(axis=1))
    if not np.isfinite(envelope).all() or envelope.mean() ** 2 < SILENT_POWER:
        return 0.0
    spectrum = np.abs(np.fft.rfft((envelope - envelope.mean()) * np.hanning(blocks))) ** 2
    at_hz = np.fft.rfftfreq(blocks, 1 / ENVELOPE_HZ)
    inside = (at_hz >= SYLLABLES_HZ[0]) & (at_hz <= SYLLABLES_HZ[1])
    # Parseval, both signs of frequency, and the window's mean square of 3/8
    return float(2 * spectrum[inside].sum() / blocks**2 / 0.375 / envelope.mean() ** 2)


def chosen_track(path: str, rate_hz: int) -> Track:
    """The sound track to hear.

    Raises VideoError (no_audio) where there is none.
    """
    with open_media(path) as container:
        tracks = list(container.streams.audio)
        if not tracks:
            raise VideoError(f"{path}: no sound track", "no_audio")
        marks = [track.disposition for track in tracks]
        languages = [track.language for track in tracks]
        kinds = [(track.codec_context.name, track.codec_context.sample_rate) for track in tracks]
    if len(tracks) == 1:
        return Track(0, "", *kinds[0])
    plain = [n for n, mark in enumerate(marks) if not mark & EXTRA] or list(range(len(marks)))
    default = [n for n in plain if marks[n] & Disposition.default]

    def said(number: int, why: str) -> Track:
        language = f" ({languages[number]})" if languages[number] not in (None, "und") else ""
        note = f"{len(marks)} sound tracks, of which number {number + 1}{language} is used: {why}"
        return Track(number, note, *kinds[number])

    if len(default) == 1:
        return said(default[0], "marked as default")
    candidates = default or plain
    best, why = candidates[0], "the first: none has a voice"
    loudest = 0.0
    for number in candidates:
        try:
            channels, power, layout = _channels(path, number, rate_hz, 0, round(LOOK_S * rate_hz))
        except VideoError:
            continue
        samples, _ = one_channel(channels, power, layout)
        level = float(np.square(samples, dtype=np.float64).mean()) if len(samples) else 0.0
        if voice_share(samples, rate_hz) > VOICE_SHARE and level > 1.01 * loudest:  # of equals the first
            best, why, loudest = number, "the loudest with a voice", level
    return said(best, why)


def mono_sound(path: str, track: Track, first: int, last: int | None, rate_hz: int) -> tuple[np.ndarray, str]:
    """Samples ``first`` … ``last`` of a sound track as one channel, float32 (n,), and what was chosen, in words.

    ``track``: of :func:`chosen_track`. ``last`` None: to the end. Raises VideoError: ``missing``, ``zero_bytes``,
    ``unreadable``; PassingFault.
    """
    channels, power, layout = _channels(path, track.number, rate_hz, first, last)
    samples, how = one_channel(channels, power, layout)
    return np.ascontiguousarray(samples, np.float32), "; ".join(filter(None, (track.note, how)))
