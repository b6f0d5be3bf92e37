"""How the derived files are made from what their authors publish: from the archive, read in place, to bytes.

Sources: DISCO, https://github.com/pruizf/disco (CC BY 4.0);
         BLiMP, https://github.com/alexwarstadt/blimp (CC BY 4.0), Warstadt et al. 2020, arXiv 1912.00582.
"""
import csv
import json
from collections.abc import Iterable, Iterator
from zipfile import ZipFile

PERIODS = ("15th-17th", "18th", "19th")                 # the 20th is left out: some rights still hold
PAIRS = 100                                             # of each BLiMP set, of 1,000


def sonetos(archive: ZipFile) -> bytes:
    """All sonnets in one text: stanzas one blank line apart, poems two."""
    return ("\n\n\n".join(poem for _, _, poem in sonnets(archive)) + "\n").encode()


def sonetos_index(archive: ZipFile) -> bytes:
    """One row a sonnet, in the same order: id, period, author, title, first line."""
    name = next(name for name in archive.namelist() if name.endswith("/poem_metadata.tsv"))
    rows = csv.DictReader(archive.read(name).decode().split("\n"), delimiter="\t", quoting=csv.QUOTE_NONE)
    about = {row["poem_id"]: (row["author"].strip(), row["title"].strip()) for row in rows}
    return as_tsv(["id", "period", "author", "title", "first_line"],
                  ([key, period, *about[key], poem.split("\n")[0]] for key, period, poem in sonnets(archive)))


def sonnets(archive: ZipFile) -> Iterator[tuple[str, str, str]]:
    """Id, period and text of each sonnet, in order of file names; lines stripped, repeats dropped."""
    seen = set()
    for period in PERIODS:
        for name in members(archive, f"/txt/{period}/per-sonnet/", ".txt"):
            poem = "\n".join(line.strip() for line in archive.read(name).decode().splitlines()).strip()
            if poem not in seen:
                seen.add(poem)
                yield name.rpartition("/disco")[2].removesuffix(".txt"), period, poem


def blimp(archive: ZipFile) -> bytes:
    """The first minimal pairs of each of the BLiMP sets as one table."""
    rows = (json.loads(line) for name in members(archive, "/data/", ".jsonl")
            for line in archive.read(name).decode().splitlines()[:PAIRS])
    fields = ("UID", "field", "linguistics_term", "pairID", "sentence_good", "sentence_bad")
    return as_tsv(["uid", "field", "phenomenon", "pair_id", "good", "bad"],
                  ([row[field] for field in fields] for row in rows))


def members(archive: ZipFile, folder: str, ending: str) -> list[str]:
    """Names in a folder of the archive, sorted; what is above the folder does not matter."""
    return sorted(name for name in archive.namelist() if folder in name and name.endswith(ending))


def as_tsv(head: list[str], rows: Iterable[list[str]]) -> bytes:
    return "".join("\t".join(row) + "\n" for row in [head, *rows]).encode()
