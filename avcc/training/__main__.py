"""``python -m avcc.training STAGE``: every file in ``weights/`` comes from one of these."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import click
import torch

from avcc.stages import MODES
from avcc.training import ranks
from avcc.training.loop import PARTS, Options, run

STAGES = {
    "acoustic": "avcc.training.acoustic:AcousticStage",
    "acousticprior": "avcc.training.acousticprior:AcousticPriorStage",
    "audiomae": "avcc.training.audiomae:AudioMAEStage",
    "avdiff": "avcc.training.avdiff:AVDiffStage",
    "driver": "avcc.training.driver:DriverStage",
    "follower": "avcc.training.follower:FollowerStage",
    "inbetween": "avcc.training.inbetween:InbetweenStage",
    "estimator": "avcc.training.estimator:EstimatorStage",
    "facemesh": "avcc.training.facemesh:FaceMeshStage",
    "finder": "avcc.training.finder:FinderStage",
    "motionprior": "avcc.training.motionprior:MotionPriorStage",
    "renderer": "avcc.training.renderer:RendererStage",
    "vocoder": "avcc.training.vocoder:VocoderStage",
}


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Train the parts of avcc. docs/training.md has the order and the commands of each round."""


@main.command()
@click.option("--data", type=click.Path(path_type=Path), default=Path("../shared/data"))
@click.option("--cache", type=click.Path(path_type=Path), required=True)
@click.option("--jobs", default=2)
@click.option("--meshes", type=click.Path(path_type=Path), help="Take them from this file.")
def cache(data: Path, cache: Path, jobs: int, meshes: Path | None) -> None:
    """Decode the raw material once into memory maps."""
    from avcc.training.cache import build

    build(data, cache, jobs, meshes)


@main.command()
@click.option("--cache", type=click.Path(path_type=Path), required=True)
@click.option("--out", type=click.Path(path_type=Path), required=True)
def meshes(cache: Path, out: Path) -> None:
    """Write a cache's meshes to one small file, for a machine without MediaPipe."""
    from avcc.training.meshes import save

    save(cache, out)


@main.command()
@click.option("--cache", type=click.Path(path_type=Path), required=True)
@click.option("--jobs", default=2)
def own(cache: Path, jobs: int) -> None:
    """Find the meshes that the encoder will find, by our own face network."""
    from avcc.training.own import build

    build(cache, jobs)


@main.command()
@click.option("--cache", type=click.Path(path_type=Path), required=True)
@click.option("--work", type=click.Path(path_type=Path), required=True)
@click.option("--tier", type=click.Choice(["P", "PW"]), default="PW", help="Which clips.")
@click.option("--like", type=click.Path(path_type=Path), help="A motion.npz to stay near to.")
def motion(cache: Path, work: Path, tier: str, like: Path | None) -> None:
    """Fit the motion and shape directions."""
    import numpy as np

    from avcc.training.motion import errors, fit

    arrays = fit(cache, tier, like=np.load(like) if like else None)
    work.mkdir(parents=True, exist_ok=True)
    np.savez(work / "motion.npz", **arrays)  # type: ignore[arg-type]
    for step in (0.1, 0.2, 0.4, 0.8):
        print(f"step {step}: {errors(cache, arrays, step)}")


@main.command()
@click.option("--cache", type=click.Path(path_type=Path), required=True)
@click.option("--jobs", default=2)
def keys(cache: Path, jobs: int) -> None:
    """Code key frames of clips and stills, for the renderer to learn from what it will be given."""
    from avcc.training.keys import build

    for split in ("train", "val", "stills"):
        build(cache, split, jobs=jobs)


@main.command()
@click.option("--cache", type=click.Path(path_type=Path), required=True)
@click.option("--work", type=click.Path(path_type=Path), required=True)
@click.option("--tier", type=click.Choice(["P", "PW"]), default="PW", help="Which clips.")
@click.option("--hours", default=0.0, help="Of voice to count; 0: all.")
@click.option("--motion", "alone", is_flag=True, help="Those of motion and shape alone, anew.")
def tables(cache: Path, work: Path, tier: str, hours: float, alone: bool) -> None:
    """Count the entropy coder's tables and write the codebook."""
    from avcc.entropy.tables import dump
    from avcc.training.tables import bits, fit, refit

    book = refit(cache, work, tier) if alone else fit(cache, work, tier, hours)
    (work / "codebook.safetensors").write_bytes(dump(book.arrays))
    print(f"codebook {book.id.hex()}; validation, bit/s:")
    for name, rate in bits(cache, work, book).items():
        print(f"  {name} {rate:.0f}")


