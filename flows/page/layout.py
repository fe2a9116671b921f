"""How the page looks and what it does when something is dropped, chosen or pressed. Gradio is imported only inside.

demo, options = page(studio, limits…)     # then demo.launch(**options)
"""

# no `from __future__ import annotations`: Gradio looks at the handlers' annotations, which name what is imported inside
import html
import urllib.parse
from pathlib import Path
from typing import Any

from flows.page.limits import megabytes
from flows.page.portrait_view import refusal
from flows.page.studio import Refused, Stopped, Studio, Wish
from s3dnerf.synthesis.head_motion import MOST_PITCH_DEG, MOST_YAW_DEG, MOTIONS, WHOLE_DEG

CSS = Path(__file__).with_name("page.css")
TITLE = "Talking head from one portrait"
FONTS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
MONOSPACED = ["ui-monospace", "Consolas", "monospace"]
MOST_WAITING = 16
NO_FACE_YET = '<p class="s3-hint">The face that is found in it will be shown here.</p>'
NO_VIDEO_YET = '<div class="s3-empty"></div>'


def _head(keep_s: float) -> str:
    return f"""<header class="s3-head"><h1>{TITLE}</h1>
<p>A photo and a speech recording become a video of that person speaking.</p>
<p class="s3-note"><strong>The video is synthetic</strong>, and its metadata says so.
Use only portraits of persons who have agreed to it.
What you give stays on the machine that runs this page: it is deleted when you close the page, and after
{keep_s / 60:g} minutes in any case.</p></header>"""


def _address(path: str | Path) -> str:
    """Where a browser finds a file of its visitor's: relative to the page, which may lie under a path."""
    return html.escape(f"gradio_api/file={urllib.parse.quote(str(path))}", quote=True)


def _player(video: Path) -> str:
    """A video to be watched and kept."""
    address = _address(video)
    return (
        f'<video controls playsinline preload="auto" src="{address}" aria-label="The synthetic video, with sound">'
        f'</video><a class="s3-download" href="{address}" download="{video.name}">Download the video</a>'
    )


def _limits(most_s: float, max_bytes: int) -> str:
    """What is accepted, in words, before anything is given."""
    return f'<p class="s3-hint">At most {most_s:g} seconds, and {megabytes(max_bytes)} a file.</p>'


def _said(text: str) -> str:
    return f'<div role="status" class="s3-said">{html.escape(text)}</div>'


def _choices(faces: int) -> list[tuple[str, str]]:
    """The faces of a photo to choose from, as they are shown and as they are given."""
    ends = {1: " (left)", faces: " (right)"}
    return [("The largest", "largest"), *((f"{n}{ends.get(n, '')}", str(n)) for n in range(1, faces + 1))]


def as_uploaded(component: Any) -> None:
    """Let a component of Gradio's give a file as it was uploaded: nothing is decoded or converted before our own
    reading, which says what is wrong with it, and nothing is fetched from an address given in its place.
    """
    import gradio as gr

    move = component.async_move_resource_to_block_cache

    async def move_file(path: Any) -> Any:
        if "://" in str(path):
            raise gr.Error("This page fetches nothing from elsewhere: upload the file itself.")
        return await move(path)

    # on the instance: of a class derived from its own, Gradio writes a .pyi file beside this one
    component.async_move_resource_to_block_cache = move_file
    component.preprocess = lambda payload: None if payload is None else payload.path


