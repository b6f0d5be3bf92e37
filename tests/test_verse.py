"""Spanish verse: syllables, metre and rhyme as a hand counts them; every copla of ours keeps to them."""
import math
import re
from functools import cache
from statistics import mean, stdev

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmcore import Grammar
from lmcore.verse import copla, metre, rhyme, stress, syllables, words

WORDS = {  # cut by hand, the stressed syllable in capitals; the vowels that rhyme
    "gui-TA-rra": "aa", "cons-truc-CIÓN": "o", "a-É-re-o": "eo", "a-HO-ra": "oa", "pin-GÜI-no": "io",
    "BUEY": "e", "ca-Í-a": "ia", "o-Í-ais": "ia", "ciu-DAD": "a", "trans-POR-te": "oe",
    "po-e-SÍ-a": "ia", "HUE-so": "eo", "LLU-via": "ua", "RÍ-o": "io", "re-LOJ": "o", "LÁM-pa-ra": "aa",
    "ci-GÜE-ña": "ea", "ra-ÍZ": "i", "YO": "o", "mur-CIÉ-la-go": "eo", "le-ER": "e", "mon-TA-ña": "aa",
    "es-TRE-lla": "ea", "her-MA-no": "ao", "QUIE-ro": "eo", "al-ba-HA-ca": "aa", "na-VÍ-os": "io",
    "DÉ-bil": "ee", "CAR-los": "ao", "es-PÍ-ri-tu": "io", "AI-re": "ae", "o-TO-ño": "oo",
    "PRÍN-ci-pe": "ie", "es-TOY": "o", "AL-guien": "ae", "BAI-le": "ae",
}
SCANNED = {  # cut by hand, _ where two words share a syllable; the metre, corrected for the last stress
    # traditional
    "Ni con-ti-go ni sin ti": 8, "tie-nen mis ma-les re-me-dio": 8,
    "con-ti-go, por-que me ma-tas,": 8, "y sin ti, por-que me mue-ro.": 8,
    "A la mar fui por na-ran-jas,": 8, "co-sa que la mar no tie-ne;": 8,
    "me-tí la ma-no_en el a-gua,": 8, "la_es-pe-ran-za me man-tie-ne.": 8,
    "Cuan-do pa-so por tu puer-ta": 8, "com-pro pan y voy co-mien-do,": 8,
    "por-que no di-ga tu ma-dre": 8, "que con ver-te me man-ten-go.": 8,
    "A-só-ma-te_a_e-sa ven-ta-na": 8,
    # Antonio Machado, Proverbios y cantares XXIX
    "Ca-mi-nan-te, son tus hue-llas": 8, "el ca-mi-no,_y na-da más;": 8,
    "ca-mi-nan-te, no_hay ca-mi-no,": 8, "se_ha-ce ca-mi-no_al an-dar.": 8,
    # Juan de la Cruz, Noche oscura; Garcilaso, soneto XXIII
    "En u-na no-che_os-cu-ra": 7, "con an-sias, en a-mo-res in-fla-ma-da": 11,
    "En tan-to que de ro-sa_y a-zu-ce-na": 11, "se mues-tra la co-lor en vues-tro ges-to": 11,
    # ours: a last word stressed on the third from the end, a silent h, a hue that is none
    "ba-jo la luz de la lám-pa-ra": 8, "la_hi-gue-ra_y el hue-so blan-co": 8, "con un po-co de hie-lo": 7,
}


@pytest.mark.parametrize("cut", WORDS)
def test_words_are_cut_stressed_and_rhymed_as_by_hand(cut):
    parts = cut.split("-")
    assert syllables(cut.replace("-", "").lower()) == [part.lower() for part in parts]
    by_hand = [place for place, part in enumerate(reversed(parts), 1) if part.isupper()]
    assert [stress(cut.replace("-", "").lower())] == by_hand
    assert rhyme(cut.replace("-", "").lower()) == WORDS[cut]


@given(st.text("aeiouáéíóúübcdfghjlmnñpqrstvyz", min_size=1, max_size=12))
@settings(deadline=None, max_examples=300)
def test_syllables_joined_give_any_word_back(word):
    assert "".join(syllables(word)) == word


@pytest.mark.parametrize("cut", SCANNED)
def test_lines_have_the_metre_that_a_hand_finds(cut):
    line = cut.replace("-", "").replace("_", " ")
    assert metre(line) == SCANNED[cut]
    last = {1: 1, 2: 0, 3: -1}[stress(words(line)[-1])]
    assert len(re.split("[ -]", cut)) + last == SCANNED[cut]  # the cut and the count written above agree


def test_a_traditional_copla_is_sound_and_a_spoilt_one_is_not():
    lines = ["A la mar fui por naranjas,", "cosa que la mar no tiene;", "metí la mano en el agua,",
             "la esperanza me mantiene."]
    assert copla("\n".join(lines)) == ([8, 8, 8, 8], ["aa", "ee", "aa", "ee"], True)
    assert not copla("\n".join([*lines[:3], "la esperanza me consuela."])).sound   # no rhyme
    assert not copla("\n".join([*lines[:3], "la paciencia siempre me mantiene."])).sound  # too long
    assert not copla("\n".join(lines[:3])).sound and not copla("").sound and not copla("1\n2\n3\n4").sound


def test_a_line_without_words_is_refused():
    with pytest.raises(ValueError, match="no word to count in '12!'"):
        metre("12!")
    with pytest.raises(ValueError, match="no word to rhyme in ''"):
        rhyme("")


@settings(deadline=None)
@given(st.text(st.sampled_from("abcdefghiklmnopqrstuvyzáéíóúüñ \n,"), max_size=60))
def test_whatever_a_model_writes_is_scored(text):
    found = copla(text)
    assert len(found.metres) == len(found.rhymes) and all(m >= 0 for m in found.metres)


@cache
def coplas() -> list[tuple[str, float]]:
    return Grammar.load("coplas").sample(seed=11, n=5000)


def test_every_copla_of_ours_scans_and_rhymes_but_not_with_the_same_word():
    for text, _ in coplas():
        assert copla(text).sound, text
        second, fourth = (words(line)[-1] for line in text.split("\n")[1::2])
        assert second.rstrip("s") != fourth.rstrip("s"), text


def test_articles_adjectives_and_verbs_agree_with_their_noun():
    """Checked from outside: whatever the grammar file says, these pairs of words must not meet."""
    wrong = re.compile(r"\b(la|las) (viento|río|monte|campo|olmo)s?\b|\b(el|los) (luna|brisa|nube|rosa)s?\b"
                       r"|\b(luna|nube|rosa) (blanco|claras?|frío|largas|viejo|mudo)\b(?<!clara)"
                       r"|\b(nubes|rosas|olas) (blanca|claros?|frí[ao]|me \w+a)\b"
                       r"|\btú, (moreno|vecino), (\w+ )?\w+a,|\btú, (morena|vecina), (\w+ )?\w+o,")
    assert all(map(wrong.search, ["el rosa", "luna claras", "nubes me espera", "y tú, vecina, callado,"]))
    assert not [text for text, _ in coplas() if wrong.search(text)]


def test_there_are_a_thousand_million_coplas_and_more_than_500_words():
    bits = [-log2p for _, log2p in coplas()]
    assert mean(bits) - 4 * stdev(bits) / math.sqrt(len(bits)) > math.log2(1e9)
    assert len({word for text, _ in coplas() for word in words(text)}) > 500


def test_no_copla_has_two_derivations():
    assert Grammar.load("coplas").ambiguous(seed=12, n=300) == []
