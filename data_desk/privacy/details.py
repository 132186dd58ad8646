"""Which private details are looked for in a text: a table of patterns, Chinese and English.

Every repetition is bounded, so that no text takes long.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_NUMBER = r"[\dA-Za-z一二三四五六七八九十百零]{1,6}"
_PLACE = r"[^\W\d_在是到去往寄住从我你他她们了的给来送发有个那这条把就请]"
"""A character of a place's name; the verbs and pronouns that stand before addresses are none."""
_REGION = r"(?:省|自治区|特别行政区|市|自治州|区|县|镇|乡)"
_ROAD = r"(?:路|街|大道|道|巷|弄|胡同|村|里|花园|小区)"
_HOUSE = (
    rf"{_NUMBER}(?:号楼|号|弄|栋|幢|座|组)(?:{_NUMBER}(?:号楼|栋|幢|座|单元|楼|层|室|号)){{0,4}}(?: ?\d{{6}}(?!\d))?"
)
_STREETS = (
    "Street", "St", "Avenue", "Ave", "Road", "Rd", "Boulevard", "Blvd", "Lane", "Ln", "Drive", "Dr", "Court", "Ct",
    "Place", "Pl", "Square", "Sq", "Terrace", "Trail", "Parkway", "Way", "Circle", "Highway",
)  # fmt: skip
_RARE_STREETS = (
    r"Alley|Bend|Bluffs?|Branch|Bridge|Brooks?|Burgs?|Bypass|Camp|Canyon|Cape|Causeway|Centers?|"
    r"Circles|Cliffs?|Club|Common|Corners?|Course|Courts|Coves?|Creek|Crescent|Crest|Crossing|"
    r"Crossroad|Curve|Dale|Dam|Divide|Drives|Estates?|Expressway|Extensions?|Falls?|Ferry|Fields?|"
    r"Flats?|Fords?|Forest|Forges?|Forks?|Fort|Freeway|Gardens?|Gateway|Glens?|Greens?|Groves?|"
    r"Harbors?|Haven|Heights|Hills?|Hollow|Inlet|Islands?|Isle|Junctions?|Keys?|Knolls?|Lakes?|Land|"
    r"Landing|Lights?|Loaf|Locks?|Lodge|Loop|Mall|Manors?|Meadows?|Mews|Mills?|Mission|Motorway|"
    r"Mount|Mountains?|Neck|Orchard|Oval|Overpass|Parks?|Parkways|Pass|Passage|Path|Pike|Pines?|"
    r"Plains?|Plaza|Points?|Ports?|Prairie|Radial|Ramp|Ranch|Rapids?|Rest|Ridges?|River|Roads|Route|"
    r"Row|Rue|Run|Shoals?|Shores?|Skyway|Springs?|Spurs?|Squares|Station|Stravenue|Stream|Streets|"
    r"Summit|Throughway|Trace|Track|Trafficway|Tunnel|Turnpike|Underpass|Unions?|Valleys?|Via|Viaduct|"
    r"Views?|Villages?|Ville|Vista|Walks?|Wall|Ways|Wells?"
)
"""USPS Publication 28, appendix C1; behind a short number they are more often something else."""
_STREET = (
    rf"(?:\d{{1,6}} (?:[A-Z][\w.'-]{{0,20}} ){{1,4}}(?:{'|'.join(_STREETS)})"
    rf"|\d{{3,6}} (?:[A-Z][\w.'-]{{0,20}} ){{1,4}}(?:{_RARE_STREETS}))"
)
_WECHAT = r"(?:微信|威信|薇信|(?<![A-Za-z])(?:vx|wx|wechat|weixin)(?![A-Za-z]))(?: ?(?:id|号))?"
_WECHAT_WORDS = ("微信", "威信", "薇信", "vx", "wx", "wechat", "weixin")
_DIGITS = tuple("0123456789")


@dataclass(frozen=True)
class Detail:
    """One pattern: `kind` names what it finds; of a pattern with a group the group is the detail."""

    kind: str
    needs: tuple[str, ...]
    """One of these stands in every text that the pattern can find something in, in lower case: most texts have none."""
    pattern: re.Pattern[str]


