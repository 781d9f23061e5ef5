"""Malformed files, made in code: pictures, checkpoints, cards, tables and names."""

import functools
import hashlib
import io
import json
import struct
import zipfile
import zlib

import numpy as np
from PIL import Image

# Names -------------------------------------------------------------------------------

NAMES = (
    "<b>bold</b>",
    "<script>window.pwned = 1</script>",
    '"><svg onload=alert(1)>',
    "a & b 'c' \"d\"",
    "../../etc/passwd",
    "..",
    "/absolute",
    "C:\\windows\\system32",
    "back\\slash",
    "con",
    "nul.txt",
    "-rf",
    "--help",
    "~root",
    "$HOME",
    "$\\frac{$",
    "%s %d %n",
    "{0} {name!r} {{",
    "ends in a dot.",
    " spaces around ",
    "שלום עולם",
    "\N{RIGHT-TO-LEFT OVERRIDE}gpj.exe",
    "e\N{COMBINING ACUTE ACCENT}" * 20,
    "Z\N{COMBINING TILDE}a\N{COMBINING RING ABOVE}l\N{COMBINING CEDILLA}go",
    "👩‍👩‍👧‍👦 family",
    "日本語のなまえ",
    "ﷺ" * 10,
    "zero\N{ZERO WIDTH SPACE}width",
    "x" * 300,
    "two\nlines",
    "a\ttab",
    "=cmd|'/c calc'!A0",
    "@SUM(1+1)",
    "NULL",
    "None",
    "nan",
    "1e309",
    "`whoami`",
    "[link](javascript:alert(1))",
    "{{7*7}}",
    "'; DROP TABLE labels;--",
)
# What no file system, table or page of UTF-8 can hold.
UNWRITABLE = ("nul\0byte", "half \ud800 a character", "\udcff\udcfe")

# Texts that should be JSON, and are not what is expected -----------------------------

JSON = {
    "nothing": "",
    "a space": " ",
    "half of it": '{"sha256": "ab',
    "no quotes": "{sha256: 1}",
    "a comment": '{"a": 1} // yes',
    "null": "null",
    "a number": "5",
    "a text": '"card"',
    "a list": "[1, 2]",
    "an empty list": "[]",
    "an empty object": "{}",
    "NaN": '{"sha256": NaN, "version": Infinity}',
    "a huge number": f'{{"sha256": {"9" * 5000}}}',
    "a huge exponent": '{"sha256": 1e999}',
    "nested deep": "[" * 100_000,
    "objects nested deep": '{"a":' * 100_000,
    "nested and closed": "[" * 100_000 + "]" * 100_000,
    "a page": "<!doctype html><script>window.pwned = 1</script>",
    "YAML": "sha256: ab\nlicence: mit\n",
    "wrong types": '{"sha256": [], "columns": 3, "files": {}, "kind": [], "rows": 1}',
    "half a character": '{"sha256": "\\ud800"}',
    "a zero byte": '{"sha256": "\0"}',
    "a pickle": "\x80\x04\x95",
}
BYTES = {
    "no UTF-8": b'{"sha256": "\xff\xfe"}',
    "UTF-16": '{"sha256": "ab"}'.encode("utf-16"),
    "a mark before it": b"\xef\xbb\xbf" + b'{"sha256": "ab"}',
    "zeros": b"\0" * 1000,
}


def texts():
    """Yield name and bytes of what should be JSON."""
    yield from ((name, text.encode()) for name, text in JSON.items())
    yield from BYTES.items()


# Checkpoints -------------------------------------------------------------------------


