"""Sound read, and its features: tokens at 50 Hz for the generator, mel at 80 Hz for the sync expert."""
