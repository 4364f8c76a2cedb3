"""Side by side with Apache Livy: the captures of 0.9 replayed, and the same requests sent to 0.7.1 and to the facade.

Called by tests/run conformance. --write writes the table of known differences into docs/livy-compatibility.md.
"""

import shlex
import sys
import time

import known
from cluster import NAME, Cluster
from replay import Replay
from servers import Facade, Livy, arguments

# Where impersonation is off, Livy passes over proxyUser; here it is refused unless it is allowed.
ANY_USER = ["--proxy-user", "any"]
# File of captures → Livy's settings, and the facade's flags. Livy 0.7.1 knows no pseudo-authentication.
SEQUENCES = {
    "batches": ({}, ANY_USER),
    "csrf": (
        {"livy.server.csrf-protection.enabled": "true", "livy.server.session.max-creation": 1},
        [*ANY_USER, "--require-requested-by"],
    ),
    "users": ({}, ANY_USER),
}


class Report:
    """Counts, and what nobody has explained."""

    def __init__(self, entries):
        self.entries, self.new = entries, []
        self.comparisons = self.equal = self.known = 0

    def add(self, differences):
        self.comparisons += 1
        self.equal += not differences
        unexplained = [each for each in differences if not self.entries.explains(each)]
        self.known += bool(differences) and not unexplained
        self.new += unexplained

    def print(self, requests, seconds):
        for each in self.new:
            print(f"NEW   {each.request}\n  {each.field}, Livy {each.version}: {each.livy}")
            print(f"  {each.field}, ours: {each.ours}")
        unseen = self.entries.unseen()
        for name, version, line in unseen:
            print(f"GONE  {name}: not seen against Livy {version}: {line}")
        counts = f"{self.equal} equal, {self.known} with known differences ({self.entries.number()} of these)"
        print(f"{requests} requests, {self.comparisons} comparisons: {counts}, {len(self.new)} new; {seconds:.0f} s")
        return not self.new and not unseen


def replay_all(options, report):
    requests = 0
    with Cluster(shlex.split(options.kubectl), options.folder, [f"{NAME}-{name}" for name in SEQUENCES]):
        for name, (settings, flags) in SEQUENCES.items():
            folder = options.folder / name
            folder.mkdir(exist_ok=True)
            with (
                Livy(options.livy, folder, settings) as livy,
                Facade(options.facade, options.kubeconfig, folder, f"{NAME}-{name}", flags) as facade,
            ):
                livy.ready()
                facade.ready()
                requests += Replay(name, livy, facade, report).run()
    return requests


def main():
    parser = arguments(__doc__)
    parser.add_argument("--livy", required=True, help="folder with Livy's jars")
    parser.add_argument("--write", action="store_true", help="write the table instead of comparing it")
    options = parser.parse_args()
    entries = known.Known()
    page = known.page_with(entries.table())
    if options.write:
        known.PAGE.write_text(page)
    elif page != known.PAGE.read_text():
        sys.exit(f"{known.PAGE.name} does not hold the table of differences.toml: run tests/run conformance --write")
    options.folder.mkdir(parents=True, exist_ok=True)
    report, began = Report(entries), time.monotonic()
    requests = replay_all(options, report)
    if not report.print(requests, time.monotonic() - began):
        sys.exit(f"sparkbatch and Livy differ in other ways than {known.FILE.name} says; logs are in {options.folder}")


if __name__ == "__main__":
    main()
