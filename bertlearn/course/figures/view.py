"""A page inside a notebook: sandboxed, offline and compressed, with a picture where no script may run."""

from __future__ import annotations

import gzip
import html
from base64 import b64encode

# A page is compressed to a third and unpacked once it is visible: a hidden iframe gets no animation frame.
# The page would keep this script's global names, so the script defines none.
_UNPACK = (
    '<!doctype html><meta charset="utf-8"><script>'
    "setTimeout(() => requestAnimationFrame(() => {"
    'const bytes = Uint8Array.from(atob("%s"), c => c.charCodeAt(0));'
    'new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text()'
    ".then(page => {document.open(); document.write(page); document.close();});}), %d);</script>"
)

# The picture lies behind the iframe; where a reader removes the iframe, the picture has a place of its own.
_LAYOUT = "<style>.bl-view:has(> iframe) > .bl-flat {position: absolute; inset: 0; overflow: hidden}</style>"
# A page that says how high it is gets that height, at any width. It learns whether JupyterLab's theme is
# light, which may differ from the system's. One listener serves all views of a notebook.
_RESIZE = html.escape(
    "window.blResize ??= ({ source, data }) => {"
    " for (const frame of document.querySelectorAll('.bl-view > iframe'))"
    " if (frame.contentWindow === source && data?.blHeight > 0) {"
    " frame.style.height = Math.min(data.blHeight, 9999) + 'px';"
    " source.postMessage({ blLight: document.body.dataset.jpThemeLight }, '*'); } };"
    " window.addEventListener('message', window.blResize)"  # adding the same function again changes nothing
)


class View:
    """A page that a notebook shows in a sandboxed iframe, or as a picture where no script may run."""

    def __init__(
        self,
        page: str,
        title: str,
        height: int,
        picture: bytes,
        width: int = 0,
        delay: int = 0,
        alt: str = "",
    ) -> None:
        """Keep a page and a picture of it.

        Args:
            page: self-contained HTML with a background.
            title: what the page shows.
            height: height of the page in pixels, until the page itself says how high it is.
            picture: PNG bytes.
            width: width of the page in pixels if it is scaled down where there is less room; otherwise 0.
            delay: milliseconds before the page covers the picture.
            alt: the picture's alt text; the title if it is "".
        """
        self.page, self.title, self.height, self.picture = page, title, height, picture
        self.width, self.delay, self.alt = width, delay, alt or title

    def __repr__(self) -> str:
        """Return what the view shows, the same text at each run."""
        return f"[view] {self.title}"

    def _repr_html_(self) -> str:
        """Return the iframe over the picture; a reader that removes the iframe still shows the picture."""
        title = html.escape(self.title)
        picture = f"data:image/png;base64,{b64encode(self.picture).decode()}"
        packed = b64encode(gzip.compress(self.page.encode(), mtime=0)).decode()
        frame = html.escape(_UNPACK % (packed, self.delay))
        size = f"height:{self.height}px"
        if self.width:
            size = f"height:auto;max-width:{self.width}px;aspect-ratio:{self.width}/{self.height}"
        return (
            f'<div class="bl-view" style="position:relative">{_LAYOUT}'
            f'<div class="bl-flat"><img alt="{html.escape(self.alt)}" src="{picture}" '
            'style="max-width:100%;max-height:calc(100% - 2em)">'
            '<p style="margin:0">A picture. Run the cell to make it interactive.</p></div>'
            f'<iframe sandbox="allow-scripts" title="{title}" srcdoc="{frame}" style="position:relative;'
            f'display:block;width:100%;{size};border:0" onload="{_RESIZE}"></iframe></div>'
        )