def page(studio: Studio, max_bytes: int, keep_s: float, at_once: int) -> Any:
    """The page as Gradio's Blocks.

    Parameters
    ----------
    studio : what looks, listens and renders
    max_bytes : of an upload, to be said
    keep_s : how long files are kept, to be said
    at_once : how many videos are made at a time; the others wait in a queue
    """
    import gradio as gr

    def look(portrait: str | None, which: str | None, request: gr.Request) -> tuple[str, int]:
        if portrait is None:
            return NO_FACE_YET, 0
        view = studio.look(str(request.session_hash), portrait, which or "only")
        return view.html, view.faces

    def look_at_new(portrait: str | None, request: gr.Request) -> tuple[str, Any]:
        shown, faces = look(portrait, None, request)
        return shown, gr.Radio(choices=_choices(faces), value=None, visible=faces > 1)

    def look_again(portrait: str | None, which: str | None, request: gr.Request) -> str:
        return look(portrait, which, request)[0]

    def listen(file: str | None, recorded: str | None, request: gr.Request) -> str:
        speech = recorded or file
        if speech is None:
            return _limits(studio.most_s, max_bytes)
        try:
            said = _said(f"{studio.listen(str(request.session_hash), speech):.1f} seconds of speech.")
        except Refused as refused:
            return refusal(str(refused))
        # a recording has a player of its own
        return said if recorded else said + f'<audio controls src="{_address(speech)}" aria-label="The speech"></audio>'

    def begin() -> tuple[Any, ...]:
        return gr.Button(interactive=False), gr.Button(visible=True), NO_VIDEO_YET, ""

    def end() -> tuple[Any, ...]:
        return gr.Button(interactive=True), gr.Button(visible=False)

    def render(
        portrait: str | None,
        file: str | None,
        recorded: str | None,
        face: str | None,
        motion: str,
        yaw: float,
        pitch: float,
        blinks: bool,
        crop: bool,
        mark: bool,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 (how Gradio gives it)
    ) -> tuple[str, str]:
        speech = recorded or file
        if portrait is None or speech is None:
            missing = [name for name, given in (("a photo", portrait), ("speech", speech)) if given is None]
            return refusal(f"Choose {' and '.join(missing)} first"), NO_VIDEO_YET
        progress(0, desc="Preparing the portrait and the speech")
        wish = Wish(face or "only", motion, yaw, pitch, blinks, crop, mark)

        def watch(done: int, count: int) -> None:
            progress((done, count), desc="Rendering", unit="frames")

        try:
            video, said = studio.render(str(request.session_hash), portrait, speech, wish, watch)
        except Stopped:
            return _said("Stopped."), NO_VIDEO_YET
        except Refused as refused:
            return refusal(str(refused)), NO_VIDEO_YET
        return _said(said), _player(video)

    def halt(request: gr.Request) -> tuple[Any, ...]:
        studio.visits.stop(str(request.session_hash))
        return _said("Stopped."), *end()

    def leave(request: gr.Request) -> None:
        studio.visits.close(str(request.session_hash))

    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True) as demo:
        gr.HTML(_head(keep_s))
        with gr.Row(elem_classes="s3-columns"):
            with gr.Column(min_width=300):
                gr.HTML("<h2>1. A photo of one person, from the front</h2>")
                portrait = gr.Image(
                    label="Photo",
                    show_label=False,
                    sources=["upload", "clipboard"],
                    buttons=[],
                    height=240,
                    elem_id="portrait",
                )
                face = gr.Radio(label="Which face speaks?", visible=False, elem_id="face", choices=[])
                seen = gr.HTML(NO_FACE_YET, elem_id="seen")
            with gr.Column(min_width=300):
                gr.HTML("<h2>2. Speech</h2>")
                with gr.Tabs():
                    with gr.Tab("A file"):
                        file = gr.File(label="A sound file, or a video with sound", height=150, elem_id="speech")
                    with gr.Tab("Record it here"):
                        recorded = gr.Audio(
                            label="Microphone", sources=["microphone"], editable=False, buttons=[], elem_id="recorded"
                        )
                heard = gr.HTML(_limits(studio.most_s, max_bytes), elem_id="heard")
                with gr.Group():
                    motion = gr.Radio(
                        [(name.capitalize(), name) for name in sorted(MOTIONS)],
                        value="gentle",
                        label="Head motion",
                        elem_id="motion",
                    )
                    yaw = gr.Slider(
                        -MOST_YAW_DEG,
                        MOST_YAW_DEG,
                        0,
                        step=1,
                        label="Turn to the picture's right, degrees",
                        elem_id="yaw",
                    )
                    pitch = gr.Slider(
                        -MOST_PITCH_DEG, MOST_PITCH_DEG, 0, step=1, label="Lower the head, degrees", elem_id="pitch"
                    )
                    blinks = gr.Checkbox(True, label="Blinks", elem_id="blinks")
                    crop = gr.Checkbox(
                        False,
                        label="The face alone, 256×256",
                        info=f"Always so for a head turned or lowered by more than {WHOLE_DEG:g}°",
                        elem_id="crop",
                    )
                    mark = gr.Checkbox(False, label="Write SYNTHETIC into the picture", elem_id="mark")
            with gr.Column(min_width=300):
                gr.HTML("<h2>3. The video</h2>")
                make = gr.Button("Make the video", variant="primary", size="lg", elem_id="make")
                stop = gr.Button("Stop", visible=False, elem_id="stop")
                status = gr.HTML("", elem_id="status")
                video = gr.HTML(NO_VIDEO_YET, elem_id="video")

        for given in (portrait, file, recorded):
            as_uploaded(given)
        quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        shown: dict[str, Any] = {"api_visibility": "private", "show_progress": "minimal"}
        one: dict[str, Any] = {"concurrency_limit": 4, "concurrency_id": "look"}
        portrait.change(look_at_new, portrait, [seen, face], show_progress_on=seen, **one, **shown)
        face.input(look_again, [portrait, face], seen, **one, **shown)
        for given in (file, recorded):
            given.change(listen, [file, recorded], heard, **one, **shown)
        file.upload(lambda: None, None, recorded, queue=False, **quiet)  # the later one of the two counts
        recorded.stop_recording(lambda: None, None, file, queue=False, **quiet)
        wishes = [portrait, file, recorded, face, motion, yaw, pitch, blinks, crop, mark]
        begun = make.click(begin, None, [make, stop, video, status], queue=False, **quiet)
        rendering = begun.then(
            render,
            wishes,
            [status, video],
            show_progress="full",
            show_progress_on=video,
            concurrency_limit=at_once,
            concurrency_id="render",
            api_visibility="private",
        )
        rendering.then(end, None, [make, stop], queue=False, **quiet)
        stop.click(halt, None, [status, make, stop], cancels=[rendering], queue=False, **quiet)
        demo.unload(leave)
    demo.queue(max_size=MOST_WAITING, api_open=False)
    return demo


def look_options() -> dict[str, Any]:
    """What of the look Gradio takes when it starts: a theme without fonts from elsewhere, and our style."""
    import gradio as gr

    theme = gr.themes.Base(
        primary_hue=gr.themes.colors.blue, neutral_hue=gr.themes.colors.slate, font=FONTS, font_mono=MONOSPACED
    )
    return {"theme": theme, "css_paths": CSS, "footer_links": []}