@main.command(name="bits")
@click.option("--cache", type=click.Path(path_type=Path), required=True)
@click.option("--work", type=click.Path(path_type=Path), required=True)
def spent(cache: Path, work: Path) -> None:
    """What validation costs by the codebook and its priors, in bit/s."""
    from avcc.training.priors import foretelling
    from avcc.training.tables import bits

    for name, rate in bits(cache, work, foretelling(work)).items():
        print(f"{name} {rate:.0f}")


@main.command()
@click.option("--cache", type=click.Path(path_type=Path), required=True)
@click.option("--work", type=click.Path(path_type=Path), required=True)
@click.option("--perceptual", type=click.Path(path_type=Path), help="Folder of LPIPS weights.")
def measure(cache: Path, work: Path, perceptual: Path | None) -> None:
    """How far symbols alone are off: constants of diffusion/schedule.py and quantise/rate.py."""
    from avcc.training.measure import motion_errors, picture_errors, voice_errors

    for point, figures in motion_errors(cache, work).items():
        print(f"motion {point}: {figures['error']:.2f} %, between {figures['between']:.3f}")
    for layers, figures in enumerate(voice_errors(cache, work)):
        print(f"voice {layers} layers: error {figures['error']:.3f}, off {figures['off']:.3f}")
    if perceptual is None:
        return
    sizes, away = picture_errors(cache, work, perceptual)
    for size, distance in sizes.items():
        print(f"key frame of {size} bytes: LPIPS {distance:.4f}")
    print(f"and for each size of the face away from it {away:.4f}")


@main.command()
@click.option("--data", type=click.Path(path_type=Path), default=Path("../shared/data"))
@click.option("--bitrate", default=2000.0, show_default=True)
@click.option("--clips", default=6, show_default=True)
@click.option("--mode", type=click.Choice(MODES[1:]), default="av", show_default=True)
@click.option(
    "--avdiff",
    "nets",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Files of weights to compare, instead of ways to sample with the shipped ones.",
)
def ablate(data: Path, bitrate: float, clips: int, mode: str, nets: tuple[Path, ...]) -> None:
    """What AVDiff adds to its starting point, on validation clips."""
    from avcc.training.ablation import ablate as ablated

    ablated(data, bitrate, clips, mode=mode, nets=nets)


@main.command()
@click.option("--cache", type=click.Path(path_type=Path), required=True)
@click.option("--manifest", type=click.Path(path_type=Path), required=True, help="Of utterances.")
@click.option("--limit", default=20, show_default=True, help="Utterances of its test split.")
@click.option("--hours", default=1.0, show_default=True, help="Of voice to count tables on.")
@click.argument("works", nargs=-1, required=True, type=click.Path(path_type=Path))
def compare(cache: Path, manifest: Path, limit: int, hours: float, works: tuple[Path, ...]) -> None:
    """What each part of a voice is worth: WORKS, each trained --without some of them."""
    from avcc.training.alone import compare as compared

    compared(cache, manifest, works, limit, hours)


@main.command()
@click.option("--data", type=click.Path(path_type=Path), default=Path("../shared/data"))
@click.option("--bitrate", default=2000.0, show_default=True)
@click.option("--clips", default=12, show_default=True)
@click.option("--share", default=0.1, show_default=True, help="Of the segments, to lose.")
@click.option("--seed", default=0, show_default=True)
@click.option("--draws", default=1, show_default=True, help="How often to lose them.")
@click.option("--fec", is_flag=True, help="Of files that carry coarse copies of segments.")
def conceal(
    data: Path, bitrate: float, clips: int, share: float, seed: int, draws: int, fec: bool
) -> None:
    """What lost segments cost, filled by AVDiff or by the last picture and silence."""
    from avcc.training.concealment import conceal as concealed

    concealed(data, bitrate, clips, share, seed, print, fec, draws)


@main.command()
@click.option("--work", type=click.Path(path_type=Path), required=True)
@click.option("--weights", type=click.Path(path_type=Path), default=Path("weights"))
@click.option("--note", default="", help="What the manifest says of this round.")
def pack(work: Path, weights: Path, note: str) -> None:
    """Put what was trained into ``weights/`` and write the manifest."""
    from avcc.training.pack import pack as packed

    print(packed(work, weights, note))


