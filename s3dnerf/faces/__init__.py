"""Faces found, aligned and reconstructed in 3-D: detectors, landmarks, lip boxes, cameras."""
