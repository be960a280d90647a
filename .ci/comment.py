"""Join Markdown files to the text of a comment, within what GitHub takes; nothing where no file is there.

The files are a stranger's, and this runs beside a token: a link is no such file, for it could name any file here.
"""

import sys
from pathlib import Path

FROM = "Written by the code of this pull request."
MOST = 60_000  # characters; GitHub takes 65 536
CUT = "\n\nThe rest is too long for a comment: see the artifacts of the workflow.\n"


def comment(mark: str, texts: list[str]) -> str:
    """Return a mark, whose words these are, and the files; it addresses nobody, and ends before a heading if long."""
    if not texts:
        return ""
    text = f"{mark}\n{FROM}\n\n" + "\n\n---\n\n".join(one.strip().replace("@", "@\u200b") for one in texts) + "\n"
    if len(text) <= MOST:
        return text
    kept = text[: MOST - len(CUT)]
    ends = [place for place in (kept.rfind("\n## "), kept.rfind("\n\n"), kept.rfind("\n")) if place > MOST // 4]
    return kept[: ends[0] if ends else len(kept)] + CUT


if __name__ == "__main__":
    mark, *names = sys.argv[1:]
    files = [path for path in map(Path, names) if path.is_file() and not path.is_symlink()]
    sys.stdout.write(comment(mark, [path.read_text(encoding="utf-8", errors="replace") for path in files]))