@main.command()
@click.option("--weights", type=click.Path(path_type=Path), default=Path("weights"))
@click.option("--work", type=click.Path(path_type=Path), required=True)
def unpack(weights: Path, work: Path) -> None:
    """Make a work folder from ``weights/``, for a round that goes on from them."""
    from avcc.training.pack import unpack as unpacked

    unpacked(weights, work)


@main.command()
@click.option("--data", type=click.Path(path_type=Path), default=Path("../shared/data"))
@click.option("--cache", type=click.Path(path_type=Path), required=True)
@click.option("--work", type=click.Path(path_type=Path), required=True)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Logs and weights.")
@click.option("--meshes", type=click.Path(path_type=Path), help="A file of the command meshes.")
@click.option("--stage", "stages", multiple=True, required=True, help="A stage and its options.")
@click.option("--minutes", default=20.0, show_default=True, help="Of training, over all calls.")
@click.option("--seconds", default=540.0, show_default=True, help="Of training in this call.")
@click.option("--jobs", default=0, help="Processes that prepare; 0: as many as there are cores.")
@click.argument("common", nargs=-1)
def round(
    data: Path,
    cache: Path,
    work: Path,
    out: Path,
    meshes: Path | None,
    stages: tuple[str, ...],
    minutes: float,
    seconds: float,
    jobs: int,
    common: tuple[str, ...],
) -> None:
    """Prepare, train several stages side by side, show how they did. COMMON, after --, are options
    of train for all of them."""
    from avcc.training import round as rounds

    rounds.prepare(data, cache, meshes, jobs or rounds.cores())
    shared = ["--cache", str(cache), "--work", str(work), "--minutes", str(minutes), *common]
    returned = rounds.train([rounds.Job.parsed(s) for s in stages], shared, out, seconds)
    rounds.keep(returned, work, out)
    print(rounds.summary(returned, out))
    if any(returned.values()):
        raise SystemExit(1)


@main.command()
@click.argument("stage", type=click.Choice(sorted(STAGES)))
@click.option("--cache", type=click.Path(path_type=Path), required=True)
@click.option("--work", type=click.Path(path_type=Path), required=True, help="Checkpoints.")
@click.option("--minutes", default=10.0, show_default=True)
@click.option("--batch", default=0, help="0: the stage's own.")
@click.option("--threads", default=1, show_default=True)
@click.option("--device", default="cpu", show_default=True)
@click.option("--tier", type=click.Choice(["P", "PW"]), default="PW", help="Which clips.")
@click.option("--seed", default=0)
@click.option("--perceptual", type=click.Path(path_type=Path), help="Folder of LPIPS weights.")
@click.option("--judge-from", default=3000, help="Step at which discriminators join.")
@click.option("--rate", default=1.0, help="Of the stage's learning rates; less for a later round.")
@click.option("--hours", default=0.0, help="Of voice to turn into tokens; 0: all.")
@click.option("--start", type=click.Path(path_type=Path), help="Weights of an earlier round.")
@click.option("--workers", default=0, help="Processes that make batches; 0: none beside this one.")
@click.option("--steps", default=0, help="End after so many, whatever the minutes; 0: by those.")
@click.option("--apart", is_flag=True, help="avdiff: without cross-modal attention, to compare.")
@click.option(
    "--without",
    type=click.Choice(PARTS),
    multiple=True,
    help="acoustic: without this part of a voice, to compare.",
)
@click.option("--scenes", type=click.Path(path_type=Path), help="finder: photos without faces.")
@click.option("--compile", is_flag=True, help="Let torch compile the networks (pays on a GPU).")
@click.option("--dry", is_flag=True, help="A few steps and a validation, as a rehearsal.")
def train(stage: str, **options: Any) -> None:
    """Train one stage, resuming where it stopped; on several GPUs under torchrun."""
    module, name = STAGES[stage].split(":")
    # Before the stage is built: it may run networks over all of its data first, and threads that
    # fight another process for a core are ten times slower than one thread.
    torch.set_num_threads(int(options["threads"]))
    options["device"] = ranks.join(options["device"])
    try:
        built = getattr(importlib.import_module(module), name)(Options(**options))
        figures = run(built)
        if not ranks.rank():
            print(figures)
    finally:
        ranks.leave()


if __name__ == "__main__":
    main()
