"""One file a DVC stage: one ``process(...)``, one ``main(context)``."""
