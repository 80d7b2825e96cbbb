"""The page as one HTML file: on a disk, on any web space, or in the documentation, it needs nothing but itself."""

from __future__ import annotations

import base64
import hashlib
import os
import re
from html import escape
from importlib import resources
from pathlib import Path

from tegum.data.atomic import replacing_file

_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<base target="_top">
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
{before}<noscript><p>In this page models learn while one watches; they are trained by JavaScript, which is switched off
here.</p></noscript>
<tegum-lab{attributes}></tegum-lab>
{after}{films}<script type="module">{module}</script>
</body>
</html>
"""
# `base` is for a page in a frame of another one: its links open in place of the whole. `icon` is none, since browsers
# would ask a server for one.


_STYLE = "body { margin: 0; font: 15px/1.45 system-ui, sans-serif }"


def page(
    address: str = "",
    docs: str | None = None,
    *,
    films: bytes | None = None,
    around: tuple[str, str, str] | None = None,
    title: str = "tegum lab",
    server: bool = False,
) -> str:
    """The page as HTML, with everything in it.

    Args:
        address: the part behind # of the address that it opens where its own has none, as `page_address` writes it;
            empty for the page's own first sight, which is the first film if there is one.
        docs: where the documentation begins, as seen from the page; None for a page without links to it.
        films: recorded runs, as `tegum.lab.films.packed` writes them.
        around: HTML that stands before and after the lab, and the style sheet of both; keys are then for those who are
            in the lab.
        title: what the window is called, as text.
        server: whether the page is that of `tegum lab`, which trains on this machine and which it may then ask.

    Returns:
        A whole HTML document.

    """
    # What ends a script element in HTML, in JavaScript as in text.
    module = re.sub("</(script)", r"<\\/\1", module_text("local.js" if server else "lab.js"), flags=re.IGNORECASE)
    given = {"address": address or None, "docs": docs, "guest": None if around is None else ""}
    attributes = "".join(f' {name}="{escape(value)}"' for name, value in given.items() if value is not None)
    before, after, style = around or ("", "", "")
    data = "" if films is None else base64.b64encode(films).decode()
    return _PAGE.format(
        policy=_policy(module, server=server),
        attributes=attributes,
        module=module,
        title=escape(title),
        before=before,
        after=after,
        style=_STYLE + style,
        films=data and f'<script type="text/x-tegum-films">{data}</script>\n',
    )


def write_page(target: str | os.PathLike[str], html: str, *, overwrite: bool, call: str) -> Path:
    """Write a page to a file, which appears complete or not at all.

    Args:
        target: the file, with the suffix .html.
        html: the page.
        overwrite: whether a file that is there may be replaced.
        call: what errors begin with.

    Returns:
        The path of the file.

    Raises:
        ValueError: the name has another suffix.
        FileNotFoundError: its folder does not exist.
        FileExistsError: something is there, and may not be replaced.
        OSError: the file cannot be written.

    """
    path = Path(target)
    if path.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"{call}: the name of the file must end in .html")
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(f"{call}: the folder {str(path.parent)!r} does not exist; create it first")
    with replacing_file(path, overwrite=overwrite, call=call) as part:
        part.write_bytes(html.encode())
    return path


def module_text(name: str = "lab.js") -> str:
    """The code of the page, as a module of JavaScript: it defines the element `<tegum-lab>`, and is a widget.

    "lab.js" needs nothing else; "local.js" is for the page of `tegum lab`, which asks a server.
    """
    return resources.files("tegum.lab").joinpath("page", name).read_text(encoding="utf-8")


def _policy(module: str, *, server: bool = False) -> str:
    """What the page may load: this script, its styles, workers and pictures that it makes; nothing from elsewhere.

    Where it has a server, it may ask that one.
    """
    digest = base64.b64encode(hashlib.sha256(module.encode()).digest()).decode()
    rules = {
        "default-src": "'none'",
        "script-src": f"'sha256-{digest}'",
        "style-src": "'unsafe-inline'",
        "worker-src": "blob:",
        "img-src": "data: blob:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    if server:
        rules["connect-src"] = "'self'"
    return "; ".join(f"{name} {value}" for name, value in rules.items())
