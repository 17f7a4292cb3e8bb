"""``python -m avcc.training STAGE``: every file in ``weights/`` comes from one of these."""

from __future__ import annotations

import importlib
from pathlib import Path

import click

from avcc.training.loop import Options, run

STAGES = {
    "acoustic": "avcc.training.acoustic:AcousticStage",
    "audiomae": "avcc.training.audiomae:AudioMAEStage",
    "avdiff": "avcc.training.avdiff:AVDiffStage",
    "renderer": "avcc.training.renderer:RendererStage",
    "vocoder": "avcc.training.vocoder:VocoderStage",
}


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Train the parts of avcc. Order: cache, motion, speech stages, avdiff, renderer, vocoder."""


@main.command()
@click.option("--data", type=click.Path(path_type=Path), default=Path("../shared/data"))
@click.option("--cache", type=click.Path(path_type=Path), required=True)
@click.option("--jobs", default=2)
def cache(data: Path, cache: Path, jobs: int) -> None:
    """Decode the raw material once into memory maps."""
    from avcc.training.cache import build

    build(data, cache, jobs)


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
@click.option("--dry", is_flag=True, help="A few steps and a validation, as a rehearsal.")
def train(stage: str, **options) -> None:
    """Train one stage, resuming where it stopped."""
    module, name = STAGES[stage].split(":")
    built = getattr(importlib.import_module(module), name)(Options(**options))
    print(run(built))


if __name__ == "__main__":
    main()
