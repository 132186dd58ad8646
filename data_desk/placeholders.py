"""What stands in a chat log for what is no text: pictures, stickers, calls, withdrawn messages, notices."""

from __future__ import annotations

import re

_KINDS = (
    "图片", "照片", "语音", "视频", "表情", "表情包", "动画表情", "超级表情", "文件", "位置", "地理位置", "实时位置",
    "红包", "微信红包", "QQ红包", "转账", "链接", "分享", "名片", "小程序", "视频号", "音乐", "音乐分享", "聊天记录",
    "卡片消息", "合并转发", "闪照", "礼物", "群公告", "接龙", "收藏", "戳一戳", "窗口抖动", "Photo", "Image", "Video",
    "Voice", "Sticker", "File", "Link", "Location", "Audio", "GIF",
)  # fmt: skip
_MEDIA = re.compile(rf"\[(?:{'|'.join(_KINDS)})\d{{0,4}}(?:[:：][^\]\n]{{0,300}})?\]")
_CARDS = re.compile(r"\[(?:链接|文件|分享|名片|小程序|视频号|音乐|音乐分享|聊天记录|卡片消息|合并转发|位置|地理位置)\]")
"""Behind these a title stands, which nobody said."""
_CALLS = re.compile(
    r"\[(?:语音通话|视频通话|音视频通话)\]|通话时长|通话已取消|通话已拒绝|忙线未接听|^已取消$|^对方已取消$|^(?:未接)?(?:语音|视频)通话"
    r"|^(?:Missed )?(?:group )?(?:voice|video) call\b",
    re.IGNORECASE,
)
_WITHDRAWN = re.compile(
    r"撤回了?一条消息|^(?:此|这条|该)(?:消息|訊息)已(?:被)?(?:删除|刪除|撤回)|^您已删除此消息|^您删除了这条消息"
    r"|^This message was deleted|^You deleted this message",
)
_NOTICES = re.compile(
    r"拍了拍|加入了?群聊|退出了?群聊|移出了?群聊|修改群名为|现在可以开始聊天了|以上是打招呼的内容|以上是打招呼的消息"
    r"|已成功接收了你发送的|消息已发出，但被对方拒收了|开启了朋友验证|与群里其他人都不是|加入本群。$",
)
_SHORT = 80
"""Characters of the longest notice: in a longer text its words were said by somebody."""


def without_placeholders(text: str) -> tuple[str, str]:
    """A message without what stands for a picture, and why nothing is left of it (media, call, ...), else empty."""
    if not text:
        return "", "empty"
    if text.startswith(("<msg", "<?xml", "<sysmsg")) or _CARDS.match(text):
        return "", "media"
    if len(text) <= _SHORT:
        for why, pattern in (("call", _CALLS), ("withdrawn", _WITHDRAWN), ("system", _NOTICES)):
            if pattern.search(text):
                return "", why
    if "[" in text:
        text = _MEDIA.sub("", text).strip()
    return text, "" if text else "media"
