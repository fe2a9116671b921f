"""A photo and a recording to a video, from Python.

    python examples/talk.py me.jpg hello.wav hello.mp4
    python examples/talk.py me.jpg hello.wav hello.mp4 data/sample/train_s3dnerf/full    # a generator of yours

The generator in the package hears through Whisper's encoder: ``s3dnerf fetch whisper``.
"""

import sys

from s3dnerf import TalkingHead


def main() -> None:
    """Make the video, and say what its first frame is like."""
    portrait, speech, out, *model = sys.argv[1:]
    head = TalkingHead.load(*model)  # without a folder: the generator in the package

    # Frames as they come, for a window or a stream: uint8 (height, width, 3), 25 a second.
    first = next(iter(head.animate(portrait, speech)))
    print(f"frames of {first.shape[1]}×{first.shape[0]} px")

    # All of them into a file, with the recording's own sound.
    said = head.animate(portrait, speech, motion="gentle", blinks=True)
    print(f"{out}: {said.write(out)} frames, {len(said.samples) / 16000:.1f} s of speech")


if __name__ == "__main__":
    main()
