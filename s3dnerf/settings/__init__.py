"""The typed settings: one class a stage, presets, their checking."""
