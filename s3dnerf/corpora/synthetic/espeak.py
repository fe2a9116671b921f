"""One fresh espeak-ng in a process of its own: texts in, 16-bit samples and events out.

espeak-ng keeps global state (an utterance's samples depend on what was said before, and its noise is seeded by the
clock), so every video's speech is made in a new process with a fixed seed. Standard library alone, so that it starts
in some 20 ms with ``python -I -S``.

Run: ``python -I -S espeak.py LIBRARY DATA_FOLDER`` with one JSON object on stdin: ``voice``, ``pitch``, ``range``,
``rate_wpm``, ``seed``, ``texts``. Writes to stdout one line of JSON (``rate_hz`` and, an utterance each, ``samples``
and ``events``: [kind, sample, text position, text length, phoneme]) and then the little-endian int16 samples.
"""

from __future__ import annotations

import ctypes
import json
import sys

AUDIO_OUTPUT_SYNCHRONOUS = 2
INITIALIZE_PHONEME_EVENTS = 1
EVENT_WORD, EVENT_PHONEME = 1, 7
RATE, PITCH, RANGE = 1, 3, 4
CHARS_UTF8 = 1


class _Id(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    ]


_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


def main(library: str, data: str) -> None:
    """Synthesise the request on stdin. Exits with a message when espeak-ng refuses the voice."""
    request = json.load(sys.stdin)
    speech = ctypes.CDLL(library)
    rate_hz = speech.espeak_Initialize(AUDIO_OUTPUT_SYNCHRONOUS, 0, data.encode(), INITIALIZE_PHONEME_EVENTS)
    if rate_hz <= 0:
        sys.exit(f"espeak-ng did not start with the data folder {data}")
    speech.espeak_ng_SetRandSeed(ctypes.c_long(request["seed"]))
    ctypes.CDLL(None).srand(ctypes.c_uint(request["seed"]))
    if speech.espeak_SetVoiceByName(request["voice"].encode()) != 0:
        sys.exit(f"espeak-ng has no voice {request['voice']!r}")
    for parameter, value in ((RATE, request["rate_wpm"]), (PITCH, request["pitch"]), (RANGE, request["range"])):
        speech.espeak_SetParameter(parameter, int(value), 0)
    sound: list[bytes] = []
    events: list[list[object]] = []

    def receive(samples: ctypes._Pointer[ctypes.c_short], count: int, event: ctypes._Pointer[_Event]) -> int:
        if count > 0:
            sound.append(ctypes.string_at(samples, 2 * count))
        i = 0
        while event[i].type != 0:
            e = event[i]
            if e.type in (EVENT_WORD, EVENT_PHONEME):
                name = bytes(e.id.string).decode() if e.type == EVENT_PHONEME else ""
                events.append([e.type, e.sample, e.text_position, e.length, name])
            i += 1
        return 0

    callback = _CALLBACK(receive)
    speech.espeak_SetSynthCallback(callback)
    utterances, pieces = [], []
    for text in request["texts"]:
        sound.clear()
        events.clear()
        data_bytes = text.encode()
        speech.espeak_Synth(data_bytes, len(data_bytes) + 1, 0, 0, 0, CHARS_UTF8, None, None)
        speech.espeak_Synchronize()
        pieces.append(b"".join(sound))
        utterances.append({"samples": len(pieces[-1]) // 2, "events": list(events)})
    sys.stdout.buffer.write(json.dumps({"rate_hz": rate_hz, "utterances": utterances}).encode() + b"\n")
    sys.stdout.buffer.write(b"".join(pieces))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
