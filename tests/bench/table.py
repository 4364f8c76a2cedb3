"""What was measured, against what stood beside it and what is promised."""

import os
import sys

HEAD = ("what", "measured", "ratio to what stood beside it", "target", "")


class Table:
    def __init__(self):
        self.rows = []

    def add(self, what, measured, ratio="", target="", met=None):
        row = (what, measured, ratio, target, {None: "", True: "met", False: "MISSED"}[met])
        self.rows.append(row)
        print("    " + "  ".join(filter(None, row)), file=sys.stderr)

    def times(self, what, mine, other, target="", met=None):
        ratio = f"p50 {ratio_of(mine.p50, other.p50)}, p99 {ratio_of(mine.p99, other.p99)} of {times_of(other)}"
        self.add(what, times_of(mine), ratio, target, met)

    def rates(self, what, mine, other, target="", met=None):
        self.add(what, f"{mine.rate:.0f}/s", f"{ratio_of(mine.rate, other.rate)} of {other.rate:.0f}/s", target, met)

    def memory(self, what, mb, limit=None):
        if limit:
            self.add(what, f"{mb:.0f} MB", "", f"≤ {limit} MB", mb <= limit)
        else:
            self.add(what, f"{mb:.0f} MB")

    def print(self):
        rows = [HEAD, *self.rows]
        widths = [max(map(len, column)) for column in zip(*rows)]
        for row in rows:
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
        print(f"{os.cpu_count()} cores; load of the last 15 minutes: {os.getloadavg()[2]:.1f}")


def times_of(measured):
    return f"p50 {measured.p50:.2f} ms, p99 {measured.p99:.2f} ms"


def ratio_of(mine, other):
    return f"{mine / other:.3g} ×"
