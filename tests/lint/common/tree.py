"""What the checks share: the source files of the tree and how a problem is shown."""
import os
import re
import subprocess
import sys

TREE = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))
CODE = (".h", ".cpp")
OURS = ("base", "proto", "gossip", "store", "s3gw", "node", "tests")


def files():
    """Paths of our files, from the root of the tree; untracked ones that git does not ignore count, too."""
    try:
        out = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=TREE,
                             capture_output=True, text=True, check=True).stdout.split("\n")
    except (OSError, subprocess.CalledProcessError):  # an unpacked archive
        out = [os.path.relpath(os.path.join(folder, name), TREE)
               for top in OURS for folder, _, names in os.walk(os.path.join(TREE, top)) for name in names]
    return sorted({path for path in out if path and os.path.isfile(os.path.join(TREE, path))})


def sources():
    return [path for path in files() if path.startswith(tuple(f"{top}/" for top in OURS)) and path.endswith(CODE)]


def read(path):
    with open(os.path.join(TREE, path), encoding="utf-8") as f:
        return f.read()


_BLANKED = re.compile(
    r'//[^\n]*|/\*.*?\*/|R"(?P<d>[^(\s]*)\(.*?\)(?P=d)"|"(?:\\.|[^"\\\n])*"|(?<![0-9a-fA-F])\'(?:\\.|[^\'\\\n])+\'',
    re.DOTALL)


def blank(text):
    """The code with comments, strings and characters emptied; lines and columns stay where they are."""
    return _BLANKED.sub(lambda m: re.sub(r"[^\n]", " ", m.group(0)), text)


def finish(name, problems):
    for problem in problems:
        print(problem)
    print(f"lint {name}: " + (f"{len(problems)} problem(s)" if problems else "ok"))
    sys.exit(1 if problems else 0)
