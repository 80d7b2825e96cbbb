"""Images as a film in a file: MP4 by ffmpeg, GIF by Pillow."""

from __future__ import annotations

from collections.abc import Iterator
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
    import imageio_ffmpeg

    writer = imageio_ffmpeg.write_frames(
        str(path), size, fps=fps, quality=7, macro_block_size=2, ffmpeg_log_level="error"
    )
    try:
        writer.send(None)
        for image in images:
            writer.send(np.ascontiguousarray(image))
    except OSError as error:
        told = str(error).strip() or "it has stopped"
        raise OSError(f"{call}: ffmpeg could not write it: {told.splitlines()[0]}") from None
    finally:
        writer.close()


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
