"""The sample corpora: parametric 3-D talking heads with synthesised speech, written in the real corpora's layouts.

Nothing here derives from a face database or a morphable model: the heads are our own sculpture of profiles and bumps.
"""
