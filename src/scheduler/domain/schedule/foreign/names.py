"""Names of days and months, in full, in short, and in other languages."""

from __future__ import annotations

import unicodedata

_WEEKDAYS = {
    "SUN": "su sun sunday sundays so sonntag sonntags dim dimanche dom domingo domenica zo zondag sondag",
    "MON": "mo mon monday mondays montag montags lun lundi lunes lunedi maandag segunda mandag",
    "TUE": "mar tu tue tues tuesday tuesdays di dienstag dienstags mardi martes martedi dinsdag terca tirsdag",
    "WED": "we wed weds wednesday wednesdays mi mittwoch mittwochs mer mercredi mie miercoles mercoledi woe woensdag "
    "quarta onsdag",
    "THU": "th thu thur thurs thursday thursdays do donnerstag donnerstags jeu jeudi jue jueves gio giovedi donderdag "
    "quinta torsdag",
    "FRI": "fr fri friday fridays freitag freitags ven vendredi vie viernes venerdi vrijdag sexta fredag",
    "SAT": "sa sat saturday saturdays samstag samstags sonnabend sam samedi sab sabado sabato zaterdag lordag",
}
_MONTHS = {
    "JAN": "jan january januar janvier janv enero ene gennaio gen januari janeiro jaenner",
    "FEB": "feb february februar fevrier fevr febrero febbraio februari fevereiro",
    "MAR": "mar march marz maerz mars marzo maart marco mrz mae",
    "APR": "apr april avril avr abril abr aprile",
    "MAY": "may mai mayo maggio mag mei maio",
    "JUN": "jun june juni juin junio giugno giu junho",
    "JUL": "jul july juli juil juillet julio luglio lug julho",
    "AUG": "aug august aout agosto ago augustus",
    "SEP": "sep sept september septembre septiembre settembre set setembro",
    "OCT": "oct october okt oktober octobre octubre ottobre ott outubro out",
    "NOV": "nov november novembre noviembre novembro",
    "DEC": "dec december dez dezember decembre diciembre dic dicembre dezembro",
}
WEEKDAYS = {word: name for name, words in _WEEKDAYS.items() for word in words.split()}
MONTHS = {word: name for name, words in _MONTHS.items() for word in words.split()}
WEEKDAY_NAMES = tuple(_WEEKDAYS)
MONTH_NAMES = tuple(_MONTHS)


def plain(word: str) -> str:
    """The word in lower case without accents and without the full stop of an abbreviation."""
    decomposed = unicodedata.normalize("NFKD", word.casefold())
    return "".join(character for character in decomposed if not unicodedata.combining(character)).rstrip(".")


def weekday(word: str) -> str | None:
    """The name of a day of the week here, such as ``MON`` for "Montag"."""
    return WEEKDAYS.get(plain(word))


def month(word: str) -> str | None:
    """The name of a month here, such as ``MAY`` for "mai"."""
    return MONTHS.get(plain(word))
