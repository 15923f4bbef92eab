"""Reads picture files as their viewers show them: upright, transparency on white, 16 bits scaled to 8."""

import struct
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from footplate.api.recipes import PATH
from footplate_trainer.errors import DataError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
KINDS = "PNG, JPEG, WebP, BMP or TIFF"
MOVING = ("PNG", "WEBP")
"""Formats whose pictures may be frames of a film; a JPEG's further ones are previews."""
GREY_MODES = ("1", "L", "LA", "La")
DEEP_MODES = ("I;16", "I;16L", "I;16B", "I;16N")
MAX_NAMED = 20


def read_picture(path: Path, size: tuple[int, int]) -> NDArray[np.uint8]:
    """One picture, resized to `size` (width, height), as uint8 [1 or 3, height, width].

    Raises:
        DataError: where it isn't an image, or a damaged or monstrous one, or one whose range isn't known.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as picture:
                if picture.format in ("TIFF", *MOVING) and getattr(picture, "n_frames", 1) > 1:
                    parts = "pages" if picture.format == "TIFF" else "frames, of an animation"
                    raise DataError(f"{path} holds several {parts}; save each as a file of its own")
                if picture.mode in ("I", "F"):
                    raise DataError(f"{path} has 32 bits a pixel, of no known range; save it with 8 or 16 bits")
                eight_bits = _flatten(ImageOps.exif_transpose(picture))
                array = np.asarray(eight_bits.resize(size))
    except UnidentifiedImageError:
        raise DataError(f"{path} is no {KINDS} image; replace or remove it") from None
    except FileNotFoundError:
        raise DataError(f"{path} leads to no file; replace or remove it") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise DataError(
            f"{path} has more than {Image.MAX_IMAGE_PIXELS or 0:,} pixels, as no photo has; scale it down, or remove it"
        ) from None
    except (OSError, SyntaxError, ValueError, TypeError, LookupError, struct.error) as error:
        raise DataError(f"{path} is a damaged image ({error}); replace or remove it") from None
    return array[np.newaxis] if array.ndim == 2 else array.transpose(2, 0, 1)


def _flatten(picture: Image.Image) -> Image.Image:
    """The picture in mode L or RGB, without transparency."""
    if picture.mode in DEEP_MODES:
        return Image.fromarray((np.asarray(picture).astype(np.uint32) * 255 // 65535).astype(np.uint8))
    mode = "L" if picture.mode in GREY_MODES else "RGB"
    if picture.has_transparency_data:
        opaque = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", opaque.size, "white"), opaque)
    return picture.convert(mode)


def check_errors(errors: Sequence[str], count: int, *, max_corrupt: int, note: Callable[[str], None]) -> None:
    """Notes which of `count` files are left out, as they can't be read.

    Raises:
        DataError: there are more than `max_corrupt`. It names all of them, so that they are mended in one go.
    """
    if not errors:
        return
    more = f"; and {len(errors) - MAX_NAMED:,} more" if len(errors) > MAX_NAMED else ""
    named = "; ".join(errors[:MAX_NAMED]) + more
    if len(errors) > max_corrupt:
        counted = f"{len(errors):,} of {count:,} files can't be used: " if len(errors) > 1 else ""
        raise DataError(f"{counted}{named}. Or let {PATH}.maxCorrupt be {len(errors)}: so many are then left out")
    note(f"{len(errors):,} of {count:,} files are left out: {named}")


def is_hidden(name: str) -> bool:
    """Whether a file or folder is one that programs leave behind: `._x.png`, `.ipynb_checkpoints`, `__MACOSX`."""
    return name.startswith(".") or name == "__MACOSX"
