"""From a corpus's raw layout to clip records: HDTF, LRS2, MEAD, folders of portraits, and the synthetic ones."""
