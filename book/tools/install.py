"""Build .venv with what the course needs, or say in one line why that cannot be done.

    python3 book/tools/install.py [EXTRA ...]     extras of pyproject.toml; TORCH=auto|cpu|cuda: the build

Written so that an old Python can read it far enough to say that it is too old. A second call with nothing
changed takes a tenth of a second: the stamp in .venv holds a hash of everything that was installed.
"""
from __future__ import print_function

import hashlib
import os
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
VENV = os.path.join(ROOT, ".venv")
STAMP = os.path.join(VENV, ".installed")
LOG = os.path.join(VENV, "install.log")
BIN = os.path.join(VENV, "Scripts" if os.name == "nt" else "bin")
NEEDED = (3, 11)
GIGABYTES = {"cpu": 3, "cuda": 9}          # room for the environment and the wheels on their way in


def stop(message):
    sys.exit("install: " + message)


def torch_build(choice):
    """cpu or cuda: what was asked for, else cuda where an NVIDIA driver answers."""
    if choice not in ("auto", "cpu", "cuda"):
        stop("TORCH=%s is unknown: use TORCH=auto, TORCH=cpu or TORCH=cuda." % choice)
    if choice != "auto":
        return choice
    try:
        quiet = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        answers = subprocess.call(["nvidia-smi", "-L"], **quiet) == 0
    except OSError:
        answers = False
    return "cuda" if answers else "cpu"


def wanted(extras, build):
    """A fingerprint of everything the environment is made from."""
    parts = ["%d.%d" % sys.version_info[:2], build] + sorted(extras)
    for name in ("pyproject.toml", "constraints.txt", os.path.join("book", "tools", "install.py")):
        with open(os.path.join(ROOT, name), "rb") as f:
            parts.append(hashlib.sha256(f.read()).hexdigest())
    return "\n".join(parts)


def stamp():
    if not os.path.exists(STAMP):
        return ""
    with open(STAMP) as f:
        return f.read()


def call(command, **env):
    """Run a command with its output in the log; on failure say the likely cause."""
    with open(LOG, "a") as log:
        code = subprocess.call(command, stdout=log, stderr=log, cwd=ROOT, env=dict(os.environ, **env))
    if code == 0:
        return
    with open(LOG, errors="replace") as f:
        tail = f.read()[-6000:].lower()
    if "no space left" in tail or "disk quota" in tail:
        stop("the disk is full. Free a few gigabytes and run the same command again.")
    signs = ("failed to fetch", "connection", "resolve host", "dns error", "timed out", "network",
             "from versions: none")
    if any(sign in tail for sign in signs):
        stop("the package index cannot be reached. Check the network (or PIP_INDEX_URL and the proxy "
             "settings) and run the same command again; the details are in .venv/install.log.")
    stop("`%s` failed; the last lines of .venv/install.log say why." % " ".join(command[:4]))


def torch_source(build):
    """Options that make uv take the wanted build of torch, and its environment."""
    local = os.environ.get("UV_FIND_LINKS") or os.environ.get("PIP_FIND_LINKS") or ""
    if build == "cpu" and local:
        return [], {"UV_FIND_LINKS": local}                # a folder of wheels on this machine or network
    if build == "cpu" and sys.platform.startswith("linux"):
        return ["--torch-backend", "cpu"], {}              # elsewhere the default build is the CPU's
    return [], {}


def main(extras):
    if sys.version_info < NEEDED:
        stop("Python %d.%d or later is needed and %s is %d.%d. Install a newer one and say which: "
             "`make lab PYTHON=python3.12`." % (NEEDED + (sys.executable,) + tuple(sys.version_info[:2])))
    build = torch_build(os.environ.get("TORCH", "auto"))
    have = stamp().split("\n")
    if len(have) > 2:                                      # what was installed once stays: extras only grow
        extras = sorted(set(extras) | set(have[2:-3]))
    if stamp() == wanted(extras, build):
        return
    room = shutil.disk_usage(ROOT).free / 1e9
    if not stamp() and room < GIGABYTES[build]:
        stop("the environment needs %d GB of disk and %.1f GB are free. Free some and run the command again."
             % (GIGABYTES[build], room))
    print("Installing %s into .venv (torch for %s); the first time takes a minute or two ..."
          % (", ".join(extras), build), flush=True)
    if have[0] and have[0] != "%d.%d" % sys.version_info[:2]:
        shutil.rmtree(VENV)                                # made by another Python
    try:
        os.makedirs(VENV, exist_ok=True)
        open(LOG, "w").close()
    except OSError as error:
        stop("cannot write to %s (%s)." % (VENV, error.strerror))
    if not os.path.exists(os.path.join(BIN, "pip")) and not os.path.exists(os.path.join(BIN, "pip.exe")):
        call([sys.executable, "-m", "venv", VENV])
    python, pins = os.path.join(BIN, "python"), os.path.join(ROOT, "constraints.txt")
    with open(pins) as f:
        call([python, "-m", "pip", "install", "-q"] + [line.strip() for line in f if line.startswith("uv==")])
    options, env = torch_source(build)
    call([os.path.join(BIN, "uv"), "pip", "install", "--python", python, "-c", pins] + options
         + ["-e", ".[%s]" % ",".join(extras)], UV_COMPILE_BYTECODE="1", **env)
    with open(STAMP, "w") as f:
        f.write(wanted(extras, build))


if __name__ == "__main__":
    main(sys.argv[1:] or ["course"])
