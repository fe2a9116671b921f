"""3-D face reconstruction: Deep3DFaceRecon's network and formats, our own morphable model, its fit to landmarks, the
mask.
"""
