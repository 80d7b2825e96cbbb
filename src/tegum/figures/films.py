"""Images as a film in a file: MP4 by ffmpeg, GIF by Pillow."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

Image = UInt8[np.ndarray, "row column colour"]
"""Red, green and blue."""


def write_mp4(path: Path, images: Iterator[Image], size: tuple[int, int], fps: int, call: str) -> None:
    """Write images one after the other as H.264, by the ffmpeg that comes with imageio-ffmpeg.

    Args:
        path: of the file, ending in .mp4.
        images: all of one size.
        size: width and height in pixels, both even.
        fps: frames per second.
        call: what the sentence starts with.

    Raises:
        OSError: ffmpeg could not write it.

    """
    from imageio_ffmpeg import get_ffmpeg_exe

    width, height = size
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(fps), "-i", "-"]
    # Constant quality, in the pixel format that all players know.
    coded = ["-an", "-c:v", "libx264", "-crf", "15", "-pix_fmt", "yuv420p", str(path)]
    # A group of its own, so that Ctrl-C is for the one who films. (The package has a writer, which runs Python between
    # fork and exec for that, and may hang beside the threads of JAX.)
    ffmpeg = subprocess.Popen(
        [get_ffmpeg_exe(), "-y", "-loglevel", "error", *raw, *coded],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        process_group=0,
    )
    with ffmpeg:
        assert ffmpeg.stdin is not None
        assert ffmpeg.stderr is not None
        try:
            # It has stopped if it takes no more; why, it tells below.
            with suppress(BrokenPipeError):
                for image in images:
                    ffmpeg.stdin.write(np.ascontiguousarray(image).data)
            with suppress(BrokenPipeError):
                ffmpeg.stdin.close()
        except BaseException:
            ffmpeg.kill()
            raise
        told = ffmpeg.stderr.read().decode(errors="replace").strip()
    if ffmpeg.returncode:
        raise OSError(f"{call}: ffmpeg could not write it: {told.splitlines()[0] if told else 'it has stopped'}")


def write_gif(path: Path, images: Iterator[Image], colours: Image, fps: int) -> None:
    """Write images as an endless GIF; neighbours that are equal become one frame that stays as long as both.

    Args:
        path: of the file.
        images: at least one, all of one size.
        colours: an image with all the colours there are: its best 256 are used in all.
        fps: frames per second. GIF counts in hundredths of a second, and viewers slow down what is shorter than two.

    """
    from PIL import Image as Pillow

    palette = Pillow.fromarray(colours).quantize(256, dither=Pillow.Dither.NONE)
    frames = (Pillow.fromarray(image).quantize(palette=palette, dither=Pillow.Dither.NONE) for image in images)
    duration = max(20, 10 * round(100 / fps))
    with path.open("wb") as file:
        next(frames).save(file, format="GIF", save_all=True, append_images=frames, duration=duration, loop=0)
