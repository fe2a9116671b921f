"""The evaluation protocol: videos read alike, paired and scored."""
