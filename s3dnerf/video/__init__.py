"""Video files probed, read and written at 25 Hz, and the packs in which stages keep their clips."""
