"""Images as a film in a file: MP4 by ffmpeg, GIF by Pillow."""

from __future__ import annotations

import glob
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from tegum.data.atomic import PART, replacing_file

Image = UInt8[np.ndarray, "row column colour"]
"""Red, green and blue."""

FASTEST_GIF = 50
"""Frames per second: GIF counts in hundredths of a second, and viewers slow down what is shorter than two."""

LONGEST_GIF = 655.35
"""Seconds that one image of a GIF can stay: its length is a number of 16 bits."""


_BYTES_PER_PIXEL = {"mp4": 0.1, "gif": 0.25}
"""What an image takes at most; measured: 0.004 to 0.023, and 0.011 to 0.057, also where the camera turns."""


def film_bytes(images: int, width: int, *, gif: bool) -> int:
    """How large a film of so many different images is at most; they are half as high as wide."""
    return 2**16 + int(images * width * width // 2 * _BYTES_PER_PIXEL["gif" if gif else "mp4"])


@contextmanager
def film_file(target: Path, *, overwrite: bool, call: str) -> Iterator[Path]:
    """As `tegum.data.atomic.replacing_file`; and what killed writers to the same path have left is removed.

    A part that is being written is locked by who writes it. Where there are no locks (Windows, some network disks),
    nothing is taken for abandoned.

    Raises:
        FileExistsError: something is, or has appeared, at `target` and is not to be replaced.
        OSError: the file cannot be made.

    """
    lock = None
    try:
        with replacing_file(target, overwrite=overwrite, call=call) as part:
            for left in target.parent.glob(_parts_of(target)):
                _remove_if_abandoned(left)
            try:
                lock = _locked(part)
            except OSError as error:
                # Its own sentence would quote the hidden name.
                raise OSError(f"{call}: the file cannot be made: {error.strerror}") from None
            yield part
    finally:
        # Only now: a complete part that waits for its name is not abandoned either.
        if lock is not None:
            os.close(lock)


def write_mp4(path: Path, images: Iterator[Image], size: tuple[int, int], fps: int, call: str) -> None:
    """Write images one after the other as H.264, by the ffmpeg that comes with imageio-ffmpeg.

    Args:
        path: of the file, ending in .mp4.
        images: all of one size.
        size: width and height in pixels, both even.
        fps: frames per second.
        call: what the sentence starts with.

    Raises:
        OSError: there is no ffmpeg that runs here, or it could not write the file.

    """
    width, height = size
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(fps), "-i", "-"]
    # Constant quality, in the pixel format that all players know.
    coded = ["-an", "-c:v", "libx264", "-crf", "15", "-pix_fmt", "yuv420p", str(path)]
    ffmpeg = _ffmpeg([*raw, *coded], call)
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
    if ffmpeg.returncode or not (path.exists() and path.stat().st_size):
        # Its first line is the cause. Who reads it knows neither its addresses nor our hidden name.
        line = told.splitlines()[0] if told else "it has stopped without a word"
        why = re.sub(r"\[[^\]]*@ 0x[0-9a-f]+\] *", "", line).replace(str(path), "the file")
        raise OSError(f"{call}: ffmpeg could not write it: {why}")


def write_gif(path: Path, images: Iterator[Image], colours: Image, fps: int, count: int, call: str) -> None:
    """Write images as an endless GIF; neighbours that are equal become one frame that stays as long as both.

    Args:
        path: of the file.
        images: all of one size.
        colours: an image with all the colours there are: its best 256 are used in all.
        fps: frames per second, at most `FASTEST_GIF`. Where a frame is no whole number of hundredths of a second, some
            stay one longer than others, so that the film is as long as asked.
        count: how many images there are, at least one.
        call: what the sentence starts with.

    Raises:
        OSError: the file could not be written.

    """
    from PIL import Image as Pillow

    palette = Pillow.fromarray(colours).quantize(256, dither=Pillow.Dither.NONE)
    frames = (Pillow.fromarray(image).quantize(palette=palette, dither=Pillow.Dither.NONE) for image in images)
    ends = (200 * np.arange(count + 1) + fps) // (2 * fps)
    milliseconds = (10 * np.diff(ends)).tolist()
    try:
        with path.open("wb") as file:
            next(frames).save(file, format="GIF", save_all=True, append_images=frames, duration=milliseconds, loop=0)
    except OSError as error:
        raise OSError(f"{call}: the file could not be written: {error.strerror or error}") from error


def _ffmpeg(arguments: list[str], call: str) -> subprocess.Popen[bytes]:
    from imageio_ffmpeg import get_ffmpeg_exe

    rule = "an .mp4 needs an ffmpeg that runs here: install imageio-ffmpeg anew, or name one in IMAGEIO_FFMPEG_EXE"
    try:
        program = get_ffmpeg_exe()
    except RuntimeError:
        raise OSError(f"{call}: no ffmpeg was found; {rule}") from None
    try:
        # A group of its own, so that Ctrl-C is for the one who films. (The package has a writer, which runs Python
        # between fork and exec for that, and may hang beside the threads of JAX.)
        return subprocess.Popen(
            [program, "-y", "-loglevel", "error", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            process_group=0,
        )
    except OSError as error:
        raise OSError(f"{call}: {program!r} does not start ({error.strerror}); {rule}") from None


def _parts_of(target: Path) -> str:
    """A pattern of the names that `replacing_file` gives to parts of this file."""
    return f".{glob.escape(target.stem)}.{'[0-9a-f]' * 8}{PART}{glob.escape(target.suffix)}"


def _locked(part: Path) -> int | None:
    """A descriptor that holds the lock of the file, which is made, until closed; None if nobody can lock it."""
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    while True:
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError:
            os.close(descriptor)
            return None
        if os.fstat(descriptor).st_nlink:
            return descriptor
        # Another writer has taken it for abandoned just before it was locked.
        os.close(descriptor)


def _remove_if_abandoned(part: Path) -> None:
    """Remove what no one has locked."""
    try:
        import fcntl
    except ImportError:  # Windows
        return
    with suppress(OSError):
        descriptor = os.open(part, os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Another may have removed it since, and its name may be another's by now.
            if os.fstat(descriptor).st_nlink:
                part.unlink()
        finally:
            os.close(descriptor)
