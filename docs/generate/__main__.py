"""``make pages``: writes every generated page."""

from __future__ import annotations

from docs.generate.markdown import ROOT
from docs.generate.pages import pages

if __name__ == "__main__":
    for path, text in pages().items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"written: {path.relative_to(ROOT)}")
