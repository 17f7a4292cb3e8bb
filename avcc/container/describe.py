"""What an ``.avc`` file says about itself, without decoding a picture: ``avcc info``."""

from __future__ import annotations

from typing import Any

from avcc.container import layout
from avcc.container.check import check
from avcc.container.layout import Chunk
from avcc.container.limits import TOLD_MOST
from avcc.container.read import chunks, read, version
from avcc.entropy.tables import Codebook
from avcc.errors import FormatError
from avcc.stages import SHARPEST, Head, Stream

_FRAMED = (layout.SEGMENT, layout.COPY, layout.PITCH, layout.FINER)
SAMPLED = 64  # segments whose symbols are read to tell motion from audio
KEYS_SHOWN = 6  # to people, of the key frames
SYNTHETIC = (
    "Decoded pictures and sound are synthetic: a generative model makes them from a key frame and"
    " codes; they are no record of what the camera saw."
)


def info(data: bytes, book: Codebook | None = None) -> dict[str, Any]:
    """All there is to say, as values that JSON can hold.

    ``book``: the codebook that the file names; without it (or with another) the bytes of segments
    aren't split into motion and audio. ``FormatError`` if ``read`` refuses the file.
    """
    major, minor = version(data)
    stream = read(data)
    head = stream.head
    seconds = float(head.frames / head.rate)
    picture = sum(len(one[3]) for one in stream.identities)
    code = sum(len(one[2]) for one in stream.identities)
    payloads = [data for data in stream.segments if data is not None]
    coded = sum(map(len, payloads))
    pitch = sum(len(data) for data in (*stream.pitch, *stream.finer) if data is not None)
    copied = sum(len(copy[1]) for copy in stream.copies if copy is not None)
    scene = len(stream.scene[1]) if stream.scene else 0
    lips = len(stream.lips or b"")
    found = list(chunks(data))
    framed = sum(c.end - c.start for c in found if isinstance(c, Chunk) and c.type in _FRAMED)
    split, note, lost = _split(stream, book)
    parts: dict[str, float] = {"identity_picture": picture, "identity_shape_and_voice": code}
    if split is None:
        parts["motion_and_audio"] = coded
    else:
        parts["motion"] = round(coded * split, 1)
        parts["audio"] = round(coded - coded * split, 1)
    if stream.pitch or stream.finer:
        parts["pitch"] = pitch
    if stream.lips is not None:
        parts["lips"] = lips
    if scene:
        parts["scene"] = scene
    if stream.copies:
        parts["copies"] = copied
    parts["container"] = len(data) - picture - code - coded - pitch - lips - scene - copied
    crop, point = head.crop, head.point
    return {
        "format": f"{major}.{minor}",
        "model": head.model.hex(),
        "duration_s": round(seconds, 3),
        "frames": head.frames,
        "frame_rate": str(head.rate),
        "samples": head.samples,
        "seed": head.seed,
        "sharpness": head.sharpness / SHARPEST,
        "restoration": head.restored,
        "crop": None if crop is None else dict(vars(crop)),
        "operating_point": dict(vars(point)),
        "open": bool(stream.points),
        "mode": mode_of(head),
        "segments": len(stream.segments),
        "segment_s": round(float(head.segment_frames / head.rate), 3),
        "key_frames": [
            {"frame": f, "side": s, "bytes": len(p)} for f, s, _, p in stream.identities
        ],
        "cuts": list(stream.cuts),
        "scene": {"side": stream.scene[0], "bytes": scene} if stream.scene else None,
        "bytes": len(data),
        "bps": round(8 * len(data) / seconds, 1),
        "steady_bps": round(8 * framed / seconds, 1),
        "streams": {
            name: {"bytes": size, "bps": round(8 * size / seconds, 1)}
            for name, size in parts.items()
        },
        "note": note,
        "comments": _comments(found),
        "damage": list(stream.damage) + lost,
        "synthetic": True,
        "synthetic_note": SYNTHETIC,
    }


