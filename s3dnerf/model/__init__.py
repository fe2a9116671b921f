"""The networks of S³D-NeRF: appearance encoder, tri-planes, speech, cross attention, deformation, rendering."""