DETAILS = (
    Detail(
        "url",
        ("://", "www."),
        re.compile(r"(?<![\w@.])(?:https?://|www\.)[^\s<>\"'，。；！？、（）【】《》「」]{3,2000}", re.IGNORECASE),
    ),
    Detail(
        "email",
        ("@",),
        re.compile(r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,6}"),
    ),
    Detail(
        "id_number",
        _DIGITS,
        re.compile(
            r"(?<![\dA-Za-z])[1-9]\d{5}(?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}[\dXx](?![\dA-Za-z])"
            r"|(?<![\d-])\d{3}-\d{2}-\d{4}(?![\d-])"
        ),
    ),
    Detail("card", _DIGITS, re.compile(r"(?<![\d.])(?:\d{4}[ -]){3,4}\d{1,7}(?![\d-])|(?<![\d.])\d{13,19}(?!\d)")),
    Detail(
        "phone",
        _DIGITS,
        re.compile(
            r"(?<![\dA-Za-z.])(?:\+?86[- ]?)?1[3-9]\d[- ]?\d{4}[- ]?\d{4}(?!\d)"
            r"|(?<!\d)(?:\(0\d{2,3}\) ?|（0\d{2,3}） ?|0\d{2,3}[- ])\d{7,8}(?!\d)|(?<!\d)[48]00[- ]\d{3}[- ]\d{4}(?!\d)"
            r"|(?<![\w.-])(?:(?:\+?1|001)[-. ]?)?(?:\([2-9]\d{2}\) ?|[2-9]\d{2}[-. ])\d{3}[-. ]\d{4}"
            r"(?:x\d{1,5})?(?![\d-])"
            r"|(?<![\w.-])[2-9]\d{2}[2-9]\d{6}(?![\d.-])"
            r"|(?<!\w)\+\d{1,3}[ -]?\d(?:[ -]?\d){6,12}(?!\d)"
        ),
    ),
    Detail("wechat", ("wxid_",), re.compile(r"(?<![A-Za-z0-9])wxid_[A-Za-z0-9]{6,30}")),
    # without a sign that an id follows, a word needs a digit to be one
    Detail("wechat", _WECHAT_WORDS, re.compile(_WECHAT + r" ?[:：是] ?([A-Za-z][A-Za-z0-9_-]{5,19})", re.IGNORECASE)),
    Detail(
        "wechat",
        _WECHAT_WORDS,
        re.compile(_WECHAT + r" ?([A-Za-z](?=[A-Za-z_-]{0,18}\d)[A-Za-z0-9_-]{5,19})", re.IGNORECASE),
    ),
    Detail(
        "qq",
        ("qq", "扣扣"),
        re.compile(r"(?:(?<![A-Za-z])QQ|扣扣)(?: ?号)?[ 是:：加]{0,3}([1-9]\d{4,10})(?!\d)", re.IGNORECASE),
    ),
    Detail(
        "address",
        tuple("号弄栋幢座组"),
        re.compile(rf"(?:{_PLACE}{{1,6}}?{_REGION}{_PLACE}{{0,30}}?|{_PLACE}{{1,4}}?){_ROAD}{_HOUSE}"),
    ),
    Detail(
        "address",
        _DIGITS,
        re.compile(
            rf"(?<![\w#-]){_STREET}\b\.?"
            r"(?:,? (?:Apt|Apartment|Suite|Unit)\.? ?\w{1,6})?"
            r"(?:,? (?:[A-Z][a-z]{1,20} ?){1,3}, [A-Z]{2} \d{5}(?:-\d{4})?)?"
        ),
    ),
)
"""In the order in which they are looked for."""
LABELS = {
    "url": ("网址", "URL "),
    "email": ("邮箱", "email "),
    "id_number": ("证件", "ID "),
    "card": ("银行卡", "card "),
    "phone": ("电话", "phone "),
    "wechat": ("微信", "WeChat "),
    "qq": ("QQ", "QQ "),
    "address": ("地址", "address "),
    "name": ("名字", "name "),
}
"""Kind -> what its stand-ins say, in Chinese texts and in others."""
