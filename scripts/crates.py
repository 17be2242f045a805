"""crates: what notice and sbom ask cargo."""
import json
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGETS = ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"]


def cargo(*arguments):
    return subprocess.run(["cargo", *arguments], cwd=ROOT, capture_output=True, check=True,
                          text=True).stdout


def packages():
    """Cargo's metadata of every package, by name and version."""
    text = cargo("metadata", "--locked", "--all-features", "--format-version", "1")
    return {(one["name"], one["version"]): one for one in json.loads(text)["packages"]}


def linked(*members):
    """Name and version of the crates that are linked into members with all features, sorted.

    Those of others only, and not those that only build, test or measure.
    """
    chosen = [word for member in members for word in ("-p", member)]
    found = set()
    for target in TARGETS:
        text = cargo("tree", "--locked", *chosen, "--all-features", "--target", target,
                     "--edges", "normal,no-proc-macro", "--prefix", "none", "--format", "{p}")
        for line in filter(None, text.splitlines()):
            name, version = line.split(" ")[:2]
            found.add((name, version.removeprefix("v")))
    return sorted(one for one in found if not one[0].startswith("sigward"))
