"""Spanish verse: cut words into syllables, count the metre of a line, compare rhymes.

A line has as many metrical syllables as it is sung with: a vowel that ends a word melts into one that begins
the next (synalepha), and the count stops one after the last stress. Two words rhyme in assonance if their
vowels agree from the last stress on. A copla has four lines of eight; the second rhymes with the fourth.
Source: Quilis 1969, Métrica española, ch. 2-4; RAE 2010, Ortografía de la lengua española, ch. 2.
"""
import re
from typing import NamedTuple

WORD = re.compile(r"[a-záéíóúüñ]+")
STRONG, ACUTE = "aeoáéó", "áéíóú"
VOWEL = "aeiouáéíóúü"
ONSETS = {"ch", "ll", "rr", "qu", "gu", *(a + b for a in "pbcgfkt" for b in "lr"), "dr"}
PLAIN = str.maketrans("áéíóúüy", "aeiouui")


class Copla(NamedTuple):
    """What the scorer finds in a text: the metre of each line, the rhyme that ends each, and the verdict."""
    metres: list[int]
    rhymes: list[str]
    sound: bool


def words(text: str) -> list[str]:
    """Its words, in small letters; letters without a vowel, which a model may write, are none."""
    return [word for word in WORD.findall(text.lower()) if _nuclei(word)]


def syllables(word: str) -> list[str]:
    """The syllables of a word in small letters: "guitarra" is gui, ta, rra."""
    nuclei = _nuclei(word)
    cuts = [0]
    for (_, end), (start, _) in zip(nuclei, nuclei[1:]):
        between = word[end:start]
        onset = next((n for n in (2, 1, 0) if n <= len(between) and (n < 2 or between[-2:] in ONSETS)), 0)
        cuts.append(start - onset)
    return [word[a:b] for a, b in zip(cuts, [*cuts[1:], len(word)])]


def _nuclei(word: str) -> list[tuple[int, int]]:
    """Where the vowels of each syllable stand. The u of que, gui is none; y is one unless a vowel follows."""
    nuclei: list[tuple[int, int]] = []
    for i, letter in enumerate(word):
        silent = letter == "u" and word[i - 1:i] in ("q", "g") and word[i + 1:i + 2] in tuple("eiéí")
        glide = letter == "y" and (word[i + 1:i + 2] == "" or word[i + 1] not in VOWEL)
        if silent or not (letter in VOWEL or glide):
            continue
        if nuclei and word[nuclei[-1][1]:i] in ("", "h") and _melt(word[nuclei[-1][1] - 1], letter):
            nuclei[-1] = nuclei[-1][0], i + 1
        else:
            nuclei.append((i, i + 1))
    return nuclei


def _melt(a: str, b: str) -> bool:
    """Whether two vowels side by side make one syllable: ia and ui do; ea, ía and ii do not."""
    if (a in STRONG and b in STRONG) or a == b:
        return False
    return not ((a in "íú" and b in STRONG) or (a in STRONG and b in "íú"))


def stress(word: str) -> int:
    """Which syllable is stressed, counted from the end: 1 amor, 2 casa, 3 lámpara."""
    parts = syllables(word)
    for place, part in enumerate(reversed(parts), 1):
        if any(letter in ACUTE for letter in part):
            return place
    return 1 if len(parts) == 1 or word[-1] not in "aeiouns" else 2


def metre(line: str) -> int:
    """The metrical syllables of a line: with synalepha, one more after a last stress, one less before two.

    Raises: ValueError if the line has no Spanish word.
    """
    found = words(line)
    if not found:
        raise ValueError(f"no word to count in {line!r}")
    count, joined = 0, False
    for before, word in zip(["", *found], found):
        closed = joined and before in ("y", "e", "o", "u")  # rosa y amor: y joins one side only
        joined = _open_end(before) and _open_start(word) and not closed
        count += len(syllables(word)) - joined
    return count + 2 - min(stress(found[-1]), 3)


def _open_end(word: str) -> bool:
    return word == "y" or word[-1:] in tuple(VOWEL)


def _open_start(word: str) -> bool:
    """A vowel begins it, with or without h; the ie of hielo and the ue of hueso sound as consonants."""
    return word == "y" or bool(re.match(rf"h?[{VOWEL}]", word) and not re.match(r"h[iu][aeoáéó]", word))


def rhyme(line: str) -> str:
    """The vowels that rhyme: "ea" of arena, "o" of amor, "ia" of lírica. Final i and u count as e and o.

    Raises: ValueError if the line has no Spanish word.
    """
    found = words(line)
    if not found:
        raise ValueError(f"no word to rhyme in {line!r}")
    parts, place = syllables(found[-1]), stress(found[-1])
    heard = _heart(parts[-place])
    return heard if place == 1 else heard + _heart(parts[-1]).translate(str.maketrans("iu", "eo"))


def _heart(syllable: str) -> str:
    """The vowel that carries a syllable: the one with an accent, else the strong one, else the last."""
    start, end = _nuclei(syllable)[0]
    vowels = syllable[start:end].replace("h", "")
    for better in ACUTE, STRONG:
        if found := [vowel for vowel in vowels if vowel in better]:
            return found[0].translate(PLAIN)
    return vowels[-1].translate(PLAIN)


def copla(text: str) -> Copla:
    """Score any text as a copla. A line without a Spanish word counts 0 and rhymes with nothing."""
    lines = [line for line in text.split("\n") if line.strip()]
    metres = [metre(line) if words(line) else 0 for line in lines]
    rhymes = [rhyme(line) if words(line) else "" for line in lines]
    sound = metres == [8] * 4 and rhymes[1] == rhymes[3]
    return Copla(metres, rhymes, sound)
