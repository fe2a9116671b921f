"""The rates that everything is on: 25 frames a second, sound at 16 kHz, so 640 samples a frame."""

FPS_HZ = 25
RATE_HZ = 16_000
SAMPLES_PER_FRAME = RATE_HZ // FPS_HZ
