"""Join Markdown files to the text of a comment, within what GitHub takes; nothing where no file is there."""

import sys
from pathlib import Path

MOST = 60_000  # characters; GitHub takes 65 536
CUT = "\n\nThe rest is too long for a comment: see the artifacts of the workflow.\n"


def comment(mark: str, texts: list[str]) -> str:
    """Return the text: it begins with a mark, addresses nobody, and ends before a heading where it is too long."""
    if not texts:
        return ""
    text = f"{mark}\n" + "\n\n---\n\n".join(one.strip().replace("@", "@\u200b") for one in texts) + "\n"
    if len(text) <= MOST:
        return text
    kept = text[: MOST - len(CUT)]
    ends = [place for place in (kept.rfind("\n## "), kept.rfind("\n\n"), kept.rfind("\n")) if place > MOST // 4]
    return kept[: ends[0] if ends else len(kept)] + CUT


if __name__ == "__main__":
    mark, *names = sys.argv[1:]
    sys.stdout.write(comment(mark, [path.read_text() for path in map(Path, names) if path.is_file()]))