def safetensors(header, content=b"", length=None):
    """Return a file of safetensors with any header at all."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    size = len(text) if length is None else length
    return struct.pack("<Q", size % 2**64) + text + content


def parts(content):
    """Return the header of a safetensors file, and what follows it."""
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:end]), content[end:]


def checkpoints(whole):
    """Yield name and bytes of damaged checkpoints, made from a whole one."""
    header, content = parts(whole)
    first, second = sorted(key for key in header if key != "__metadata__")[:2]
    yield "nothing", b""
    yield "seven bytes", whole[:7]
    yield "the length alone", whole[:8]
    yield "half of the header", whole[:100]
    yield "half of it", whole[: len(whole) // 2]
    yield "one byte less", whole[:-1]
    yield "one byte more", whole + b"\0"
    yield "a page", b"<!doctype html><title>login</title>" * 20
    yield "a zip", zipped({"weights.pt": b"x"})
    for length in (0, 1, 2**31, 2**63, 2**63 - 1, 2**64 - 1, 100_000_001):
        yield f"header of {length} bytes", safetensors(header, content, length)
    for name, text in JSON.items():
        yield f"header: {name}", safetensors(text.encode(), content)
    yield "no metadata", _with(header, content, __metadata__=None)
    yield "metadata of numbers", _with(header, content, __metadata__={"width": 8})
    for key, values in METADATA.items():
        for value in values:
            about = {**header["__metadata__"], key: value}
            name = f"{key}: {value[:20]}"
            yield name, _with(header, content, __metadata__=about)
    yield "one key less", _with(header, content, **{first: None})
    extra = {"dtype": "F16", "shape": [1], "data_offsets": [0, 2]}
    yield "one key more", _with(header, content, extra=extra)
    for name, offsets in OFFSETS.items():
        yield name, _with(header, content, **{first: {**header[first], **offsets}})
    swapped = {first: header[second], second: header[first]}
    yield "two keys exchanged", _with(header, content, **swapped)
    yield "another type", _with(header, content, **{first: _typed(header[first])})
    filled = {"NaN": 0x7E00, "infinite": 0x7C00}
    for name, word in filled.items():
        size = len(content)
        yield (
            f"weights: {name}",
            safetensors(
                header, struct.pack("<H", word) * (size // 2) + b"\0" * (size % 2)
            ),
        )


METADATA = {
    "width": ("0", "-1", "8.5", "", "x", "9" * 9, "9" * 400, "٨", "NaN", "None"),
    "class_names": (
        "",
        "null",
        "3",
        "{}",
        '"abc"',
        "[1, 2, 3]",
        "[null]",
        "[[]]",
        "[" * 100_000,
        '["' + "x" * 100_000 + '"]',
        "NaN",
    ),
}
OFFSETS = {
    "offsets outside": {"data_offsets": [0, 2**40]},
    "offsets below zero": {"data_offsets": [-8, 0]},
    "offsets back to front": {"data_offsets": [8, 0]},
    "offsets of 2**63": {"data_offsets": [2**63, 2**63 + 2]},
    "offsets overlap": {"data_offsets": [0, 2]},
    "no offsets": {"data_offsets": []},
    "a shape of nothing": {"shape": []},
    "a shape below zero": {"shape": [-1]},
    "a huge shape": {"shape": [2**32, 2**32]},
    "an unknown type": {"dtype": "PICKLE"},
    "no type": {"dtype": None},
}


def _typed(row):
    return {**row, "dtype": "I16"}


def _with(header, content, **changes):
    changed = {**header, **changes}
    return safetensors({k: v for k, v in changed.items() if v is not None}, content)


def zipped(files):
    """Return a zip archive of names and contents."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


def carded(path, content, **card):
    """Write a checkpoint with a card that vouches for it; return its path."""
    path.write_bytes(content)
    card = {"name": path.stem, **card, "sha256": hashlib.sha256(content).hexdigest()}
    path.with_suffix(".json").write_text(json.dumps(card), "utf-8")
    return path


# Pictures ----------------------------------------------------------------------------


def chunk(kind, content, crc=None):
    """Return a chunk of a PNG."""
    known = zlib.crc32(kind + content) if crc is None else crc
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", known)


def header(width, height, bits=8, colour=2, interlaced=0):
    """Return the first chunk of a PNG."""
    row = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlaced)
    return chunk(b"IHDR", row)


START, END = b"\x89PNG\r\n\x1a\n", chunk(b"IEND", b"")
ROWS = zlib.compress(b"".join(b"\0" + b"\x20\x60\xa0" * 8 for _ in range(8)))
DATA = chunk(b"IDAT", ROWS)


