"""Stamp the repository's name and ref into everything that links to it.

    python book/tools/badges.py [--repo owner/name] [--tag v1]   default: the git remote, the ref of now
    python book/tools/badges.py --check owner/name               exit 1 where the stamped name is another

The name lives in pyproject.toml ([project.urls] Repository and [tool.course] ref). The set-up cell of each
chapter and the links of the README repeat it, because a notebook opened alone on Colab has nothing else to
read it from.
"""
import argparse
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NAME = r"[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+"
STAMPED = ["README.md", "CITATION.cff", "data/registry.toml", "book/*.md", "chapters/*.ipynb",
           "chapters/text/*.md", "chapters/exercises/*.ipynb", "chapters/exercises/*.md"]


def stamped(root: Path = ROOT) -> tuple[str, str]:
    """The repository ("owner/name") and the ref that the tree is stamped with."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    return (project["project"]["urls"]["Repository"].removeprefix("https://github.com/"),
            project["tool"]["course"]["ref"])


def from_remote(root: Path = ROOT) -> str | None:
    """owner/name of the git remote `origin`, if that is on GitHub."""
    git = ["git", "remote", "get-url", "origin"]
    url = subprocess.run(git, cwd=root, capture_output=True, text=True).stdout
    found = re.search(rf"github\.com[:/]({NAME}?)(?:\.git)?\s*$", url)
    return found and found[1]


def restamp(text: str, old: tuple[str, str], new: tuple[str, str]) -> str:
    """Replace the stamped name, and the ref where it stands behind the name."""
    repo, ref = map(re.escape, old)
    place = r"(github\.com/|colab\.research\.google\.com/github/)"
    text = re.sub(rf"{place}{repo}(/(?:blob|tree|raw)/|@){ref}(?![\w.])",
                  lambda m: m[1] + new[0] + m[2] + new[1], text)
    return re.sub(rf"(github\.com/){repo}(?![\w.-])", lambda m: m[1] + new[0], text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repo", help="owner/name; default: the git remote")
    parser.add_argument("--tag", help="branch or tag; default: the one stamped now")
    parser.add_argument("--check", metavar="owner/name", help="only say whether the tree carries this name")
    args = parser.parse_args()
    old = stamped()
    if args.check:
        if args.check != old[0]:
            sys.exit(f"The notebooks point at {old[0]}, this repository is {args.check}. "
                     f"Run `make badges REPO={args.check}` and commit the result.")
        return
    repo = args.repo or from_remote()
    if not repo or not re.fullmatch(NAME, repo):
        sys.exit(f"badges: no repository name (got {repo!r}). Say `make badges REPO=owner/name`.")
    new = (repo, args.tag or old[1])
    changed = 0
    for path in [ROOT / "pyproject.toml"] + [p for pattern in STAMPED for p in sorted(ROOT.glob(pattern))]:
        before = path.read_text(encoding="utf-8")
        after = restamp(before, old, new)
        if path.name == "pyproject.toml":
            after = re.sub(r'^ref = "[^"]*"', f'ref = {json.dumps(new[1])}', after, flags=re.M)
        if after != before:
            path.write_text(after, encoding="utf-8")
            changed += 1
    print(f"badges: {repo} at {new[1]}, {changed} files changed")


if __name__ == "__main__":
    main()
