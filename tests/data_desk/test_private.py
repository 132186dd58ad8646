"""Private details get stand-ins, the same thing the same one; what only looks like one stays."""

from __future__ import annotations

import pytest

from data_desk.dialogue import Dialogue
from data_desk.privacy.stand_ins import StandIns


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("打 13812345678 给我", "phone"),
        ("电话：+86 138-1234-5678", "phone"),
        ("座机 (021) 62345678", "phone"),
        ("call (415) 555-2671 now", "phone"),
        ("call +44 20 7946 0958", "phone"),
        ("写信到 lin.zhi@example.com.cn 吧", "email"),
        ("身份证 11010519491231002X", "id_number"),
        ("SSN 123-45-6789", "id_number"),
        ("卡号 6222 0200 0000 0000 125", "card"),
        ("card 4539578763621486", "card"),
        ("wxid_h6cbjnu4re9722", "wechat"),
        ("我的微信号是lin_zhi", "wechat"),
        ("加微信 abc12345", "wechat"),
        ("QQ：12345678", "qq"),
        ("看 https://example.com/a?b=1 这里", "url"),
        ("我住在上海市浦东新区世纪大道100号3栋501室", "address"),
        ("来幸福路12号", "address"),
        ("He lives at 123 Main Street, Springfield, IL 62704.", "address"),
    ],
)
def test_a_detail_gets_a_stand_in_and_is_counted(text: str, kind: str) -> None:
    stand_ins = StandIns()
    shown = stand_ins.replace(text)
    assert dict(stand_ins.counts) == {kind: 1}, shown
    assert not any(part in shown for part in ("138", "555", "lin", "0000", "wxid", "example", "世纪", "Main", "6789"))


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-01 10:00:00，一共 1000 元，第 12345678 号",
        "订单 4539578763621487 到了",  # its last digit proves nothing
        "微信 android 版出了",
        "我在路上，三号去",
        "I walked 12 miles down the street.",
        "版本 1.2.3.4，见第 5 章",
        "3.14159265358979",
    ],
)
def test_what_only_looks_like_a_detail_stays(text: str) -> None:
    stand_ins = StandIns()
    assert stand_ins.replace(text) == text and not stand_ins.counts


def test_the_same_thing_has_the_same_stand_in_wherever_it_stands() -> None:
    stand_ins = StandIns()
    assert stand_ins.replace("打 13812345678 或 13987654321") == "打 〔电话1〕 或 〔电话2〕"
    assert stand_ins.replace("just 138-1234-5678 or +86 138 1234 5678") == "just 〔电话1〕 or 〔电话1〕"
    assert stand_ins.replace("call 415-555-2671") == "call 〔phone 3〕"


def test_names_of_the_users_list_are_replaced_the_longest_first() -> None:
    stand_ins = StandIns(["林栀", "林栀子", "Tom", ""])
    assert stand_ins.replace("林栀子和林栀，Tom 和 Tommy") == "〔名字1〕和〔名字2〕，〔名字3〕 和 Tommy"
    assert stand_ins.counts["name"] == 3


def test_a_row_that_is_kept_as_it_is_has_stand_ins_everywhere() -> None:
    row = {"messages": [{"role": "user", "content": "13812345678"}], "notes": ["a@b.cn"], "weight": 0}
    stand_ins = StandIns()
    shown = stand_ins.in_dialogue(Dialogue(({"role": "user", "content": "13812345678"},), row))
    assert stand_ins.counts == {"phone": 1, "email": 1}
    assert shown.as_row == {
        "messages": [{"role": "user", "content": "〔phone 1〕"}],
        "notes": ["〔email 1〕"],
        "weight": 0,
    }
    assert shown.messages[0]["content"] == "〔phone 1〕"


@pytest.mark.timeout(120)
@pytest.mark.parametrize("piece", ["区", "1", "a", "A b ", "路1", "1 A A ", "微信", "a.@", "-", "〔电话1〕"])
def test_no_text_takes_long(piece: str) -> None:
    StandIns(["林栀"]).replace(piece * (60_000 // len(piece)))