def lines(told: dict[str, Any]) -> list[str]:
    """What ``info`` told, as lines for people."""
    crop, point = told["crop"], told["operating_point"]
    sound = f"{told['samples']} samples of sound" if told["samples"] else "no sound"
    stride = point["motion_stride"]
    motion, voice = f"every {stride} frames, step {point['motion_step']}", "not sent"
    if not stride:
        motion = "not sent" + (", the voice drives the picture" if point["semantic"] else "")
    if point["semantic"]:
        voice = f"{point['acoustic_layers']} acoustic layers"
        voice += " and pitch" if "pitch" in told["streams"] else ""
    elif told["samples"]:
        voice = "not sent" + (", motion drives the sound" if stride else "")
    keys = [f"{key['bytes']} B at frame {key['frame']}" for key in told["key_frames"]]
    shown = f"one key frame of {told['key_frames'][0]['bytes']} B"
    if len(keys) > 1:
        most = f" and {len(keys) - KEYS_SHOWN} more" if len(keys) > KEYS_SHOWN else ""
        shown = f"{len(keys)} key frames: {', '.join(keys[:KEYS_SHOWN])}{most}"
    out = [
        f"avc {told['format']}, model {told['model']}",
        f"{told['duration_s']:g} s: {told['frames']} frames at {told['frame_rate']} Hz, {sound}",
        f"{told['bytes']} bytes, {told['bps']:.0f} bit/s in all,"
        f" {told['steady_bps']:.0f} bit/s without head and key frame",
        shown,
        f"{told['mode']}: motion {motion}; voice {voice}",
    ]
    if told["open"]:
        each = f"each segment of {told['segment_s']:g} s in its own way"
        out[-1] = f"live, {each}; begun as {out[-1]}"
    detail = []
    if told["restoration"] is not None:
        detail.append(f"key frames restored by {told['restoration']:.0%}")
    if told["sharpness"]:
        how = "sharper" if told["sharpness"] > 0 else "softer"
        detail.append(f"shown {how} than drawn by {abs(told['sharpness']):.0%}")
    out += [", ".join(detail)] if detail else []
    if told["cuts"]:
        out.append(f"{len(told['cuts']) + 1} shots")
    if crop is not None:
        place = f"{crop['side']} at ({crop['x']}, {crop['y']}) of {crop['width']}x{crop['height']}"
        shown = "the face alone" if told["scene"] is None else "shown in the whole picture"
        out.append(f"crop {place}, {shown}")
    for name, part in told["streams"].items():
        out.append(f"  {name.replace('_', ' '):<26}{part['bytes']:>9g} B {part['bps']:>8.0f} bit/s")
    out += [told["note"]] if told["note"] else []
    out += [f"comment: {text}" for text in told["comments"]]
    out += [f"damage: {text}" for text in told["damage"]]
    out.append(told["synthetic_note"])
    return out


def checked(data: bytes, book: Codebook | None) -> dict[str, Any]:
    """Whether the file is whole, and what a decoder makes of it where it isn't (``check.check``).

    ``book`` as in ``info``; without it checksums alone are compared. ``FormatError`` where nothing
    could be decoded at all.
    """
    stream = read(data)
    damage, segments = stream.damage, list[object](stream.segments)
    copies = list[object](stream.copies)
    verified = book is not None and book.id == stream.head.model
    if book is not None and verified:
        from avcc.entropy import coder

        symbols = coder.decode(stream, book)
        damage, segments = coder.damage(stream, symbols), list[object](symbols.segments)
        copies = list[object](symbols.copies)
    missing = [number for number, one in enumerate(segments) if one is None]
    copied = [number for number in missing if copies and copies[number] is not None]
    lost = [number for number in missing if number not in copied]
    return check(data, stream.head, lost, copied, damage, verified)


def mode_of(head: Head) -> str:
    """What a file sends beside the key frame: ``av``, ``audio-driven``, ``video-driven`` or
    ``still``; ``video`` where there is motion and no sound to send."""
    point = head.point
    if not point.motion_stride:
        return "audio-driven" if point.semantic else "still"
    return "av" if point.semantic else "video-driven" if head.samples else "video"


def _split(stream: Stream, book: Codebook | None) -> tuple[float | None, str, list[str]]:
    """(part of the segments' bytes that is motion, a note about it, damage found on the way)."""
    if book is None:
        return None, "Without the model's codebook motion and audio can't be told apart.", []
    if book.id != stream.head.model:
        return None, f"The codebook at hand is {book.id.hex()}, not the file's.", []
    # Not at the top: files that are only listed need no range coder.
    from avcc.entropy import coder
    from avcc.entropy.context import segment

    keep = stream.segments[:SAMPLED]
    cost = coder.Cost(book)
    lost = []
    for number, payload in enumerate(keep):
        if payload is None:
            continue
        frames = stream.head.frames_of(number)
        reader = coder.Decoder(book, payload)
        try:
            seg = segment(reader, book, stream.point(number), frames, None)
            reader.close()
        except FormatError:
            lost.append(f"Segment {number} makes no sense and will be concealed.")
            continue
        segment(cost, book, stream.point(number), frames, seg)
    total = cost.bits["motion"] + cost.bits["audio"]
    note = ""
    if len(keep) < len(stream.segments):
        note = f"Motion and audio are extrapolated from the first {SAMPLED} segments."
    return (cost.bits["motion"] / total if total else None), note, lost


def _comments(found: list[Chunk | str]) -> list[str]:
    """Texts that the file carries, made safe to print."""
    texts = [c.payload for c in found if isinstance(c, Chunk) and c.type == layout.TEXT]
    texts = texts[:TOLD_MOST]
    decoded = (text[:4000].decode("utf-8", "replace") for text in texts)
    return ["".join(ch if ch.isprintable() else " " for ch in text)[:1000] for text in decoded]
