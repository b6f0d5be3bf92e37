"""Which sets there are, and whether they are on this machine."""
from lmcore.data import generated
from lmcore.data.files import Unavailable, find, near, path, registry


def names() -> list[str]:
    """Every name that `load` knows."""
    return [*generated.SETS, *registry()["sets"]]


def described(name: str) -> str:
    """What a set is, in a line.

    Raises: ValueError if there is no such set.
    """
    if name in generated.SETS:
        return "written by our own grammar, so the probability of each text is known"
    return entry_of(name)["what"]


def state(name: str) -> str:
    """Whether a set can be loaded: "here", "to fetch", "damaged", or "written" by us when asked for.

    Its files are read and compared with their sha256.
    """
    if name in generated.SETS:
        return "written"
    files = files_of(name)
    try:
        return "here" if all(map(find, files)) else "to fetch"
    except ValueError:
        return "damaged"


def fetch(name: str) -> str:
    """Get a set if it is not here; say where it lies, or why it cannot be had."""
    if name in generated.SETS:
        generated.parts(name)
        return str(generated.cache_file(name))
    try:
        return ", ".join(str(path(file)) for file in files_of(name))
    except Unavailable as missing:
        return f"not to be had: {missing}"


def entry_of(name: str) -> dict:
    """What the registry says of a set.

    Raises: ValueError if it has none of that name.
    """
    sets = registry()["sets"]
    if name not in sets:
        raise ValueError(f"no registered set {name!r}{near(str(name), list(sets))}")
    return sets[name]


def files_of(name: str) -> list[str]:
    """The files of which a set is made."""
    found = entry_of(name)["files"]
    return list(found.values()) if isinstance(found, dict) else found