def saved(image, kind, **options):
    """Return a picture as the bytes of a file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def plain(width=24, height=16):
    """Return a picture whose corners differ, uint8 (height, width, 3)."""
    rows, columns = np.mgrid[:height, :width]
    red = 255 * columns // max(1, width - 1)
    green = 255 * rows // max(1, height - 1)
    return np.stack([red, green, np.full_like(red, 90)], -1).astype(np.uint8)


@functools.cache
def damaged_pictures():
    """Return by name the bytes of files that are no picture that can be read."""
    return dict(_damaged_pictures())


def _damaged_pictures():
    yield "png of nothing", START
    yield "png without a header", START + DATA + END
    yield "png without data", START + header(8, 8) + END
    yield "png of 0 pixels", START + header(0, 8) + DATA + END
    yield "png of 2**31 pixels", START + header(2**31 - 1, 2**31 - 1) + DATA + END
    yield "png bomb", START + header(100_000, 100_000) + DATA + END
    yield "png with a wrong sum", START + header(8, 8) + chunk(b"IDAT", ROWS, 7) + END
    yield "png with a chunk too long", START + header(8, 8) + b"\xff" * 8 + DATA
    yield "png of 3 bits", START + header(8, 8, 3) + DATA + END
    yield "png of an unknown colour", START + header(8, 8, 8, 5) + DATA + END
    yield "png without a palette", START + header(8, 8, 8, 3) + DATA + END
    cut = chunk(b"IDAT", ROWS[: len(ROWS) // 2])
    yield "png with half of its data", START + header(8, 8) + cut + END
    text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(20_000_000)))
    yield "png with a text bomb", START + header(8, 8) + text + DATA + END
    yield "gif of nothing", b"GIF89a"
    yield "gif of 65535 pixels", b"GIF89a\xff\xff\xff\xff\xf0\0\0" + b"\0" * 9
    yield "bmp with a far start", b"BM" + struct.pack("<IHHI", 99, 0, 0, 2**31) * 3
    yield "bmp of many pixels", _bitmap(2**30, 2**30)
    yield "bmp of -2**31 rows", _bitmap(8, -(2**31))
    yield "tiff that goes in circles", b"II*\0\x08\0\0\0" + b"\0\0" + b"\x08\0\0\0"
    yield "tiff of many entries", b"II*\0\x08\0\0\0\xff\xff" + b"\xff" * 600
    yield "jpeg of a start", b"\xff\xd8\xff"
    yield "jpeg of markers", b"\xff\xd8" + b"\xff\xc0\0\x02" * 50
    yield "webp that lies", b"RIFF\xff\xff\xff\xffWEBPVP8 " + b"\xff" * 40
    yield "svg called png", b'<svg xmlns="http://www.w3.org/2000/svg"><script/></svg>'
    yield "page called jpg", b"<!doctype html><p>404"
    yield "archive", zipped({"../../x.png": b"x", "a.png": b"y"})
    yield "pickle", b"\x80\x04\x95\x1a\0\0\0\0\0\0\0\x8c\x05posix\x94"
    yield "postscript", b"%!PS-Adobe-3.0 EPSF\n(/etc/passwd) (r) file\n"
    yield "letters", b"not a picture at all"
    yield "zeros", b"\0" * 4096


def _bitmap(width, height):
    about = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + about


def odd_pictures():
    """Yield name, bytes and what is to be seen, uint8 (height, width, 3)."""
    pixels = plain()
    image = Image.fromarray(pixels)
    for turn in range(10):  # 1 to 8 are known
        exif = Image.Exif()
        exif[0x0112] = turn
        name = f"turned {turn}"
        yield (
            name,
            saved(image, "PNG", exif=exif),
            TURNED.get(turn, lambda a: a)(pixels),
        )
    grey = np.asarray(image.convert("L"))
    deep = Image.fromarray(grey.astype(np.uint16) * 257)
    yield "16 bits", saved(deep, "PNG"), np.repeat(grey[..., None], 3, -1)
    yield "grey", saved(image.convert("L"), "PNG"), np.repeat(grey[..., None], 3, -1)
    faint = image.convert("RGBA")
    faint.putalpha(0)
    yield "see-through", saved(faint, "PNG"), np.full_like(pixels, 255)
    flat = image.quantize(16)
    yield "palette", saved(flat, "PNG"), np.asarray(flat.convert("RGB"))
    clear = flat.copy()
    everything = bytes(256)
    yield (
        "palette that is clear",
        saved(clear, "PNG", transparency=everything),
        (np.full_like(pixels, 255)),
    )
    others = [Image.new("RGB", image.size, "black")] * 3
    film = {"save_all": True, "append_images": others}
    yield "film in PNG", saved(image, "PNG", **film), pixels
    yield "film in TIFF", saved(image, "TIFF", **film), pixels
    yield "film in WEBP", saved(image, "WEBP", lossless=True, **film), pixels
    one = image.convert("1")
    yield "one bit", saved(one, "PNG"), np.asarray(one.convert("RGB"))
    yield "one bit in TIFF", saved(one, "TIFF"), np.asarray(one.convert("RGB"))
    four = image.convert("CMYK")
    yield "CMYK", saved(four, "TIFF"), np.asarray(four.convert("RGB"))
    yield "BMP", saved(image, "BMP"), pixels
    junk = saved(image, "PNG") + b"<script>alert(1)</script>" * 20
    yield "PNG with a page behind it", junk, pixels
    thin = plain(400, 1)
    yield "one row", saved(Image.fromarray(thin), "PNG"), thin
    dot = plain(1, 1)
    yield "one pixel", saved(Image.fromarray(dot), "PNG"), dot


TURNED = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: a.transpose(1, 0, 2)[:, ::-1],
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: a.transpose(1, 0, 2)[::-1],
}

# Tables ------------------------------------------------------------------------------

TABLES = {
    "nothing": "",
    "a heading": "a,b\n",
    "a short row": "a,b\n1\n",
    "a long row": "a,b\n1,2,3,4\n",
    "no number": "a,b\n1,x\n",
    "NaN": "a,b\n1,nan\n",
    "a huge number": f"a,b\n{'9' * 5000},1\n",
    "an open quote": 'a,b\n"1,2\n3,4\n',
    "a huge field": f"a,b\n1,{'x' * 200_000}\n",
    "a zero byte": "a,b\n1,\0\n",
    "one name twice": "a,a\n1,2\n",
    "no name": ",\n1,2\n",
    "a page": "<!doctype html>\n<p>404\n",
    "a formula": "a,b\n=cmd|'/c calc'!A0,2\n",
}
