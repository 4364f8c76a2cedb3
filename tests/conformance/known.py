"""The known differences: differences.toml, what of it occurs, and the table that users read."""

import re

from servers import HERE

try:
    import tomllib
except ImportError:
    raise SystemExit("the comparison with Livy needs Python 3.11 or newer") from None

FILE = HERE / "differences.toml"
PAGE = HERE.parent.parent / "docs/livy-compatibility.md"
VERSIONS = ("0.9", "0.7.1")
BEGIN, END = "<!-- differences: written by make conformance -->\n", "<!-- end of differences -->\n"


class Known:
    """The file's entries, and which of their lines were seen."""

    def __init__(self):
        self.entries = tomllib.loads(FILE.read_text())["difference"]
        self.lines = [
            (entry["id"], version, line)
            for entry in self.entries
            for line in entry["seen"]
            for version in line.get("versions", VERSIONS)
        ]
        self.hits = [0] * len(self.lines)

    def explains(self, difference):
        """Whether a line of the file says this difference."""
        for index, (_, version, line) in enumerate(self.lines):
            if version == difference.version and matches(line, difference):
                self.hits[index] += 1
                return True
        return False

    def unseen(self):
        return [line for line, hits in zip(self.lines, self.hits) if not hits]

    def number(self):
        return len(self.entries)

    def table(self):
        lines = []
        for topic in dict.fromkeys(entry["topic"] for entry in self.entries):
            lines += [f"### {topic}", "", "| | Livy | sparkbatch | Why |", "|---|---|---|---|"]
            for entry in self.entries:
                if entry["topic"] == topic:
                    lines.append(row(entry))
            lines.append("")
        return "\n".join(lines)


def matches(line, difference):
    pairs = [("request", difference.request), ("at", difference.field)]
    pairs += [("livy", difference.livy), ("ours", difference.ours)]
    return all(re.fullmatch(wildcards(line[name]), value, re.DOTALL) for name, value in pairs)


def wildcards(pattern):
    return re.escape(pattern).replace(r"\*", ".*")


def row(entry):
    return f"| {' | '.join(entry[column] for column in ('what', 'livy', 'ours', 'why'))} |"


def page_with(table):
    """The page with this table in it."""
    text = PAGE.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table}{END}{after}"
