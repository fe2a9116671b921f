"""The pictures of the documentation, made from the demo's data: ``python -m flows.docs_pictures``."""
