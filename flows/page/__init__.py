"""The page of ``s3dnerf serve``: what it keeps (``folder``), what it refuses (``limits``), what it shows of a portrait
(``portrait_view``), what it does with the generator (``studio``) and how it looks (``layout``, page.css).
"""
