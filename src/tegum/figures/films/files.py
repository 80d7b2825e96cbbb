"""Write images as a film: MP4 by ffmpeg, GIF by Pillow."""

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
"""An image with red, green and blue values for every pixel."""

FASTEST_GIF = 50
"""The most frames per second of a GIF, which counts in hundredths of a second; viewers slow down frames shorter than
two of them."""

LONGEST_GIF = 655.35
"""The longest time that one image of a GIF can stay, in seconds: its duration is a 16-bit number."""


_BYTES_PER_PIXEL = {"mp4": 0.1, "gif": 0.25}
"""The most bytes per pixel of an image. Measured: 0.004 to 0.023 for MP4 and 0.011 to 0.057 for GIF, even with a
turning camera."""


def film_bytes(images: int, width: int, *, gif: bool) -> int:
    """The largest size in bytes of a film with this many different images, which are half as high as wide."""
    return 2**16 + int(images * width * width // 2 * _BYTES_PER_PIXEL["gif" if gif else "mp4"])


@contextmanager
def film_file(target: Path, *, overwrite: bool, call: str) -> Iterator[Path]:
    """Like `tegum.data.atomic.replacing_file`, but also remove what killed writers to the same path have left.

    A part that is being written is locked by its writer. Without file locks (Windows, some network disks), no part is
    taken to be abandoned.

    Raises:
        FileExistsError: a file exists at `target`, or has appeared there, and may not be replaced.
        OSError: the file cannot be created.

    """
    lock = None
    try:
        with replacing_file(target, overwrite=overwrite, call=call) as part:
            for left in target.parent.glob(_parts_of(target)):
                _remove_if_abandoned(left)
            try:
                lock = _locked(part)
            except OSError as error:
                # The original message would quote the hidden name.
                raise OSError(f"{call}: the file cannot be created: {error.strerror}") from None
            yield part
    finally:
        # Only now, as a complete part that waits for its final name is not abandoned either.
        if lock is not None:
            os.close(lock)


def write_mp4(path: Path, images: Iterator[Image], size: tuple[int, int], fps: int, call: str) -> None:
    """Write images one after the other as H.264, using the ffmpeg that comes with imageio-ffmpeg.

    Args:
        path: the path of the file, ending in .mp4.
        images: the images, all of the same size.
        size: width and height in pixels, both even.
        fps: frames per second.
        call: the start of error messages.

    Raises:
        OSError: no ffmpeg runs here, or it could not write the file.

    """
    width, height = size
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(fps), "-i", "-"]
    # Constant quality, in the pixel format that all players support.
    coded = ["-an", "-c:v", "libx264", "-crf", "15", "-pix_fmt", "yuv420p", str(path)]
    ffmpeg = _ffmpeg([*raw, *coded], call)
    with ffmpeg:
        assert ffmpeg.stdin is not None
        assert ffmpeg.stderr is not None
        try:
            # If it accepts no more data it has stopped; its error output below says why.
            with suppress(BrokenPipeError):
                for image in images:
                    ffmpeg.stdin.write(np.ascontiguousarray(image).data)
            with suppress(BrokenPipeError):
                ffmpeg.stdin.close()
        except BaseException:
            ffmpeg.kill()
            raise
        output = ffmpeg.stderr.read().decode(errors="replace").strip()
    if ffmpeg.returncode or not (path.exists() and path.stat().st_size):
        # The first line is the cause. Memory addresses and our hidden name would mean nothing to the reader.
        line = output.splitlines()[0] if output else "it stopped without an error message"
        why = re.sub(r"\[[^\]]*@ 0x[0-9a-f]+\] *", "", line).replace(str(path), "the file")
        raise OSError(f"{call}: ffmpeg could not write it: {why}")


def write_gif(path: Path, images: Iterator[Image], colours: Image, fps: int, count: int, call: str) -> None:
    """Write images as an endless GIF; equal consecutive images become one frame of the same total duration.

    Args:
        path: the path of the file.
        images: the images, all of the same size.
        colours: an image with all colours of the film, of which the best 256 are used throughout.
        fps: frames per second, at most `FASTEST_GIF`. If the duration of a frame is not a whole number of hundredths of
            a second, some frames stay one hundredth longer than others, so that the total duration is right.
        count: the number of images, at least one.
        call: the start of error messages.

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

    rule = "an .mp4 needs a working ffmpeg: reinstall imageio-ffmpeg, or name one in IMAGEIO_FFMPEG_EXE"
    try:
        program = get_ffmpeg_exe()
    except RuntimeError:
        raise OSError(f"{call}: no ffmpeg was found; {rule}") from None
    try:
        # In a process group of its own, so that Ctrl-C reaches only this process. (The package's own writer runs Python
        # between fork and exec for this, and may hang if JAX has threads.)
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
    """A pattern for the names that `replacing_file` gives to parts of this file."""
    return f".{glob.escape(target.stem)}.{'[0-9a-f]' * 8}{PART}{glob.escape(target.suffix)}"


def _locked(part: Path) -> int | None:
    """Create the file and return a descriptor that holds its lock until closed; None if files cannot be locked."""
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
        # Another writer took it to be abandoned just before it was locked, and removed it.
        os.close(descriptor)


def _remove_if_abandoned(part: Path) -> None:
    """Remove a part that no process has locked."""
    try:
        import fcntl
    except ImportError:  # Windows
        return
    with suppress(OSError):
        descriptor = os.open(part, os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # It may have been removed in the meantime, and its name may belong to another file by now.
            if os.fstat(descriptor).st_nlink:
                part.unlink()
        finally:
            os.close(descriptor)
