"""The rates that everything is on: 25 frames a second, sound at 16 kHz, so 640 samples a frame; and how many
frames apart picture and sound are looked for.
"""

FPS_HZ = 25
RATE_HZ = 16_000
SAMPLES_PER_FRAME = RATE_HZ // FPS_HZ
REACH_FRAMES = 15  # offsets from -15 to 15 are measured, as by SyncNet's authors
