"""What a report says of its coders and measures: settings, versions, where weights come from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import av

from avcc import weights
from avcc.errors import ModelError
from avcc.evaluation import enhanced, peers, split
from avcc.evaluation.bench import why_absent
from avcc.evaluation.digests import version
from avcc.evaluation.ours import WAYS
from avcc.evaluation.voices import CODEC2_MODES, OPUS_RATES, codec2_found

MEASURES = {  # what: packages, and where the weights come from
    "LPIPS (squeeze), second distance, KID": (
        ("torch",),
        "SqueezeNet 1.1 (torchvision, BSD-3) with LPIPS 0.1 heads (BSD-2); the Caffe SqueezeNet"
        " (BSD-2) as the second network; from the folder that --perceptual names. KID: unbiased,"
        " cubic kernel, that second network's last activation averaged over the 256x256 crop and"
        " brought to one length; Inception's KID and FID are other scales",
    ),
    "landmarks, mouth, faces lost": (("mediapipe",), "face mesh, in the wheel (Apache-2.0)"),
    "face descriptor": (
        ("dlib-bin", "face_recognition_models"),
        "ResNet of dlib, in the wheel (public domain)",
    ),
    "PSNR, SSIM": (("torch",), "ours, as scikit-image measures them"),
    "MS-SSIM": (("pytorch-msssim",), "luma, the five scales of Wang et al. 2003"),
    "flicker": (
        ("opencv-contrib-python",),
        "warping error along the source's DIS flow, above the source's own",
    ),
    "grid of two pixels": (
        ("torch",),
        "what alternates from pixel to pixel over 16 pixels, above the source's; ours",
    ),
    "PESQ-WB": (("pesq",), "ITU-T P.862.2"),
    "STOI, ESTOI": (("pystoi",), ""),
    "ViSQOL": (
        ("visqol-python", "ai-edge-litert"),
        "speech mode at 16 kHz, model in the wheel; without ai-edge-litert its older mapping,"
        " which rates one or two points higher",
    ),
    "DNSMOS, P.808": (("speechmos", "onnxruntime"), "models in the wheel"),
    "PLCMOS": (
        ("speechmos", "onnxruntime"),
        "version 2, model in the wheel; hears what is decoded alone; its fifteen listeners are"
        " drawn from the same noise each time",
    ),
    "A/V offset": (
        ("mediapipe",),
        "where mouth openings and level of the sound are most alike, decoded less source; ours",
    ),
    "speaker similarity": (("Resemblyzer",), "model in the wheel"),
    "WER": (
        ("pocketsphinx",),
        "English recogniser in the wheel, against what it hears in the source",
    ),
}


def absent(coders: Iterable[str]) -> dict[str, str]:
    """The coders that can't be run here, and why."""
    return {coder: why for coder in coders if (why := why_absent(coder))}


def settings(coders: Sequence[str]) -> list[tuple[str, str]]:
    """What each coder is, how it is run, and how its bits are parted."""
    found = [(coder, why or _about(coder)) for coder, why in ((c, why_absent(c)) for c in coders)]
    if set(coders) - set(WAYS):
        codec2 = f"Codec2 {', '.join(CODEC2_MODES)}" if codec2_found() else "Codec2 absent (c2enc)"
        opus = ", ".join(f"{rate / 1000:g}" for rate in OPUS_RATES)
        found.append(
            ("voices of the others", f"{codec2}; Opus at {opus} kbps (libopus, VBR, voip)")
        )
        low = ", ".join(f"{rate / 1000:g}" for rate in enhanced.RATES)
        with_network = f"Opus at {low} kbps, decoded with NoLACE: {enhanced.identity()}"
        found.append(("voice with a network", enhanced.absence() or with_network))
        rule = (split.__doc__ or "").partition("\n\n")[2]
        found.append(("split between picture and voice", " ".join(rule.replace("``", "").split())))
        found.append(("libraries", ", ".join(f"{n} {v}" for n, v in sorted(_libraries().items()))))
    return found


def measures() -> list[tuple[str, str]]:
    """Each measure with the version of what it is taken by; absent ones say so."""
    found = []
    for what, (packages, origin) in MEASURES.items():
        told = [f"{name} {version(name) or 'absent'}" for name in packages]
        found.append((what, "; ".join([", ".join(told), *([origin] if origin else [])])))
    return found


def _libraries() -> dict[str, str]:
    parts: dict[str, tuple[int, int, int]] = av.library_versions
    return {"PyAV": av.__version__} | {n: ".".join(map(str, v)) for n, v in parts.items()}


def _about(coder: str) -> str:
    if coder in WAYS:
        try:
            told = f"version {version('avcc')}, model {weights.default().hex()}"
            return f"{told}, {WAYS[coder].told}"
        except ModelError as error:
            return str(error)
    if coder in ("frozen", "warp"):
        still = "the frame nearest to the mean, as an AV1 still (libsvtav1, preset 0, tune=2)"
        warped = ", warped by a spline through the true mesh, whose bits are not counted"
        return still + (warped if coder == "warp" else ", for the whole clip")
    how = peers.PEERS[coder]
    return (
        f"{peers.told(how, '<quality>')}; the finest of {how.fine} to {how.coarse} that fits;"
        " sizes without a container"
    )
